"""Truncated backpropagation through time: its options, and which networks it suits."""

from __future__ import annotations

import enum
import warnings
from collections.abc import Sequence

from .errors import ConfigurationError, ConfigurationWarning
from .inputs import InputType, Recurrent, positive_int
from .layers import Layer
from .layers.wrapper import sees_whole_series
from .options import enum_option, stacklevel_of_caller

__all__ = ["BackpropType", "DEFAULT_LENGTH", "check_truncation", "checked_lengths"]

DEFAULT_LENGTH = 20


class BackpropType(enum.Enum):
    """How far errors go back through time. Source: DL4J ``BackpropType``."""

    STANDARD = "standard"
    TRUNCATED_BPTT = "truncated_bptt"


def checked_lengths(
    backprop_type: object, forward: int | None, backward: int | None
) -> tuple[BackpropType, int | None, int | None]:
    """Return the type, and the lengths as far as they were given.

    Raises ConfigurationError for values that cannot be; warns of lengths that standard backpropagation ignores.
    """
    kind = enum_option(BackpropType, backprop_type, "backprop_type")
    forward, backward = (
        None if value is None else positive_int(value, name)
        for name, value in (("tbptt_fwd_length", forward), ("tbptt_back_length", backward))
    )
    if kind is BackpropType.STANDARD and (forward is not None or backward is not None):
        warnings.warn(
            f"tbptt_fwd_length={forward} and tbptt_back_length={backward} do nothing with backprop_type=STANDARD. Set "
            "backprop_type='truncated_bptt'.",
            ConfigurationWarning,
            stacklevel=stacklevel_of_caller(),
        )
    longest = DEFAULT_LENGTH if forward is None else forward
    if backward is not None and backward > longest:
        raise ConfigurationError(
            f"tbptt_back_length={backward} is more than tbptt_fwd_length={longest}: errors cannot go back further than "
            "the piece. Make it at most as long."
        )
    return kind, forward, backward


def check_truncation(layers: Sequence[Layer], types: Sequence[tuple[InputType, InputType]], first: InputType) -> None:
    """Raise ConfigurationError unless a network can be trained piece by piece, the pieces having no future.

    ``types`` are what each layer takes in and gives out.
    """
    if not isinstance(first, Recurrent):
        raise ConfigurationError(
            f"backprop_type=TRUNCATED_BPTT cuts series into pieces, but the input type is {first}. Use "
            "InputType.recurrent(size), or backprop_type='standard'."
        )
    for index, (layer, (before, after)) in enumerate(zip(layers, types, strict=True)):
        name = f"layer {index} ({type(layer).__name__})"
        if isinstance(before, Recurrent) and not isinstance(after, Recurrent):
            raise ConfigurationError(
                f"{name} makes {after} of series, but backprop_type=TRUNCATED_BPTT needs an output at every step. Use "
                "backprop_type='standard', or list(..., validate_tbptt_config=False)."
            )
        if sees_whole_series(layer):
            raise ConfigurationError(
                f"{name} needs series from start to end, but backprop_type=TRUNCATED_BPTT trains on pieces. Use "
                "backprop_type='standard', or list(..., validate_tbptt_config=False)."
            )
