"""Recurrent networks step by step: the part of a network that goes on where the last call ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .batches import check_finite, check_out, checked_array, checked_features, is_native
from .errors import ConfigurationError, DataError, NotInitializedError, ShapeError
from .frames import ExclusiveUse
from .inference import InferringNetwork
from .inputs import InputType, Recurrent
from .layers import FeedForwardToRnnPreProcessor, InputPreProcessor, RnnToFeedForwardPreProcessor
from .layers.wrapper import sees_whole_series
from .placement import Place
from .workspaces import Carried, CarriedState

__all__ = ["RnnSession", "SteppingNetwork"]

Array = npt.NDArray[Any]
TO_ACT = Place.ACT  # reading a member of an enum takes a tenth of a microsecond, every time


class SteppingNetwork(InferringNetwork):
    """A network whose recurrent layers carry their state from one ``rnn_time_step`` to the next.

    Every thread has a state of its own, in small buffers outside the workspaces; a call that fails leaves it as it was.
    Source: DL4J ``MultiLayerNetwork.rnnTimeStep`` and its kin.
    """

    def rnn_time_step(self, x: npt.ArrayLike, *, out: Array | None = None) -> Array:
        """Return the output for the next steps of series, and keep the state that they end with.

        x (batch, size) is one step and gives (batch, n_out); x (batch, size, time), or (batch, time, size) with "NWC",
        is several. A new, detached array; with ``out`` it is written there, and nothing is allocated. Raises ShapeError
        for a batch of another size than the stored state is of, and what ``output`` raises; ConfigurationError for a
        layer that needs whole series.
        """
        return self._time_step(x, out, self._stream())

    def rnn_activate_using_stored_state(self, x: npt.ArrayLike, *, train: bool = False) -> list[Array]:
        """Return the input and the activations of every layer, detached; the stored state stays as it is.

        With nothing stored the layers begin with zeros. Raises what ``rnn_time_step`` raises.
        """
        states = self._stream().states
        x = self._checked_steps(x, states)
        frame, plan = self._frames.inference(x, train)
        with frame.opened(plan, Carried(states)):
            iteration = self._frames.next_random_call() if train else None
            activations = frame.all_activations(x, None, len(self.layers), iteration)
            states.roll_back()
        return activations

    def rnn_get_previous_state(self, layer: int) -> dict[str, Array]:
        """Return copies of the state of a layer, by name, such as "prev_act"; none where nothing is stored."""
        stream = self._stream()
        self._check_layer(layer)
        return stream.states.of_layer(layer)

    def rnn_set_previous_state(self, layer: int, state: Mapping[str, npt.ArrayLike]) -> None:
        """Store copies of (batch, n_out) as the state that a layer goes on from.

        Raises ConfigurationError for a layer without state and for other names than its own, ShapeError for other
        shapes, and a batch of another size than the other layers' states are of.
        """
        stream = self._stream()
        self._check_layer(layer)
        self._set_state(layer, state, stream.states)

    def rnn_clear_previous_state(self) -> None:
        """Forget the state of all layers, in the calling thread: the next step is the first of new series."""
        self._stream().states.clear()

    def rnn_session(self) -> RnnSession:
        """Return a state of its own for one stream of series, that any thread may go on with."""
        self._initialized()
        return RnnSession(self)

    # Inside

    def _stream(self) -> _Stream:
        self._initialized()
        stream: _Stream | None = getattr(self._local, "stream", None)
        if stream is None:
            stream = self._local.stream = _Stream()
        return stream.of(self)

    def _time_step(self, x: npt.ArrayLike, out: Array | None, stream: _Stream) -> Array:
        if type(x) is np.ndarray and x.ndim == 2 and len(x) == 1 and is_native(x, self._dtype):
            row = stream.row_step(self)
            if row is not None and x.shape == row.shape and stream.states.examples in (None, 1):
                return row.take(x, out)
        return self._general_step(x, out, stream.states)

    def _general_step(self, x: npt.ArrayLike, out: Array | None, states: CarriedState) -> Array:
        x = checked_array(x, "features")
        is_one_step = x.ndim == 2
        steps = self._checked_steps(x, states)
        frame, plan = self._frames.inference(steps)
        shape = self._model.output_shape(steps)
        if is_one_step and len(shape) == 3:
            shape = (shape[0], shape[2] if self._model.classes_are_last else shape[1])
        if out is not None:
            check_out(out, shape, self._dtype, steps)
        result = np.empty(shape, self._dtype) if out is None else out
        with frame.opened(plan, Carried(states)):
            y, _ = frame.inference(steps, None, TO_ACT)
            np.copyto(result, y.view(np.ndarray).reshape(shape) if is_one_step else y.view(np.ndarray))
        return result

    def _checked_steps(self, x: npt.ArrayLike, states: CarriedState) -> Array:
        """Return x as series (batch, size, time). Raises ShapeError, DtypeError and DataError."""
        kind = self._input_types[0]
        if not isinstance(kind, Recurrent):
            raise ConfigurationError(
                f"the input type of this network is {kind}, which has no time steps. Use output(x), or "
                "InputType.recurrent(size)."
            )
        for index, layer in enumerate(self.layers):
            if sees_whole_series(layer):
                raise ConfigurationError(
                    f"{self._model.label(index)} needs series from start to end, and cannot be stepped. Use output(x) "
                    "with whole series."
                )
        x = checked_array(x, "features")
        if x.ndim == 2 and x.shape[1] != kind.size:
            raise ShapeError(
                f"features have shape {x.shape}, expected (batch, {kind.size}) for one step. Give one number for each "
                "input of the network, or series with an axis for time."
            )
        if x.ndim == 2:
            x = x[:, np.newaxis] if kind.format == "NWC" else x[:, :, np.newaxis]
        x = checked_features(x, InputType.recurrent(kind.size, None, kind.format))
        if states.examples not in (None, len(x)):
            raise ShapeError(
                f"features have {len(x)} examples, but the stored state is of {states.examples}. Give a batch of the "
                "same size, or call rnn_clear_previous_state() to begin new series."
            )
        return x

    def _set_state(self, layer: int, state: Mapping[str, npt.ArrayLike], states: CarriedState) -> None:
        shapes = self._state_shapes(layer)
        if not shapes:
            raise ConfigurationError(f"{self._model.label(layer)} has no state. Choose a recurrent layer.")
        if not isinstance(state, Mapping) or set(state) != set(shapes):
            given = sorted(map(str, state)) if isinstance(state, Mapping) else repr(state)
            raise ConfigurationError(
                f"the state of {self._model.label(layer)} has the names {sorted(shapes)}, got {given}. Give a "
                "dictionary with an array for each name, as rnn_get_previous_state() returns it."
            )
        arrays = {name: checked_array(value, f"state {name!r}") for name, value in state.items()}
        first = next(iter(arrays.values()))
        batch = states.examples_beside(layer) or max(1, len(first) if first.ndim else 1)
        for name, array in arrays.items():
            if array.shape != (batch, *shapes[name]):
                expected = ", ".join(map(str, shapes[name]))
                raise ShapeError(
                    f"state {name!r} has shape {array.shape}, expected (batch, {expected}) with a batch of {batch}, as "
                    "all states. Call rnn_clear_previous_state() before states of a batch of another size."
                )
            check_finite(f"state {name!r}", array)
            if array.dtype.kind == "f" and np.maximum.reduce(np.abs(array), axis=None) > np.finfo(self._dtype).max:
                raise DataError(f"state {name!r} has numbers that {self._dtype} cannot hold. Give smaller ones.")
        states.set_layer(layer, {name: array.astype(self._dtype) for name, array in arrays.items()})

    def _state_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every state of a layer for one example, learned from a step with one example."""
        states, kind = CarriedState(), self._input_types[0]
        if not isinstance(kind, Recurrent):
            return {}
        x = np.zeros((1, 1, kind.size) if kind.format == "NWC" else (1, kind.size, 1), self._dtype)
        frame, plan = self._frames.inference(x)
        with frame.opened(plan, Carried(states)):
            frame.inference(x, None, TO_ACT)
        return {name: array.shape[1:] for name, array in states.of_layer(layer).items()}


