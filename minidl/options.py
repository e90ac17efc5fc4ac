"""From what a user writes, a name, a class or an object, to the object that is meant."""

import difflib
import enum
import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from .errors import ConfigurationError

__all__ = ["CheckedOptions", "enum_option", "named_option", "stacklevel_of_caller"]

OTHER_NAMES = {
    "bias": "has_bias",
    "bias_initializer": "bias_init",
    "filters": "n_out",
    "in_channels": "n_in",
    "in_features": "n_in",
    "kernel": "kernel_size",
    "kernel_initializer": "weight_init",
    "out_channels": "n_out",
    "out_features": "n_out",
    "pool_size": "kernel_size",
    "strides": "stride",
    "units": "n_out",
    "use_bias": "has_bias",
}
"""What Keras and PyTorch call options."""

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

    ``value`` is an instance of ``base``, a subclass that needs no arguments, or a key of ``known`` or the name of a
    class in it.
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
        by_name = {_normalized(cls.__name__): cls for cls in known.values()}
        by_name |= {_normalized(name): cls for name, cls in known.items()}
        if _normalized(value) in by_name:
            return by_name[_normalized(value)]()
    raise ConfigurationError(
        f"{option}={value!r} is not known. Choose one of: {', '.join(sorted(known))}; or pass an object of "
        f"a class derived from {base.__name__}."
    )


def stacklevel_of_caller() -> int:
    """Return the ``stacklevel`` with which the function that asks warns about the line of the user's code."""
    package, level, frame = __name__.partition(".")[0], 1, sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        # the __init__ of a dataclass counts as a file of its own, called <string>
        if name.partition(".")[0] != package and frame.f_code.co_filename != "<string>":
            break
        level, frame = level + 1, frame.f_back
    return level


class CheckedOptions:
    """Base of dataclasses that users make: an unknown option name gets a clear error in place of a TypeError."""

    __slots__ = ()

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Raise ConfigurationError, with what was likely meant, unless the constructor knows all names."""
        known = _constructor_options(cls) if options else None  # type: ignore[arg-type]  # classes are hashable
        for name in options:
            if known is None or name in known:
                continue
            likely = [other for other in (OTHER_NAMES.get(name),) if other in known]
            likely = likely or difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {likely[0]!r}? " if likely else ""
            raise ConfigurationError(f"{cls.__name__} has no option {name!r}. {hint}Its options: {', '.join(known)}.")
        return super().__new__(cls)


@functools.cache
def _constructor_options(cls: type) -> tuple[str, ...] | None:
    """Return the names that the class ``cls`` takes when it is called, None where it takes any."""
    parameters = list(inspect.signature(getattr(cls, "__init__")).parameters.values())[1:]  # noqa: B009  # unsound to mypy
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return tuple(parameter.name for parameter in parameters)
