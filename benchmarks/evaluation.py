"""What evaluation costs: beside scikit-learn, beside the output of LeNet, and in memory; in one run.

    python benchmarks/evaluation.py [--batches 10000]

First microseconds for a warm batch of 128 examples and 10 classes, beside scikit-learn's `confusion_matrix` and
`roc_auc_score` for the same batch. Then the memory that `--batches` such batches take after the first: what Python
traces, and how the process grows. Then the share of evaluation in `do_evaluation` of
LeNet with 28 x 28 pixels, one BLAS thread. Shortest times, medians in brackets. Needs the extra "test".
"""

from __future__ import annotations

import argparse
import gc
import tracemalloc
import warnings

import numpy as np
import psutil
from sklearn.metrics import confusion_matrix, roc_auc_score
from timing import Timing, describe_machine, side_by_side

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl import eval as evaluations
from minidl.layers import ConvolutionLayer, DenseLayer, OutputLayer, SubsamplingLayer
from minidl.threads import blas_threads

BATCH, CLASSES = 128, 10
MANY = 10**7  # examples for which the timed exact ROC has room


def batch(examples: int = BATCH) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class indices, one-hot labels and probabilities, float32."""
    rng = np.random.default_rng(0)
    indices = np.append(np.arange(CLASSES), rng.integers(0, CLASSES, examples - CLASSES))  # every class occurs
    scores = np.exp(rng.standard_normal((examples, CLASSES), np.float32))
    return indices, np.eye(CLASSES, dtype=np.float32)[indices], scores / scores.sum(axis=1, keepdims=True)


def all_evaluations(expected: int) -> dict[str, evaluations.BaseEvaluation]:
    return {
        "Evaluation": evaluations.Evaluation(),
        "ROCMultiClass, exact": evaluations.ROCMultiClass(expected_examples=expected),
        "ROCMultiClass, 200 thresholds": evaluations.ROCMultiClass(200),
        "ROCBinary, exact": evaluations.ROCBinary(expected_examples=expected),
        "EvaluationBinary": evaluations.EvaluationBinary(),
        "EvaluationCalibration": evaluations.EvaluationCalibration(),
        "RegressionEvaluation": evaluations.RegressionEvaluation(),
    }


def microseconds(timing: Timing) -> str:
    return f"{timing.shortest * 1e6:9.1f} ({timing.median * 1e6:.1f}) us"


def beside_scikit_learn() -> None:
    indices, labels, probabilities = batch()
    named = all_evaluations(MANY)
    pair = named["Evaluation"], named["ROCMultiClass, exact"]

    def minidl() -> None:
        for evaluation in pair:
            evaluation.eval(labels, probabilities)

    def scikit_learn() -> None:
        confusion_matrix(indices, probabilities.argmax(axis=1))
        roc_auc_score(indices, probabilities, multi_class="ovr")

    both = side_by_side({"minidl": minidl, "scikit-learn": scikit_learn}, calls=20)
    ratio = both["scikit-learn"].shortest / both["minidl"].shortest
    print(f"\nA batch of {BATCH} x {CLASSES}: confusion matrix and exact ROC of every class")
    for name, timing in both.items():
        print(f"  {name:<32}{microseconds(timing)}")
    print(f"  {'minidl is faster by':<32}{ratio:9.0f}")
    for name, timing in side_by_side(
        {n: lambda e=e: e.eval(labels, probabilities) for n, e in named.items()}, calls=20
    ).items():
        print(f"  {name:<32}{microseconds(timing)}")


def memory(batches: int) -> None:
    _, labels, probabilities = batch()
    print(f"\n{batches} batches of {BATCH} x {CLASSES}: bytes after the first batch")
    process = psutil.Process()
    for name, evaluation in all_evaluations(batches * BATCH).items():
        for _ in range(20):  # Python keeps large numbers for the counts by then
            evaluation.eval(labels, probabilities)
        evaluation.reset()
        evaluation.eval(labels, probabilities)
        gc.collect()
        before = process.memory_info().rss
        for _ in range(batches - 3):
            evaluation.eval(labels, probabilities)
        grown = process.memory_info().rss - before
        tracemalloc.start()
        evaluation.eval(labels, probabilities)
        tracemalloc.reset_peak()
        start, _ = tracemalloc.get_traced_memory()
        evaluation.eval(labels, probabilities)
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"  {name:<32}process +{grown:>11,}   a batch keeps {kept - start:>5,}, its peak {peak - start:>6,}")
    expected, size = batches * BATCH, 5 * CLASSES  # bytes
    print(f"  exact ROC has room for {expected:,} examples of {size} bytes from the first batch: {expected * size:,}")


def lenet() -> MultiLayerNetwork:
    configuration = NeuralNetConfiguration(seed=1).list(
        ConvolutionLayer(n_out=20, kernel_size=(5, 5), activation="relu"),
        SubsamplingLayer(pooling_type="max", kernel_size=(2, 2), stride=(2, 2)),
        ConvolutionLayer(n_out=50, kernel_size=(5, 5), activation="relu"),
        SubsamplingLayer(pooling_type="max", kernel_size=(2, 2), stride=(2, 2)),
        DenseLayer(n_out=500, activation="relu"),
        OutputLayer(n_out=CLASSES, activation="softmax", loss="mcxent"),
        input_type=InputType.convolutional(28, 28, 1),
    )
    return MultiLayerNetwork(configuration).init()


def share_of_lenet(examples: int) -> None:
    network, (_, labels, _) = lenet(), batch(examples)
    x = np.random.default_rng(1).standard_normal((examples, 1, 28, 28), np.float32)
    out, data, named = np.empty((examples, CLASSES), np.float32), DataSet(x, labels), all_evaluations(MANY)
    ways = {"output": lambda: network.output(x, out=out)}
    sets = {
        "Evaluation": [named["Evaluation"]],
        "Evaluation and exact ROC": [named["Evaluation"], named["ROCMultiClass, exact"]],
        "all seven": list(named.values()),
    }
    for name, chosen in sets.items():
        ways[name] = lambda chosen=chosen: [evaluation.eval(labels, out) for evaluation in chosen]
        ways[f"do_evaluation, {name}"] = lambda chosen=chosen: network.do_evaluation(data, *chosen)
    timings = side_by_side(ways, calls=5)
    print(f"\nLeNet, batch {examples}: evaluation as a share of output")
    for name, timing in timings.items():
        share = timing.shortest / timings["output"].shortest
        print(f"  {name:<40}{microseconds(timing)}   {100 * share:6.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description="What evaluation costs.")
    parser.add_argument("--batches", type=int, default=10_000)
    batches = parser.parse_args().batches
    warnings.simplefilter("error")
    print(describe_machine())
    with blas_threads(1):
        beside_scikit_learn()
        memory(batches)
        for examples in (16, 64, 256):
            share_of_lenet(examples)


if __name__ == "__main__":
    main()
