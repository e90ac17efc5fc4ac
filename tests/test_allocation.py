"""A warm step of a whole network takes no array memory.

Three gauges (see allocation.py) around one call, at a batch of 1024, so that every array of a batch is over the 4096
bytes from which heap requests are counted. Shown with one BLAS thread: with more, OpenBLAS takes a job table of 512 KiB
from the heap for every large product, frees it at once, and offers no way to keep it. The limit is set before the
process starts, by the environment, as the threads of BLAS take memory of their own when they start.
"""

import mmap
from dataclasses import dataclass

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from networks import Scale

from minidl import DataSet, InputType, Layer, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import ArrayDataSetIterator
from minidl.eval import ROC, Evaluation, ROCMultiClass
from minidl.layers import ActivationLayer, DenseLayer, DropoutLayer, LossLayer, OutputLayer
from minidl.training import Adam, Nesterovs
from minidl.workspaces import workspace_manager

BATCH, N_IN, HIDDEN = 1024, 50, 40
MEGABYTE = 1 << 20
CALLS = 100  # more than the gauges make
ARRAYS_ALIVE = 40  # views, their shapes, and the DataSets of a step; the least array of a batch is 4096 bytes


@dataclass
class Faulty(Layer):
    """A custom layer that takes memory which nobody recycles, in the forward pass or the backward pass."""

    fault: str = "temporary"
    backward: bool = False

    def activate(self, x, *, training, workspace_mgr):
        return x * 2.0 if self.backward else self._faulty(x)

    def backprop(self, epsilon, *, workspace_mgr):
        return self._faulty(epsilon) if self.backward else epsilon * 2.0

    def _faulty(self, x):
        doubled = x * 2.0
        if self.fault == "temporary":
            np.empty(MEGABYTE, np.uint8)
        if self.fault == "mapping":
            np.frombuffer(mmap.mmap(-1, MEGABYTE), np.uint8)
        if self.fault == "broadcast":
            plain = doubled.view(np.ndarray)
            np.add(plain, np.ones(x.shape[1], x.dtype), out=plain)
        return doubled


def dense(**options):
    return DenseLayer(n_out=HIDDEN, activation="relu", **options)


def softmax(n_out=10, **options):
    return OutputLayer(n_out=n_out, activation="softmax", **options)


# name: options of the configuration, layers, and what the data are like
CASES = {
    "plain": ({}, [dense(), softmax()], ""),
    "dropout": (dict(dropout=0.8), [dense(), DropoutLayer(0.5), softmax()], ""),
    "l1 and l2": (dict(l1=1e-4, l2=1e-3, l1_bias=1e-4, weight_decay=1e-3), [dense(), softmax()], ""),
    "renormalised": (dict(gradient_normalization="RENORMALIZE_L2_PER_LAYER"), [dense(), softmax()], ""),
    "clipped": (dict(gradient_normalization="CLIP_ELEMENT_WISE_ABSOLUTE_VALUE"), [dense(), softmax()], ""),
    "float64 features": ({}, [dense(), softmax()], "float64"),
    "strided features": ({}, [dense(), softmax()], "strided"),
    "class indices": ({}, [dense(), softmax()], "indices"),
    "strided class indices": ({}, [dense(), softmax()], "strided indices"),
    "integer labels": ({}, [dense(), softmax()], "integers"),
    "mask": ({}, [dense(), softmax()], "mask"),
    "boolean mask": ({}, [dense(), softmax()], "boolean mask"),
    "mask of outputs": ({}, [dense(), softmax()], "mask of outputs"),
    "weights of classes": ({}, [dense(), OutputLayer(n_out=10, activation="tanh", loss="mse")], ""),
    "one output": ({}, [dense(), OutputLayer(n_out=1, activation="sigmoid", loss="xent")], ""),
    "two classes": ({}, [dense(), softmax(2)], ""),
    "loss layer": (
        {},
        [dense(), DenseLayer(n_out=10, activation="gelu"), ActivationLayer("elu"), LossLayer(activation="softmax")],
        "",
    ),
    "custom layers": ({}, [Scale(0.5), dense(), Scale(), softmax()], ""),
    "updaters": (dict(updater=Nesterovs(0.01)), [dense(updater="sgd"), dense(updater="noop"), softmax()], ""),
    "parameters in several blocks": ({}, [DenseLayer(n_out=500), softmax()], ""),
    "float64 network": (dict(dtype="float64"), [dense(), softmax()], ""),
    "mode NONE": (dict(training_workspace_mode="NONE", inference_workspace_mode="NONE"), [dense(), softmax()], ""),
    **{
        f"{fault} {where}": ({}, [dense(), Faulty(fault, where == "backward"), softmax()], "")
        for fault in ("temporary", "mapping", "broadcast", "nothing")
        for where in ("forward", "backward")
    },
}


