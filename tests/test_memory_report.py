"""The memory that a network will need is known before it runs, to the byte."""

from dataclasses import dataclass

import numpy as np
import pytest
from networks import (
    CLASSES,
    FEATURES,
    NETS,
    data,
    data_for,
    in_new_thread,
    network,
    recorded_spills,
    softmax_network,
    workspace_sizes,
)

from minidl import ArrayType, DataSet, InputType, Layer, MultiLayerNetwork, NeuralNetConfiguration
from minidl.layers import DenseLayer, OutputLayer
from minidl.workspaces.thread_state import state

BATCHES = [1, 2, 3, 31, 128]


def spills_of(net, x, y, calls):
    """Return for each call which workspaces had no room for a request, time after time."""
    spilled = []
    for call in calls:
        with recorded_spills() as requests:
            net.output(x) if call == "output" else getattr(net, call)(x, y)
        spilled.append(requests)
    return spilled


def first_calls(make, x, y, *calls):
    """Return the report made before ``calls``, what each of them spilled, and the sizes of the workspaces."""

    def run():
        net = make()
        report = net.memory_report(batch_size=len(x), training=calls[0] == "fit")
        return report.workspaces, spills_of(net, x, y, calls), workspace_sizes()

    return in_new_thread(run)


def used(sizes):
    """Return the sizes without those of 0."""
    return {id: size for id, size in sizes.items() if size}


# The report is exact


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("calls", [("fit",), ("fit", "output", "evaluate", "score", "fit"), ("output",)], ids="-".join)
def test_report_is_what_the_workspaces_become(name, batch, calls):
    report, spilled, sizes = first_calls(lambda: network(name), *data_for(name, batch), *calls)
    assert spilled == [[]] * len(calls)
    assert used(report) == sizes != {}


def test_report_covers_smaller_batches_too():
    def run():
        net = network("dropout")
        report = net.memory_report(batch_size=128)
        for examples in (128, 1, 127, 64):
            net.fit(*data(examples))
        return report.workspaces, workspace_sizes()

    report, sizes = in_new_thread(run)
    assert used(report) == sizes


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("features", ["f4", "f8", "i4"])
@pytest.mark.parametrize("labels", ["f4", "f8", "indices"])
@pytest.mark.parametrize("mask", [None, "f4", "f8", "per output"])
def test_nothing_spills_on_the_first_run_whatever_is_converted(batch, features, labels, mask):
    def run():
        x, y = data(batch)
        masks = {"f4": np.ones(batch, "f4"), "f8": np.ones((batch, 1)), "per output": np.ones((batch, CLASSES), bool)}
        y = y.argmax(axis=1) if labels == "indices" else y.astype(labels)
        net, x = network(), x.astype(features)
        with recorded_spills() as requests:
            net.fit(DataSet(x, y, labels_mask=masks.get(mask)))
            net.evaluate(x, y)
            net.output(x)
        return requests

    assert in_new_thread(run) == []


@pytest.mark.parametrize("features", ["f4", "f8"])
@pytest.mark.parametrize("call", ["output train", "evaluate", "feed forward", "feed forward train", "predict", "score"])
def test_nothing_spills_in_a_first_call_that_is_not_fit(features, call):
    def run():
        net, (x, y) = network("dropout"), data(20)
        x = x.astype(features)
        calls = {
            "output train": lambda: net.output(x, train=True),
            "evaluate": lambda: net.evaluate(x, y),
            "feed forward": lambda: net.feed_forward(x),
            "feed forward train": lambda: net.feed_forward(x, train=True),
            "predict": lambda: net.predict(x),
            "score": lambda: net.score(x, y, training=True),
        }
        with recorded_spills() as requests:
            calls[call]()
        return requests

    assert in_new_thread(run) == []


def test_mode_none_reports_no_workspaces_but_the_same_bound():
    enabled, none = (network("dropout", mode).memory_report(batch_size=64) for mode in ("ENABLED", "NONE"))
    assert none.workspaces == {}
    assert none.liveness_bound == enabled.liveness_bound
    assert none.total_bytes == none.model_bytes == enabled.model_bytes


@pytest.mark.parametrize("training", ["ENABLED", "NONE"])
@pytest.mark.parametrize("inference", ["ENABLED", "NONE"])
def test_report_is_exact_when_the_modes_differ(training, inference):
    options = dict(training_workspace_mode=training, inference_workspace_mode=inference)
    report, spilled, sizes = first_calls(lambda: network(**options), *data(20), "fit", "evaluate", "output")
    assert used(report) == sizes
    assert spilled == [[], [], []]
    report, _, sizes = first_calls(lambda: network(**options), *data(20), "output")
    assert used(report) == sizes


