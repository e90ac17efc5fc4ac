"""From a user's options to the frozen configuration of a network."""

from __future__ import annotations

import dataclasses
import json
import numbers
import secrets
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .errors import ConfigurationError, MinidlError
from .functions import Activation, Distribution, Loss, Sigmoid, WeightInit
from .functions import activation as as_activation
from .functions import weight_init as as_weight_init
from .inputs import InputType, positive_int
from .layers import ConvolutionMode, InputPreProcessor, Layer
from .layers.base import independent_copy, naming
from .layers.chain import (
    TypeWalk,
    check_layers,
    checked_input_type,
    checked_preprocessors,
    inferred_input_type,
    set_from_input_type,
)
from .layers.training_options import check_training_options, overrule_inherited, warn_of_two_decays
from .layers.validation import (
    check_channels,
    check_dropout,
    check_loss_weights,
    check_output_layer,
    check_window_buffer,
)
from .layers.wrapper import WrapperLayer, sees_whole_series
from .numeric_options import set_flag
from .options import CheckedOptions, enum_option, stacklevel_of_caller
from .serialization import from_data, to_data
from .training import BaseDropout, BaseWeightNoise, Constraint, GradientNormalization, Schedule, Sgd, Updater
from .truncation import DEFAULT_LENGTH, BackpropType, check_truncation, checked_lengths
from .workspaces import WorkspaceMode

__all__ = ["MultiLayerConfiguration", "NeuralNetConfiguration"]

DTYPES = ("float32", "float64")
UNLESS_GIVEN = Sigmoid()  # this very object is the network's activation where the user gave none


