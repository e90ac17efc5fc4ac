"""minidl's own JSON: the class name and the fields of a dataclass, both ways, without ever running a file's code."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .errors import ConfigurationError, MinidlError

__all__ = ["from_data", "to_data"]

CLASS_KEY = "class"


def to_data(value: Any, where: str = "value") -> Any:
    """Return ``value`` as what JSON knows; tuples and lists both become lists.

    Raises ConfigurationError for what has no such form, naming the field (or what else ``where`` says).
    """
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [to_data(item, where) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) and key != CLASS_KEY for key in value):
        return {key: to_data(item, where) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        _check_name(type(value))
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return {CLASS_KEY: name} | {field: to_data(getattr(value, field), f"{name}.{field}") for field in fields}
    raise ConfigurationError(
        f"{where} is a {type(value).__name__}, which cannot be written as JSON. Use numbers, text, tuples, dataclasses "
        f'and dictionaries with text other than "{CLASS_KEY}" as keys.'
    )


def from_data(data: Any, bases: Sequence[type[Any]]) -> Any:
    """Return what ``to_data`` was given, with tuples for lists; classes are found by name among ``bases`` and below.

    Of two classes of one name minidl's own is taken, or else the one defined last. Raises ConfigurationError for an
    unknown class or field.
    """
    if isinstance(data, list):
        return tuple(from_data(item, bases) for item in data)
    if not isinstance(data, dict):
        return data
    values = {key: from_data(item, bases) for key, item in data.items() if key != CLASS_KEY}
    return _made(data[CLASS_KEY], values, bases) if CLASS_KEY in data else values


def _made(name: object, fields: dict[str, Any], bases: Sequence[type[Any]]) -> Any:
    found = [cls for base in bases for cls in _with_subclasses(base)]
    known = {cls.__name__: cls for cls in sorted(found, key=_is_own)}
    if not isinstance(name, str) or name not in known:
        raise ConfigurationError(
            f"class {name!r} is not known. Import the module that defines it first. Known: {', '.join(sorted(known))}."
        )
    try:
        return known[name](**fields)
    except MinidlError:
        raise
    except Exception as error:  # a constructor may raise anything for a value of the wrong kind
        raise ConfigurationError(f"{name} cannot be made from the fields {sorted(fields)}: {error}.") from error


def _is_own(cls: type[Any]) -> bool:
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


def _check_name(cls: type[Any]) -> None:
    """Raise ConfigurationError for a user's class that shares its name with one of minidl's, which JSON would mean."""
    if _is_own(cls):
        return
    for base in filter(_is_own, cls.__mro__):
        if any(_is_own(other) and other.__name__ == cls.__name__ for other in _with_subclasses(base)):
            raise ConfigurationError(
                f"a class of minidl is named {cls.__name__} too, and JSON could not tell the two apart. Give yours "
                f"another name, such as My{cls.__name__}."
            )


def _with_subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _with_subclasses(child)
