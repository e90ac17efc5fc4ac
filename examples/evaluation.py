"""What a network knows, counted in one pass over the test data, as text and as a picture.

    python examples/evaluation.py [--epochs 8] [--picture evaluation.svg]

A small network reads the bundled digits, after a few epochs so that there are errors to see. Then three evaluations
read its output for the test data: which digits it takes for which, how well its probabilities separate each digit from
the others, and whether they are what they say. Four pictures are drawn on axes of one figure; they need matplotlib, the
extra "plot".
"""

import argparse
from pathlib import Path

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import DigitsDataSetIterator
from minidl.eval import Evaluation, EvaluationCalibration, ROCMultiClass
from minidl.layers import DenseLayer, OutputLayer
from minidl.training import Adam

BATCH, TEST_EXAMPLES = 64, 360


def network():
    configuration = NeuralNetConfiguration(seed=5, updater=Adam(2e-3)).list(
        DenseLayer(n_out=16, activation="relu"),
        OutputLayer(n_out=10, activation="softmax", loss="mcxent"),
        input_type=InputType.feed_forward(64),
    )
    return MultiLayerNetwork(configuration).init()


def draw(picture, evaluation, roc, calibration):
    try:
        import matplotlib
    except ImportError:
        print("no picture without matplotlib. Install it with: pip install 'minidl[plot]'")
        return
    matplotlib.use("agg")
    matplotlib.rcParams |= {"svg.hashsalt": "minidl", "svg.fonttype": "none"}  # the same picture gives the same file
    import matplotlib.pyplot as plt

    figure, ((top_left, top_right), (low_left, low_right)) = plt.subplots(2, 2, figsize=(10, 10), layout="constrained")
    evaluation.plot_confusion_matrix(top_left)
    roc.plot(top_right)
    top_right.set(xlim=(-0.005, 0.5), ylim=(0.5, 1.005), title="ROC, the corner of interest")
    roc.plot_precision_recall(low_left)
    calibration.plot_reliability_diagram(ax=low_right)
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)
    print(f"wrote {picture}")


def main():
    parser = argparse.ArgumentParser(description="Evaluate a network in one pass, as text and as a picture.")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--picture", type=Path, default=Path("evaluation.svg"))
    options = parser.parse_args()

    net = network().fit(DigitsDataSetIterator(BATCH, seed=1), epochs=options.epochs, progress=False)
    test = DigitsDataSetIterator(BATCH, train=False)
    evaluation, roc, calibration = net.do_evaluation(
        test,
        Evaluation(top_n=2),
        ROCMultiClass(expected_examples=TEST_EXAMPLES),  # its memory is made at the first batch
        EvaluationCalibration(reliability_bins=5),  # few bins: the test data have 36 examples of each digit
    )
    print(evaluation.stats())
    print(roc.stats())
    for digit in range(10):
        error = calibration.expected_calibration_error(digit)
        print(f"{digit}: probabilities are off by {error:.3f} on average")
    draw(options.picture, evaluation, roc, calibration)


if __name__ == "__main__":
    main()
