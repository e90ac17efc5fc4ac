"""After an exception anywhere no scope is open, and the next call gives the numbers of a network that never failed."""

import contextlib
import functools
import re
from dataclasses import dataclass

import numpy as np
import pytest
from networks import CLASSES, FEATURES, assert_nothing_open, data, softmax_network

from minidl import Layer, MultiLayerNetwork, NeuralNetConfiguration, nd
from minidl.data import ArrayDataSetIterator
from minidl.errors import DataError, LayerError, ShapeError, WorkspaceError
from minidl.eval import BaseEvaluation, Evaluation
from minidl.functions import Activation, Loss
from minidl.layers import DenseLayer, DropoutLayer, OutputLayer
from minidl.workspaces import WorkspaceConfiguration, workspace_manager
from minidl.workspaces.thread_state import state

MODES = ["ENABLED", "NONE"]


class PlantedError(Exception):
    """What the faults raise."""


class Faults:
    """Which fault is on; a class, as networks copy their layers."""

    on = ""
    kind: type[BaseException] = PlantedError


def fail_if(name):
    if Faults.on == name:
        raise Faults.kind(f"planted in {name}")


@contextlib.contextmanager
def turned_on(name, kind=PlantedError):
    """Turn a fault on for a while."""
    Faults.on, Faults.kind = name, kind
    try:
        yield
    finally:
        Faults.on, Faults.kind = "", PlantedError


@contextlib.contextmanager
def planted(name, kind=PlantedError):
    """Turn a fault on, and expect it to come out of the block as it is, with notes on where it was."""
    with turned_on(name, kind), pytest.raises(kind, match=rf"^planted in {name}(\nin .*)*$") as caught:
        yield caught


@dataclass
class Fragile(Layer):
    """A custom layer that fails on demand, half-way through its work."""

    place: str = ""

    def activate(self, x, *, training, workspace_mgr):
        y = np.tanh(x) * 1.5
        fail_if(f"forward {self.place}")
        workspace_mgr.save_for_backprop(x)
        fail_if(f"forward after saving {self.place}")
        return y

    def backprop(self, epsilon, *, workspace_mgr):
        (x,) = workspace_mgr.saved()
        result = epsilon * 1.5 * (1 - np.tanh(x) ** 2)
        fail_if(f"backward {self.place}")
        return result


@dataclass
class FragileOutput(OutputLayer):
    """A last layer that fails on demand."""

    def activate(self, x, *, training, workspace_mgr):
        y = super().activate(x, training=training, workspace_mgr=workspace_mgr)
        fail_if("forward last")
        return y

    def score(self, labels, *, mask, workspace_mgr):
        score = super().score(labels, mask=mask, workspace_mgr=workspace_mgr)
        fail_if("score last")
        return score

    def backprop_labels(self, labels, *, mask, workspace_mgr):
        epsilon = super().backprop_labels(labels, mask=mask, workspace_mgr=workspace_mgr)
        fail_if("backward last")
        return epsilon


@dataclass(frozen=True)
class FragileActivation(Activation):
    """A user's activation that fails on demand."""

    def forward(self, z, *, out, empty=np.empty):
        y = np.maximum(z, 0.1 * z)
        fail_if("activation forward")
        return y

    def backward(self, kept, epsilon, *, out, empty=np.empty):
        slope = np.where(kept > 0, 1.0, 0.1) * epsilon
        fail_if("activation backward")
        return slope


@dataclass(frozen=True)
class FragileLoss(Loss):
    """A user's loss that fails on demand."""

    def scores(self, labels, output, *, out, mask=None, empty=np.empty):
        squares = (output - labels) ** 2
        fail_if("loss score")
        return squares.sum(axis=1)

    def gradient(self, labels, output, *, out, mask=None, empty=np.empty):
        difference = output - labels
        fail_if("loss gradient")
        return 2 * difference


class FragileEvaluation(Evaluation):
    """An evaluation that fails on demand."""

    def _accumulate(self, rows):
        fail_if("evaluation")
        super()._accumulate(rows)


