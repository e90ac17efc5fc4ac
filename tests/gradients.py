"""The gradient of a whole network against a central difference of its score."""

import numpy as np

__all__ = ["gradient_error"]

STEP = 1e-5


def gradient_error(net, data):
    """Return the relative error of the gradient along a random direction, dropout included; for a float64 network."""
    net.compute_gradient_and_score(data)
    direction = np.random.default_rng(1).standard_normal(net.num_params())
    analytic, start, losses = net.gradient @ direction, net.params.copy(), []
    for sign in (1, -1):
        net.set_params(start + sign * STEP * direction)
        losses.append(net.score(data, training=True) * len(data))
    net.set_params(start)
    return abs((losses[0] - losses[1]) / (2 * STEP) / analytic - 1)
