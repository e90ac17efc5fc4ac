"""The memory that a process grows by while it trains, measured in a process of its own for each library."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from minidl.memory_report import MemoryReport
from minidl.threads import blas_threads

WARM_STEPS, MEASURED_STEPS = 3, 20
MEGABYTE = 1 << 20


def peak_bytes() -> int:
    """Return the most memory that this process ever had resident; rusage would count its parent's as well."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(library: str, make_step: Callable[[], Callable[[], object]]) -> None:
    """Print, as JSON, the peak of this process before and after training, which it does and nothing else."""
    if library == "PyTorch":
        import torch  # only here: a process that measures minidl's memory must not load it

        torch.set_num_threads(1)
    before = peak_bytes()
    step = make_step()
    with blas_threads(1):
        for _ in range(WARM_STEPS + MEASURED_STEPS):
            step()
    print(json.dumps([before, peak_bytes()]))


def heading(libraries: Sequence[str]) -> None:
    """Print what stands above the lines of ``compare``."""
    columns = " ".join(f"{library:>9} {'training':>9}" for library in libraries)
    print(f"\n{'peak of resident memory, MB':<43} {columns}")


def compare(name: str, script: str, libraries: Sequence[str], case: Sequence[str], memory: MemoryReport | None) -> None:
    """Print one line: the peak of a process of ``script`` for each library, and what minidl's report said before."""
    row = f"{name:<43}"
    for library in libraries:
        command = [sys.executable, script, "--measure-memory", library, *case]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        before, after = json.loads(run.stdout)
        row += f" {after / MEGABYTE:9.1f} {(after - before) / MEGABYTE:9.1f}"
    if memory is not None:
        row += (
            f"   workspaces {memory.workspace_bytes / MEGABYTE:.2f}, liveness bound "
            f"{memory.liveness_bound / MEGABYTE:.2f} ({memory.workspace_bytes / memory.liveness_bound:.2f} x)"
        )
    print(row)
