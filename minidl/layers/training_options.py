"""The options that say how a layer is trained, for one layer or for a whole network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import ConfigurationError, ConfigurationWarning
from ..numeric_options import is_rate, real, set_flag
from ..options import enum_option, stacklevel_of_caller
from ..training import BaseDropout, BaseWeightNoise, Constraint, GradientNormalization
from ..training import updater as as_updater

__all__ = ["check_training_options", "overrule_inherited", "warn_of_two_decays"]


PENALTY = (is_rate, "a finite number of at least 0")
RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "l1": PENALTY,
    "l2": PENALTY,
    "l1_bias": PENALTY,
    "l2_bias": PENALTY,
    "weight_decay": PENALTY,
    "weight_decay_bias": PENALTY,
    "bias_init": (math.isfinite, "a finite number"),
    "dropout": (
        lambda value: 0 < value <= 1,
        "in (0, 1]. It is the probability to keep an element; 1 means no dropout",
    ),
    "gradient_normalization_threshold": (lambda value: 0 < value < math.inf, "a finite number above 0"),
}
EXCLUSIVE = (("l2", "weight_decay"), ("l2_bias", "weight_decay_bias"))
CONSTRAINTS = ("constrain_weights", "constrain_bias", "constrain_all_parameters")


def check_training_options(options: Any, owner: str) -> None:
    """Bring the options above into the form that the network works with: floats, objects, tuples.

    Raises ConfigurationError that names the option; warns where l2 replaces a weight decay, as in DL4J.
    """
    set_ = object.__setattr__  # the options of a network are frozen
    _check_numbers(options, owner)
    for name in ("updater", "bias_updater"):
        if getattr(options, name) is not None:
            set_(options, name, as_updater(getattr(options, name), name))
    if options.weight_decay_apply_lr is not None:
        set_flag(options, "weight_decay_apply_lr")
    if options.gradient_normalization is not None:
        kind = enum_option(GradientNormalization, options.gradient_normalization, "gradient_normalization")
        set_(options, "gradient_normalization", kind)
    if not isinstance(options.weight_noise, BaseWeightNoise | None):
        raise ConfigurationError(
            f"{owner}: weight_noise={options.weight_noise!r} is no weight noise. Use DropConnect(0.9), for example."
        )
    for name in CONSTRAINTS:
        if getattr(options, name) is not None:
            set_(options, name, _constraints(getattr(options, name), f"{owner}: {name}"))
    _drop_decay_beside_l2(options, owner)


def _check_numbers(options: Any, owner: str) -> None:
    for name, (is_valid, expected) in RANGES.items():
        value = getattr(options, name, None)
        if value is None or (name == "dropout" and isinstance(value, BaseDropout)):
            continue
        number = real(value)
        if not is_valid(number):
            hint = " Make an object of the class, such as AlphaDropout(0.8)." if isinstance(value, type) else ""
            raise ConfigurationError(f"{owner}: {name}={value!r} is not {expected}.{hint}")
        object.__setattr__(options, name, number)


def _constraints(value: object, option: str) -> tuple[Constraint, ...]:
    constraints = tuple(value) if isinstance(value, tuple | list) else (value,)
    for constraint in constraints:
        if not isinstance(constraint, Constraint):
            raise ConfigurationError(f"{option}={constraint!r} is no constraint. Use MaxNorm(2.0), for example.")
    return constraints


def _drop_decay_beside_l2(options: Any, owner: str) -> None:
    for l2, decay in EXCLUSIVE:
        if getattr(options, l2) and getattr(options, decay):
            warnings.warn(
                f"{owner}: {l2}={getattr(options, l2)!r} replaces {decay}={getattr(options, decay)!r}, as in DL4J. "
                "Give one of them.",
                ConfigurationWarning,
                stacklevel=stacklevel_of_caller(),
            )
            object.__setattr__(options, decay, 0.0)


def overrule_inherited(layer: Any) -> None:
    """Let an l2 that a layer has of its own rule out a weight decay of the network's, and the other way round."""
    for pair in EXCLUSIVE:
        for own, inherited in (pair, pair[::-1]):
            if getattr(layer, own) and getattr(layer, inherited) is None:
                setattr(layer, inherited, 0.0)


def warn_of_two_decays(layer: Any) -> None:
    """Warn of an updater that decays weights by itself beside a penalty that does the same."""
    if not layer.updater.decoupled_weight_decay or not (layer.l2 or layer.weight_decay):
        return
    name = "l2" if layer.l2 else "weight_decay"
    warnings.warn(
        f"{type(layer).__name__}: {name}={getattr(layer, name)!r} comes on top of the decay of {layer.updater!r}. Give "
        "one of them.",
        ConfigurationWarning,
        stacklevel=stacklevel_of_caller(),
    )
