"""Networks around one custom layer, for the tests of such layers."""

import numpy as np
from networks import Scale

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.layers import DenseLayer, OutputLayer
from minidl.training import Adam

__all__ = ["N", "Scale", "batch", "network", "trained"]

N = 24  # columns: enough for the kernels of BLAS to differ in the last bits


def network(layer, position="middle", **options):
    """Return a network with ``layer`` at a position."""
    before, after = DenseLayer(n_out=N, activation="tanh"), OutputLayer(n_out=3)
    layers = {
        "first": [layer, before, after],
        "middle": [before, layer, before, after],
        "last but one": [before, layer, after],
    }[position]
    options = {"seed": 5, "updater": Adam(0.01)} | options
    return MultiLayerNetwork(
        NeuralNetConfiguration(**options).list(*layers, input_type=InputType.feed_forward(N))
    ).init()


def batch(rows=6, seed=0, dtype="float32"):
    """Return random features and labels."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, N)).astype(dtype), np.eye(3, dtype=dtype)[rng.integers(0, 3, rows)]


def trained(layer, position="middle", mode="ENABLED", iterations=10, **options):
    """Return the bits of the parameters and of an output after some iterations."""
    net = network(layer, position, training_workspace_mode=mode, inference_workspace_mode=mode, **options)
    for iteration in range(iterations):
        net.fit(*batch((40, 7, 1, 40, 33)[iteration % 5], iteration))
    return net.params.tobytes(), net.output(batch()[0]).tobytes()