@dataclass(frozen=True, kw_only=True)
class NeuralNetConfiguration(CheckedOptions):
    """What holds for every layer that does not say otherwise; ``list`` makes the configuration of a network from it.

    ``updater``, ``activation``, ``weight_init`` and the others are given as objects or by name; ``weight_init`` may be
    a distribution. The activation is sigmoid, and identity for convolutions, unless one is given. ``convolution_mode``
    says what windows do at the edges, ``max_window_bytes`` caps the memory of what they see (None: what stays in the
    cache). What ``dropout``, ``weight_noise``, the penalties and the constraints mean is said at ``Layer``.
    ``backprop_type`` "truncated_bptt" trains on pieces of ``tbptt_fwd_length`` steps (20), one update after each:
    recurrent layers begin a piece with the state of the piece before, and errors go back through its last
    ``tbptt_back_length`` steps (as many as it has).
    ``seed`` None draws one. ``mini_batch`` divides gradients by the batch size. ``strict`` turns a result that a custom
    layer left on the heap into an error.
    Raises ConfigurationError for unknown names and impossible values, and warns where l2 replaces a weight decay.
    Source: DL4J ``NeuralNetConfiguration.Builder``.
    """

    seed: int | None = None
    dtype: str = "float32"
    updater: Updater = field(default_factory=Sgd)
    bias_updater: Updater | None = None
    activation: Activation | str = UNLESS_GIVEN
    weight_init: WeightInit | Distribution | str = "xavier"
    bias_init: float = 0.0
    dropout: float | BaseDropout | None = None
    weight_noise: BaseWeightNoise | None = None
    l1: float = 0.0
    l2: float = 0.0
    l1_bias: float = 0.0
    l2_bias: float = 0.0
    weight_decay: float = 0.0
    weight_decay_bias: float = 0.0
    weight_decay_apply_lr: bool = True
    gradient_normalization: GradientNormalization = GradientNormalization.NONE
    gradient_normalization_threshold: float = 1.0
    constrain_weights: tuple[Constraint, ...] = ()
    constrain_bias: tuple[Constraint, ...] = ()
    constrain_all_parameters: tuple[Constraint, ...] = ()
    convolution_mode: ConvolutionMode | str = ConvolutionMode.TRUNCATE
    max_window_bytes: int | None = None
    mini_batch: bool = True
    backprop_type: BackpropType | str = BackpropType.STANDARD
    tbptt_fwd_length: int | None = None
    tbptt_back_length: int | None = None
    training_workspace_mode: WorkspaceMode = WorkspaceMode.ENABLED
    inference_workspace_mode: WorkspaceMode = WorkspaceMode.ENABLED
    strict: bool = False

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for each in dataclasses.fields(self):
            if getattr(self, each.name) is None:  # as if it had not been given
                made = each.default_factory
                set_(self, each.name, each.default if made is dataclasses.MISSING else made())
        set_(self, "seed", secrets.randbits(32) if self.seed is None else _seed(self.seed))
        set_(self, "dtype", _dtype_name(self.dtype))
        set_(self, "activation", as_activation(self.activation))
        set_(self, "weight_init", as_weight_init(self.weight_init))
        set_(self, "convolution_mode", enum_option(ConvolutionMode, self.convolution_mode, "convolution_mode"))
        if self.max_window_bytes is not None:
            set_(self, "max_window_bytes", positive_int(self.max_window_bytes, "max_window_bytes"))
        for option in ("training_workspace_mode", "inference_workspace_mode"):
            set_(self, option, _workspace_mode(getattr(self, option), option))
        for option in ("mini_batch", "strict"):
            set_flag(self, option)
        lengths = checked_lengths(self.backprop_type, self.tbptt_fwd_length, self.tbptt_back_length)
        for option, value in zip(TRUNCATION, lengths, strict=True):
            set_(self, option, value)
        check_training_options(self, "NeuralNetConfiguration")

    def list(
        self,
        *layers: Layer,
        input_type: InputType | None = None,
        input_preprocessors: Mapping[int, InputPreProcessor] | None = None,
        validate_output_layer_config: bool = True,
        validate_tbptt_config: bool = True,
    ) -> MultiLayerConfiguration:
        """Return the configuration of a network of copies of these layers, what they left open filled in.

        Without ``input_type`` the first layer must say its ``n_in``. ``input_preprocessors`` are put in front of the
        layers with these indices; elsewhere what a layer asks for is inserted. ``validate_output_layer_config`` refuses
        a loss of probabilities behind an activation that gives none, ``validate_tbptt_config`` truncated
        backpropagation through layers that need whole series. Raises ConfigurationError and ShapeError, naming the
        layer.
        """
        check_layers(layers)
        first = current = inferred_input_type(layers[0]) if input_type is None else checked_input_type(input_type)
        given = checked_preprocessors(input_preprocessors, len(layers))
        completed = [independent_copy(layer) for layer in layers]
        steps: list[InputPreProcessor | None] = []
        walk = TypeWalk()
        for index, layer in enumerate(completed):
            with naming(index, completed):
                steps.append(given.get(index) or walk.in_format(layer.preprocessor_for(current), current))
                current = walk.behind(steps[index], current)
                self._complete(layer, current)
            current = _output_type(completed, index, current)
        if validate_output_layer_config:
            with naming(len(completed) - 1, completed):
                check_output_layer(completed[-1], current)
        configuration = MultiLayerConfiguration(
            layers=tuple(completed),
            input_type=first,
            input_preprocessors=tuple(steps),
            **{name: getattr(self, name) for name in _NETWORK_OPTIONS},
        )
        if validate_tbptt_config and self.backprop_type is BackpropType.TRUNCATED_BPTT:
            types = zip(configuration.layer_input_types(), configuration.input_types()[1:], strict=True)
            check_truncation(completed, list(types), first)
        return configuration

    def _complete(self, layer: Layer, input_type: InputType) -> None:
        if isinstance(layer, WrapperLayer):
            layer.inherit()
            self._complete(layer.layer, layer.inner_type(input_type))
        overrule_inherited(layer)
        for option in dataclasses.fields(self):
            if option.name in _NETWORK_OPTIONS or not hasattr(layer, option.name):
                continue
            if getattr(layer, option.name) is None:
                setattr(layer, option.name, self._value_for(layer, option.name))
        set_from_input_type(layer, input_type)
        check_training_options(layer, type(layer).__name__)  # of a layer whose fields were set after it was made, too
        warn_of_two_decays(layer)

    def _value_for(self, layer: Layer, option: str) -> object:
        value = getattr(self, option)
        return getattr(layer, "default_activation", value) if value is UNLESS_GIVEN else value


TRUNCATION = ("backprop_type", "tbptt_fwd_length", "tbptt_back_length")
_NETWORK_OPTIONS = (
    "seed",
    "dtype",
    "mini_batch",
    "training_workspace_mode",
    "inference_workspace_mode",
    "strict",
    *TRUNCATION,
)


