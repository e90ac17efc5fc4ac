"""Two LSTM of 200 over 77 symbols beside PyTorch eager, in one run: training, inference, single steps, and memory.

    python benchmarks/recurrent.py [--threads 1] [--only PyTorch]

A training step and inference have 50 time steps at batch 32; a single step is one symbol at batch 1 whose state is
carried on. PyTorch's single step is the faster of `nn.LSTM` called on one step and a chain of `nn.LSTMCell`. Needs the
extra "bench". Ratios below 1 mean that minidl is faster. Both libraries get the same number of threads. Memory is what
a process grows by while it trains, in a process of its own for each library. `--only PyTorch` leaves minidl out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import memory
import numpy as np
from timing import Timing, print_heading, report, side_by_side

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration, layers
from minidl.threads import blas_threads
from minidl.training import Adam

SYMBOLS, UNITS, LAYERS, TIME, BATCH = 77, 200, 2, 50, 32
NAME = f"{LAYERS} LSTM of {UNITS}"
STEP = f"{NAME}, batch 1, one time step"
PYTORCH_STEPS = ("nn.LSTM", "nn.LSTMCell")
LIBRARIES = ("minidl", "PyTorch")

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
        print_heading()
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


def compare_memory(libraries: tuple[str, ...]) -> None:
    memory.heading(libraries)
    report_before = minidl_network().memory_report(BATCH, timesteps=TIME) if "minidl" in libraries else None
    memory.compare(f"{NAME}, batch {BATCH}", __file__, libraries, (), report_before)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads of minidl and threads of PyTorch (1)")
    parser.add_argument("--only", choices=("PyTorch",), help="leave minidl out")
    parser.add_argument("--measure-memory", metavar="LIBRARY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_memory:
        calls = minidl_calls if options.measure_memory == "minidl" else torch_calls
        memory.measure(options.measure_memory, lambda: calls()["training step"])
        return
    libraries = (options.only,) if options.only else LIBRARIES
    compare_times(options.threads, libraries)
    compare_memory(libraries)


if __name__ == "__main__":
    main()
