"""The gauges themselves: each planted fault turns the right ones red, and a clean step none."""

import gc
import mmap
import re
import shutil

import allocation
import numpy as np
import pytest
from allocation import Gauges, assert_no_allocation, gauges

MEGABYTE = 1 << 20


def measure_clean_step():
    x, weights, out = (np.ones((1024, 500), "f4"), np.ones((500, 500), "f4"), np.empty((1024, 500), "f4"))

    def step():
        np.matmul(x, weights, out=out)
        np.maximum(out, 0.0, out=out)

    return gauges(step)


def measure_planted_temporary():
    return gauges(lambda: np.empty(MEGABYTE, "u1"))


def measure_planted_mapping():
    return gauges(lambda: np.frombuffer(mmap.mmap(-1, MEGABYTE), "u1"))


def measure_hidden_broadcast():
    z, bias = np.ones((1024, 500), "f4"), np.ones(500, "f4")
    return gauges(lambda: np.add(z, bias, out=z))


def measure_rare_request(repeats):
    calls = iter(range(1000))
    return gauges(lambda: next(calls) == 5 and np.empty(MEGABYTE, "u1"), repeats=repeats, warm_up=5)


def make_cycles():
    for _ in range(2000):  # more than the collector's threshold
        cycle = []
        cycle.append(cycle)


def measure_cyclic_garbage():
    return gauges(make_cycles, counters=lambda: {"collections": gc.get_stats()[0]["collections"]})


def measure_spilling_workspace():
    spilled = iter(range(1000))
    return gauges(lambda: None, counters=lambda: {"mapped": 4096, "spilled": next(spilled)})


def measure_large_product():
    x, out = np.ones((512, 512), "f4"), np.empty((512, 512), "f4")
    return gauges(lambda: np.matmul(x, x, out=out))


def fail_to_measure():
    raise ZeroDivisionError("planted")


def test_clean_step_is_green(run_under_counter):
    assert_no_allocation(run_under_counter(measure_clean_step), arrays_alive=3)


def test_planted_temporary_turns_both_memory_gauges_red(run_under_counter):
    measured = run_under_counter(measure_planted_temporary)
    assert measured.tracemalloc_peak >= MEGABYTE
    assert measured.native_large_bytes >= MEGABYTE
    with pytest.raises(AssertionError, match=r"^Python's peak grew by more than 2048 bytes: Gauges"):
        assert_no_allocation(measured, arrays_alive=0)


def test_planted_mapping_is_seen_by_the_native_gauge_alone(run_under_counter):
    measured = run_under_counter(measure_planted_mapping)
    assert measured.tracemalloc_peak < 2048
    with pytest.raises(AssertionError, match=r"^large heap requests, as averages per step: Gauges"):
        assert_no_allocation(measured, arrays_alive=1)


def test_hidden_broadcast_turns_the_native_gauge_red(run_under_counter):
    measured = run_under_counter(measure_hidden_broadcast)
    with pytest.raises(AssertionError, match=r"^large heap requests, as averages per step: Gauges"):
        assert_no_allocation(measured, arrays_alive=200)


def test_one_request_in_many_steps_counts(run_under_counter):
    assert run_under_counter(measure_rare_request, 4).native_large_calls == 0.25


def test_changed_counter_turns_the_third_gauge_red(run_under_counter):
    measured = run_under_counter(measure_spilling_workspace)
    assert measured.counters_changed == {"spilled": [0, 1]}
    with pytest.raises(AssertionError, match=r"^counters changed, from and to: Gauges"):
        assert_no_allocation(measured, arrays_alive=0)


def test_no_collection_runs_while_measuring(run_under_counter):
    assert run_under_counter(measure_cyclic_garbage).counters_changed == {}


def test_two_blas_threads_add_only_job_tables(run_under_counter):
    measured = run_under_counter(measure_large_product, blas_threads=2)
    assert measured.native_large_bytes == measured.native_large_calls * 512 * 1024


def test_failure_in_the_process_is_shown(run_under_counter):
    with pytest.raises(pytest.fail.Exception, match=r"ZeroDivisionError: planted$"):
        run_under_counter(fail_to_measure)


def test_gauges_need_the_counter():
    message = "malloc_counter is not preloaded. Measure in a function given to run_under_counter."
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        gauges(lambda: None)


@pytest.mark.parametrize(("ci", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_missing_compiler_skips_and_fails_in_ci(ci, outcome, monkeypatch, tmp_path):
    monkeypatch.setattr(allocation.sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("MINIDL_CI", ci)
    with pytest.raises(outcome, match=r"^heap requests are not counted: no C compiler \(cc, gcc\) is installed"):
        allocation.compiled_counter(tmp_path)


def test_allowance_grows_with_the_arrays_alive():
    assert_no_allocation(Gauges(2048 + 3000, 0, 0), arrays_alive=10)
