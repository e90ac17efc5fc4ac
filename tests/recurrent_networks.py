"""Small networks of recurrent layers, series, and recurrent layers of users, for the tests of networks on series."""

import weakref
from dataclasses import dataclass, field

import numpy as np

from minidl import ArrayType, InputType, Layer, MultiLayerNetwork, NeuralNetConfiguration, ParamSpec
from minidl.inputs import FeedForward
from minidl.layers import (
    LSTM,
    DenseLayer,
    DropoutLayer,
    FeedForwardToRnnPreProcessor,
    GravesLSTM,
    MaskZeroLayer,
    RnnOutputLayer,
    SimpleRnn,
    TimeDistributed,
)
from minidl.training import Adam, Updater

__all__ = [
    "CLASSES",
    "HIDDEN",
    "MARK",
    "MODES",
    "PIECES",
    "PLAIN",
    "SIZE",
    "Elman",
    "PlantedError",
    "Recorded",
    "Remembers",
    "Tripwire",
    "in_format",
    "in_steps",
    "one_hot",
    "series",
    "series_network",
    "state_bits",
]

SIZE, CLASSES = 3, 4
PIECES = 4
"""Steps of a piece, where a test does not say it."""
MODES = ["ENABLED", "NONE"]
MARK = 13.0


@dataclass
class Elman(Layer):
    """SimpleRnn with tanh as a user would write it: plain NumPy, step by step."""

    n_out: int = 5
    format: str | None = None

    def preprocessor_for(self, input_type):
        return FeedForwardToRnnPreProcessor() if isinstance(input_type, FeedForward) else None

    def output_type(self, input_type):
        return InputType.recurrent(self.n_out, input_type.timesteps, input_type.format)

    def param_specs(self, input_type):
        weights = ParamSpec("W", (input_type.size, self.n_out), "xavier", order="F")
        recurrent = ParamSpec("RW", (self.n_out, self.n_out), "xavier", order="F")
        return weights, recurrent, ParamSpec("b", (self.n_out,), regularizable=False)

    def activate(self, x, *, training, workspace_mgr):
        steps, p = workspace_mgr.dup(ArrayType.ACTIVATIONS, self._steps(x)), self.params  # or products would copy it
        time, batch, _ = steps.shape
        state = workspace_mgr.state("h", (batch, self.n_out))
        h = workspace_mgr.create(ArrayType.ACTIVATIONS, (time + 1, batch, self.n_out))
        h[0] = state
        for t in range(time):
            with workspace_mgr.notify_scope_entered(ArrayType.RNN_FF_LOOP_WORKING_MEM):
                h[t + 1] = np.tanh(steps[t] @ p["W"] + h[t] @ p["RW"] + p["b"])
        state[:] = h[time]
        workspace_mgr.save_for_backprop(steps, h)
        return self._series(h[1:])

    def backprop(self, epsilon, *, workspace_mgr):
        (steps, h), p, epsilon = workspace_mgr.saved(), self.params, self._steps(epsilon)
        gradients = {name: workspace_mgr.gradient(name) for name in p}
        for gradient in gradients.values():
            gradient[:] = 0
        d_x = workspace_mgr.create(ArrayType.ACTIVATION_GRAD, steps.shape)
        d_h = workspace_mgr.create(ArrayType.BP_WORKING_MEM, h[0].shape)
        for t in reversed(range(len(steps))):
            with workspace_mgr.notify_scope_entered(ArrayType.RNN_BP_LOOP_WORKING_MEM):
                d_z = (epsilon[t] + d_h) * (1 - h[t + 1] ** 2)
                gradients["W"] += steps[t].T @ d_z
                gradients["RW"] += h[t].T @ d_z
                gradients["b"] += d_z.sum(axis=0)
                d_x[t] = d_z @ p["W"].T
                d_h[:] = d_z @ p["RW"].T
        return self._series(d_x)

    def _steps(self, series):
        return series.transpose(1, 0, 2) if self.format == "NWC" else series.transpose(2, 0, 1)

    def _series(self, steps):
        return steps.transpose(1, 0, 2) if self.format == "NWC" else steps.transpose(1, 2, 0)


@dataclass
class Remembers(Layer):
    """Pass on what comes, with a state, and keep weak references to the memory of it."""

    seen: list = field(default_factory=list)

    def activate(self, x, *, training, workspace_mgr):
        state = workspace_mgr.state("nothing", (len(x), 1))
        if workspace_mgr.carries_state:
            self.seen.append(weakref.ref(state.view(np.ndarray).base))
        return x

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon


class PlantedError(Exception):
    """What the faults raise."""


