"""When cyclic garbage is collected, and how long iterations take."""

import gc
import importlib
import re
import threading

import numpy as np
import pytest
from networks import FEATURES

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ConfigurationError
from minidl.layers import OutputLayer
from minidl.workspaces import MemoryManager, memory_manager, workspace_manager

module = importlib.import_module("minidl.workspaces.memory_manager")  # the package's attribute is the singleton


class Clock:
    """A clock in milliseconds that stands still."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now / 1000

    def time(self):
        return 1000 + self.now / 1000


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def manager(clock):
    """Return a manager of its own, as one is at the start."""
    return MemoryManager()


@pytest.fixture
def collections():
    """Return a list that grows by one at every collection of all generations."""
    seen = []

    def note(phase, info):
        if phase == "stop" and info["generation"] == 2:
            seen.append(info)

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


@pytest.fixture
def restored():
    """Leave the process as it was: the settings, and the collector."""
    enabled, threshold = gc.isenabled(), gc.get_threshold()
    yield
    memory_manager.toggle_periodic_gc(None)
    memory_manager.set_auto_gc_window(100)
    memory_manager.set_occasional_gc_frequency(0)
    gc.set_threshold(*threshold)
    gc.enable() if enabled else gc.disable()


def network():
    configuration = NeuralNetConfiguration(seed=1).list(
        OutputLayer(n_out=5, activation="softmax"), input_type=InputType.feed_forward(FEATURES)
    )
    return MultiLayerNetwork(configuration).init()


def batches(count, at_each=lambda: None):
    """Yield batches, and call ``at_each`` before each: that is inside ``fit``."""
    for _ in range(count):
        at_each()
        yield DataSet(np.ones((4, FEATURES), np.float32), np.zeros(4, int))


# Collecting


def test_defaults(manager):
    assert not manager.is_periodic_gc_active
    assert (manager.auto_gc_window, manager.occasional_gc_frequency) == (100, 0)
    assert (manager.average_loop_time, manager.last_gc_time) == (0, 0)


def test_as_long_as_nothing_is_set_nothing_happens(manager, collections):
    for _ in range(10):
        manager.invoke_gc_occasionally()
    assert collections == []
    with manager.training_loop():
        assert gc.isenabled()


def test_collecting_now(manager, clock, collections):
    clock.now = 500.0
    manager.invoke_gc()
    assert len(collections) == 1
    assert manager.last_gc_time == 1_000_500


def test_collecting_by_the_clock(manager, clock, collections):
    manager.toggle_periodic_gc(True)
    manager.set_auto_gc_window(50)
    assert (manager.is_periodic_gc_active, manager.auto_gc_window) == (True, 50)
    counts = []
    for clock.now in (0.0, 20.0, 49.0, 50.0, 70.0, 200.0):
        manager.invoke_gc_occasionally()
        counts.append(len(collections))
    assert counts == [1, 1, 1, 2, 2, 3]


def test_window_of_nothing_collects_at_every_iteration(manager, collections):
    manager.toggle_periodic_gc(True)
    manager.set_auto_gc_window(0)
    for _ in range(3):
        manager.invoke_gc_occasionally()
    assert len(collections) == 3


@pytest.mark.parametrize(("step", "expected"), [(50, [3, 6, 9]), (20, [3, 9])])
def test_collecting_at_every_nth_call_if_the_window_has_passed(manager, clock, collections, step, expected):
    manager.set_occasional_gc_frequency(3)
    assert manager.occasional_gc_frequency == 3
    at = []
    for call in range(1, 11):
        clock.now += step
        before = len(collections)
        manager.invoke_gc_occasionally()
        at += [call] * (len(collections) - before)
    assert at == expected


def test_frequency_of_0_stops_it(manager, collections):
    manager.set_occasional_gc_frequency(1)
    manager.set_occasional_gc_frequency(0)
    manager.invoke_gc_occasionally()
    assert collections == []


def test_purging_caches_does_nothing(manager, collections):
    manager.purge_caches()
    assert collections == []


# The pause


def test_paused_inside_and_restored_outside():
    with memory_manager.collection_paused():
        assert not gc.isenabled()
        with memory_manager.collection_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_restored_after_an_exception():
    with pytest.raises(ZeroDivisionError, match=re.escape("division by zero")), memory_manager.collection_paused():
        _ = 1 / 0
    assert gc.isenabled()


@pytest.mark.usefixtures("restored")
def test_collector_that_the_user_switched_off_stays_off():
    gc.disable()
    with memory_manager.collection_paused():
        pass
    assert not gc.isenabled()


@pytest.mark.parametrize("this_thread_leaves_first", [True, False])
def test_pauses_of_two_threads_that_overlap(this_thread_leaves_first):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with MemoryManager().collection_paused():  # whichever manager asks: the collector is one
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with memory_manager.collection_paused():
        thread.start()
        assert entered.wait(10)
        if not this_thread_leaves_first:
            leave.set()
            thread.join()
            assert not gc.isenabled()
    assert gc.isenabled() is not this_thread_leaves_first
    leave.set()
    thread.join()
    assert gc.isenabled()


# Inside fit


def collections_of_python_in_fit(collections):
    """Return how often Python itself collects in a ``fit`` with an iterator that makes much cyclic garbage."""

    def litter():
        for _ in range(100):
            circle = []
            circle.append(circle)

    gc.set_threshold(10, 1, 1)
    before = len(collections)
    network().fit(batches(20, litter))
    return len(collections) - before


@pytest.mark.usefixtures("restored")
def test_python_collects_inside_fit_unless_it_is_switched_off():
    seen = []
    gc.callbacks.append(note := lambda phase, info: seen.append(phase))
    try:
        assert collections_of_python_in_fit(seen) > 0
        memory_manager.toggle_periodic_gc(True)
        memory_manager.set_auto_gc_window(1e9)
        assert collections_of_python_in_fit(seen) > 0
        memory_manager.toggle_periodic_gc(False)
        net, at_the_end = network(), []
        gc.collect()
        net.fit(batches(20, lambda: at_the_end.append(len(seen))))
        assert at_the_end == at_the_end[:1] * 20
    finally:
        gc.callbacks.remove(note)


@pytest.mark.usefixtures("restored")
def test_fit_restores_the_collector_also_after_an_exception():
    memory_manager.toggle_periodic_gc(False)
    states = []
    network().fit(batches(2, lambda: states.append(gc.isenabled())))
    with pytest.raises(ZeroDivisionError, match=re.escape("division by zero")):
        network().fit(batches(2, lambda: 1 / 0))
    assert states == [False, False]
    assert gc.isenabled()


@pytest.mark.usefixtures("restored")
def test_fit_inside_fit_restores_the_collector_at_the_end():
    memory_manager.toggle_periodic_gc(False)
    states = []

    def train_another():
        network().fit(batches(1))
        states.append(gc.isenabled())

    network().fit(batches(2, train_another))
    assert states == [False, False]
    assert gc.isenabled()


@pytest.mark.usefixtures("restored")
def test_fit_collects_between_iterations_when_told_to(collections):
    memory_manager.toggle_periodic_gc(False)
    memory_manager.set_auto_gc_window(0)
    memory_manager.set_occasional_gc_frequency(2)
    net = network()
    at_each = []
    before = len(collections)
    net.fit(batches(5, lambda: at_each.append(len(collections) - before)))
    assert at_each == [0, 0, 1, 1, 2]


# Averages


def test_mean_of_the_intervals(manager, clock):
    manager.toggle_averaging(True)
    for clock.now in (0.0, 10.0, 40.0):
        manager.invoke_gc_occasionally()
    assert manager.average_loop_time == pytest.approx(20.0)
    manager.toggle_averaging(False)
    manager.invoke_gc_occasionally()
    assert manager.average_loop_time == 0


def test_only_the_last_hundred_intervals_count(manager, clock):
    manager.toggle_averaging(True)
    for step in [1000.0] * 51 + [1.0] * 50 + [3.0] * 50:
        clock.now += step
        manager.invoke_gc_occasionally()
    assert manager.average_loop_time == pytest.approx(2.0)


def test_time_between_two_loops_is_no_interval(manager, clock):
    manager.toggle_averaging(True)
    for start in (0.0, 9000.0):
        with manager.training_loop():
            for clock.now in (start, start + 10.0):
                manager.invoke_gc_occasionally()
    assert manager.average_loop_time == pytest.approx(10.0)


def test_threads_have_intervals_of_their_own(manager, clock):
    manager.toggle_averaging(True)
    manager.invoke_gc_occasionally()
    clock.now = 5000.0
    thread = threading.Thread(target=manager.invoke_gc_occasionally)
    thread.start()
    thread.join()
    assert manager.average_loop_time == 0


# Workspaces, bad input


def test_current_workspace_and_scoping_out():
    assert memory_manager.current_workspace is None
    with workspace_manager.get_and_activate_workspace("A") as workspace:
        assert memory_manager.current_workspace is workspace
        with memory_manager.scope_out_of_workspaces():
            assert memory_manager.current_workspace is None
        assert memory_manager.current_workspace is workspace


@pytest.mark.parametrize("value", [-1, "100", None, True, float("nan")])
def test_refuses_what_is_no_time(manager, value):
    message = f"set_auto_gc_window got {value!r}, which is no number of milliseconds."
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        manager.set_auto_gc_window(value)
    assert manager.auto_gc_window == 100


@pytest.mark.parametrize("value", [-1, 1.5, "2", None, True])
def test_refuses_what_is_no_frequency(manager, value):
    message = f"set_occasional_gc_frequency got {value!r}, which is no whole number of at least 0."
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        manager.set_occasional_gc_frequency(value)


@pytest.mark.parametrize("method", ["toggle_periodic_gc", "toggle_averaging"])
def test_refuses_what_is_no_flag(manager, method):
    with pytest.raises(ConfigurationError, match=re.escape(f"{method} got 'off', expected True or False.")):
        getattr(manager, method)("off")


def test_none_leaves_all_to_python_again(manager):
    manager.toggle_periodic_gc(False)
    manager.toggle_periodic_gc(None)
    with manager.training_loop():
        assert gc.isenabled()
