"""Combinations of options that are each fine, and make no sense together."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError
from ..functions import Softmax
from ..inputs import InputType, channels_last, channels_of
from ..training import BaseDropout
from .base import Layer
from .window_layer import WindowLayer

__all__ = ["check_channels", "check_dropout", "check_loss_weights", "check_output_layer", "check_window_buffer"]


def check_output_layer(layer: Any, output_type: InputType) -> None:
    """Raise ConfigurationError for a loss of probabilities behind an activation that gives none, or of too few outputs.

    Losses and activations of users pass where they do not say what they expect and give. Source: DL4J
    ``OutputLayerUtil``.
    """
    loss, activation = getattr(layer, "loss", None), getattr(layer, "activation", None)
    name, outputs = type(layer).__name__, channels_of(output_type)
    if isinstance(activation, Softmax) and outputs == 1:
        raise ConfigurationError(
            f"{name}: softmax of n_out=1 output is always 1. Use n_out=2, or activation='sigmoid' with loss='xent'."
        )
    kind, bounds = getattr(loss, "label_kind", "values"), getattr(activation, "output_range", None)
    if kind == "classes" and outputs == 1:
        raise ConfigurationError(
            f"{name}: {type(loss).__name__} of n_out=1 output learns to say 1 always. Use n_out=2 with "
            "activation='softmax', or loss='xent' with activation='sigmoid'."
        )
    if bounds is None or kind not in ("classes", "probabilities"):
        return
    if bounds[0] < 0 or bounds[1] > 1:
        raise ConfigurationError(
            f"{name}: {type(loss).__name__} is a loss of probabilities, but {type(activation).__name__} gives values "
            f"from {bounds[0]:g} to {bounds[1]:g}. Use activation='softmax' or 'sigmoid', another loss, or "
            "list(..., validate_output_layer_config=False)."
        )


def check_loss_weights(layer: Any, output_type: InputType) -> None:
    """Raise ConfigurationError for a loss whose weights are not one for each output."""
    weights, outputs = getattr(getattr(layer, "loss", None), "weights", None), channels_of(output_type)
    if weights is not None and len(weights) != outputs:
        raise ConfigurationError(
            f"{type(layer).__name__}: {type(layer.loss).__name__} has {len(weights)} weights for {outputs} outputs. "
            "Give one weight for each output."
        )


def check_channels(layer: Any, input_type: InputType) -> None:
    """Raise ConfigurationError where classes are looked for along axis 1, but lie along the last."""
    if not channels_last(input_type) or hasattr(layer, "format"):
        return  # a layer with a format knows where they lie
    if layer.is_output_layer or not getattr(getattr(layer, "activation", None), "elementwise", True):
        raise ConfigurationError(
            f"{type(layer).__name__}: its outputs lie along axis 1, but its input is {input_type}, which has them "
            "along the last. Use CnnLossLayer or RnnOutputLayer, or the format NCW or NCHW."
        )


def check_window_buffer(layer: Layer, input_type: InputType, itemsize: int) -> None:
    """Raise ConfigurationError for a layer whose windows do not fit into its buffer, at so many bytes an element."""
    if isinstance(layer, WindowLayer):
        layer.check_buffer(input_type, itemsize)


def check_dropout(layer: Layer, input_type: InputType) -> None:
    """Raise ConfigurationError for a dropout of indices, and of whole channels where the input has none."""
    is_active = layer.dropout.is_active if isinstance(layer.dropout, BaseDropout) else layer.dropout not in (None, 1)
    if layer.takes_indices and is_active:
        raise ConfigurationError(
            f"{type(layer).__name__}: dropout={layer.dropout!r} would change the indices. Leave it out, and give it to "
            "the layer behind."
        )
    if isinstance(layer.dropout, BaseDropout) and layer.dropout.needs_channels and len(input_type.example_shape()) < 2:
        raise ConfigurationError(
            f"{type(layer).__name__}: dropout={layer.dropout!r} drops whole channels, but its input is {input_type}. "
            "Use Dropout there, or put it in front of a layer whose input is series or images."
        )
