"""Dense networks beside PyTorch eager, in one run: a training step of 784-500-100-10, inference of 20-64-10 at batch 1.

    python benchmarks/dense.py [--threads 2]

Needs the extra "bench". Ratios below 1 mean that minidl is faster. Both libraries get the same number of threads.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import numpy as np
import torch
from timing import print_heading, report, side_by_side

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.layers import DenseLayer, OutputLayer
from minidl.threads import blas_threads
from minidl.training import Adam

TRAINING_WIDTHS, INFERENCE_WIDTHS = (784, 500, 100, 10), (20, 64, 10)


def minidl_network(widths: tuple[int, ...]) -> MultiLayerNetwork:
    hidden = [DenseLayer(n_out=width, activation="relu") for width in widths[1:-1]]
    last = OutputLayer(n_out=widths[-1], activation="softmax", loss="mcxent")
    configuration = NeuralNetConfiguration(seed=1, updater=Adam(1e-3)).list(
        *hidden, last, input_type=InputType.feed_forward(widths[0])
    )
    return MultiLayerNetwork(configuration).init()


def torch_network(widths: tuple[int, ...]) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def training_steps(batch: int) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    x = rng.random((batch, TRAINING_WIDTHS[0]), dtype=np.float32)
    classes = rng.integers(0, TRAINING_WIDTHS[-1], batch)
    network = minidl_network(TRAINING_WIDTHS)
    data = DataSet(x, np.eye(TRAINING_WIDTHS[-1], dtype=np.float32)[classes])

    model = torch_network(TRAINING_WIDTHS)
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), torch.nn.CrossEntropyLoss()
    torch_x, torch_y = torch.from_numpy(x), torch.from_numpy(classes)

    def torch_step() -> None:
        optimizer.zero_grad()
        loss(model(torch_x), torch_y).backward()
        optimizer.step()

    return {"minidl": lambda: network.fit(data), "PyTorch": torch_step}


def inference_calls() -> dict[str, Callable[[], object]]:
    x = np.random.default_rng(0).random((1, INFERENCE_WIDTHS[0]), dtype=np.float32)
    network, out = minidl_network(INFERENCE_WIDTHS), np.empty((1, INFERENCE_WIDTHS[-1]), np.float32)
    model, torch_x = torch_network(INFERENCE_WIDTHS).append(torch.nn.Softmax(dim=1)), torch.from_numpy(x)

    def torch_call() -> None:
        with torch.inference_mode():
            model(torch_x)

    return {"minidl": lambda: network.output(x, out=out), "PyTorch": torch_call}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="BLAS threads of minidl and threads of PyTorch (2)")
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    with blas_threads(threads):
        print_heading()
        for batch, calls in ((16, 40), (128, 20), (1024, 6)):
            name = f"{'-'.join(map(str, TRAINING_WIDTHS))}, batch {batch}"
            report(name, side_by_side(training_steps(batch), calls=calls), "ms", 1e3)
        report("20-64-10, batch 1", side_by_side(inference_calls(), calls=2000), "us", 1e6)


if __name__ == "__main__":
    main()