def fragile_network(mode):
    configuration = NeuralNetConfiguration(
        seed=5, updater="adam", dropout=0.9, l2=0.01, training_workspace_mode=mode, inference_workspace_mode=mode
    )
    layers = [
        Fragile("first"),
        DenseLayer(n_in=FEATURES, n_out=9, activation=FragileActivation()),
        Fragile("middle"),
        DenseLayer(n_out=8, activation="relu"),
        Fragile("last but one"),
        FragileOutput(n_out=CLASSES, activation="softmax", loss=FragileLoss()),
    ]
    layers[0].n_in = FEATURES
    return MultiLayerNetwork(configuration.list(*layers)).init()


def numbers(net):
    """Return all that later calls show, after one more step."""
    x, y = data(20, seed=99)
    net.fit(x, y)
    predictions = net.output(x), net.output(x[:3], train=True), net.predict(x)
    return [
        net.params.copy(),
        net.score(),
        *predictions,
        net.evaluate(x, y).accuracy(),
        net.iteration_count,
        net.epoch_count,
    ]


@functools.cache
def spared_numbers(mode="ENABLED", steps=0):
    """Return the numbers of a network that never failed."""
    return numbers(trained(mode, steps))


def trained(mode, steps):
    net = fragile_network(mode)
    for step in range(steps):
        net.fit(*data(16, seed=step))
    return net


FORWARD = [
    *[f"forward {place}" for place in ("first", "middle", "last but one", "last")],
    *[f"forward after saving {place}" for place in ("first", "middle", "last but one")],
    "activation forward",
]
BACKWARD = [
    *[f"backward {place}" for place in ("first", "middle", "last but one", "last")],
    "activation backward",
    "loss gradient",
]
SCORE = ["loss score", "score last"]
CALLS = {
    "fit": (lambda net, x, y: net.fit(x, y), FORWARD + SCORE + BACKWARD),
    "fit iterator": (lambda net, x, y: net.fit(ArrayDataSetIterator(x, y, 5)), FORWARD + SCORE + BACKWARD),
    "gradient": (lambda net, x, y: net.compute_gradient_and_score(x, y), FORWARD + SCORE + BACKWARD),
    "score": (lambda net, x, y: net.score(x, y), FORWARD + SCORE),
    "output": (lambda net, x, y: net.output(x), FORWARD),
    "output out": (lambda net, x, y: net.output(x, out=np.empty_like(y)), FORWARD),
    "predict": (lambda net, x, y: net.predict(x), FORWARD),
    "feed forward": (lambda net, x, y: net.feed_forward(x), FORWARD),
    "evaluate": (lambda net, x, y: net.evaluate(x, y), FORWARD),
    "do evaluation": (lambda net, x, y: net.do_evaluation((x, y), Evaluation(), FragileEvaluation()), ["evaluation"]),
}
EACH_FAULT = pytest.mark.parametrize(("call", "fault"), [(call, fault) for call in CALLS for fault in CALLS[call][1]])


@EACH_FAULT
@pytest.mark.parametrize("mode", MODES)
def test_a_failed_call_leaves_no_trace(mode, call, fault):
    net = trained(mode, steps=2)
    before = net.params.copy()
    with planted(fault):
        CALLS[call][0](net, *data(24))
    assert_nothing_open()
    assert np.array_equal(net.params, before)
    np.testing.assert_equal(numbers(net), spared_numbers(mode, steps=2))


@EACH_FAULT
def test_a_failed_first_call_leaves_no_trace(call, fault):
    net = fragile_network("ENABLED")
    with planted(fault):
        CALLS[call][0](net, *data(24))
    np.testing.assert_equal(numbers(net), spared_numbers())


