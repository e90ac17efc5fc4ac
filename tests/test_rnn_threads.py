"""Every thread that steps a network has a state of its own."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import in_new_thread
from recurrent_networks import HIDDEN, MODES, Remembers, in_steps, one_hot, series, series_network, state_bits

PATIENCE = 30  # seconds until a test that hangs fails
THREADS, TIME = 4, 12


def features(batch=5, time=TIME, seed=0):
    return series(batch, time, seed, "f4")[0]


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("mode", MODES)
def test_threads_that_step_one_network_at_once_get_their_own_results(hidden, mode):
    net, together = series_network(hidden, mode=mode), threading.Barrier(THREADS, timeout=PATIENCE)
    inputs = [features(batch, seed=batch) for batch in (1, 2, 5, 17)]
    expected = []
    for x in inputs:
        net.rnn_clear_previous_state()
        expected.append((in_steps(net.rnn_time_step, x), state_bits(net)))
    kept = state_bits(net)

    def run(x):
        results = []
        for _ in range(5):
            together.wait()
            results.append((in_steps(net.rnn_time_step, x), state_bits(net)))
            net.rnn_clear_previous_state()
        return results

    with ThreadPoolExecutor(THREADS) as pool:
        for results, right in zip(pool.map(run, inputs), expected, strict=True):
            for result in results:
                np.testing.assert_equal(result, right)
    assert state_bits(net) == kept


def test_a_new_thread_begins_with_zeros_and_ends_with_its_state():
    net, x = series_network(), features()
    net.rnn_time_step(x)
    bits = state_bits(net)
    assert in_new_thread(lambda: (state_bits(net), net.rnn_time_step(x[:2]).tobytes())) == (
        {},
        net.output(x[:2]).tobytes(),
    )
    assert in_new_thread(lambda: state_bits(net)) == {}
    assert state_bits(net) == bits


def test_clearing_and_setting_touch_the_state_of_the_thread_alone():
    net, x = series_network("SimpleRnn"), features()
    net.rnn_time_step(x)
    bits = state_bits(net)
    in_new_thread(net.rnn_clear_previous_state)
    in_new_thread(net.rnn_set_previous_state, 0, {"prev_act": np.ones((2, 7))})
    assert state_bits(net) == bits


def test_steps_while_another_thread_trains():
    net, x = series_network(), features()
    stop = threading.Event()

    def train():
        (_, classes), spared = series(5, TIME), series_network()
        for _ in range(30):
            net.fit(x, one_hot(classes))
            spared.fit(x, one_hot(classes))
        stop.set()
        return net.params.copy(), spared.params

    with ThreadPoolExecutor(1) as pool:
        trained = pool.submit(train)
        while not stop.is_set():
            assert np.isfinite(net.rnn_time_step(x[:3])).all()
        one, other = trained.result(PATIENCE)
    np.testing.assert_array_equal(one, other)


def test_a_thread_that_ended_has_given_its_state_back():
    net = series_network([Remembers(), *HIDDEN["dense between"]()])
    seen = net.layers[0].seen

    def run():
        net.rnn_time_step(features())
        net.rnn_time_step(features())
        return [reference() is not None for reference in seen]

    gc.disable()  # reference counts alone must do
    try:
        assert in_new_thread(run) == [True, True]
        assert [reference() for reference in seen] == [None, None]
    finally:
        gc.enable()
