"""One thread at a time may change a network; any number may read it, each with workspaces of its own."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import NETS, data, in_new_thread, network, workspace_sizes

from minidl import DataSet
from minidl.errors import ConcurrentUseError
from minidl.workspaces import workspace_manager

PATIENCE = 30  # seconds until a test that hangs fails


class Gated:
    """Batches of which the second waits until ``gate`` is opened; ``started`` tells that the first is trained on."""

    def __init__(self, batches):
        self.batches = batches
        self.started, self.gate = threading.Event(), threading.Event()

    def __iter__(self):
        for position, batch in enumerate(self.batches):
            if position == 1:
                self.started.set()
                assert self.gate.wait(PATIENCE)
            yield batch


@pytest.fixture
def training():
    """Return a network that another thread is training, half-way through its batches; in the end check the result."""
    batches = [DataSet(*data(16, seed=seed)) for seed in range(3)]
    net, source = network(), Gated(batches)
    with ThreadPoolExecutor(1) as pool:
        trained = pool.submit(net.fit, source)
        assert source.started.wait(PATIENCE)
        try:
            yield net
        finally:
            source.gate.set()
        trained.result(PATIENCE)
    assert np.array_equal(net.params, network().fit(batches).params)
    assert net.iteration_count == 3


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("fit", lambda net: net.fit(*data())),
        ("compute_gradient_and_score", lambda net: net.compute_gradient_and_score(*data())),
        ("set_params", lambda net: net.set_params(np.zeros(net.num_params()))),
    ],
)
def test_two_threads_cannot_change_a_network_at_once(training, method, call):
    message = (
        rf"^{method}\(\) was called while another call is changing this network\. Train it from one thread, or give "
        r"each thread a network of its own; output\(\) may run in several threads\.$"
    )
    with pytest.raises(ConcurrentUseError, match=message):
        call(training)


def test_other_networks_and_other_calls_go_on_during_training(training):
    x, y = data()
    after_one_batch = network().fit(*data(16, seed=0))
    assert np.array_equal(training.output(x), after_one_batch.output(x))
    assert training.score(x, y) == after_one_batch.score(x, y)
    assert training.evaluate(x, y).accuracy() == after_one_batch.evaluate(x, y).accuracy()
    assert np.array_equal(network().fit(x, y).params, network().fit(x, y).params)


def test_a_network_cannot_be_changed_from_its_own_iterator():
    net = network()

    def batches():
        yield data(8)
        net.fit(*data(8))

    with pytest.raises(ConcurrentUseError, match=r"^fit\(\) was called while another call is changing this network\."):
        net.fit(batches())
    assert net.fit(*data(8)).iteration_count == 2


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_each_of_four_threads_gets_its_own_output(name, mode):
    net, together = network(name, mode), threading.Barrier(4, timeout=PATIENCE)
    inputs = [data(examples, seed=examples)[0] for examples in (1, 7, 32, 33)]
    expected = [(net.output(x), net.predict(x), net.feed_forward(x)[0]) for x in inputs]

    def ask(x):
        together.wait()
        return [(net.output(x), net.predict(x), net.feed_forward(x)[0]) for _ in range(15)]

    with ThreadPoolExecutor(4) as pool:
        for results, right in zip(pool.map(ask, inputs), expected, strict=True):
            for result in results:
                np.testing.assert_equal(result, right)


def test_networks_are_trained_side_by_side_in_threads_of_their_own():
    together = threading.Barrier(3, timeout=PATIENCE)

    def train(name):
        net = network(name)
        together.wait()
        for step in range(10):
            net.fit(*data(20, seed=step))
        return net.params

    names = ["dropout", "custom layers", "regularised"]
    with ThreadPoolExecutor(3) as pool:
        in_threads = list(pool.map(train, names))
    together = threading.Barrier(1)
    for name, params in zip(names, in_threads, strict=True):
        assert np.array_equal(train(name), params)


def test_a_network_may_be_trained_in_one_thread_after_another():
    net, alone = network("dropout"), network("dropout")
    for step in range(4):
        in_new_thread(net.fit, *data(16, seed=step))
        alone.fit(*data(16, seed=step))
    assert np.array_equal(net.params, alone.params)


@pytest.mark.parametrize("call", ["output", "fit", "evaluate"])
def test_a_thread_that_ended_has_given_its_workspaces_back(call):
    net, (x, y) = network("four layers"), data(64)

    def run():
        getattr(net, call)(x) if call == "output" else getattr(net, call)(x, y)
        assert workspace_sizes()
        return [weakref.ref(workspace) for workspace in workspace_manager.get_all_workspaces_for_current_thread()]

    gc.disable()  # reference counts alone must do
    try:
        references = in_new_thread(run)
        assert [reference() for reference in references] == [None] * len(references) != []
    finally:
        gc.enable()


def test_a_network_cannot_be_initialised_while_it_is_trained(training):
    net = training
    parameters = net.params
    with pytest.raises(ConcurrentUseError, match=r"^init\(\) was called while another call is changing this network\."):
        net.init()
    assert net.params is parameters
