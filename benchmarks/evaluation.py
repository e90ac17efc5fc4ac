"""What evaluation costs: beside scikit-learn, in memory, and beside the output of LeNet.

    python benchmarks/evaluation.py [--batches 10000]

Warm batches of 128 examples and 10 classes beside what scikit-learn computes for the same batch; then the memory that
`--batches` of them take, in a process of its own for each evaluation; then the share of evaluation in `do_evaluation`
of LeNet with 28 x 28 pixels at batch 64. One BLAS thread; medians and shortest times. Needs the extra "test".
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable

import numpy as np
import psutil
from timing import Timing, describe_machine, side_by_side

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl import eval as evaluations
from minidl.layers import ConvolutionLayer, DenseLayer, OutputLayer, SubsamplingLayer
from minidl.threads import blas_threads

BATCH, CLASSES = 128, 10
ROOM = 1_280_000  # examples that an exact ROC has room for
CALLS, BLOCKS = 20, 15
TRACED = 1000  # batches whose allocations are traced one by one
MEGABYTE = 1e6
EXACT, BOTH = "ROCMultiClass, exact", "Evaluation + exact ROCMultiClass"
MAKERS: dict[str, Callable[[], evaluations.BaseEvaluation]] = {
    "Evaluation": evaluations.Evaluation,
    EXACT: lambda: evaluations.ROCMultiClass(expected_examples=ROOM),
    "ROCMultiClass, 200 thresholds": lambda: evaluations.ROCMultiClass(200),
    "ROCBinary, exact": lambda: evaluations.ROCBinary(expected_examples=ROOM),
    "EvaluationBinary": evaluations.EvaluationBinary,
    "EvaluationCalibration": evaluations.EvaluationCalibration,
    "RegressionEvaluation": evaluations.RegressionEvaluation,
}


def batch(examples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class indices, one-hot labels and probabilities; every class occurs."""
    rng = np.random.default_rng(0)
    indices = np.append(np.arange(CLASSES), rng.integers(0, CLASSES, examples - CLASSES))
    scores = np.exp(rng.standard_normal((examples, CLASSES), np.float32))
    return indices, np.eye(CLASSES, dtype=np.float32)[indices], scores / scores.sum(axis=1, keepdims=True)


def scikit_learn_calls() -> dict[str, Callable[[], object]]:
    """Return what scikit-learn has for each evaluation; only here, as what measures memory must not load it."""
    from sklearn import metrics
    from sklearn.calibration import calibration_curve

    indices, labels, p = batch(BATCH)

    def regression() -> None:
        for metric in (metrics.mean_squared_error, metrics.mean_absolute_error, metrics.r2_score):
            metric(labels, p, multioutput="raw_values")

    calls: dict[str, Callable[[], object]] = {
        "Evaluation": lambda: metrics.confusion_matrix(indices, p.argmax(axis=1)),
        EXACT: lambda: metrics.roc_auc_score(indices, p, multi_class="ovr", average=None),
        "ROCBinary, exact": lambda: metrics.roc_auc_score(labels, p, average=None),
        "EvaluationBinary": lambda: metrics.multilabel_confusion_matrix(labels, p > 0.5),
        "EvaluationCalibration": lambda: [calibration_curve(labels[:, c], p[:, c], n_bins=10) for c in range(CLASSES)],
        "RegressionEvaluation": regression,
    }
    calls["ROCMultiClass, 200 thresholds"] = calls[EXACT]
    calls[BOTH] = lambda: (calls["Evaluation"](), calls[EXACT]())
    return calls


def room_for_all(makers: dict[str, Callable[[], evaluations.BaseEvaluation]]) -> dict[str, Callable[[], object]]:
    """Return calls that add a warm batch, and forget all before an exact ROC is full."""
    _, labels, p = batch(BATCH)

    def adding(evaluation: evaluations.BaseEvaluation) -> Callable[[], object]:
        left = ROOM // BATCH

        def add() -> None:
            nonlocal left
            if left == 0:
                evaluation.reset()
                left = ROOM // BATCH
            left -= 1
            evaluation.eval(labels, p)

        return add

    return {name: adding(make()) for name, make in makers.items()}


def times_of(timing: Timing) -> str:
    return f"{timing.median * 1e6:9.1f} {timing.shortest * 1e6:9.1f}"


def beside_scikit_learn() -> None:
    own, other = room_for_all(MAKERS), scikit_learn_calls()
    pair = list(room_for_all({name: MAKERS[name] for name in ("Evaluation", EXACT)}).values())
    own = {BOTH: lambda: [add() for add in pair]} | own
    print(f"\n{f'us for a batch of {BATCH} x {CLASSES}':<34}   minidl  shortest  sklearn  shortest")
    for name, call in own.items():
        timings = side_by_side({"minidl": call, "scikit-learn": other[name]}, calls=CALLS, blocks=BLOCKS)
        mine, theirs = timings["minidl"], timings["scikit-learn"]
        print(
            f"{name:<33}{times_of(mine)}{times_of(theirs)}   ratio {mine.median / theirs.median:.4f} (median) "
            f"{mine.shortest / theirs.shortest:.4f} (shortest)"
        )