@dataclass(frozen=True, kw_only=True)
class MultiLayerConfiguration:
    """The configuration of a network: its layers, complete, and what they take in. Frozen, compared by value.

    Made by ``NeuralNetConfiguration(...).list(...)``. Source: DL4J ``MultiLayerConfiguration``.
    """

    layers: tuple[Layer, ...]
    input_type: InputType
    seed: int
    dtype: str
    mini_batch: bool
    training_workspace_mode: WorkspaceMode
    inference_workspace_mode: WorkspaceMode
    strict: bool
    input_preprocessors: tuple[InputPreProcessor | None, ...] = ()
    backprop_type: BackpropType | str = BackpropType.STANDARD
    tbptt_fwd_length: int | None = None
    tbptt_back_length: int | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        lengths = checked_lengths(self.backprop_type, self.tbptt_fwd_length, self.tbptt_back_length)
        for option, value in zip(TRUNCATION, lengths, strict=True):
            set_(self, option, value)
        set_(self, "layers", tuple(self.layers))
        set_(self, "seed", _seed(self.seed))
        set_(self, "dtype", _dtype_name(self.dtype))
        for option in ("training_workspace_mode", "inference_workspace_mode"):
            set_(self, option, _workspace_mode(getattr(self, option), option))
        check_layers(self.layers)
        checked_input_type(self.input_type)
        steps = tuple(self.input_preprocessors) or (None,) * len(self.layers)
        set_(self, "input_preprocessors", steps)
        if len(steps) != len(self.layers):
            raise ConfigurationError(
                f"there are {len(steps)} input_preprocessors for {len(self.layers)} layers. Give one for each layer, "
                "None where there is none."
            )
        checked_preprocessors({i: step for i, step in enumerate(steps) if step is not None}, len(steps))
        self._walk()

    def input_types(self) -> tuple[InputType, ...]:
        """Return what the network takes in, and what each layer gives out."""
        return (self.input_type, *(after for _, after in self._walk()))

    def layer_input_types(self) -> tuple[InputType, ...]:
        """Return what each layer takes in, behind its preprocessor."""
        return tuple(before for before, _ in self._walk())

    def _walk(self) -> list[tuple[InputType, InputType]]:
        """Return (input, output) of each layer.

        Raises ConfigurationError and ShapeError where layers do not fit, naming the layer.
        """
        found, current, walk = [], self.input_type, TypeWalk()
        for index, layer in enumerate(self.layers):
            with naming(index, self.layers):
                before = walk.behind(self.input_preprocessors[index], current)
                check_dropout(layer, before)
                check_channels(layer, before)
            current = _output_type(self.layers, index, before)
            with naming(index, self.layers):
                walk.check_output(current)
                check_loss_weights(layer, current)
                check_window_buffer(layer, before, np.dtype(self.dtype).itemsize)
            found.append((before, current))
        walk.check_end()
        return found

    @property
    def piece_lengths(self) -> tuple[int, int] | None:
        """The steps of a piece of truncated backpropagation, and how many errors go back; None where it is standard."""
        if self.backprop_type is not BackpropType.TRUNCATED_BPTT:
            return None
        forward = self.tbptt_fwd_length or DEFAULT_LENGTH
        return forward, self.tbptt_back_length or forward

    @property
    def evaluated_piece_length(self) -> int | None:
        """The steps of a piece in which series are evaluated, None where they are evaluated whole.

        Those of truncated backpropagation, unless a layer needs series from start to end.
        """
        lengths = self.piece_lengths
        return None if lengths is None or any(map(sees_whole_series, self.layers)) else lengths[0]

    def to_json(self) -> str:
        """Return this configuration as JSON. Raises ConfigurationError for fields that JSON cannot hold."""
        return json.dumps(to_data(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> MultiLayerConfiguration:
        """Return the configuration that ``to_json`` wrote; custom layers must be imported beforehand.

        Raises ConfigurationError for text that is not such a configuration.
        """
        bases = (MultiLayerConfiguration, Layer, InputType, InputPreProcessor, *FUNCTIONS, *RULES)
        try:
            configuration = from_data(json.loads(text), bases)
        except MinidlError:
            raise
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"this is not JSON: {error}. Pass the text that to_json() returned.") from error
        if not isinstance(configuration, MultiLayerConfiguration):
            raise ConfigurationError(
                f"this JSON holds a {type(configuration).__name__}, expected a MultiLayerConfiguration. Pass the text "
                "that to_json() returned."
            )
        return configuration


FUNCTIONS = (Activation, Distribution, Loss, WeightInit)
RULES = (BaseDropout, BaseWeightNoise, Constraint, Schedule, Updater)


def _output_type(layers: Sequence[Layer], index: int, input_type: InputType) -> InputType:
    with naming(index, layers):
        found = layers[index].output_type(input_type)
        if not isinstance(found, InputType):
            raise ConfigurationError(
                f"{type(layers[index]).__name__}.output_type() returned {found!r}, expected an InputType. Return "
                "InputType.feed_forward(size), for example."
            )
        return found


def _workspace_mode(value: object, option: str) -> WorkspaceMode:
    mode = enum_option(WorkspaceMode, value, option)
    if mode in (WorkspaceMode.SINGLE, WorkspaceMode.SEPARATE):
        warnings.warn(
            f"{option}={mode.name} is an old name of ENABLED. Use WorkspaceMode.ENABLED.",
            DeprecationWarning,
            stacklevel=stacklevel_of_caller(),
        )
        return WorkspaceMode.ENABLED
    return mode


def _seed(value: object) -> int:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or int(value) < 0:
        raise ConfigurationError(f"seed={value!r} is not a whole number of at least 0. Use 123, for example.")
    return int(value)


def _dtype_name(value: object) -> str:
    name = np.dtype(value).name if isinstance(value, np.dtype | type) else str(value).lower()
    if name not in DTYPES:
        raise ConfigurationError(f"dtype={value!r} is not known. Choose one of: {', '.join(DTYPES)}.")
    return name
