"""The process-wide limit of BLAS threads."""

import re
import subprocess
import sys
import threading

import numpy  # noqa: F401 - its BLAS is limited here
import pytest
import threadpoolctl

from minidl.errors import ConfigurationError
from minidl.threads import blas_threads, current_blas_threads


@pytest.fixture(autouse=True)
def three_threads():
    """Start from three threads, on a machine of any size and whatever the environment says."""
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        if current_blas_threads() != 3:
            pytest.skip("this BLAS cannot be told how many threads to use")
        yield


def enter_then_leave(limit, entered, leave):
    with blas_threads(limit):
        entered.set()
        leave.wait(10)


def test_limits_inside_and_restores_outside():
    with blas_threads(1):
        assert current_blas_threads() == 1
    assert current_blas_threads() == 3


def test_smallest_limit_of_nested_blocks_holds():
    with blas_threads(1), blas_threads(2):
        assert current_blas_threads() == 1
    with blas_threads(2), blas_threads(1):
        assert current_blas_threads() == 1


def test_inner_block_gives_back_what_the_outer_one_set():
    with blas_threads(2):
        with blas_threads(1):
            pass
        assert current_blas_threads() == 2


def test_never_more_threads_than_before():
    with blas_threads(64):
        assert current_blas_threads() == 3


def test_restores_after_an_exception():
    with pytest.raises(ZeroDivisionError, match=re.escape("division by zero")), blas_threads(1):
        _ = 1 / 0
    assert current_blas_threads() == 3


def test_blocks_of_two_threads_that_overlap_restore_what_was_first():
    entered, leave = threading.Event(), threading.Event()
    other = threading.Thread(target=enter_then_leave, args=(2, entered, leave))
    with blas_threads(1):
        other.start()
        assert entered.wait(10)
    still_open = current_blas_threads()
    leave.set()
    other.join()
    assert (still_open, current_blas_threads()) == (2, 3)


def test_another_thread_may_leave_last_while_this_one_lives_on():
    entered, leave = threading.Event(), threading.Event()
    other = threading.Thread(target=enter_then_leave, args=(1, entered, leave))
    other.start()
    assert entered.wait(10)
    with blas_threads(2):
        leave.set()
        other.join()
        assert current_blas_threads() == 2
    assert current_blas_threads() == 3


def test_follows_a_change_made_between_blocks():
    with blas_threads(1):
        pass
    with threadpoolctl.threadpool_limits(2, user_api="blas"), blas_threads(4):
        assert current_blas_threads() == 2
    assert current_blas_threads() == 3


def test_limits_a_library_loaded_while_a_block_is_open():
    script = """
import numpy, threadpoolctl
from minidl.threads import blas_threads
counts = lambda: {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
threadpoolctl.threadpool_limits(2)
with blas_threads(1):
    import scipy.linalg
    with blas_threads(1):
        print(counts())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "{1}\n"


@pytest.mark.parametrize("limit", [0, -1, 1.0, "2", None, True])
def test_refuses_what_is_no_count(limit):
    message = (
        f"blas_threads(limit) expects an integer of 1 or more, got {limit!r}. "
        "Pass 1 for BLAS without threads of its own."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        blas_threads(limit)
