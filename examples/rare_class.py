"""A class that is rare in training, and what `class_weight` does for it.

    python examples/rare_class.py [--epochs 30]

The bundled digits, with only a few of the eights left in the training set: the network learns to say "eight" too
rarely. With a weight for that class, an error on it costs as much as on the others. The rest of the script shows the
options that are used most beside it: a learning rate that falls with the epochs, dropout, and a stop at a score that is
not finite.
"""

import argparse

import numpy as np

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import ArrayDataSetIterator, DigitsDataSetIterator
from minidl.eval import Evaluation
from minidl.layers import DenseLayer, OutputLayer
from minidl.training import Adam, StepSchedule

RARE, KEPT = 8, 6


def training_set():
    """Return features and labels of the digits, with KEPT examples of the class RARE."""
    batches = [(batch.features.copy(), batch.labels.copy()) for batch in DigitsDataSetIterator(64, shuffle=False)]
    features, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    of_rare = np.flatnonzero(labels[:, RARE])
    keep = np.delete(np.arange(len(features)), of_rare[KEPT:])
    return features[keep], labels[keep]


def network():
    rate = StepSchedule("epoch", 3e-3, decay_rate=0.5, step=10)
    configuration = NeuralNetConfiguration(seed=7, updater=Adam(rate), activation="relu", dropout=0.9).list(
        DenseLayer(n_out=64), OutputLayer(n_out=10), input_type=InputType.feed_forward(64)
    )
    return MultiLayerNetwork(configuration).init()


def main():
    parser = argparse.ArgumentParser(description="A class that is rare in training.")
    parser.add_argument("--epochs", type=int, default=30)
    epochs = parser.parse_args().epochs

    features, labels = training_set()
    counts = labels.sum(axis=0)
    print(f"training examples of each digit: {counts.astype(int).tolist()}")
    weights = {RARE: round(float(np.delete(counts, RARE).mean() / counts[RARE]), 1)}

    for class_weight in (None, weights):
        iterator = ArrayDataSetIterator(features, labels, batch_size=32, shuffle=True, seed=1)
        net = network().fit(iterator, epochs=epochs, class_weight=class_weight, terminate_on_nan=True, progress=False)
        (evaluation,) = net.do_evaluation(DigitsDataSetIterator(64, train=False), Evaluation())
        print(
            f"class_weight={class_weight}: recall of the digit {RARE} {evaluation.recall(RARE):.3f}, "
            f"accuracy {evaluation.accuracy():.3f}, last learning rate {net.get_learning_rate(0):g}"
        )


if __name__ == "__main__":
    main()
