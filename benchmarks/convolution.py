"""Convolutional networks beside PyTorch eager, in one run: a training step, inference, and the peak of memory.

    python benchmarks/convolution.py [--threads 1]

LeNet on 28 x 28 (20 and 50 maps of 5 x 5, 500 hidden) at batch 16, 64, 256, and three blocks of a 3 x 3 convolution,
batch normalisation, ReLU and pooling (32, 64, 128 maps) on 32 x 32 x 3 at batch 32. Needs the extra "bench". Ratios
below 1 mean that minidl is faster. Both libraries get the same number of threads. Memory is what a process grows by
while it trains, in a process of its own for each library.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import memory
import numpy as np
from timing import print_heading, report, side_by_side

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.layers import (
    ActivationLayer,
    BatchNormalization,
    ConvolutionLayer,
    DenseLayer,
    Layer,
    OutputLayer,
    SubsamplingLayer,
)
from minidl.threads import blas_threads
from minidl.training import Adam

LENET, BLOCKS = "LeNet 28x28", "3 blocks 32x32x3"
SHAPES = {LENET: (1, 28, 28), BLOCKS: (3, 32, 32)}
CASES = [(LENET, 16, 20), (LENET, 64, 8), (LENET, 256, 3), (BLOCKS, 32, 5)]
MAPS = (32, 64, 128)


def minidl_network(name: str) -> MultiLayerNetwork:
    layers: list[Layer] = []
    if name == LENET:
        for maps in (20, 50):
            layers += [ConvolutionLayer(n_out=maps, kernel_size=5), SubsamplingLayer()]
        layers.append(DenseLayer(n_out=500, activation="relu"))
    else:
        for maps in MAPS:
            layers += [
                ConvolutionLayer(n_out=maps, kernel_size=3, convolution_mode="same"),
                BatchNormalization(),
                ActivationLayer("relu"),
                SubsamplingLayer(),
            ]
    channels, height, width = SHAPES[name]
    configuration = NeuralNetConfiguration(seed=1, updater=Adam(1e-3)).list(
        *layers,
        OutputLayer(n_out=10, activation="softmax", loss="mcxent"),
        input_type=InputType.convolutional(height, width, channels),
    )
    return MultiLayerNetwork(configuration).init()


def data(name: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((batch, *SHAPES[name]), dtype=np.float32), rng.integers(0, 10, batch)


def minidl_calls(name: str, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    x, classes = data(name, batch)
    network, out = minidl_network(name), np.empty((batch, 10), np.float32)
    dataset = DataSet(x, np.eye(10, dtype=np.float32)[classes])
    return lambda: network.fit(dataset), lambda: network.output(x, out=out)


def torch_calls(name: str, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    import torch  # only here: a process that measures minidl's memory must not load it

    layers: list[torch.nn.Module] = []
    if name == LENET:
        layers += [torch.nn.Conv2d(1, 20, 5), torch.nn.MaxPool2d(2), torch.nn.Conv2d(20, 50, 5), torch.nn.MaxPool2d(2)]
        layers += [torch.nn.Flatten(), torch.nn.Linear(800, 500), torch.nn.ReLU(), torch.nn.Linear(500, 10)]
    else:
        for n_in, n_out in zip((3, *MAPS), MAPS, strict=False):
            convolution = torch.nn.Conv2d(n_in, n_out, 3, padding=1)
            layers += [convolution, torch.nn.BatchNorm2d(n_out), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        layers += [torch.nn.Flatten(), torch.nn.Linear(MAPS[-1] * 16, 10)]
    model = torch.nn.Sequential(*layers)
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), torch.nn.CrossEntropyLoss()
    x, classes = map(torch.from_numpy, data(name, batch))

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        loss(model(x), classes).backward()
        optimizer.step()

    def infer() -> None:
        model.eval()
        with torch.inference_mode():
            torch.softmax(model(x), dim=1)

    return step, infer


def compare_times(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    with blas_threads(threads):
        print_heading()
        for name, batch, calls in CASES:
            own, other = minidl_calls(name, batch), torch_calls(name, batch)
            for index, what in enumerate(("training step", "inference")):
                ways = {"minidl": own[index], "PyTorch": other[index]}
                report(f"{name}, batch {batch}, {what}", side_by_side(ways, calls=calls), "ms", 1e3)


def compare_memory() -> None:
    memory.heading(("minidl", "PyTorch"))
    for name, batch, _ in CASES:
        report_before = minidl_network(name).memory_report(batch)
        case = (name, str(batch))
        memory.compare(f"{name}, batch {batch}", __file__, ("minidl", "PyTorch"), case, report_before)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads of minidl and threads of PyTorch (1)")
    parser.add_argument("--measure-memory", nargs=3, metavar=("LIBRARY", "NETWORK", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_memory:
        library, name, batch = options.measure_memory
        calls = minidl_calls if library == "minidl" else torch_calls
        memory.measure(library, lambda: calls(name, int(batch))[0])
        return
    compare_times(options.threads)
    compare_memory()


if __name__ == "__main__":
    main()