@EACH_FAULT
def test_workspaces_of_the_user_survive_a_failed_call(call, fault):
    net, x_and_y = fragile_network("ENABLED"), data(24)
    with workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(initial_size=4096), "USER") as workspace:
        array = nd.full((10,), 2.5)
        scopes = list(state.scopes)
        with planted(fault):
            CALLS[call][0](net, *x_and_y)
        assert state.scopes == scopes
        assert (state.current, state.network_depth, workspace.is_scope_active) == (workspace, 0, True)
        assert array.sum() == 25
    assert_nothing_open()
    workspace_manager.destroy_workspace(workspace)


@pytest.mark.parametrize("fault", ["forward middle", "backward middle", "loss gradient"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit])
def test_interrupts_leave_no_trace(fault, kind):
    net = fragile_network("ENABLED")
    with planted(fault, kind):
        net.fit(*data(24))
    assert_nothing_open()
    np.testing.assert_equal(numbers(net), spared_numbers())


@pytest.mark.parametrize("fault", ["forward middle", "backward middle"])
def test_the_layer_is_named(fault):
    with planted(fault) as caught:
        fragile_network("ENABLED").fit(*data(24))
    direction = fault.partition(" ")[0]
    (note,) = caught.value.__notes__
    assert re.match(rf"^in (the )?{direction} pass.*layer 2 \(Fragile\)$", note)


# Networks inside networks


@dataclass
class Containing(Layer):
    """A custom layer that runs another network, and survives its failure if told to."""

    network: object = None
    survives: bool = False

    def activate(self, x, *, training, workspace_mgr):
        try:
            return x + self.network.output(x)[:, :1]
        except PlantedError:
            if not self.survives:
                raise
            return x * 1.0

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


