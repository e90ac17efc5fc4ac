"""LeNet: a small convolutional network that reads handwritten digits.

    python examples/lenet.py [--epochs 20] [--mnist FOLDER | --download]

On the bundled digits of 8 x 8 pixels, with kernels of 3 x 3, it gets about 0.985 of the test set right after 20 epochs,
in a few seconds. With MNIST, 28 x 28 pixels, the kernels are 5 x 5 as in the original, and 2 epochs are the default:
FOLDER holds its four files, train-images-idx3-ubyte and so on, also as .gz; --download gets them once, 13 MB.
"""

import argparse
import statistics
import time

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import DigitsDataSetIterator, MnistDataSetIterator
from minidl.errors import DataError
from minidl.layers import ConvolutionLayer, DenseLayer, OutputLayer, SubsamplingLayer
from minidl.training import Adam

BATCH_SIZE = 64
REPEATS = 50


def lenet(size, kernel, mode, rate):
    """Return an untrained network for digits of ``size`` x ``size`` pixels."""
    configuration = NeuralNetConfiguration(
        seed=123, updater=Adam(rate), weight_init="relu", convolution_mode=mode
    ).list(
        ConvolutionLayer(n_out=20, kernel_size=kernel),
        SubsamplingLayer(pooling_type="max", kernel_size=2, stride=2),
        ConvolutionLayer(n_out=50, kernel_size=kernel),
        SubsamplingLayer(pooling_type="max", kernel_size=2, stride=2),
        DenseLayer(n_out=500, activation="relu"),
        OutputLayer(n_out=10, activation="softmax", loss="mcxent"),
        input_type=InputType.convolutional_flat(size, size, 1),
    )
    return MultiLayerNetwork(configuration).init()


def seconds_of_an_iteration(network, batch):
    """Return the median of warm training iterations on one batch."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        network.fit(batch)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description="LeNet on handwritten digits.")
    parser.add_argument("--epochs", type=int, help="passes over the training set (20, with MNIST 2)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--mnist", metavar="FOLDER", help="train on MNIST, whose four IDX files are in this folder")
    source.add_argument("--download", action="store_true", help="train on MNIST, downloaded into a cache if need be")
    options = parser.parse_args()
    on_mnist = options.download or options.mnist is not None
    epochs = (2 if on_mnist else 20) if options.epochs is None else options.epochs
    if epochs < 1:
        parser.error(f"--epochs {epochs}: at least 1 is needed")

    if on_mnist:
        try:  # both sets before the training starts
            training = MnistDataSetIterator(BATCH_SIZE, seed=1, folder=options.mnist)
            test = MnistDataSetIterator(BATCH_SIZE, train=False, shuffle=False, folder=options.mnist)
        except DataError as error:
            parser.error(f"{error} (folder= is --mnist FOLDER here, and --download does without.)")
        network = lenet(28, kernel=5, mode="truncate", rate=1e-3)
    else:
        training = DigitsDataSetIterator(BATCH_SIZE, seed=1)
        test = DigitsDataSetIterator(BATCH_SIZE, train=False, shuffle=False)
        network = lenet(8, kernel=3, mode="same", rate=2e-3)  # at 2 x 2 pixels, "truncate" would have nothing left

    print(network.summary(), end="\n\n")
    network.fit(training, epochs=epochs, progress=True)
    print(f"accuracy on the test set: {network.evaluate(test).accuracy():.4f}\n")
    print(network.memory_report(BATCH_SIZE), end="\n\n")
    milliseconds = 1e3 * seconds_of_an_iteration(network, next(iter(training)))
    print(f"one training iteration with {BATCH_SIZE} images: {milliseconds:.2f} ms")


if __name__ == "__main__":
    main()
