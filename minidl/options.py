"""From what a user writes, a name, a class or an object, to the object that is meant."""

import enum
from collections.abc import Mapping
from typing import TypeVar

from .errors import ConfigurationError

__all__ = ["enum_option", "named_option"]

EnumType = TypeVar("EnumType", bound=enum.Enum)
OptionType = TypeVar("OptionType")


def _normalized(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def enum_option(enum_class: type[EnumType], value: object, option: str) -> EnumType:
    """Return the member of ``enum_class`` that ``value`` is or names, in any case and spelling.

    Raises ConfigurationError that lists what exists.
    """
    if isinstance(value, enum_class):
        return value
    if isinstance(value, str):
        for member in enum_class:
            if _normalized(member.name) == _normalized(value):
                return member
    known = ", ".join(member.name for member in enum_class)
    raise ConfigurationError(f"{option}={value!r} is not known. Choose one of: {known}.")


def named_option(
    base: type[OptionType], known: Mapping[str, type[OptionType]], value: object, option: str
) -> OptionType:
    """Return the ``base`` object that ``value`` is, makes or names, in any case and spelling.

    ``value`` is an instance of ``base``, a subclass that needs no arguments, or a key of ``known``.
    Raises ConfigurationError that lists what exists.
    """
    if isinstance(value, base):
        return value
    if isinstance(value, type) and issubclass(value, base):
        try:
            return value()
        except TypeError as error:
            raise ConfigurationError(
                f"{option}={value.__name__} cannot be made without arguments: {error}. Pass an object instead."
            ) from error
    if isinstance(value, str):
        by_name = {_normalized(name): cls for name, cls in known.items()}
        if _normalized(value) in by_name:
            return by_name[_normalized(value)]()
    raise ConfigurationError(
        f"{option}={value!r} is not known. Choose one of: {', '.join(sorted(known))}; or pass an object of "
        f"a class derived from {base.__name__}."
    )
