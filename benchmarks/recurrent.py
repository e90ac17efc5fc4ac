"""Two LSTM of 200 over 77 symbols beside PyTorch eager, in one run: training, inference, single steps, and memory.

    python benchmarks/recurrent.py [--threads 1] [--only PyTorch]

A training step and inference have 50 time steps at batch 32; a single step is one symbol at batch 1 whose state is
carried on. PyTorch's single step is the faster of `nn.LSTM` called on one step and a chain of `nn.LSTMCell`. Needs the
extra "bench". Ratios below 1 mean that minidl is faster. Both libraries get the same number of threads. Memory is what
a process grows by while it trains, in a process of its own for each library. `--only PyTorch` leaves minidl out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from timing import Timing, describe_machine, report, side_by_side

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration, layers
from minidl.threads import blas_threads, current_blas_threads
from minidl.training import Adam

SYMBOLS, UNITS, LAYERS, TIME, BATCH = 77, 200, 2, 50, 32
NAME = f"{LAYERS} LSTM of {UNITS}"
STEP = f"{NAME}, batch 1, one time step"
PYTORCH_STEPS = ("nn.LSTM", "nn.LSTMCell")
LIBRARIES = ("minidl", "PyTorch")
WARM_STEPS, MEASURED_STEPS = 3, 20
MEGABYTE = 1 << 20

Calls = dict[str, Callable[[], object]]


def symbols() -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of the inputs and of the labels, as (time, batch)."""
    rng = np.random.default_rng(0)
    return rng.integers(0, SYMBOLS, (TIME, BATCH)), rng.integers(0, SYMBOLS, (TIME, BATCH))


def one_hot(classes: np.ndarray) -> np.ndarray:
    return np.eye(SYMBOLS, dtype=np.float32)[classes]


def minidl_network() -> MultiLayerNetwork:
    configuration = NeuralNetConfiguration(seed=1, updater=Adam(1e-3)).list(
        *(layers.LSTM(n_out=UNITS, activation="tanh", gate_activation="sigmoid") for _ in range(LAYERS)),
        layers.RnnOutputLayer(n_out=SYMBOLS, activation="softmax", loss="mcxent"),
        input_type=InputType.recurrent(SYMBOLS),
    )
    return MultiLayerNetwork(configuration).init()


def minidl_calls() -> Calls:
    network = minidl_network()
    x, y = (np.ascontiguousarray(one_hot(classes).transpose(1, 2, 0)) for classes in symbols())
    dataset, out = DataSet(x, y), np.empty((BATCH, SYMBOLS, TIME), np.float32)
    return {"training step": lambda: network.fit(dataset), "inference": lambda: network.output(x, out=out)}


def minidl_step() -> Callable[[], object]:
    network, x, out = minidl_network(), one_hot(np.array([5])), np.empty((1, SYMBOLS), np.float32)
    return lambda: network.rnn_time_step(x, out=out)


def torch_calls() -> Calls:
    import torch  # only here: a process that measures minidl's memory must not load it

    lstm, last = torch.nn.LSTM(SYMBOLS, UNITS, num_layers=LAYERS), torch.nn.Linear(UNITS, SYMBOLS)
    parameters = [*lstm.parameters(), *last.parameters()]
    optimizer, loss = torch.optim.Adam(parameters, 1e-3), torch.nn.CrossEntropyLoss()
    inputs, labels = symbols()
    x, classes = torch.from_numpy(one_hot(inputs)), torch.from_numpy(labels.reshape(-1))

    def step() -> None:
        optimizer.zero_grad()
        loss(last(lstm(x)[0]).view(-1, SYMBOLS), classes).backward()
        optimizer.step()

    def infer() -> None:
        with torch.inference_mode():
            torch.softmax(last(lstm(x)[0]), dim=2)

    return {"training step": step, "inference": infer}


