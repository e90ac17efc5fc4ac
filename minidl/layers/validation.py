"""Combinations of options that are each fine, and make no sense together."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError
from ..functions import Softmax
from ..inputs import InputType
from ..training import BaseDropout
from .base import Layer

__all__ = ["check_channels", "check_dropout", "check_output_layer"]


def check_output_layer(layer: Any) -> None:
    """Raise ConfigurationError for a loss of probabilities behind an activation that gives none.

    Losses and activations of users pass where they do not say what they expect and give.
    Source: DL4J ``OutputLayerUtil``.
    """
    loss, activation = getattr(layer, "loss", None), getattr(layer, "activation", None)
    name = type(layer).__name__
    if isinstance(activation, Softmax) and getattr(layer, "n_out", None) == 1:
        raise ConfigurationError(
            f"{name}: softmax of n_out=1 output is always 1. Use n_out=2, or activation='sigmoid' with loss='xent'."
        )
    bounds = getattr(activation, "output_range", None)
    if bounds is None or getattr(loss, "label_kind", "values") not in ("classes", "probabilities"):
        return
    if bounds[0] < 0 or bounds[1] > 1:
        raise ConfigurationError(
            f"{name}: {type(loss).__name__} is a loss of probabilities, but {type(activation).__name__} gives values "
            f"from {bounds[0]:g} to {bounds[1]:g}. Use activation='softmax' or 'sigmoid', another loss, or "
            "list(..., validate_output_layer_config=False)."
        )


def check_channels(layer: Any, input_type: InputType) -> None:
    """Raise ConfigurationError where classes are looked for along axis 1, but lie along the last."""
    if getattr(input_type, "format", "") not in ("NWC", "NHWC"):
        return
    if layer.is_output_layer or not getattr(getattr(layer, "activation", None), "elementwise", True):
        raise ConfigurationError(
            f"{type(layer).__name__}: its outputs lie along axis 1, but its input is {input_type}, which has them "
            "along the last. Use the format NCW or NCHW."
        )


def check_dropout(layer: Layer, input_type: InputType) -> None:
    """Raise ConfigurationError for a dropout of whole channels where the input has none."""
    if isinstance(layer.dropout, BaseDropout) and layer.dropout.needs_channels and len(input_type.example_shape()) < 2:
        raise ConfigurationError(
            f"{type(layer).__name__}: dropout={layer.dropout!r} drops whole channels, but its input is {input_type}. "
            "Use Dropout there, or put it in front of a layer whose input is series or images."
        )
