"""The layer protocol: what a layer is, declares and does.

Axis words used in all layers: batch, n_in, n_out.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, LayerError
from ..functions import WeightInit
from ..functions import weight_init as as_weight_init
from ..inputs import InputType, positive_int
from ..numeric_options import real
from ..options import CheckedOptions
from ..training import BaseDropout, BaseWeightNoise, Constraint, GradientNormalization, Updater
from ..workspaces import CarriedState, LayerWorkspaceMgr, WorkspaceArray
from .preprocessors import InputPreProcessor
from .training_options import check_training_options
from .user_code import is_user_code

__all__ = ["Array", "Layer", "ParamSpec", "filled_in", "independent_copy", "is_user_code", "naming"]

Array = npt.NDArray[Any]
LayerType = TypeVar("LayerType", bound="Layer")
OptionType = TypeVar("OptionType")


@dataclass(frozen=True)
class ParamSpec:
    """One parameter of a layer: its name, shape, start and treatment.

    ``init`` is a WeightInit or its name, a number for all elements, or a tuple of numbers for as many equal blocks of a
    vector. ``order`` is the order of the elements in the
    flat parameter vector. ``regularizable`` tells weights (l1, l2) from biases (l1_bias, l2_bias). The gradient of one
    that is not ``trainable`` is subtracted as it is. One that is ``exempt`` gets no penalty, no decay and no noise,
    and of the constraints only those of all parameters. The fans default to the first and the last extent.
    Raises ConfigurationError for a shape, an order or an init that cannot be.
    """

    name: str
    shape: tuple[int, ...]
    init: WeightInit | str | float | tuple[float, ...] = 0.0
    order: Literal["C", "F"] = "C"
    regularizable: bool = True
    trainable: bool = True
    exempt: bool = False
    fan_in: int | None = None
    fan_out: int | None = None

    def __post_init__(self) -> None:
        option = f"ParamSpec {self.name!r}"
        shape = tuple(positive_int(extent, f"{option}: an extent") for extent in self.shape)
        object.__setattr__(self, "shape", shape)
        if self.order not in ("C", "F"):
            raise ConfigurationError(f'{option}: order={self.order!r} is not known. Choose "C" or "F".')
        if isinstance(self.init, tuple):
            if len(shape) != 1 or not self.init or shape[0] % len(self.init):
                raise ConfigurationError(
                    f"{option}: init={self.init!r} needs a vector that can be cut into {len(self.init)} equal blocks, "
                    f"but its shape is {shape}. Give one number for each block."
                )
            return
        start = real(self.init)
        object.__setattr__(self, "init", as_weight_init(self.init) if math.isnan(start) else start)


@dataclass(kw_only=True)
class Layer(CheckedOptions, abc.ABC):
    """A configuration, and the two passes that it makes possible.

    The fields of a subclass are its configuration and its JSON. The network copies a layer and attaches views of its
    parameters, ``self.params["W"]``; nothing else may be stored on it, as several threads may be inside one layer.
    What belongs to one call lives in the ``workspace_mgr`` that comes with it. A layer must not write into its input.
    Before the first step, and for a memory report, layers are tried out with a few examples of made-up data, so that
    what they ask for is known: they should have no side effects, and ask for a buffer with a cap always at its cap.
    ``None`` in a field of this class means: as set for the whole network.

    ``name``: for messages and tables. ``dropout``: what is done to this layer's input in training, as a probability to
    keep an element or an object such as AlphaDropout. ``weight_noise``: what is done to its weights in training.
    ``updater``, ``bias_updater`` (None: as the weights), ``l1``, ``l2``, ``l1_bias``, ``l2_bias``, ``weight_decay``,
    ``weight_decay_bias``, ``weight_decay_apply_lr`` (multiply the decay by the learning rate),
    ``gradient_normalization`` and its threshold, and the constraints: the rules of training for this layer's
    parameters. Of l2 and weight decay a layer has one: its own rules out the network's, and l2 a weight decay beside
    it. Raises ConfigurationError for values that cannot be.
    Source: DL4J ``Layer`` and ``BaseLayer``.
    """

    independent_examples: ClassVar[bool] = False
    """True where no example of a batch looks at another, so that a batch may be split."""
    is_output_layer: ClassVar[bool] = False
    """True for layers with ``score`` and ``backprop_labels``."""
    takes_indices: ClassVar[bool] = False
    """True for layers whose input are whole numbers from 0 to ``n_in`` - 1, by which there is no gradient."""
    makes_mask: ClassVar[bool] = False
    """True for layers whose ``propagate_mask`` may return a mask where there was None."""
    sees_whole_series: ClassVar[bool] = False
    """True for layers that need a series from its start to its end: it cannot be taken step by step, nor in pieces."""

    name: str | None = None
    dropout: float | BaseDropout | None = None
    weight_noise: BaseWeightNoise | None = None
    updater: Updater | None = None
    bias_updater: Updater | None = None
    l1: float | None = None
    l2: float | None = None
    l1_bias: float | None = None
    l2_bias: float | None = None
    weight_decay: float | None = None
    weight_decay_bias: float | None = None
    weight_decay_apply_lr: bool | None = None
    gradient_normalization: GradientNormalization | None = None
    gradient_normalization_threshold: float | None = None
    constrain_weights: tuple[Constraint, ...] | None = None
    constrain_bias: tuple[Constraint, ...] | None = None
    constrain_all_parameters: tuple[Constraint, ...] | None = None
    params: dict[str, Array] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        check_training_options(self, type(self).__name__)

    def attach_params(self, params: Mapping[str, Array]) -> None:
        """Take over these arrays as ``self.params``, as WorkspaceArrays where the layer is a user's."""
        attached = is_user_code(type(self))
        self.params = {name: array.view(WorkspaceArray) if attached else array for name, array in params.items()}

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what must stand between an input of this type and the layer, None for nothing."""
        return None

    def output_type(self, input_type: InputType) -> InputType:
        """Return the type of the output. Pure; raises ShapeError for an input that does not fit."""
        return input_type

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return what parameters the layer has, in the order of the flat vector."""
        return ()

    @abc.abstractmethod
    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the activations, (batch, ...) of ``output_type``. ``x`` must not be written to."""

    @abc.abstractmethod
    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write the parameter gradients and return dL/dx, from ``epsilon`` = dL/dactivations.

        ``epsilon`` may be overwritten. The first layer may return None.
        """

    def row_step(self, index: int, states: CarriedState) -> Callable[[Array], Array] | None:
        """Return what takes one row (1, n_in) of one step to the output (1, n_out) at inference, with the same bits.

        It works in arrays of its own, and with the states of layer ``index``. None: there is no such short way.
        """
        return None

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the output for the mask of the input; None where time ends."""
        return mask

    def score(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> float:
        """Return the sum of the losses over the batch, for labels (batch, n, ...). Output layers only.

        The classes of the labels lie along axis 1, also where those of the network's output lie along the last.
        """
        raise LayerError(
            f"{type(self).__name__} is not an output layer: it has no score. End with OutputLayer or LossLayer."
        )

    def score_examples(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the loss of every example, (batch,). Output layers only."""
        raise LayerError(
            f"{type(self).__name__} has no score_examples(), the loss of every example. Define it, or end with "
            "OutputLayer or LossLayer."
        )

    def backprop_labels(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write the parameter gradients and return dL/dx, from the labels. Output layers only."""
        raise LayerError(
            f"{type(self).__name__} is not an output layer: it has no loss. End with OutputLayer or LossLayer."
        )


def independent_copy(layer: LayerType) -> LayerType:
    """Return a copy of a layer that shares nothing changeable with it, and has no parameters attached."""
    twin = copy.copy(layer)
    twin.attach_params({})
    for name, value in vars(twin).items():
        if isinstance(value, Layer):
            setattr(twin, name, independent_copy(value))
        elif isinstance(value, list | dict | set | np.ndarray):
            setattr(twin, name, copy.deepcopy(value))
    return twin


@contextlib.contextmanager
def naming(index: int, layers: Sequence[object]) -> Iterator[None]:
    """Add to an error that is raised inside in which of the layers it was."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in layer {index} of {len(layers)} ({type(layers[index]).__name__})")
        raise


def filled_in(option: OptionType | str | None, name: str) -> OptionType:
    """Return an option of a layer that the configuration of a network completed. Raises ConfigurationError if not."""
    if option is None or isinstance(option, str):
        raise ConfigurationError(
            f"{name}={option!r}: this layer is not complete. Give it to NeuralNetConfiguration(...).list(...), which "
            "fills in what a layer leaves open."
        )
    return option