def torch_steps() -> Calls:
    import torch

    lstm, last = torch.nn.LSTM(SYMBOLS, UNITS, num_layers=LAYERS), torch.nn.Linear(UNITS, SYMBOLS)
    cells = [torch.nn.LSTMCell(n_in, UNITS) for n_in in (SYMBOLS, *[UNITS] * (LAYERS - 1))]
    x = torch.from_numpy(one_hot(np.array([5])))
    state = (torch.zeros(LAYERS, UNITS), torch.zeros(LAYERS, UNITS))
    states = [(torch.zeros(1, UNITS), torch.zeros(1, UNITS)) for _ in cells]

    def lstm_step() -> None:
        nonlocal state
        with torch.inference_mode():
            h, state = lstm(x, state)  # without a batch axis, so x is one time step
            torch.softmax(last(h), dim=1)

    def cell_step() -> None:
        with torch.inference_mode():
            h = x
            for index, cell in enumerate(cells):
                states[index] = cell(h, states[index])
                h = states[index][0]
            torch.softmax(last(h), dim=1)

    return dict(zip(PYTORCH_STEPS, (lstm_step, cell_step), strict=True))


def report_alone(what: str, timing: Timing, unit: str, scale: float) -> None:
    print(
        f"{what:<43} {'':9} {'':9} {timing.median * scale:9.3f} {timing.shortest * scale:9.3f} {unit}   "
        f"CPUs {timing.cpus:.2f}"
    )


def compare_times(threads: int, libraries: tuple[str, ...]) -> None:
    import torch

    torch.set_num_threads(threads)
    with blas_threads(threads):
        print(
            f"{describe_machine()}, PyTorch {torch.__version__}\n"
            f"BLAS threads of minidl: {current_blas_threads()}, threads of PyTorch: {torch.get_num_threads()}\n"
            f"{'':<43} {'minidl':>9} {'shortest':>9} {'PyTorch':>9} {'shortest':>9}"
        )
        whole = {"minidl": minidl_calls, "PyTorch": torch_calls}
        made = {library: whole[library]() for library in libraries}
        for what, calls in (("training step", 3), ("inference", 10)):
            ways = {library: made[library][what] for library in libraries}
            timings, name = side_by_side(ways, calls=calls), f"{NAME}, batch {BATCH}, {what}"
            if "minidl" in timings:
                report(name, timings, "ms", 1e3)
            else:
                report_alone(name, timings["PyTorch"], "ms", 1e3)

        ways = torch_steps() | ({"minidl": minidl_step()} if "minidl" in libraries else {})
        timings = side_by_side(ways, calls=500)
        for way in PYTORCH_STEPS:
            report_alone(f"{STEP}, {way}", timings[way], "us", 1e6)
        if "minidl" in timings:
            timings["PyTorch"] = min((timings[way] for way in PYTORCH_STEPS), key=lambda timing: timing.shortest)
            report(STEP, timings, "us", 1e6)


def peak_bytes() -> int:
    """Return the most memory that this process ever had resident; rusage would count its parent's as well."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure_memory(library: str) -> None:
    """Print, as JSON, the peak of this process before and after training, which it does and nothing else."""
    if library == "PyTorch":
        import torch

        torch.set_num_threads(1)
    before = peak_bytes()
    step = (minidl_calls if library == "minidl" else torch_calls)()["training step"]
    with blas_threads(1):
        for _ in range(WARM_STEPS + MEASURED_STEPS):
            step()
    print(json.dumps([before, peak_bytes()]))


def compare_memory(libraries: tuple[str, ...]) -> None:
    columns = " ".join(f"{library:>9} {'training':>9}" for library in libraries)
    print(f"\n{'peak of resident memory, MB':<43} {columns}")
    row = f"{f'{NAME}, batch {BATCH}':<43}"
    for library in libraries:
        command = [sys.executable, __file__, "--measure-memory", library]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        before, after = json.loads(run.stdout)
        row += f" {after / MEGABYTE:9.1f} {(after - before) / MEGABYTE:9.1f}"
    if "minidl" in libraries:
        memory = minidl_network().memory_report(BATCH, timesteps=TIME)
        row += (
            f"   workspaces {memory.workspace_bytes / MEGABYTE:.2f}, liveness bound "
            f"{memory.liveness_bound / MEGABYTE:.2f} ({memory.workspace_bytes / memory.liveness_bound:.2f} x)"
        )
    print(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads of minidl and threads of PyTorch (1)")
    parser.add_argument("--only", choices=("PyTorch",), help="leave minidl out")
    parser.add_argument("--measure-memory", metavar="LIBRARY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_memory:
        measure_memory(options.measure_memory)
        return
    libraries = (options.only,) if options.only else LIBRARIES
    compare_times(options.threads, libraries)
    compare_memory(libraries)


if __name__ == "__main__":
    main()
