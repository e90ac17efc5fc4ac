"""Networks that are dropped, and calls without end, leave the memory of the process as it is."""

import contextlib
import gc
import weakref

import numpy as np
import psutil
import pytest
from networks import FEATURES, NETS, data, data_for, in_new_thread, network, workspace_sizes

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.eval import Evaluation
from minidl.layers import DenseLayer, OutputLayer
from minidl.threads import blas_threads

MEGABYTE = 1 << 20


def resident():
    """Return the bytes of this process that are in memory."""
    gc.collect()
    return psutil.Process().memory_info().rss


@contextlib.contextmanager
def no_collector():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def use_and_drop_a_network(x, y, mode):
    """Train and evaluate a network with 1 MB of parameters, 4 MB with gradient and state."""
    configuration = NeuralNetConfiguration(
        seed=1, updater="adam", training_workspace_mode=mode, inference_workspace_mode=mode
    ).list(
        DenseLayer(n_out=2000, activation="relu"),
        DenseLayer(n_out=100),
        OutputLayer(n_out=5, activation="softmax"),
        input_type=InputType.feed_forward(FEATURES),
    )
    net = MultiLayerNetwork(configuration).init()
    net.fit(x, y)
    net.evaluate(x, y)
    net.output(x)


@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_two_hundred_networks_come_and_go(mode):
    x, y = data(8)
    with blas_threads(1):  # two would wait for each other on a busy machine
        for _ in range(10):
            use_and_drop_a_network(x, y, mode)
        before = resident()
        for _ in range(200):
            use_and_drop_a_network(x, y, mode)
        assert resident() - before < 8 * MEGABYTE  # 200 of them hold 800 MB


def calls_of(net, x, y):
    out, classes, evaluation = np.empty_like(net.output(x)), np.empty(len(x), np.intp), Evaluation()
    return {
        "output out": lambda: net.output(x, out=out),
        "output": lambda: net.output(x),
        "predict out": lambda: net.predict(x, out=classes),
        "fit": lambda: net.fit(x, y),
        "evaluate": lambda: net.do_evaluation((x, y), evaluation),
        "feed forward": lambda: net.feed_forward(x),
    }


@pytest.mark.parametrize(
    ("call", "times"),
    [("output out", 100_000), ("output", 10_000), ("predict out", 10_000), ("fit", 3_000), ("evaluate", 3_000)],
)
def test_calls_without_end_leave_no_garbage(call, times):
    step = calls_of(network(), *data(1))[call]
    for _ in range(times // 10):
        step()
    before = resident()
    with no_collector():
        for _ in range(times):
            step()
        grown = psutil.Process().memory_info().rss - before
    assert grown < MEGABYTE  # less than 10 bytes a call, of 100 000


@pytest.mark.parametrize("name", NETS)
def test_no_call_makes_objects_that_only_the_collector_frees(name):
    steps = calls_of(network(name), *data_for(name, 4)).values()
    for step in steps:
        step()
    gc.collect()
    with no_collector():
        for step in steps:
            step()
        assert gc.collect() == 0


@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
@pytest.mark.parametrize("call", ["output", "predict", "feed_forward", "fit", "score", "evaluate"])
def test_a_network_keeps_nothing_of_what_it_was_given(call, mode):
    net, (x, y) = network("custom layers", mode), data(20)
    getattr(net, call)(x, y) if call in ("fit", "score", "evaluate") else getattr(net, call)(x)
    references = weakref.ref(x), weakref.ref(y)
    del x, y
    gc.collect()
    assert [reference() is None for reference in references] == [True, True]


def test_ever_new_batch_sizes_map_no_more_than_the_largest_needs():
    def run():
        net = network("dropout")
        net.fit(*data(300))
        net.evaluate(*data(300))
        largest = workspace_sizes()
        for examples in range(1, 300):
            net.fit(*data(examples))
            net.output(data(examples)[0])
        return largest, workspace_sizes()

    largest, after = in_new_thread(run)
    assert after == largest


def test_many_threads_come_and_go():
    net, (x, _) = network("four layers"), data(2000)
    for _ in range(5):
        in_new_thread(net.output, x)
    before = resident()
    for _ in range(60):
        in_new_thread(net.output, x)
    assert resident() - before < 8 * MEGABYTE  # each maps about 0.5 MB


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_first_step_and_the_report_leave_no_garbage(name):
    x, y = data_for(name)
    gc.collect()
    with no_collector():
        net = network(name)
        net.memory_report(batch_size=len(x))
        net.fit(x, y)
        net.evaluate((x, y))
        del net
        assert gc.collect() == 0