def network_and_data(case):
    options, layers, kind = CASES[case]
    configuration = NeuralNetConfiguration(**dict(seed=1, updater=Adam(1e-3)) | options)
    net = MultiLayerNetwork(configuration.list(*layers, input_type=InputType.feed_forward(N_IN))).init()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, N_IN)).astype("f8" if kind == "float64" or "dtype" in options else "f4")
    if kind == "strided":
        x = np.repeat(x, 2, axis=1)[:, ::2]
    n_out = net.output(x[:1]).shape[1]
    indices = rng.integers(0, max(n_out, 2), BATCH)
    y = np.eye(n_out, dtype=x.dtype)[indices] if n_out > 1 else indices[:, np.newaxis].astype("f4")
    mask = {"mask": np.ones(BATCH, "f4"), "boolean mask": np.arange(BATCH) % 2 == 0, "mask of outputs": np.ones_like(y)}
    table = np.stack([indices, indices], axis=1)
    y = {"indices": indices, "strided indices": table[:, 0], "integers": y.astype(int)}.get(kind, y)
    return net, DataSet(x, y, labels_mask=mask.get(kind))


def workspace_counters():
    """Return what the workspaces of this thread have mapped and spilled."""
    counters = {}
    for workspace in workspace_manager.get_all_workspaces_for_current_thread():
        counters[f"{workspace.id} mapped"] = workspace.current_size
        counters[f"{workspace.id} spilled"] = workspace.spilled_size
        counters[f"{workspace.id} most asked for"] = workspace.max_cycle_allocations
    return counters


def step_of(call, net, dataset):
    """Return the function whose calls are measured."""
    x, n_out = dataset.features, net.output(dataset.features[:1]).shape[1]
    out = np.empty((BATCH, n_out), net.params.dtype)
    classes = np.empty(BATCH, np.intp)
    evaluations = {
        "Evaluation": Evaluation(),
        "Evaluation top 3": Evaluation(top_n=3),
        "thresholded ROC": ROC(100),
        "exact ROC": ROC(expected_examples=CALLS * BATCH),
        "thresholded ROCMultiClass": ROCMultiClass(100),
    }
    if call in evaluations:
        return lambda: net.do_evaluation(dataset, evaluations[call])
    return {
        "fit": lambda: net.fit(dataset),
        "fit iterator": recycled_pass(net, dataset),
        "gradient": lambda: net.compute_gradient_and_score(dataset),
        "score": lambda: net.score(dataset),
        "output": lambda: net.output(x, out=out),
        "output train": lambda: net.output(x, out=out, train=True),
        "predict": lambda: net.predict(x, out=classes),
    }[call]


def recycled_pass(net, dataset):
    iterator = ArrayDataSetIterator(dataset.features, dataset.labels, BATCH // 4, shuffle=True, seed=1)
    return lambda: net.fit(iterator)


def measure_large_prediction():
    net, _ = network_and_data("one output")
    x, classes = np.zeros((20_000, N_IN), np.float32), np.empty(20_000, np.intp)
    return gauges(lambda: net.predict(x, out=classes), counters=workspace_counters)


def measure(case, *calls):
    net, dataset = network_and_data(case)
    steps = [step_of(call, net, dataset) for call in calls]
    return gauges(lambda: [step() for step in steps], counters=workspace_counters)


@pytest.mark.parametrize(
    ("case", "call"),
    [
        *[("plain", call) for call in ("fit", "fit iterator", "gradient", "score", "output", "predict", "Evaluation")],
        *[("plain", call) for call in ("Evaluation top 3", "thresholded ROCMultiClass")],
        *[("two classes", call) for call in ("thresholded ROC", "exact ROC")],
        *[("one output", call) for call in ("predict", "exact ROC")],
        ("dropout", "output train"),
    ],
)
def test_a_warm_call_allocates_nothing(case, call, run_under_counter):
    assert_no_allocation(run_under_counter(measure, case, call), arrays_alive=ARRAYS_ALIVE)


EASY = {"plain", "mode NONE", "two classes"}
FAULTS = ("temporary", "mapping", "broadcast")


@pytest.mark.parametrize(
    "case", [case for case in CASES if case not in EASY and not case.startswith((*FAULTS, "nothing"))]
)
def test_a_warm_step_and_a_warm_output_allocate_nothing(case, run_under_counter):
    calls = ["fit", "output", "predict"] if case == "mask of outputs" else ["fit", "output", "predict", "Evaluation"]
    assert_no_allocation(run_under_counter(measure, case, *calls), arrays_alive=2 * ARRAYS_ALIVE)


def test_a_layer_without_its_fault_allocates_nothing(run_under_counter):
    assert_no_allocation(run_under_counter(measure, "nothing forward", "fit", "output"), arrays_alive=2 * ARRAYS_ALIVE)


@pytest.mark.parametrize(
    ("case", "call"),
    [(f"{fault} forward", call) for fault in FAULTS for call in ("fit", "output")]
    + [(f"{fault} backward", "fit") for fault in FAULTS],
)
def test_a_fault_in_a_layer_turns_the_gauges_red(case, call, run_under_counter):
    measured = run_under_counter(measure, case, call)
    with pytest.raises(
        AssertionError, match=r"^(Python's peak grew by more than|large heap requests, as averages per)"
    ):
        assert_no_allocation(measured, arrays_alive=ARRAYS_ALIVE)
    assert measured.native_large_bytes >= 32_000


def test_a_large_batch_for_one_output_is_predicted_without_a_buffer(run_under_counter):
    assert_no_allocation(run_under_counter(measure_large_prediction), arrays_alive=ARRAYS_ALIVE)


def test_mode_none_is_seen_to_allocate(run_under_counter):
    measured = run_under_counter(measure, "mode NONE", "fit")
    assert measured.native_large_bytes > BATCH * (2 * HIDDEN + 10) * 4
