"""Sessions: streams of series on one network, each with a state of its own, that any thread may go on with."""

import gc
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from networks import in_new_thread
from recurrent_networks import CLASSES, HIDDEN, MODES, Remembers, in_steps, series, series_network, state_bits

from minidl import Layer
from minidl.errors import ConcurrentUseError, NotInitializedError, ShapeError
from minidl.layers import LSTM

PATIENCE = 30  # seconds until a test that hangs fails
THREADS, TIME = 4, 12
each_hidden = pytest.mark.parametrize("hidden", HIDDEN)
each_mode = pytest.mark.parametrize("mode", MODES)


def features(batch=5, time=TIME, seed=0):
    return series(batch, time, seed, "f4")[0]


@each_hidden
@each_mode
def test_sessions_are_streams_of_their_own(hidden, mode):
    net = series_network(hidden, mode=mode)
    inputs = [features(batch, seed=batch) for batch in (3, 1, 3)]
    expected = []
    for x in inputs:
        net.rnn_clear_previous_state()
        expected.append((in_steps(net.rnn_time_step, x), state_bits(net)))
    sessions = [net.rnn_session() for _ in inputs]
    found = [[] for _ in inputs]
    for start, length in ((0, 1), (1, 1), (2, 4), (6, 1), (7, 2), (9, 1), (10, 2)):
        for session, x, outputs in zip(sessions, inputs, found, strict=True):
            outputs.append(session.step(x[:, :, start] if length == 1 else x[:, :, start : start + length]))
    for session, outputs, right in zip(sessions, found, expected, strict=True):
        np.testing.assert_equal((outputs, state_bits(session, net)), right)


def test_out_of_a_session_gets_the_same_bits():
    net, x = series_network(), features()
    sessions, out = [net.rnn_session() for _ in range(2)], np.empty((5, CLASSES), "f4")
    for step in range(TIME):
        expected = sessions[0].step(x[:, :, step])
        assert sessions[1].step(x[:, :, step], out=out) is out
        np.testing.assert_array_equal(out, expected)


@each_hidden
@each_mode
def test_any_thread_of_a_pool_may_take_the_next_step(hidden, mode):
    net, inputs = series_network(hidden, mode=mode), [features(2, seed=seed) for seed in range(3)]
    expected = []
    for x in inputs:
        net.rnn_clear_previous_state()
        expected.append([net.rnn_time_step(x[:, :, step]) for step in range(TIME)])
    sessions, threads = [net.rnn_session() for _ in inputs], set()

    def step_of(session, x):
        threads.add(threading.get_ident())
        return session.step(x)

    found = [[] for _ in inputs]
    with ThreadPoolExecutor(THREADS) as pool:
        for step in range(TIME):
            futures = [pool.submit(step_of, s, x[:, :, step]) for s, x in zip(sessions, inputs, strict=True)]
            for outputs, future in zip(found, futures, strict=True):
                outputs.append(future.result(PATIENCE))
    for step in range(TIME):  # each in a thread that has never seen the network
        np.testing.assert_equal([outputs[step] for outputs in found], [outputs[step] for outputs in expected])
    assert len(threads) > 1


def test_a_session_goes_on_in_new_threads():
    net, x = series_network("dense between"), features()
    session = net.rnn_session()
    found = [in_new_thread(session.step, x[:, :, step]) for step in range(TIME)]
    np.testing.assert_equal(found, [net.rnn_time_step(x[:, :, step]) for step in range(TIME)])


def test_the_state_of_a_session_is_taken_out_put_back_and_cleared():
    net, x = series_network(), features()
    session, other = net.rnn_session(), net.rnn_session()
    assert session.get_previous_state(0) == {}
    session.step(x)
    state, bits = session.get_previous_state(0), state_bits(session, net)
    expected = session.step(x)
    session.clear()
    assert session.get_previous_state(0) == {}
    np.testing.assert_array_equal(session.step(x[:2]), net.output(x[:2]))
    session.clear()
    for each in (session, other):
        each.set_previous_state(0, state)
        assert state_bits(each, net) == bits
        np.testing.assert_array_equal(each.step(x), expected)
    assert state_bits(net) == {}


def test_a_session_is_a_context_manager():
    net, x = series_network(), features()
    with net.rnn_session() as session:
        np.testing.assert_array_equal(session.step(x), net.output(x))
    assert_closed(session, x)
    with pytest.raises(ShapeError, match=r"^features have shape "), net.rnn_session() as session:
        session.step(x[:, :2])
    assert_closed(session, x)


