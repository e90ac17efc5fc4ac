"""Three gauges that show what one warm step allocates, each seeing what the others miss.

1. The growth of tracemalloc's peak, over all domains: sees temporaries that are freed at once, but neither
   mappings nor what NumPy takes behind tracemalloc's back.
2. The heap requests and mappings of 4096 bytes and more of the whole process, counted by
   ``malloc_counter.c``: sees those, but no small arrays, so a step needs a batch that makes them all large.
3. The step's own counters, such as the bytes that its workspaces have mapped and spilled.

The counter must be loaded before Python, so the measurement is a module-level function of a test file, which
``run_under_counter`` calls in a process of its own, with one BLAS thread::

    def measure_square(batch):
        x, out = np.ones((batch, 100)), np.empty((batch, 100))
        return gauges(lambda: np.multiply(x, x, out=out))

    def test_square_allocates_nothing(run_under_counter):
        assert_no_allocation(run_under_counter(measure_square, 1024), arrays_alive=2)
"""

import ctypes
import gc
import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Gauges", "assert_no_allocation", "compiled_counter", "gauges", "run_under_counter"]

LARGE = 4096  # bytes
RESULT = "allocation gauges: "
ONLY = "the only one"
Counters = Callable[[], Mapping[str, int]]


@dataclass(frozen=True)
class Gauges:
    """What one warm step took: growth of Python's peak, large native requests, counters that changed."""

    tracemalloc_peak: int
    native_large_calls: float
    native_large_bytes: float
    counters_changed: dict[str, list[int]] = field(default_factory=dict)


def assert_no_allocation(measured: Gauges, *, arrays_alive: int) -> None:
    """Check that the step took no array memory; ``arrays_alive`` array objects may be made and dropped."""
    allowed = 2048 + 300 * arrays_alive
    assert measured.tracemalloc_peak <= allowed, f"Python's peak grew by more than {allowed} bytes: {measured}"
    assert measured.native_large_bytes == 0, f"large heap requests, as averages per step: {measured}"
    assert not measured.counters_changed, f"counters changed, from and to: {measured}"


def gauges(
    step: Callable[[], object], *, repeats: int = 20, warm_up: int = 5, counters: Counters | None = None
) -> Gauges:
    """Warm ``step`` up, then read the three gauges; only in a process that ``run_under_counter`` started."""
    for _ in range(warm_up):
        step()
    gc.collect()
    gc.disable()  # a collection in a step would be counted, or hide what the step took
    try:
        before = dict(counters()) if counters else {}
        native_calls, native_bytes = _native_requests(step, repeats)
        peak = _tracemalloc_growth(step)
        after = dict(counters()) if counters else {}
    finally:
        gc.enable()
    changed = {
        name: [before.get(name, 0), after.get(name, 0)]
        for name in sorted(before | after)
        if before.get(name) != after.get(name)
    }
    return Gauges(peak, native_calls, native_bytes, changed)


def _native_requests(step: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return large requests and their bytes, per step; tracemalloc is off, as its tables would be counted."""
    counter = ctypes.CDLL(None)
    if not hasattr(counter, "counter_reset"):
        raise RuntimeError("malloc_counter is not preloaded. Measure in a function given to run_under_counter.")
    counter.counter_large_calls.restype = counter.counter_large_bytes.restype = ctypes.c_long
    counter.counter_reset(ctypes.c_long(LARGE))
    for _ in range(repeats):
        step()
    return counter.counter_large_calls() / repeats, counter.counter_large_bytes() / repeats


def _tracemalloc_growth(step: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        step()  # what it keeps from one call to the next is traced from here on
        step()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


def compiled_counter(directory: Path) -> Path:
    """Compile ``malloc_counter.c``; without a compiler skip the test, or fail it where MINIDL_CI=1."""
    if not sys.platform.startswith("linux"):
        pytest.skip("heap requests are counted on Linux only: elsewhere there is no LD_PRELOAD")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        reason = "heap requests are not counted: no C compiler (cc, gcc) is installed"
        if os.environ.get("MINIDL_CI") == "1":
            pytest.fail(reason + ", and MINIDL_CI=1 asks for it")
        pytest.skip(reason)
    source, library = Path(__file__).with_name("malloc_counter.c"), directory / "malloc_counter.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def run_under_counter(counter: Path, measure: Callable[..., Any], *arguments: object, blas_threads: int = 1) -> Any:
    """Call ``measure(*arguments)`` in a process with ``counter`` preloaded, and return its gauges.

    ``measure`` is a module-level function that returns Gauges, or a dict of them by name; ``arguments`` are what JSON
    can carry.
    """
    call = [inspect.getfile(measure), measure.__name__, json.dumps(arguments)]
    run = subprocess.run(
        [sys.executable, "-c", "import allocation; allocation.run_measurement()", *call],
        env=_environment(counter, blas_threads),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        pytest.fail(f"{measure.__name__} failed in its process:\n{run.stdout}{run.stderr}", pytrace=False)
    found = {name: Gauges(**each) for name, each in json.loads(run.stdout.rpartition(RESULT)[2]).items()}
    return found.get(ONLY, found)


def _environment(counter: Path, blas_threads: int) -> dict[str, str]:
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(blas_threads))
    return (
        os.environ
        | threads
        | {
            "LD_PRELOAD": str(counter),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONMALLOC": "malloc",  # Python's own allocator maps an arena of 1 MB now and then
        }
    )


def run_measurement() -> None:
    """Be the process that ``run_under_counter`` starts: call the function named in the arguments."""
    path, name, arguments = sys.argv[1:]
    sys.path.insert(0, str(Path(path).parent))
    module = importlib.import_module(Path(path).stem)
    measured = getattr(module, name)(*json.loads(arguments))
    by_name = measured if isinstance(measured, dict) else {ONLY: measured}
    print(RESULT + json.dumps({name: asdict(each) for name, each in by_name.items()}))  # noqa: T201
