"""Small networks, data and custom layers that the tests of whole networks share."""

import contextlib
import threading
from dataclasses import dataclass

import numpy as np

from minidl import InputType, Layer, MultiLayerNetwork, NeuralNetConfiguration
from minidl.functions import Activation
from minidl.layers import ActivationLayer, DenseLayer, DropoutLayer, LossLayer, OutputLayer
from minidl.training import Adam, Nesterovs, NoOp, Sgd
from minidl.workspaces import Workspace, workspace_manager
from minidl.workspaces.arena import Arena
from minidl.workspaces.thread_state import state

__all__ = [
    "CLASSES",
    "FEATURES",
    "NETS",
    "Bulge",
    "Scale",
    "assert_nothing_open",
    "data",
    "data_for",
    "in_new_thread",
    "network",
    "recorded_spills",
    "softmax_network",
    "targets",
    "workspace_sizes",
]

FEATURES, CLASSES = 12, 5


@dataclass
class Scale(Layer):
    """Multiply by a constant: all that a custom layer needs to say."""

    factor: float = 2.0

    def activate(self, x, *, training, workspace_mgr):
        return x * self.factor

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * self.factor


@dataclass(frozen=True)
class Bulge(Activation):
    """A user's activation in plain NumPy: 1.5 tanh z."""

    def forward(self, z, *, out, empty=np.empty):
        return 1.5 * np.tanh(z)

    def backward(self, kept, epsilon, *, out, empty=np.empty):
        return epsilon * 1.5 * (1 - np.tanh(kept) ** 2)


def _softmax(**options):
    return OutputLayer(n_out=CLASSES, activation="softmax", loss="mcxent", **options)


def _dense(n_out=9, activation="tanh", **options):
    return DenseLayer(n_out=n_out, activation=activation, **options)


# name: the options of the configuration, and a function that makes the layers
NETS = {
    "one layer": ({}, lambda: [_softmax()]),
    "two layers": ({}, lambda: [_dense(activation="relu"), _softmax()]),
    "four layers": ({}, lambda: [_dense(20, "gelu"), _dense(15, "elu"), _dense(7, "softplus"), _softmax()]),
    "regularised": (
        dict(l1=1e-3, l2=1e-2, l1_bias=1e-3, l2_bias=1e-2, updater=Nesterovs(0.05)),
        lambda: [_dense(), _softmax(l1=0.0)],
    ),
    "weight decay": (dict(weight_decay=0.02, weight_decay_bias=0.01, updater=Sgd(0.1)), lambda: [_dense(), _softmax()]),
    "dropout": (dict(dropout=0.8), lambda: [_dense(), DropoutLayer(0.5), _dense(), _softmax()]),
    "dropout of another layer's input": ({}, lambda: [_dense(), Scale(1.5, dropout=0.7), _softmax(dropout=0.5)]),
    "renormalised": (dict(gradient_normalization="RENORMALIZE_L2_PER_LAYER"), lambda: [_dense(), _softmax()]),
    "clipped": (
        dict(gradient_normalization="CLIP_ELEMENT_WISE_ABSOLUTE_VALUE", gradient_normalization_threshold=0.01),
        lambda: [_dense(gradient_normalization="CLIP_L2_PER_PARAM_TYPE"), _softmax()],
    ),
    "updater of each layer": (
        {},
        lambda: [_dense(updater=Sgd(0.1)), _dense(updater=Nesterovs(0.05)), _dense(updater=NoOp()), _softmax()],
    ),
    "not divided by the batch": (dict(mini_batch=False, updater=Sgd(0.01)), lambda: [_dense(), _softmax()]),
    "one output": ({}, lambda: [_dense(), OutputLayer(n_out=1, activation="sigmoid", loss="xent")]),
    "no fused loss": ({}, lambda: [_dense(), OutputLayer(n_out=CLASSES, activation="tanh", loss="mse")]),
    "loss layer": (
        {},
        lambda: [_dense(CLASSES, "identity"), ActivationLayer("swish"), LossLayer(activation="sigmoid", loss="l2")],
    ),
    "custom layers": (dict(strict=True), lambda: [Scale(0.5), _dense(), Scale(3.0), _softmax()]),
    "custom activation": (dict(strict=True), lambda: [_dense(activation=Bulge()), _dense(3, Bulge()), _softmax()]),
    "without bias": ({}, lambda: [_dense(has_bias=False), _softmax(has_bias=False)]),
    "float64": (dict(dtype="float64"), lambda: [_dense(), _softmax()]),
}


def network(name="two layers", mode="ENABLED", **options):
    """Return the network ``NETS[name]``, initialised, in a workspace mode."""
    own, layers = NETS[name]
    settings = dict(seed=7, updater=Adam(0.01), training_workspace_mode=mode, inference_workspace_mode=mode)
    configuration = NeuralNetConfiguration(**settings | own | options)
    return MultiLayerNetwork(configuration.list(*layers(), input_type=InputType.feed_forward(FEATURES))).init()


def softmax_network(*hidden, mode="ENABLED", **options):
    """Return a network of the hidden layers given and a softmax over CLASSES."""
    settings = dict(seed=7, updater=Adam(0.01), training_workspace_mode=mode, inference_workspace_mode=mode)
    configuration = NeuralNetConfiguration(**settings | options)
    return MultiLayerNetwork(
        configuration.list(*hidden, _softmax(), input_type=InputType.feed_forward(FEATURES))
    ).init()


def targets(indices, width=CLASSES):
    """Return float32 labels (batch, width): one-hot, or 0 and 1 where there is one output."""
    if width == 1:
        return (indices % 2).astype(np.float32)[:, np.newaxis]
    return np.eye(width, dtype=np.float32)[indices]


def data(examples=32, width=CLASSES, seed=0):
    """Return features (examples, FEATURES) and labels (examples, width), float32, always the same."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, FEATURES), np.float32)
    return x, targets(rng.integers(0, CLASSES, examples), width)


def data_for(name, examples=32):
    """Return features and labels that the network of this name takes without converting them."""
    x, y = data(examples, 1 if name == "one output" else CLASSES)
    return (x.astype(float), y.astype(float)) if name == "float64" else (x, y)


def in_new_thread(function, *arguments):
    """Return ``function(*arguments)``, called in a thread of its own, which has no workspaces yet."""
    result = []

    def run():
        try:
            result.append((function(*arguments), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    ((value, error),) = result
    if error is not None:
        raise error
    return value


def workspace_sizes():
    """Return the bytes of each workspace of this thread that has any, by id."""
    workspaces = workspace_manager.get_all_workspaces_for_current_thread()
    return {workspace.id: workspace.current_size for workspace in workspaces if workspace.current_size}


@contextlib.contextmanager
def recorded_spills():
    """Yield a list that gets the id of a workspace for every request that it has no room for, in any thread.

    ``spilled_size`` shows the last cycle only, and a step has many.
    """
    found, original = [], Arena._spill

    def spill(self, shape, dtype):
        if type(self) is Workspace:  # and no stand-in of a rehearsal
            found.append(self.id)
        return original(self, shape, dtype)

    Arena._spill = spill
    try:
        yield found
    finally:
        Arena._spill = original


def assert_nothing_open():
    """Check that no scope of this thread is open."""
    assert not workspace_manager.any_workspace_active_for_current_thread()
    assert (state.scopes, state.current, state.network_depth) == ([], None, 0)