@pytest.mark.parametrize("survives", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_failing_network_inside_a_network_leaves_no_trace(mode, survives):
    nets = [softmax_network(Containing(fragile_network(mode), survives), mode=mode) for _ in range(2)]
    with turned_on("forward middle") if survives else planted("forward middle"):
        nets[0].output(data(24)[0])
    assert_nothing_open()
    np.testing.assert_equal(*[numbers(net) for net in nets])


# Iterators and pre-processors


class FailsHalfWay:
    """A source whose pass fails after two batches, the first time."""

    def __init__(self, x, y):
        self.x, self.y, self.passes = x, y, 0

    def __iter__(self):
        self.passes += 1
        for start in range(0, len(self.x), 8):
            if start == 16 and self.passes == 1:
                raise PlantedError("planted in the iterator")
            yield self.x[start : start + 8], self.y[start : start + 8]


@pytest.mark.parametrize("mode", MODES)
def test_an_iterator_that_fails_half_way_keeps_what_was_trained(mode):
    x, y = data(32)
    net, spared = fragile_network(mode), fragile_network(mode)
    source = FailsHalfWay(x, y)
    with pytest.raises(PlantedError, match=r"^planted in the iterator$"):
        net.fit(source, epochs=2)
    assert_nothing_open()
    assert (net.iteration_count, net.epoch_count) == (2, 0)
    spared.fit(x[:8], y[:8]).fit(x[8:16], y[8:16])
    assert np.array_equal(net.params, spared.params)
    net.fit(source)
    spared.fit(ArrayDataSetIterator(x, y, 8))
    np.testing.assert_equal(numbers(net), numbers(spared))


@pytest.mark.parametrize("call", ["fit", "evaluate", "score"])
def test_a_failing_step_releases_the_buffers_of_the_iterator(call):
    net, iterator = fragile_network("ENABLED"), ArrayDataSetIterator(*data(32), 8, shuffle=True, seed=1)
    with planted("forward middle"):
        getattr(net, call)(iterator)
    getattr(net, call)(iterator)  # would say that another recycled() pass is not finished
    assert len(list(iterator.recycled())) == 4


@pytest.mark.parametrize("call", ["fit", "evaluate", "score"])
def test_a_failing_pre_processor_leaves_no_trace(call):
    net, iterator = fragile_network("ENABLED"), ArrayDataSetIterator(*data(32), 8)

    def pre_processor(dataset):
        fail_if("pre_processor")

    iterator.pre_processor = pre_processor
    with planted("pre_processor"):
        getattr(net, call)(iterator)
    assert_nothing_open()
    spared = fragile_network("ENABLED")
    for network in (net, spared):
        getattr(network, call)(iterator)
    np.testing.assert_equal(numbers(net), numbers(spared))


def test_a_bad_batch_half_way_is_named_and_releases_the_iterator():
    (x, y), net = data(16), fragile_network("ENABLED")
    with pytest.raises(DataError, match=r"^A batch is a DataSet or a tuple .* got str\.") as caught:
        net.fit([(x, y), "oops"])
    assert caught.value.__notes__ == ["in batch 1 of list"]
    assert net.iteration_count == 1


def test_stopping_the_training_by_an_exception_of_the_iterator_allows_the_next_fit():
    net = fragile_network("ENABLED")

    def batches():
        yield data(8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(batches())
    assert net.fit(*data(8)).iteration_count == 2


# Layers that break the rules


@dataclass
class Careless(Layer):
    """A custom layer that opens a workspace and never closes it."""

    def activate(self, x, *, training, workspace_mgr):
        workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(initial_size=1 << 16), "LEFT OPEN")
        return x * 1.0

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


@dataclass
class Misfit(Layer):
    """A custom layer with results that cannot be used."""

    result: object = None
    backward: object = None

    def activate(self, x, *, training, workspace_mgr):
        return x * 1.0 if self.result is None else self.result

    def backprop(self, epsilon, *, workspace_mgr):
        return self.backward


def test_a_scope_that_a_layer_leaves_open_is_an_error_and_is_closed():
    net = softmax_network(Careless())
    with pytest.raises(
        WorkspaceError, match=r"^Workspace \[WS_LAYER_WORKING_MEM\] cannot be closed: it is not the cur"
    ):
        net.output(data()[0])
    assert_nothing_open()
    assert not workspace_manager.check_if_workspace_exists_and_active("LEFT OPEN")
    workspace_manager.destroy_workspace(workspace_manager.get_workspace_for_current_thread("LEFT OPEN"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (
            Misfit("text"),
            LayerError,
            "layer 1 (Misfit) returned str instead of an array. Return the activations from activate(), and dL/dinput "
            "from backprop().",
        ),
        (
            Misfit(np.zeros((32, 7), "f4")),
            ShapeError,
            "layer 1 (Misfit) returned activations of shape (32, 7), expected (32, 9) from its output_type(). Return "
            "that shape, or change output_type().",
        ),
        (
            Misfit(None, None),
            LayerError,
            "layer 1 (Misfit) returned NoneType instead of an array. Return the activations from activate(), and "
            "dL/dinput from backprop().",
        ),
        (
            Misfit(None, np.zeros((32, 3), "f4")),
            ShapeError,
            "layer 1 (Misfit) returned a gradient of shape (32, 3) from backprop, expected the shape of its "
            "input, (32, 9). Return dL/dx.",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::minidl.errors.PlacementWarning")
def test_a_result_that_cannot_be_used_is_an_error(layer, error, message, mode):
    net = softmax_network(DenseLayer(n_out=9), layer, mode=mode)
    before = net.params.copy()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        net.fit(*data())
    assert_nothing_open()
    assert np.array_equal(net.params, before)


def test_an_evaluation_that_fails_counts_nothing_of_its_batch():
    net, evaluation = fragile_network("ENABLED"), FragileEvaluation()
    x, y = data(32)
    with planted("evaluation"):
        net.do_evaluation((x, y), evaluation)
    net.do_evaluation((x, y), evaluation)
    assert isinstance(evaluation, BaseEvaluation)
    assert evaluation.confusion_matrix.sum() == 32


def test_a_layer_that_only_passes_on_survives_faults_of_others():
    net, spared = (softmax_network(DropoutLayer(0.5), Fragile("middle")) for _ in range(2))
    with planted("backward middle"):
        net.fit(*data(24))
    np.testing.assert_equal(numbers(net), numbers(spared))
