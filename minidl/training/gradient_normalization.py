"""Gradient normalisation, applied per layer after the division by the minibatch size and before the updater."""

import enum
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["GradientNormalization", "normalize_gradients"]


class GradientNormalization(enum.Enum):
    """What is done to the gradient of a layer. Source: DL4J ``GradientNormalization``."""

    NONE = "none"
    RENORMALIZE_L2_PER_LAYER = "renormalize_l2_per_layer"
    RENORMALIZE_L2_PER_PARAM_TYPE = "renormalize_l2_per_param_type"
    CLIP_ELEMENT_WISE_ABSOLUTE_VALUE = "clip_element_wise_absolute_value"
    CLIP_L2_PER_LAYER = "clip_l2_per_layer"
    CLIP_L2_PER_PARAM_TYPE = "clip_l2_per_param_type"


def normalize_gradients(kind: GradientNormalization, threshold: float, gradients: Sequence[npt.NDArray[Any]]) -> None:
    """Normalise in place the gradients of one layer: a flat one for each of its parameters.

    RENORMALIZE: g / |g|, with 1e-5 in place of a norm of 0. CLIP_L2: g threshold / |g| where |g| > threshold.
    CLIP_ELEMENT_WISE: every element to [-threshold, threshold]. The norm is that of the layer or of the parameter.
    """
    if kind is GradientNormalization.NONE:
        return
    if kind is GradientNormalization.CLIP_ELEMENT_WISE_ABSOLUTE_VALUE:
        for gradient in gradients:
            np.clip(gradient, -threshold, threshold, out=gradient)
        return
    per_layer = kind in (
        GradientNormalization.RENORMALIZE_L2_PER_LAYER,
        GradientNormalization.CLIP_L2_PER_LAYER,
    )
    for group in (gradients,) if per_layer else [(gradient,) for gradient in gradients]:
        norm = math.sqrt(sum(float(np.dot(gradient, gradient)) for gradient in group))
        factor = _factor(kind, norm, threshold)
        if factor != 1:
            for gradient in group:
                np.multiply(gradient, factor, out=gradient)


def _factor(kind: GradientNormalization, norm: float, threshold: float) -> float:
    if kind in (GradientNormalization.CLIP_L2_PER_LAYER, GradientNormalization.CLIP_L2_PER_PARAM_TYPE):
        return threshold / norm if norm > threshold else 1.0
    return 1 / (norm or 1e-5)
