"""Workspaces beside ordinary NumPy, in one run: what a scope, an array and a check cost, and what reuse gives back.

    python benchmarks/workspaces.py

Costs in microseconds are those of the shortest block, cycles of milliseconds the median. A ratio is the time of
ordinary NumPy over that of the other way: above 1 the other way is faster. Page faults are those of the process.

What ordinary NumPy costs depends on the C library's allocator. That of Linux gives freed memory back to the system, and
the next cycle has to fault it in again, until the process has once freed a block of between 4 and 32 MB; from then on
it keeps as much for itself. Both states are measured.
"""

from __future__ import annotations

import gc
import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from timing import describe_machine, side_by_side

from minidl import nd
from minidl.threads import blas_threads
from minidl.workspaces import Workspace, WorkspaceConfiguration

if importlib.util.find_spec("resource"):
    import resource

MIB, GIB = 1 << 20, 1 << 30
RESULTS = 20
ELEMENTS = MIB // 4
CREATE_LIMIT, CHECK_LIMIT = 1.5, 4.0  # us
CYCLES = 30

# expressions of x and y (8x16), b (16), c (8), integers `at` and booleans `mask`
UFUNCS = (
    "x + y", "x * 2.0", "x + b", "x > 0", "np.tanh(x)", "x.__iadd__(y)", "np.add(x, y, out=x)", "x @ y.T",
    "np.vecdot(x, y)", "x.sum(0)", "x.max(1, keepdims=True)", "np.add.accumulate(x)", "np.multiply.outer(c, b)",
    "np.add.reduceat(x, at)", "np.add.at(x, at, 1.0)", "np.add(x, y, out=x, where=mask)",
)  # fmt: skip
FUNCTIONS = (
    "np.clip(x, 0, 1)", "x.mean(0)", "x.var(0)", "np.dot(x, y.T)", "np.where(mask, x, 0)", "np.concatenate([x, y])",
    "np.stack([x, y])", "np.einsum('ij,kj->ik', x, y)", "x.take(at)", "x.cumsum(0)", "np.sort(x)",
)  # fmt: skip
ACCESSES = ("x[1, 2]", "x[1:3]", "x.__setitem__((1, 2), 0.5)", "x.T")


def made(size: int, id: str) -> Workspace:
    return Workspace(WorkspaceConfiguration(initial_size=size, policy_learning="NONE"), id)


def scopes_and_creation() -> None:
    print("\nScopes and creation, us")
    workspace = made(MIB, "SCOPES")

    def enter_and_exit() -> None:
        with workspace:
            pass

    def enter_create_and_exit() -> None:
        with workspace:
            for _ in range(100):
                workspace.create((8, 16))

    def enter_create_uninitialized_and_exit() -> None:
        with workspace:
            for _ in range(100):
                workspace.create_uninitialized((8, 16))

    def zeros() -> None:
        for _ in range(100):
            np.zeros((8, 16), np.float32)

    ways = {"scope": enter_and_exit, "zeros": zeros}
    ways |= {"create": enter_create_and_exit, "uninitialized": enter_create_uninitialized_and_exit}
    timings = side_by_side(ways, calls=200)
    scope, create = timings["scope"].shortest * 1e6, timings["create"].shortest * 1e4
    print(f"  enter and exit                {scope:6.2f}")
    print(f"  workspace.create              {create:6.2f}   {verdict(create, CREATE_LIMIT)}")
    print(f"  .create_uninitialized         {timings['uninitialized'].shortest * 1e4:6.2f}")
    print(f"  np.zeros                      {timings['zeros'].shortest * 1e4:6.2f}")


def verdict(value: float, limit: float) -> str:
    return f"{'within' if value <= limit else 'OVER'} the limit of {limit:g}"


