"""The gradient of a whole network against a central difference of its score."""

import numpy as np

__all__ = ["gradient_error", "trained"]

STEP = 1e-5


def gradient_error(net, data):
    """Return the relative error of the gradient along a random direction, dropout included; for a float64 network.

    What is not trained, such as running means, has no gradient: it is left as it is.
    """
    net.compute_gradient_and_score(data)
    direction = np.random.default_rng(1).standard_normal(net.num_params()) * trained(net)
    analytic, start, losses = net.gradient @ direction, net.params.copy(), []
    for sign in (1, -1):
        net.set_params(start + sign * STEP * direction)
        losses.append(net.score(data, training=True) * len(data))
    net.set_params(start)
    return abs((losses[0] - losses[1]) / (2 * STEP) / analytic - 1)


def trained(net):
    """Return 1 for every parameter that is trained and 0 for the others, in the order of ``net.params``."""
    inputs = net.conf.layer_input_types()
    specs = [spec for layer, kind in zip(net.layers, inputs, strict=True) for spec in layer.param_specs(kind)]
    return np.concatenate([np.full(int(np.prod(spec.shape)), float(spec.trainable)) for spec in specs] or [np.zeros(0)])