class _RowStep:
    """One step of one example through all layers, the short way; see layers/row_steps.py."""

    def __init__(self, layers: Sequence[Callable[[Array], Array]], states: CarriedState, size: int) -> None:
        self.shape = (1, size)
        self._layers = layers
        self._states = states

    def take(self, x: Array, out: Array | None) -> Array:
        """Return the output for the row x, in ``out`` or a new array."""
        given, states = x, self._states
        try:
            for layer in self._layers:
                x = layer(x)
            if out is None:
                out = x.copy()
            else:
                check_out(out, x.shape, x.dtype, given)
                np.copyto(out, x)
        except BaseException:
            states.roll_back()
            raise
        states.commit()
        return out


class _Stream:
    """The states of one stream of series, and the short way to go on with a single row."""

    def __init__(self) -> None:
        self.states = CarriedState()
        self._row_step: _RowStep | None = None
        self._parameters: object = None

    def of(self, network: SteppingNetwork) -> _Stream:
        """Return this stream, which begins anew when the network was given new parameters by ``init``."""
        if self._parameters is not network._parameters:
            self._parameters = network._parameters
            self.states.clear()
            self._row_step = self._new_row_step(network)
        return self

    def row_step(self, network: SteppingNetwork) -> _RowStep | None:
        """Return the short way, None where a layer has none."""
        return self.of(network)._row_step

    def _new_row_step(self, network: SteppingNetwork) -> _RowStep | None:
        kind, model, layers = network._input_types[0], network._model, []
        if not isinstance(kind, Recurrent) or any(model.user_code) or not all(map(_keeps_a_row, model.preprocessors)):
            return None
        for index, layer in enumerate(network.layers):
            step = layer.row_step(index, self.states)
            if step is None:
                return None
            layers.append(step)
        return _RowStep(layers, self.states, kind.size)