# What the figures mean


@pytest.mark.parametrize("name", NETS)
def test_figures_of_a_report_fit_together(name):
    net = network(name)
    report = net.memory_report(batch_size=50)
    assert (report.batch_size, report.training) == (50, True)
    assert report.total_bytes == report.model_bytes + sum(report.workspaces.values())
    assert 0 < report.liveness_bound <= report.workspace_bytes
    assert report.model_bytes + report.liveness_bound <= report.peak_bytes <= report.total_bytes
    inference = net.memory_report(batch_size=50, training=False)
    assert inference.model_bytes == net.params.nbytes
    assert all(size <= report.workspaces[id] for id, size in inference.workspaces.items())
    assert inference.liveness_bound <= report.liveness_bound


def test_model_bytes_are_parameters_gradient_and_state_of_the_updater():
    net = network()  # Adam keeps two numbers for each parameter
    assert net.memory_report().model_bytes == 4 * 4 * net.num_params()
    assert network(updater="sgd").memory_report().model_bytes == 4 * 2 * net.num_params()
    assert network(dtype="float64").memory_report().model_bytes == 2 * net.memory_report().model_bytes


def test_layers_of_a_report_are_those_of_the_network_and_the_updater():
    net = softmax_network(DenseLayer(n_out=9, name="hidden"))
    layers = net.memory_report(batch_size=10).layers
    assert [layer.label for layer in layers] == ["layer 0 (hidden)", "layer 1 (OutputLayer)", "updater"]
    assert [layer.parameters for layer in layers[:2]] == [4 * (FEATURES * 9 + 9), 4 * (9 * CLASSES + CLASSES)]
    assert layers[0].workspaces["WS_ALL_LAYERS_ACT"] >= 10 * 9 * 4


def test_text_of_a_report_is_a_table_of_all_its_figures():
    report = network("custom layers").memory_report(batch_size=128)
    text = str(report)
    head, columns, _, *rows = text.splitlines()
    assert head.startswith("Training and inference with batches of 128")
    width = len(report.workspaces)
    assert columns.split()[-width:] == [id.removeprefix("WS_") for id in report.workspaces]
    for layer, row in zip(report.layers, rows, strict=False):
        assert row.split()[-width:] == [f"{layer.workspaces[id]:,}" for id in report.workspaces]
        assert row.startswith(layer.label)
    assert rows[len(report.layers)].split()[-width:] == [f"{size:,}" for size in report.workspaces.values()]
    for figure in (
        report.workspace_bytes,
        report.liveness_bound,
        report.model_bytes,
        report.total_bytes,
        report.peak_bytes,
    ):
        assert f"{figure:,}" in text
    assert str(network().memory_report(training=False)).startswith("Inference with batches of 32")


# The liveness bound


@dataclass
class Asking(Layer):
    """A custom layer that asks for known amounts: ``forward`` and ``backward`` temporaries, numbers per example."""

    forward: int = 1
    backward: int = 1

    def activate(self, x, *, training, workspace_mgr):
        workspace_mgr.create(ArrayType.FF_WORKING_MEM, (len(x), self.forward))
        y = workspace_mgr.create(ArrayType.ACTIVATIONS, x.shape)
        workspace_mgr.save_for_backprop(y)
        return y

    def backprop(self, epsilon, *, workspace_mgr):
        workspace_mgr.saved()
        workspace_mgr.create(ArrayType.BP_WORKING_MEM, (len(epsilon), self.backward))
        return workspace_mgr.create(ArrayType.ACTIVATION_GRAD, epsilon.shape)


@dataclass
class AskingOutput(Asking):
    """The same, as the last layer."""

    is_output_layer = True

    def score(self, labels, *, mask, workspace_mgr):
        return 0.0

    def backprop_labels(self, labels, *, mask, workspace_mgr):
        return self.backprop(labels, workspace_mgr=workspace_mgr)


def most_alive(arrays):
    """Return the largest sum of sizes of arrays (size, first moment of use, last moment of use)."""
    moments = range(max(last for *_, last in arrays) + 1)
    return max(sum(size for size, first, last in arrays if first <= moment <= last) for moment in moments)


