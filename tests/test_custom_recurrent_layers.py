"""Recurrent layers that users write, in plain NumPy and a loop over time: they train, step and are cut into pieces."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from networks import assert_nothing_open, in_new_thread, recorded_spills, workspace_sizes
from recurrent_networks import CLASSES, MODES, SIZE, Elman, Recorded, in_format, one_hot, series, series_network
from recurrent_networks import state_bits as bits_of

from minidl import ArrayType, InputType, Layer, check_layer
from minidl.errors import ShapeError
from minidl.layers import LSTM, Bidirectional, DenseLayer, LastTimeStep, MaskZeroLayer, OutputLayer, SimpleRnn
from minidl.workspaces import WorkspaceArray, workspace_manager

TRUNCATED = dict(backprop_type="truncated_bptt", tbptt_fwd_length=4)
LOOP = "WS_RNN_LOOP_WORKING_MEM"
FORMATS = ["NCW", "NWC"]
each_mode = pytest.mark.parametrize("mode", MODES)
each_format = pytest.mark.parametrize("format", FORMATS)

AROUND = {
    "alone": lambda layer: layer,
    "Bidirectional concat": Bidirectional,
    "Bidirectional add": lambda layer: Bidirectional(layer, mode="add"),
    "Bidirectional mul": lambda layer: Bidirectional(layer, mode="mul"),
    "Bidirectional average": lambda layer: Bidirectional(layer, mode="average"),
    "LastTimeStep": LastTimeStep,
    "LastTimeStep Bidirectional": lambda layer: LastTimeStep(Bidirectional(layer)),
    "MaskZeroLayer": MaskZeroLayer,
}
CAN_BE_STEPPED = [name for name in AROUND if "Bidirectional" not in name]
KEEP_THE_TIME = [name for name in CAN_BE_STEPPED if "Last" not in name]
each_around = pytest.mark.parametrize("around", AROUND)


def features(batch=5, time=10, seed=0, dtype="f8"):
    return series(batch, time, seed, dtype)[0]


def network(around="alone", layer=None, format="NCW", **options):
    wrapped = AROUND[around](layer or Elman(5))
    output = OutputLayer(n_out=CLASSES) if "Last" in around else None
    hidden = [DenseLayer(n_out=6, activation="tanh"), wrapped]
    return series_network(hidden, format, output=output, **dict(strict=True) | options)


def labels_for(net, classes):
    """Return one-hot labels of the last step, or of every one."""
    y = one_hot(classes)
    return y[:, :, -1] if len(net.output(features(1)).shape) == 2 else in_format(y, net.conf.input_type.format)


# What any layer does


@each_around
@each_format
def test_check_layer_finds_nothing_wrong(around, format):
    report = check_layer(AROUND[around](Elman(5)), InputType.recurrent(SIZE, None, format), strict=True)
    assert report.parameter_error < 1e-6
    assert report.input_error < 1e-6
    assert (report.copied_in, report.spilled_bytes) == (0, 0)


@each_around
def test_training_gives_the_numbers_of_the_built_in_layer(around):
    """SimpleRnn has the same parameters in the same order, drawn alike."""
    nets = [network(around, layer, dtype="float64") for layer in (Elman(5), SimpleRnn(n_out=5))]
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    for seed in range(5):
        x, classes = series(6, 9, seed)
        for net in nets:
            net.fit(x, labels_for(net, classes))
        np.testing.assert_allclose(nets[0].gradient, nets[1].gradient, rtol=0, atol=1e-12)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=0, atol=1e-10)
    np.testing.assert_allclose(nets[0].output(features()), nets[1].output(features()), rtol=0, atol=1e-10)


@pytest.mark.parametrize("around", KEEP_THE_TIME)
@each_format
def test_pieces_give_the_gradients_of_the_built_in_layer(around, format):
    updaters = [Recorded(), Recorded()]
    for updater, layer in zip(updaters, (Elman(5), SimpleRnn(n_out=5)), strict=True):
        net = network(around, layer, format, dtype="float64", updater=updater, **TRUNCATED)
        for seed in range(3):
            x, classes = series(6, 11, seed)
            net.fit(in_format(x, format), classes)
    assert updaters[0].iterations == list(range(9))
    np.testing.assert_allclose(updaters[0].gradients, updaters[1].gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("around", CAN_BE_STEPPED)
@each_format
@each_mode
def test_steps_give_the_outputs_and_the_state_of_the_built_in_layer(around, format, mode):
    nets = [network(around, layer, format, dtype="float64", mode=mode) for layer in (Elman(5), SimpleRnn(n_out=5))]
    x, start = features(), 0
    for length in (1, 3, 1, 2, 3):
        piece = in_format(x[:, :, start : start + length], format)
        one, other = (net.rnn_time_step(piece) for net in nets)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
        states = [next(iter(net.rnn_get_previous_state(1).values())) for net in nets]
        np.testing.assert_allclose(*states, rtol=0, atol=1e-12)
        start += length


@each_around
def test_modes_agree_to_the_bit_whatever_recycled_memory_holds(around):
    results = []
    for mode, poison in (("NONE", False), ("ENABLED", False), ("ENABLED", True)):
        workspace_manager.poison_recycled_memory = poison
        try:
            net = network(around, mode=mode)
            for step, (batch, time) in enumerate([(5, 9), (5, 9), (2, 4), (7, 1), (3, 12)] * 4):
                x, classes = series(batch, time, step)
                net.fit(x, labels_for(net, classes))
            results.append((net.params.tobytes(), net.output(features()).tobytes(), net.score()))
        finally:
            workspace_manager.poison_recycled_memory = False
    assert results[1:] == results[:1] * 2
    assert_nothing_open()


# Workspaces


@pytest.mark.parametrize(
    ("around", "call"),
    [(around, call) for around in AROUND for call in ("fit", "output")]
    + [(around, "rnn_time_step") for around in CAN_BE_STEPPED],
)
def test_a_loop_takes_the_memory_of_one_step(around, call):
    def run(time):
        net, (x, classes) = network(around), series(8, time, dtype="f4")
        for _ in range(3):
            getattr(net, call)(*((x, labels_for(net, classes)) if call == "fit" else (x,)))
        return workspace_sizes()

    short, long = in_new_thread(run, 2), in_new_thread(run, 100)
    assert long[LOOP] == short[LOOP] > 0


def test_one_hundred_steps_spill_nothing_and_grow_nothing():
    def run():
        net, (x, classes) = network(), series(8, 100, dtype="f4")
        with recorded_spills() as requests:
            sizes = []
            for _ in range(4):
                net.fit(x, one_hot(classes, "f4"))
                for step in range(100):
                    net.rnn_time_step(features(8, 1, step, "f4"))
                sizes.append(workspace_sizes())
            report = net.memory_report(batch_size=8, timesteps=100).workspaces
        return requests, sizes, report

    requests, sizes, report = in_new_thread(run)
    assert requests == []
    assert sizes[1:] == sizes[:1] * 3
    assert sizes[0] == {name: size for name, size in report.items() if size}


def test_the_liveness_bound_counts_one_step_of_a_loop():
    report = network().memory_report(batch_size=8, timesteps=96)
    assert report.liveness_bound <= report.workspace_bytes
    assert report.peak_bytes <= report.total_bytes


# State


@dataclass
class Counter(Layer):
    """Add to every step how many steps came before, of all calls; what it saw goes into ``seen``."""

    seen: list = field(default_factory=list)

    def activate(self, x, *, training, workspace_mgr):
        count = workspace_mgr.state("count", (len(x), 1))
        self.seen.append((type(count), count.dtype, workspace_mgr.carries_state, float(count[0, 0])))
        y = x + count[:, :, np.newaxis] + np.arange(x.shape[2], dtype=x.dtype)
        count += x.shape[2]
        return y

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


@each_mode
@pytest.mark.filterwarnings("ignore::minidl.errors.PlacementWarning")
def test_a_state_is_carried_by_steps_and_pieces_alone(mode):
    net = series_network([Counter(), LSTM(n_out=4)], mode=mode, **TRUNCATED)
    seen, (x, classes) = net.layers[0].seen, series(dtype="f4")
    net.output(x), net.fit(x, classes), net.rnn_time_step(x)  # plans are made
    net.rnn_clear_previous_state()
    net.output(x[:, :, :4])
    counts = {}
    for name, call in {
        "output": lambda: [net.output(x) for _ in range(2)],
        "feed_forward": lambda: [net.feed_forward(x) for _ in range(2)],
        "evaluate": lambda: [net.evaluate(x, classes) for _ in range(2)],
        "score": lambda: [net.score(x, classes) for _ in range(2)],
        "fit": lambda: [net.fit(x, classes) for _ in range(2)],
        "steps": lambda: [net.rnn_time_step(piece) for piece in (x, x[:, :, 0], x[:, :, :3])],
        "activations": lambda: [net.rnn_activate_using_stored_state(x) for _ in range(2)],
    }.items():
        call()  # the first of a kind may be tried out with made-up data
        net.rnn_clear_previous_state()
        seen.clear()
        call()
        counts[name] = [(carries, count) for _, _, carries, count in seen]
    assert {(kind, dtype) for kind, dtype, _, _ in seen} == {(WorkspaceArray, np.dtype("f4"))}
    assert counts == {
        **{name: [(False, 0.0)] * 2 for name in ("output", "feed_forward", "score")},
        **{name: [(True, 0.0), (True, 4.0), (True, 8.0)] * 2 for name in ("fit", "evaluate")},
        "steps": [(True, 0.0), (True, 10.0), (True, 11.0)],
        "activations": [(True, 0.0)] * 2,
    }


def test_layers_of_one_class_have_states_of_their_own():
    layers = [Elman(5), MaskZeroLayer(MaskZeroLayer(Elman(4))), Elman(5)]
    net = series_network(layers)
    net.rnn_time_step(features())
    assert {key: shape for key, (shape, _) in bits_of(net).items()} == {
        (0, "h"): (5, 5),
        (1, "h"): (5, 4),
        (2, "h"): (5, 5),
    }
    assert bits_of(net)[0, "h"] != bits_of(net)[2, "h"]
    state, expected = net.rnn_get_previous_state(1), net.rnn_time_step(features()[:, :, 0])
    net.rnn_clear_previous_state()
    first = series_network(layers)
    first.rnn_time_step(features())
    first.rnn_set_previous_state(1, state)
    np.testing.assert_array_equal(first.rnn_time_step(features()[:, :, 0]), expected)


@dataclass
class ShapeOfTheSeries(Layer):
    """Ask for a state as long as the series, which cannot be carried on to others."""

    def activate(self, x, *, training, workspace_mgr):
        state = workspace_mgr.state("all", x.shape)
        state[:] = x
        return x * 1.0

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


@each_mode
def test_a_state_of_another_shape_is_refused_and_the_stored_one_stays(mode):
    net = series_network([Elman(5), ShapeOfTheSeries()], mode=mode)
    net.rnn_time_step(features())
    bits = bits_of(net)
    message = (
        r"^the stored state 'all' has shape \(5, 5, 10\), but this call needs \(5, 5, 4\)\. Call "
        r"rnn_clear_previous_state\(\) before a batch of another size\."
    )
    with pytest.raises(ShapeError, match=message):
        net.rnn_time_step(features(5, 4))
    assert bits_of(net) == bits
    net.rnn_time_step(features())


@dataclass
class AsksEveryStep(Layer):
    """The running sum over time, with the state asked for at every step."""

    def activate(self, x, *, training, workspace_mgr):
        y = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, x.shape)
        for t in range(x.shape[2]):
            total = workspace_mgr.state("total", x.shape[:2])
            total += x[:, :, t]
            y[:, :, t] = total
        return y

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


def test_a_state_that_is_asked_for_twice_in_one_call_is_the_same():
    net, x = series_network([AsksEveryStep()]), np.ones((2, SIZE, 4))
    net.rnn_time_step(x)
    assert (net.rnn_get_previous_state(0)["total"] == 4).all()
