"""Timing two or more ways of doing the same work side by side, in one run."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from minidl.threads import current_blas_threads

WARM_UP_SECONDS = 0.3


@dataclass(frozen=True)
class Timing:
    """Seconds per call over all blocks, and the CPUs that were busy meanwhile."""

    shortest: float
    median: float
    cpus: float


def side_by_side(ways: Mapping[str, Callable[[], object]], *, calls: int, blocks: int = 15) -> dict[str, Timing]:
    """Time every way in turn, block by block, so that what else the machine does hits all of them alike."""
    for way in ways.values():
        end = time.perf_counter() + WARM_UP_SECONDS
        while time.perf_counter() < end:
            way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(blocks):
        for name, way in ways.items():
            time.sleep(0.02)  # let the threads of the way before fall asleep
            start, start_cpu = time.perf_counter(), time.process_time()
            for _ in range(calls):
                way()
            elapsed = time.perf_counter() - start
            seconds[name].append(elapsed / calls)
            busy[name].append((time.process_time() - start_cpu) / elapsed)
    return {
        name: Timing(min(seconds[name]), float(np.median(seconds[name])), float(np.median(busy[name]))) for name in ways
    }


def report(what: str, timings: Mapping[str, Timing], unit: str, scale: float) -> None:
    """Print one line that compares minidl with PyTorch; ratios below 1 mean that minidl is faster."""
    own, other = timings["minidl"], timings["PyTorch"]
    print(
        f"{what:<43} {own.median * scale:9.3f} {own.shortest * scale:9.3f} {other.median * scale:9.3f} "
        f"{other.shortest * scale:9.3f} {unit}   ratio {own.median / other.median:5.2f} (median) "
        f"{own.shortest / other.shortest:5.2f} (shortest)   CPUs {own.cpus:.2f} and {other.cpus:.2f}"
    )


def print_heading() -> None:
    """Print what the figures depend on, and what stands above the lines of ``report``. Needs PyTorch."""
    import torch

    print(
        f"{describe_machine()}, PyTorch {torch.__version__}\n"
        f"BLAS threads of minidl: {current_blas_threads()}, threads of PyTorch: {torch.get_num_threads()}\n"
        f"{'':<43} {'minidl':>9} {'shortest':>9} {'PyTorch':>9} {'shortest':>9}"
    )


def describe_machine() -> str:
    """Return what the figures depend on."""
    return f"Python {platform.python_version()}, NumPy {np.__version__}, {os.cpu_count()} CPUs, {platform.machine()}"