def arrays_of_a_step(temporaries, n):
    """Return (size, first use, last use) of what a chain of Asking layers holds; n numbers in each activation."""
    layers = len(temporaries)
    arrays = []
    for index, (forward, backward) in enumerate(temporaries):
        ahead, back = index, 2 * layers - index  # forward 0, 1, ..., then the score, then the layers backwards
        arrays += [(forward, ahead, ahead), (n, ahead, back), (backward, back, back)]
        arrays.append((n, back, back + 1 if index else back))  # the gradient, which the layer before consumes
    return arrays


@pytest.mark.parametrize(
    "temporaries",
    [
        [(1, 1)],
        [(1, 1), (1, 1)],
        [(500, 1), (1, 1), (1, 1)],
        [(1, 1), (500, 1), (1, 1)],
        [(1, 1), (1, 1), (1, 500)],
        [(1, 500), (1, 1), (300, 1)],
        [(7, 9), (11, 50), (60, 3), (40, 41), (2, 5)],
    ],
)
@pytest.mark.parametrize("batch", [1, 16, 100])
def test_liveness_bound_is_that_of_brute_force(temporaries, batch):
    *hidden, last = temporaries
    layers = [Asking(*numbers) for numbers in hidden] + [AskingOutput(*last)]
    configuration = NeuralNetConfiguration(seed=1).list(*layers, input_type=InputType.feed_forward(FEATURES))
    report = MultiLayerNetwork(configuration).init().memory_report(batch_size=batch)
    assert report.liveness_bound == 4 * batch * most_alive(arrays_of_a_step(temporaries, FEATURES))


def test_brute_force_itself():
    assert most_alive([(5, 0, 0), (7, 1, 3), (2, 2, 2), (1, 3, 4)]) == 9


def test_bound_holds_at_least_what_two_dense_layers_must_keep():
    net, batch = softmax_network(DenseLayer(n_out=1000)), 64
    kept = 4 * batch * (1000 + CLASSES)
    assert kept < net.memory_report(batch_size=batch).liveness_bound < 3 * kept


# Custom layers


@dataclass
class Wasteful(Layer):
    """A custom layer in plain NumPy with many temporaries, of several shapes."""

    def activate(self, x, *, training, workspace_mgr):
        similar = x @ x.T
        return (
            np.tanh(x) * 0.5
            + x
            + 0 * similar.mean(axis=1, keepdims=True)
            - 0 * np.concatenate([x, x], axis=1)[:, : x.shape[1]]
        )

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0 + 0.0 * (epsilon @ epsilon.T).sum(axis=1, keepdims=True)


@dataclass
class ByTwos(Layer):
    """A custom layer that works on two examples at a time: more of them, more arrays."""

    def activate(self, x, *, training, workspace_mgr):
        return np.concatenate([x[start : start + 2] * 2.0 for start in range(0, len(x), 2)])

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 2.0


@dataclass
class EveryFourth(Layer):
    """A custom layer with a temporary of a quarter of the batch, which no line through 2 and 3 examples foretells."""

    def activate(self, x, *, training, workspace_mgr):
        return x + np.tanh(x[::4] * 5.0).sum() * 0.01

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


@dataclass
class NeedsEight(Layer):
    """A custom layer that takes no fewer than eight examples, so that it cannot be rehearsed."""

    def activate(self, x, *, training, workspace_mgr):
        if len(x) < 8:
            raise ValueError(f"eight examples are needed, not {len(x)}.")
        return np.tanh(x) * 2.0 - x

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


@dataclass
class OnSomeData(Layer):
    """A custom layer whose temporary depends on the data: rehearsal, with equal examples, does not see it."""

    def activate(self, x, *, training, workspace_mgr):
        return x + np.tanh(x * 5.0).sum() * 0.01 if (x[0] != x[-1]).any() else x * 1.0

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


@pytest.mark.parametrize("layer", [Wasteful(), ByTwos(), EveryFourth()])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("calls", [("fit", "output", "evaluate"), ("output",)], ids="-".join)
def test_temporaries_of_custom_layers_are_foreseen(layer, batch, calls):
    report, spilled, sizes = first_calls(lambda: softmax_network(DenseLayer(n_out=30), layer), *data(batch), *calls)
    assert spilled == [[]] * len(calls)
    assert used(report) == sizes


