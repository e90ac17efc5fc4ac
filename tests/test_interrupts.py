"""Ctrl-C in the middle of an update: the update is finished, then the interrupt is raised."""

import os
import signal
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from networks import assert_nothing_open, data, in_new_thread, softmax_network

from minidl.data import ArrayDataSetIterator
from minidl.interrupts import UpdateInterrupts
from minidl.layers import DenseLayer
from minidl.training import Adam, AdamW, MaxNorm, Updater


@dataclass(frozen=True)
class Interrupted(Updater):
    """Adam that is interrupted in the step of an iteration, before it or after."""

    slots = Adam.slots
    scratch_arrays = Adam.scratch_arrays
    iteration: int = 2
    after: bool = False

    def step(self, gradient, state, scratch, iteration, epoch=0):
        if iteration == self.iteration and not self.after:
            os.kill(os.getpid(), signal.SIGINT)
        Adam(0.01).step(gradient, state, scratch, iteration)
        if iteration == self.iteration and self.after:
            os.kill(os.getpid(), signal.SIGINT)


def network(updater):
    return softmax_network(
        DenseLayer(n_out=9, activation="tanh", constrain_weights=MaxNorm(0.3)),
        updater=updater,
        bias_updater=AdamW(0.01),
    )


def expected(steps):
    net = network(Adam(0.01))
    for _ in range(steps):
        net.fit(*data())
    return net.params


@pytest.mark.parametrize("after", [False, True])
def test_update_is_whole_before_the_interrupt_is_raised(after):
    net, source = network(Interrupted(after=after)), ArrayDataSetIterator(*data(), batch_size=32)
    with pytest.raises(KeyboardInterrupt):
        net.fit(source, epochs=10)
    assert net.iteration_count == 3
    np.testing.assert_array_equal(net.params, expected(3))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_nothing_open()
    net.fit(*data())
    np.testing.assert_array_equal(net.params, expected(4))


def test_handler_of_the_user_is_called_once_and_comes_back():
    calls, before = [], signal.getsignal(signal.SIGINT)

    def handler(number, frame):
        calls.append(number)

    signal.signal(signal.SIGINT, handler)
    try:
        net = network(Interrupted()).fit(ArrayDataSetIterator(*data(), batch_size=32), epochs=5)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [signal.SIGINT]  # although it came once for each piece of the parameters
    np.testing.assert_array_equal(net.params, expected(5))


def test_handler_that_is_set_meanwhile_stays():
    before = signal.getsignal(signal.SIGINT)
    try:
        with UpdateInterrupts():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_of_updates_an_interrupt_is_raised_at_once():
    with UpdateInterrupts(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_train_without_handlers():
    def train():
        assert threading.current_thread() is not threading.main_thread()
        return network(Adam(0.01)).fit(*data()).params

    np.testing.assert_array_equal(in_new_thread(train), expected(1))