def measure_memory(name: str, batches: int) -> None:
    """Print, as JSON, what this process grows by, with the first batches and after them, and what is allocated."""
    _, labels, p = batch(BATCH)
    process, make = psutil.Process(), MAKERS[name]
    gc.collect()
    resident = [process.memory_info().rss]
    evaluation = make()
    for more in (1, 9, batches - 10):
        for _ in range(more):
            evaluation.eval(labels, p)
        resident.append(process.memory_info().rss)
    evaluation.reset()
    evaluation.eval(labels, p)
    tracemalloc.start()
    evaluation.eval(labels, p)
    highest, first = 0, tracemalloc.get_traced_memory()[0]  # no list of peaks: it would be traced as well
    for _ in range(min(batches, TRACED)):
        tracemalloc.reset_peak()
        start = tracemalloc.get_traced_memory()[0]
        evaluation.eval(labels, p)
        highest = max(highest, tracemalloc.get_traced_memory()[1] - start)
    kept = tracemalloc.get_traced_memory()[0] - first
    print(json.dumps([*np.diff(resident).tolist(), highest, kept]))


def memory(batches: int) -> None:
    print(f"\nRSS of a process grows by, in MB; bytes traced in {min(batches, TRACED)} batches after the first")
    print(f"{'':<34} batch 1  2 to 10  then to {batches}   peak of a batch   kept by all")
    for name in MAKERS:
        command = [sys.executable, __file__, "--measure-memory", name, "--batches", str(batches)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        first, ten, rest, peak, kept = json.loads(run.stdout)
        print(f"{name:<34} {first / MEGABYTE:7.2f} {ten / MEGABYTE:8.2f} {rest / MEGABYTE:14.2f} {peak:17,} {kept:13,}")
    print(f"An exact ROC needs 5 bytes x {CLASSES} x {ROOM:,} examples = {5 * CLASSES * ROOM / MEGABYTE:.0f} MB.")


def lenet() -> MultiLayerNetwork:
    layers = []
    for maps in (20, 50):
        layers += [ConvolutionLayer(n_out=maps, kernel_size=5), SubsamplingLayer()]
    configuration = NeuralNetConfiguration(seed=1).list(
        *layers,
        DenseLayer(n_out=500, activation="relu"),
        OutputLayer(n_out=CLASSES, activation="softmax", loss="mcxent"),
        input_type=InputType.convolutional(28, 28, 1),
    )
    return MultiLayerNetwork(configuration).init()


def share_of_lenet(examples: int = 64) -> None:
    network, (_, labels, _) = lenet(), batch(examples)
    x = np.random.default_rng(1).random((examples, 1, 28, 28), np.float32)
    out, data = np.empty((examples, CLASSES), np.float32), DataSet(x, labels)
    ways: dict[str, Callable[[], object]] = {"output": lambda: network.output(x, out=out)}
    for names in (("Evaluation",), ("Evaluation", EXACT)):
        chosen, what = [MAKERS[name]() for name in names], BOTH if len(names) == 2 else names[0]
        ways[f"eval, {what}"] = lambda chosen=chosen: [evaluation.eval(labels, out) for evaluation in chosen]
        ways[f"do_evaluation, {what}"] = lambda chosen=chosen: network.do_evaluation(data, *chosen, progress=False)
    timings = side_by_side(ways, calls=5, blocks=31)
    output = timings["output"]
    print(f"\n{f'us, LeNet 28x28, batch {examples}':<50} median  shortest   of output, median and shortest")
    for name, timing in timings.items():
        median, shortest = (
            100 * t / o for t, o in zip((timing.median, timing.shortest), (output.median, output.shortest), strict=True)
        )
        print(f"{name:<47}{times_of(timing)}   {median:6.2f} % {shortest:6.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batches", type=int, default=10_000, help="batches whose memory is measured (10000)")
    parser.add_argument("--measure-memory", metavar="EVALUATION", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not 10 <= options.batches <= ROOM // BATCH:
        parser.error(f"--batches {options.batches}: 10 to {ROOM // BATCH} are possible")
    with blas_threads(1):
        if options.measure_memory:
            measure_memory(options.measure_memory, options.batches)
            return
        warnings.simplefilter("error")
        print(describe_machine())
        beside_scikit_learn()
        memory(options.batches)
        share_of_lenet()


if __name__ == "__main__":
    main()
