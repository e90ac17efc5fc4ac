"""The part of a network that needs no data: its layers, parameters, learning rates and reports."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .batches import checked_vector
from .configuration import MultiLayerConfiguration
from .errors import ConfigurationError, NotInitializedError
from .feeding import checked_count
from .frames import ExclusiveUse, Frames
from .layers import Layer
from .layers.base import independent_copy
from .memory_report import MemoryReport, make_report
from .model import Model
from .parameters import Parameters
from .solver import Clock, Solver
from .summary import summary_table
from .training import Schedule, Updater
from .workspaces import CarriedState

__all__ = ["ParameterizedNetwork"]

Array = npt.NDArray[Any]


class ParameterizedNetwork:
    """A chain of layers with its parameters; ``MultiLayerNetwork`` adds what is done with data."""

    def __init__(self, configuration: MultiLayerConfiguration, params: npt.ArrayLike | None = None) -> None:
        if not isinstance(configuration, MultiLayerConfiguration):
            raise ConfigurationError(
                f"a network is made from a MultiLayerConfiguration, got {type(configuration).__name__}. Call "
                "NeuralNetConfiguration(...).list(layers...) first."
            )
        self.conf = configuration
        self.layers: tuple[Layer, ...] = tuple(independent_copy(layer) for layer in configuration.layers)
        self.iteration_count = self.epoch_count = 0
        self._input_types = configuration.input_types()
        self._dtype = np.dtype(configuration.dtype)
        self._start = params
        self._parameters: Parameters | None = None
        self._score: float | None = None
        self._training = ExclusiveUse(
            "another call is changing this network. Train it from one thread, or give each thread a network of its "
            "own; output() may run in several threads."
        )

    def init(self, params: npt.ArrayLike | None = None) -> Self:
        """Make the parameters, drawn from the seed or copied from ``params`` (n,), and return the network."""
        start = self._start if params is None else params
        with self._training.by("init"):
            parameters = Parameters(self.layers, self.conf.layer_input_types(), self._dtype)
            initialization, shuffling = np.random.SeedSequence(self.conf.seed).spawn(2)
            self._shuffling_seed = int(shuffling.generate_state(1)[0])
            parameters.initialize(np.random.default_rng(initialization))
            if start is not None:
                np.copyto(parameters.flat, checked_vector(start, len(parameters)), casting="unsafe")
            parameters.attach_to(self.layers)
            self.iteration_count = self.epoch_count = 0
            self._score = None
            self._parameters = parameters
            self._model = Model(self.layers, self.conf)
            self._frames = Frames(self._model, parameters, self.conf)
            self._solver = Solver(self.layers, parameters, self.conf.mini_batch)
            self._piece_states = CarriedState()
            self._local = threading.local()
        return self

    # Parameters

    @property
    def is_init_called(self) -> bool:
        """Whether the parameters exist."""
        return self._parameters is not None

    @property
    def params(self) -> Array:
        """The flat parameter vector (n,), live: what is written into it holds at once."""
        return self._initialized().flat

    @property
    def gradient(self) -> Array:
        """The flat gradient (n,) of the last ``compute_gradient_and_score``, live; after ``fit`` the last step."""
        return self._initialized().gradient

    def num_params(self) -> int:
        """Return the number of parameters."""
        return len(self._initialized())

    def param_table(self) -> dict[str, Array]:
        """Return views of all parameters by name, such as "0_W"."""
        views = self._initialized().views
        return {f"{index}_{name}": view for index, table in enumerate(views) for name, view in table.items()}

    def set_params(self, values: npt.ArrayLike) -> None:
        """Copy all parameters from a vector (n,) in the order of ``params``. Raises ShapeError."""
        parameters = self._initialized()
        vector = checked_vector(values, len(parameters))
        with self._training.by("set_params"):
            np.copyto(parameters.flat, vector, casting="unsafe")

    # Learning rates

    def get_learning_rate(self, layer: int, *, bias: bool = False) -> float | None:
        """Return the learning rate of a layer now, by its number or schedule; None where it has none.

        ``bias`` asks for the one of its ``bias_updater``.
        """
        rule = self._rule(layer, bias)
        if rule is None or not rule.has_learning_rate:
            return None
        return rule.rate(self.iteration_count, self.epoch_count)

    def set_learning_rate(self, rate: float | Schedule, layer: int | None = None, *, bias: bool = False) -> None:
        """Give one layer, or all that have a learning rate, another one: a number or a schedule.

        ``bias`` changes the ``bias_updater`` in place of the updater, where there is one. The state of the updaters
        stays, and ``conf`` changes with it. Raises ConfigurationError for a rate that cannot be, and for a layer that
        has none. Source: DL4J ``MultiLayerNetwork.setLearningRate``.
        """
        parameters = self._initialized()
        name = "bias_updater" if bias else "updater"
        with self._training.by("set_learning_rate", joins=True):
            changed = {}
            for index in range(len(self.layers)) if layer is None else (layer,):
                rule = self._rule(index, bias)
                if layer is None and (rule is None or not rule.has_learning_rate):
                    continue
                if rule is None:
                    raise ConfigurationError(
                        f"{self._model.label(index)} has no {name} of its own. Choose a layer with parameters"
                        f"{', and give it a bias_updater' if bias else ''}."
                    )
                changed[index] = rule.with_learning_rate(rate)
            if not changed:
                raise ConfigurationError(
                    f"no layer has {'a' if bias else 'an'} {name} with a learning rate. Give one to the network: "
                    f"{name}='adam'."
                )
            for index, rule in changed.items():
                setattr(self.layers[index], name, rule)
            parameters.renew_updaters()
            self._frames.planner.forget_training()
            self.conf = dataclasses.replace(self.conf, layers=tuple(independent_copy(item) for item in self.layers))

    def _rule(self, layer: int, bias: bool) -> Updater | None:
        self._initialized()
        self._check_layer(layer)
        found = self.layers[layer]
        return (found.bias_updater if bias else found.updater) if found.params else None

    def _check_layer(self, layer: int) -> None:
        """Raise ConfigurationError for what is no index of a layer."""
        is_index = isinstance(layer, int | np.integer) and not isinstance(layer, bool)
        if not is_index or layer not in range(len(self.layers)):
            raise ConfigurationError(
                f"there is no layer {layer!r}: the network has layers 0 to {len(self.layers) - 1}."
            )

    @property
    def _clock(self) -> Clock:
        return Clock(self.iteration_count, self.epoch_count)

    # Reports

    @property
    def copied_in(self) -> int:
        """Results that custom layers left on the heap and that were copied into workspaces, in this thread so far."""
        return self._frames.copied_in if self.is_init_called else 0

    def summary(self) -> str:
        """Return a table of the layers: types, shapes, numbers of parameters."""
        return summary_table(self.layers, self.conf.layer_input_types(), self._input_types[1:])

    def memory_report(
        self, batch_size: int = 32, *, training: bool = True, timesteps: int | None = None
    ) -> MemoryReport:
        """Return what memory batches of this size will need, before anything runs.

        Where the input type leaves the length of series open, ``timesteps`` says it. One plan serves series that are up
        to an eighth shorter, so the figures may be those of somewhat longer ones, as the report then says. With
        truncated backpropagation training and evaluation are those of a piece, inference that of whole series.

        For training it covers inference and evaluation as well, as the workspaces do from the first step on. Features
        and labels are taken to be of the network's type; other ones are converted, in memory that comes on top.
        """
        batch_size = checked_count(batch_size, "batch_size")
        parameters = self._initialized()
        timesteps = self._checked_timesteps(timesteps)
        return make_report(self._model, parameters, self._frames.planner, batch_size, training, self.conf, timesteps)

    def _checked_timesteps(self, timesteps: int | None) -> int | None:
        """Return a length of series that was given where one is needed. Raises ConfigurationError."""
        kind = self.conf.input_type
        varies = None in kind.example_shape()
        if varies != (timesteps is not None):
            problem = (
                "says no timesteps: give memory_report(batch_size, timesteps=...)" if varies else "leaves none open"
            )
            raise ConfigurationError(f"timesteps={timesteps}, but the input type {kind} {problem}.")
        return None if timesteps is None else checked_count(timesteps, "timesteps")

    def _initialized(self) -> Parameters:
        if self._parameters is None:
            raise NotInitializedError("the network has no parameters yet. Call init() first.")
        return self._parameters