def test_a_layer_that_takes_no_small_batches_is_rehearsed_with_the_real_one():
    net = softmax_network(DenseLayer(n_out=30), NeedsEight())
    assert in_new_thread(spills_of, net, *data(500), ("fit", "evaluate", "output")) == [[]] * 3


@pytest.mark.parametrize("layer", [OnSomeData()])
def test_what_was_not_foreseen_spills_once(layer):
    calls = ("fit", "fit", "evaluate", "fit", "evaluate", "output", "output")
    net = softmax_network(DenseLayer(n_out=30), layer)
    spilled = in_new_thread(spills_of, net, *data(500), calls)
    assert spilled[0]
    assert (spilled[1], *spilled[3:5], spilled[6]) == ([], [], [], [])


@pytest.mark.parametrize("layer", [Wasteful(), ByTwos(), EveryFourth(), NeedsEight()])
def test_what_was_not_foreseen_changes_no_number(layer):
    results = []
    for mode in ("ENABLED", "NONE"):
        net = softmax_network(DenseLayer(n_out=30), layer, mode=mode)
        for examples in (8, 100, 33, 500):
            net.fit(*data(examples))
        results.append((net.params, net.output(data(50)[0]), net.score()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert results[0][2] == results[1][2]


def test_a_layer_that_cannot_be_rehearsed_says_so_in_the_report():
    net = softmax_network(NeedsEight())
    with pytest.raises(ValueError, match=r"^eight examples are needed, not 4\."):
        net.memory_report(batch_size=4)


# Rehearsal leaves no trace


@dataclass
class Noisy(Layer):
    """A custom layer that draws random numbers."""

    def activate(self, x, *, training, workspace_mgr):
        noise = workspace_mgr.rng.standard_normal(x.shape[1], dtype=x.dtype)
        return x + noise

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


def test_a_report_leaves_parameters_gradient_state_and_generators_alone():
    nets = [softmax_network(Noisy(), DenseLayer(n_out=9), dropout=0.7) for _ in range(2)]
    for step in range(3):
        for net, asks in zip(nets, (True, False), strict=True):
            x, y = data(20, seed=step)
            net.fit(x, y)
            before = net.params.copy(), net.gradient.copy(), net.score(), repr(net.layers)
            if asks:
                reports = [net.memory_report(batch_size=n, training=t) for n in (1, 20, 300) for t in (True, False)]
                assert len({report.total_bytes for report in reports}) == 6
            np.testing.assert_equal((net.params, net.gradient, net.score(), repr(net.layers)), before)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    np.testing.assert_array_equal(nets[0].output(x, train=True), nets[1].output(x, train=True))


def test_a_report_leaves_global_generators_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - that nobody uses it is what is tested
    softmax_network(Noisy(), dropout=0.5).memory_report()
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_report_maps_nothing():
    def run():
        network().memory_report(batch_size=1000)
        return workspace_sizes()

    assert in_new_thread(run) == {}


def test_a_network_whose_last_layer_has_no_loss_reports_inference():
    configuration = NeuralNetConfiguration(seed=1).list(DenseLayer(n_in=4, n_out=3))
    net = MultiLayerNetwork(configuration).init()
    assert net.memory_report(training=False).workspace_bytes > 0


def test_output_layer_alone_needs_little():
    configuration = NeuralNetConfiguration(seed=1).list(OutputLayer(n_in=4, n_out=3, activation="softmax"))
    report = MultiLayerNetwork(configuration).init().memory_report(batch_size=1)
    assert report.workspace_bytes < 4096


@dataclass
class OnTheHeap(Layer):
    """A custom layer that makes its result from nothing that it was handed."""

    def activate(self, x, *, training, workspace_mgr):
        return np.array(x.tolist(), np.float32)

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


def test_the_report_counts_what_custom_layers_leave_on_the_heap():
    report = softmax_network(DenseLayer(n_out=30), OnTheHeap()).memory_report(batch_size=100)
    assert report.heap_bytes == 100 * 30 * 4
    assert "Custom layers leave 12,000 on the heap in every step" in str(report)
    assert softmax_network(DenseLayer(n_out=30)).memory_report(batch_size=100).heap_bytes == 0


def test_views_are_kept_for_the_last_eight_plans_and_evictions_are_counted():
    def evictions():
        net = softmax_network()
        for examples in (*range(1, 11), 10, 9, 3):
            net.output(data(examples)[0])
        (workspaces,) = state.network_workspaces
        return workspaces.evictions

    assert in_new_thread(evictions) == 2