@dataclass
class Tripwire(Layer):
    """Pass on what comes; raise where a number of it is MARK, in the forward or the backward pass."""

    backward: bool = False

    def activate(self, x, *, training, workspace_mgr):
        if not self.backward:
            self._look_at(x)
        workspace_mgr.save_for_backprop(x)
        return x

    def backprop(self, epsilon, *, workspace_mgr):
        self._look_at(*workspace_mgr.saved())
        return epsilon

    @staticmethod
    def _look_at(x):
        if (np.asarray(x) == MARK).any():
            raise PlantedError("planted")


@dataclass(frozen=True)
class Recorded(Updater):
    """Sgd that notes every gradient, the iteration that it came in, and what ``ask`` returns then."""

    learning_rate: float = 0.3
    seen: list = field(default_factory=list)
    ask: object = None

    def step(self, gradient, state, scratch, iteration, epoch=0):
        self.seen.append((iteration, np.array(gradient), self.ask() if self.ask else None))
        gradient *= self.rate(iteration, epoch)

    @property
    def iterations(self):
        return [iteration for iteration, _, _ in self.seen]

    @property
    def gradients(self):
        return [gradient for _, gradient, _ in self.seen]


# name: what makes the layers in front of the output layer
PLAIN = {
    "LSTM": lambda: [LSTM(n_out=6)],
    "GravesLSTM": lambda: [GravesLSTM(n_out=5)],
    "SimpleRnn": lambda: [SimpleRnn(n_out=7)],
    "SimpleRnn layer norm": lambda: [SimpleRnn(n_out=7, has_layer_norm=True)],
    "dense between": lambda: [LSTM(n_out=6), DenseLayer(n_out=5, activation="tanh"), SimpleRnn(n_out=4)],
    "dense in front": lambda: [DenseLayer(n_out=5, activation="tanh"), GravesLSTM(n_out=4), LSTM(n_out=3)],
}
HIDDEN = PLAIN | {
    "custom": lambda: [Elman(5)],
    "swish hardsigmoid": lambda: [LSTM(n_out=4, activation="swish", gate_activation="hardsigmoid")],
    "mask zero": lambda: [MaskZeroLayer(SimpleRnn(n_out=4))],
    "time distributed": lambda: [TimeDistributed(DenseLayer(n_out=4, activation="relu")), LSTM(n_out=4)],
    "dropout": lambda: [LSTM(n_out=6, dropout=0.8), DropoutLayer(0.5), GravesLSTM(n_out=5, dropout=0.7)],
}


def series_network(hidden="LSTM", format="NCW", *, mode="ENABLED", timesteps=None, output=None, **options):
    """Return a network with the layers ``HIDDEN[hidden]``, or those given, and a softmax at every step."""
    settings = dict(seed=7, updater=Adam(0.01), training_workspace_mode=mode, inference_workspace_mode=mode)
    layers = HIDDEN[hidden]() if isinstance(hidden, str) else hidden
    conf = NeuralNetConfiguration(**settings | options).list(
        *layers, output or RnnOutputLayer(n_out=CLASSES), input_type=InputType.recurrent(SIZE, timesteps, format)
    )
    return MultiLayerNetwork(conf).init()


def in_format(array, format):
    """Return (batch, size, time) as a view in a format, and back."""
    return array.transpose(0, 2, 1) if format == "NWC" else array


def one_hot(classes, dtype="f8"):
    """Return class indices (batch, time) as (batch, CLASSES, time)."""
    return np.ascontiguousarray(np.eye(CLASSES, dtype=dtype)[classes].transpose(0, 2, 1))


def series(batch=5, time=10, seed=0, dtype="f8"):
    """Return features (batch, SIZE, time), whose classes can be learned, and the classes (batch, time)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, SIZE, time))
    before = np.concatenate([np.zeros((batch, 1)), x[:, 0, :-1]], axis=1)  # the class is that of two steps
    return x.astype(dtype), 2 * (before > 0) + (x[:, 1] > 0)


def in_steps(step, x, lengths=(1, 1, 4, 1, 2, 1, 2)):
    """Return the outputs of ``step`` for pieces of these lengths, one after the other, one step as rows."""
    outputs, start = [], 0
    for length in lengths:
        outputs.append(step(x[:, :, start] if length == 1 else x[:, :, start : start + length]))
        start += length
    return outputs


def state_bits(stream, net=None):
    """Return all that is stored in a network, or in a session of ``net``, by layer and name, as bytes."""
    get = stream.rnn_get_previous_state if net is None else stream.get_previous_state
    return {
        (index, name): (array.shape, array.tobytes())
        for index in range(len((net or stream).layers))
        for name, array in get(index).items()
    }