def _keeps_a_row(step: InputPreProcessor | None) -> bool:
    return step is None or type(step) in (FeedForwardToRnnPreProcessor, RnnToFeedForwardPreProcessor)


class RnnSession:
    """One stream of series on a network that others use, too: ``step`` goes on where this session's last step ended.

    For servers with pools of threads: any thread may take the next step, one at a time. ``close``, or leaving it as a
    context manager, gives the state back. Raises NotInitializedError after that.
    """

    def __init__(self, network: SteppingNetwork) -> None:
        self._network = network
        self._stream: _Stream | None = _Stream()
        self._use = ExclusiveUse(
            "another thread is inside this session. Give each stream of series a session of its own: "
            "network.rnn_session()."
        )

    def __enter__(self) -> RnnSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def step(self, x: npt.ArrayLike, *, out: Array | None = None) -> Array:
        """Return the output for the next steps, as ``MultiLayerNetwork.rnn_time_step``; ``out`` allocates nothing.

        Raises ConcurrentUseError while another thread is inside, and what ``rnn_time_step`` raises.
        """
        with self._use.by("step"):
            return self._network._time_step(x, out, self._opened())

    def get_previous_state(self, layer: int) -> dict[str, Array]:
        """Return copies of the state of a layer, by name."""
        self._network._check_layer(layer)
        with self._use.by("get_previous_state"):
            return self._opened().states.of_layer(layer)

    def set_previous_state(self, layer: int, state: Mapping[str, npt.ArrayLike]) -> None:
        """Store copies as the state of a layer, as ``MultiLayerNetwork.rnn_set_previous_state``."""
        self._network._check_layer(layer)
        with self._use.by("set_previous_state"):
            self._network._set_state(layer, state, self._opened().states)

    def clear(self) -> None:
        """Forget the state: the next step is the first of new series."""
        with self._use.by("clear"):
            self._opened().states.clear()

    def close(self) -> None:
        """Give the state back; the session cannot be used any more."""
        self._stream = None

    def _opened(self) -> _Stream:
        if self._stream is None:
            raise NotInitializedError("this session is closed. Begin a new one with network.rnn_session().")
        return self._stream.of(self._network)