def assert_closed(session, x):
    message = r"^this session is closed\. Begin a new one with network\.rnn_session\(\)\.$"
    calls = [
        lambda: session.step(x),
        lambda: session.step(x, out=np.empty((5, CLASSES, TIME), "f4")),
        lambda: session.get_previous_state(0),
        lambda: session.set_previous_state(0, {"prev_act": np.zeros((5, 6)), "prev_mem": np.zeros((5, 6))}),
        session.clear,
    ]
    for call in calls:
        with pytest.raises(NotInitializedError, match=message):
            call()


def test_closing_gives_the_state_back_and_may_be_done_twice():
    net, x = series_network([Remembers(), LSTM(n_out=4)]), features()
    session, other = net.rnn_session(), net.rnn_session()
    expected, _ = other.step(x), session.step(x)
    seen = net.layers[0].seen
    gc.disable()  # reference counts alone must do
    try:
        session.close()
        assert [reference() is None for reference in seen] == [False, True]
    finally:
        gc.enable()
    session.close()
    assert_closed(session, x)
    other.clear()
    np.testing.assert_array_equal(other.step(x), expected)


@dataclass
class Waits(Layer):
    """Pass on what comes; while told to, say that it is here and wait."""

    here = threading.Event()
    go_on = threading.Event()
    error = None

    def activate(self, x, *, training, workspace_mgr):
        y = x * 1.0
        if not Waits.go_on.is_set():
            Waits.here.set()
            assert Waits.go_on.wait(PATIENCE)
            if Waits.error is not None:
                raise Waits.error
        return y

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


@pytest.fixture
def waiting():
    """Return a network whose steps wait, once planned, from ``start`` to ``release``, which returns what one gave."""
    Waits.go_on.set()
    net, x = series_network([LSTM(n_out=4), Waits(), LSTM(n_out=3)]), features()
    net.output(x)
    Waits.here.clear()
    Waits.go_on.clear()
    pool = ThreadPoolExecutor(1)

    def start(step):
        future = pool.submit(step, x)
        assert Waits.here.wait(PATIENCE)

        def release(error=None):
            Waits.error = error
            Waits.go_on.set()
            return future.result(PATIENCE)

        return release

    yield net, x, start
    Waits.error = None
    Waits.go_on.set()
    pool.shutdown()


CONCURRENT = re.escape(
    "step() was called while another thread is inside this session. Give each stream of series a session of its "
    "own: network.rnn_session()."
)


def test_two_threads_cannot_step_one_session_at_once(waiting):
    net, x, start = waiting
    session = net.rnn_session()
    release = start(session.step)
    for _ in range(2):
        with pytest.raises(ConcurrentUseError, match=f"^{CONCURRENT}$"):
            session.step(x)
    np.testing.assert_array_equal(release(), net.output(x))
    both = np.concatenate([x, x], axis=2)
    np.testing.assert_allclose(session.step(x), net.output(both)[:, :, TIME:], rtol=0, atol=1e-6)


def test_a_session_whose_step_failed_in_another_thread_goes_on(waiting):
    net, x, start = waiting
    session = net.rnn_session()
    release = start(session.step)
    with pytest.raises(ValueError, match=r"^planted"):
        release(ValueError("planted"))
    np.testing.assert_array_equal(session.step(x), net.output(x))


def test_other_sessions_and_threads_go_on_while_one_waits(waiting):
    net, x, start = waiting
    session = net.rnn_session()
    release = start(session.step)
    Waits.go_on.set()
    other = net.rnn_session()
    np.testing.assert_array_equal(other.step(x), net.rnn_time_step(x))
    np.testing.assert_array_equal(release(), net.output(x))


def test_clearing_a_session_while_another_thread_steps_leaves_all_or_nothing(waiting):
    net, _, start = waiting
    session = net.rnn_session()
    release = start(session.step)
    try:
        session.clear()
    except ConcurrentUseError:
        pass
    finally:
        release()
    assert {layer for layer, _ in state_bits(session, net)} in ({0, 2}, set())


def test_a_session_shared_by_threads_that_try_again_takes_every_step_once():
    net, x = series_network(), features(2, 40)
    session, turn, taken = net.rnn_session(), threading.Lock(), []

    def step():
        while True:
            try:
                return session.step(x[:, :, len(taken)])
            except ConcurrentUseError:  # of a thread that has no turn
                continue

    def worker():
        while True:
            with turn:
                if len(taken) == 40:
                    return
                taken.append(step())
            with pytest.raises((ConcurrentUseError, ShapeError), match=r"^(step\(\) was|features have shape )"):
                session.step(np.zeros((2, 5)))

    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(worker) for _ in range(THREADS)]:
            future.result(PATIENCE)
    np.testing.assert_allclose(np.stack(taken, axis=2), net.output(x), rtol=0, atol=1e-6)