def operands() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"x": (8, 16), "y": (8, 16), "b": (16,), "c": (8,)}
    arrays = {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    return arrays | {"at": np.array([0, 2]), "mask": arrays["x"] > 0.5}


def checked_operations(title: str, expressions: tuple[str, ...], limit: float | None = None) -> None:
    print(f"\n{title + ', us':<37}{'plain':>9} {'attached':>9} {'more':>6}")
    with made(MIB, "OPERANDS"):
        plain = operands()
        attached = {name: nd.array(array) for name, array in plain.items()}
        for expression in expressions:
            function = eval(f"lambda {', '.join(plain)}: {expression}")
            times = [us * 1e6 for us in seconds_a_call(function, plain, attached)]
            more = times[1] - times[0]
            remark = verdict(more, limit) if limit else ""
            print(f"  {expression:<34} {times[0]:9.2f} {times[1]:9.2f} {more:6.2f}   {remark}")


def seconds_a_call(function: Callable[..., object], *kinds: dict[str, np.ndarray]) -> list[float]:
    """Time a function of each kind of operands in turn; one scope serves 200 calls."""
    workspace = made(4 * MIB, "RESULTS")

    def calls(arrays: list[np.ndarray]) -> None:
        with workspace:
            for _ in range(200):
                function(*arrays)

    ways = {str(i): partial(calls, list(arrays.values())) for i, arrays in enumerate(kinds)}
    return [timing.shortest / 200 for timing in side_by_side(ways, calls=3, blocks=25).values()]


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if importlib.util.find_spec("resource") else 0


def compared(title: str, ways: dict[str, Callable[[], object]]) -> None:
    """Print the time and the page faults of each way; the first is ordinary NumPy."""
    timings = side_by_side(ways, calls=CYCLES)
    print(f"\n{title}\n  {'':<38} {'ms':>8} {'ratio':>7} {'page faults a cycle':>20}")
    first = next(iter(timings.values())).median
    for name, way in ways.items():
        before = faults()
        for _ in range(CYCLES):
            way()
        taken = (faults() - before) / CYCLES
        print(f"  {name:<38} {timings[name].median * 1e3:8.2f} {first / timings[name].median:7.2f} {taken:20.1f}")


def results_that_stay() -> None:
    plain = np.random.default_rng(0).random(ELEMENTS, dtype=np.float32)
    workspace, operands = made(RESULTS * MIB, "STAY"), made(MIB, "X")

    def ordinary() -> None:
        results = [plain * float(factor) for factor in range(RESULTS)]
        del results

    def in_workspace() -> None:
        with workspace:
            [x * float(factor) for factor in range(RESULTS)]

    with operands:
        x = nd.array(plain)
        title = f"(a) {RESULTS} results of 1 MB that stay alive to the end of the cycle"
        compared(title, {"ordinary NumPy": ordinary, "workspace": in_workspace})


def results_that_die() -> None:
    plain = np.random.default_rng(0).random(ELEMENTS, dtype=np.float32)
    workspace, operands = made((RESULTS + 2) * MIB, "CHAIN"), made(MIB, "X")

    def ordinary() -> None:
        y = plain
        for _ in range(RESULTS):
            y = y * 0.5

    def in_workspace() -> None:
        with workspace:
            y = x
            for _ in range(RESULTS):
                y = y * 0.5

    def with_scratch() -> None:
        with workspace:
            y = x * 0.5
            for _ in range(RESULTS // 2):
                with workspace.scratch():
                    np.multiply(y * 0.5, 0.5, out=y)

    def with_out() -> None:
        with workspace:
            y = x * 0.5
            for _ in range(RESULTS - 1):
                np.multiply(y, 0.5, out=y)

    ways = {"ordinary NumPy": ordinary, "workspace": in_workspace}
    if hasattr(workspace, "scratch"):
        ways["workspace, with ws.scratch()"] = with_scratch
    ways["workspace, with out="] = with_out
    with operands:
        x = nd.array(plain)
        compared(f"(b) the same work as a chain of {RESULTS}, each result dropped for the next", ways)


def resident() -> int:
    """Return the bytes of physical memory of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


@contextmanager
def reported(what: str, rounds: int) -> Iterator[None]:
    gc.collect()
    before, start = resident(), time.perf_counter()
    yield
    taken = (time.perf_counter() - start) / rounds
    print(f"  {what:<38} {taken * 1e3:8.3f} ms a round, RSS {before / MIB:.1f} -> {resident() / MIB:.1f} MiB")


def large_workspaces() -> None:
    print("\n(c) a workspace of 1 GB, created and destroyed 100 times")
    for what, touched in (("nothing written", 0), ("64 MiB written", 64 * MIB)):
        with reported(what, 100):
            for _ in range(100):
                workspace = made(GIB, "LARGE")
                with workspace:
                    workspace.create(touched, np.uint8)
                workspace.destroy()


def main() -> None:
    print(describe_machine())
    with blas_threads(1):
        scopes_and_creation()
        checked_operations("Ufuncs", UFUNCS, CHECK_LIMIT)
        checked_operations("Functions and methods", FUNCTIONS)
        checked_operations("Elements and views", ACCESSES)
        for state in ("a process that has freed no large array yet", "a process that has freed one of 31 MB"):
            print(f"\nIn {state}:")
            results_that_stay()
            results_that_die()
            np.ones(31 * MIB, np.uint8)
        large_workspaces()


if __name__ == "__main__":
    main()
