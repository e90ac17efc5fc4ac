"""``python -m minidl``: train on the bundled handwritten digits, and show what came out and what it took."""

from __future__ import annotations

import argparse
import time

from .check import allocated_bytes
from .configuration import NeuralNetConfiguration
from .data import DataSet, DigitsDataSetIterator
from .eval import Evaluation, ROCMultiClass
from .inputs import InputType
from .layers import DenseLayer, OutputLayer
from .network import MultiLayerNetwork
from .training import Adam
from .workspaces import WorkspaceMode

BATCH_SIZE = 64
REPEATS = 200


def main() -> None:
    """Train, evaluate, report."""
    parser = argparse.ArgumentParser(prog="python -m minidl", description=__doc__.partition(": ")[2])
    parser.add_argument("--epochs", type=int, default=30, help="passes over the 1437 training digits (30)")
    epochs = parser.parse_args().epochs
    if epochs < 1:
        parser.error(f"--epochs {epochs}: at least 1 is needed")

    network = digits_network(WorkspaceMode.ENABLED)
    print(network.summary(), end="\n\n")
    network.fit(DigitsDataSetIterator(BATCH_SIZE, seed=1), epochs=epochs, progress=True)

    test = DigitsDataSetIterator(BATCH_SIZE, train=False, shuffle=False)
    evaluation, roc = Evaluation(), ROCMultiClass()
    network.do_evaluation(test, evaluation, roc)
    print(evaluation.stats())
    print("ROC AUC of each digit: " + "  ".join(f"{digit}: {roc.calculate_auc(digit):.4f}" for digit in range(10)))
    print(f"\n{network.memory_report(BATCH_SIZE)}\n")
    print(compare_modes())


def digits_network(mode: WorkspaceMode) -> MultiLayerNetwork:
    """Return an untrained network 64-100-10."""
    configuration = NeuralNetConfiguration(
        seed=123,
        updater=Adam(3e-3),
        l2=1e-4,
        training_workspace_mode=mode,
        inference_workspace_mode=mode,
    ).list(
        DenseLayer(n_out=100, activation="relu"),
        OutputLayer(n_out=10, activation="softmax", loss="mcxent"),
        input_type=InputType.feed_forward(64),
    )
    return MultiLayerNetwork(configuration).init()


def compare_modes() -> str:
    """Return one line: time and newly allocated memory of a training iteration in mode NONE and in mode ENABLED."""
    batch = next(iter(DigitsDataSetIterator(BATCH_SIZE, seed=1)))
    figures = {
        mode: measure_iteration(digits_network(mode), batch) for mode in (WorkspaceMode.NONE, WorkspaceMode.ENABLED)
    }
    described = "; ".join(
        f"{mode.name} {seconds * 1e6:.0f} us and {allocated:,} bytes" for mode, (seconds, allocated) in figures.items()
    )
    return f"One training iteration, time and peak of newly allocated memory: {described}"


def measure_iteration(network: MultiLayerNetwork, batch: DataSet) -> tuple[float, int]:
    """Return the shortest time of a warm iteration in seconds, and what one adds to the peak of memory, in bytes."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        network.fit(batch)
        times.append(time.perf_counter() - start)
    return min(times), allocated_bytes(lambda: network.fit(batch))


if __name__ == "__main__":
    main()
