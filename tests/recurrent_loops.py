"""Slow, obvious recurrent layers in float64: loops over examples and steps, forward and backward written out.

Series are (batch, size, time), masks (batch, time). Each function returns a layer, ``run(params, x, mask, state,
steps)``, which returns a Run; ``steps`` says through how many of the last steps errors go back, None for all. The names
of parameters and states are those of minidl.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = [
    "FUNCTIONS",
    "Run",
    "bidirectional",
    "dense",
    "last_time_step",
    "lstm",
    "mask_zero",
    "simple_rnn",
    "time_distributed",
]


class Run(NamedTuple):
    """What a layer gives, and ``backward``, which makes (dL/dx, dL/dparameters) of dL/dy.

    ``mask`` is that of y, ``state`` what the layer ends with.
    """

    y: np.ndarray
    mask: np.ndarray | None
    state: dict[str, np.ndarray]
    backward: Callable[[np.ndarray], tuple[np.ndarray, dict[str, np.ndarray]]]


# Functions of the numbers z of one example at one step


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


FUNCTIONS = {
    "hardsigmoid": lambda z: np.clip(0.2 * z + 0.5, 0, 1),
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": sigmoid,
    "softmax": lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum(),
    "softsign": lambda z: z / (1 + abs(z)),
    "swish": lambda z: z * sigmoid(z),
    "tanh": np.tanh,
}
SLOPES = {
    "hardsigmoid": lambda z: 0.2 * (abs(z) < 2.5),
    "identity": lambda z: np.ones(len(z)),
    "relu": lambda z: 1.0 * (z > 0),
    "sigmoid": lambda z: sigmoid(z) * sigmoid(-z),
    "softsign": lambda z: 1 / (1 + abs(z)) ** 2,
    "swish": lambda z: sigmoid(z) + z * sigmoid(z) * sigmoid(-z),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
}


def back(name, z, d_a):
    """Return dL/dz of a = f(z)."""
    if name != "softmax":
        return SLOPES[name](z) * d_a
    a, d_z = FUNCTIONS[name](z), np.zeros(len(z))
    for i, j in np.ndindex(len(z), len(z)):
        d_z[i] += d_a[j] * a[j] * ((i == j) - a[i])
    return d_z


def normalised(v):
    """Return v with mean 0 and deviation 1, that of the population; zeros where all of v are equal."""
    mean = sum(v) / len(v)
    deviation = (sum((v - mean) ** 2) / len(v)) ** 0.5
    return (v - mean) / deviation if min(v) < max(v) else np.zeros(len(v))


def back_normalised(v, d_u):
    """Return dL/dv of u = normalised(v), element by element: of each u_i by every v_j."""
    n, u, d_v = len(v), normalised(v), np.zeros(len(v))
    if min(v) == max(v):
        return d_v
    deviation = (sum((v - sum(v) / n) ** 2) / n) ** 0.5
    for i, j in np.ndindex(n, n):
        d_v[j] += d_u[i] * ((i == j) - 1 / n - u[i] * u[j] / n) / deviation
    return d_v


# Recurrent layers


def simple_rnn(activation):
    """Layer h_t = f(x_t W + h_{t-1} RW + b); with gains g it is f(g_1 norm(x_t W) + g_2 norm(h_{t-1} RW) + b)."""

    def run(params, x, mask=None, state=None, steps=None):
        (batch, _, time), n = x.shape, len(params["RW"])
        w, rw, bias = params["W"], params["RW"], params.get("b", np.zeros(n))
        gains = params["g"].reshape(2, n) if "g" in params else None
        there = present(mask, batch, time)
        z, h = np.zeros((batch, time, n)), first_state(state, "prev_act", (batch, time + 1, n))
        for e, t in np.ndindex(batch, time):
            from_x, from_h = x[e, :, t] @ w, h[e, t] @ rw
            if gains is not None:
                from_x, from_h = gains[0] * normalised(from_x), gains[1] * normalised(from_h)
            z[e, t] = from_x + from_h + bias
            h[e, t + 1] = there[e, t] * FUNCTIONS[activation](z[e, t])

        def backward(epsilon):
            d_x, d = np.zeros(x.shape), zeros_like(params)
            for e in range(batch):
                d_h = np.zeros(n)
                for t in reversed(range(time)[first_step(time, steps) :]):
                    d_z = back(activation, z[e, t], there[e, t] * (d_h + epsilon[e, :, t]))
                    of_x = of_h = d_z
                    if gains is not None:
                        from_x, from_h = x[e, :, t] @ w, h[e, t] @ rw
                        d["g"] += np.concatenate([d_z * normalised(from_x), d_z * normalised(from_h)])
                        of_x, of_h = back_normalised(from_x, gains[0] * d_z), back_normalised(from_h, gains[1] * d_z)
                    d["W"] += np.outer(x[e, :, t], of_x)
                    d["RW"] += np.outer(h[e, t], of_h)
                    if "b" in d:
                        d["b"] += d_z
                    d_x[e, :, t] = w @ of_x
                    d_h = rw @ of_h
            return d_x, d

        return Run(h[:, 1:].transpose(0, 2, 1), mask, {"prev_act": h[:, -1]}, backward)

    return run


def lstm(activation, gate):
    """Layer h_t = o f(c_t), c_t = i a + g c_{t-1}: columns of a, g, o, i, then peepholes of g, o, i where RW has them.

    The peepholes of g and i look at c_{t-1}, that of o at c_t.
    """
    f, s = FUNCTIONS[activation], FUNCTIONS[gate]

    def run(params, x, mask=None, state=None, steps=None):
        (batch, _, time), n = x.shape, len(params["RW"])
        w, rw, bias = params["W"], params["RW"][:, : 4 * n], params.get("b", np.zeros(4 * n))
        peepholes = params["RW"][:, 4 * n :].T
        of_g, of_o, of_i = peepholes if len(peepholes) else np.zeros((3, n))
        there = present(mask, batch, time)
        z = np.zeros((batch, time, 4, n))
        h, c = (first_state(state, name, (batch, time + 1, n)) for name in ("prev_act", "prev_mem"))
        for e, t in np.ndindex(batch, time):
            z_a, z_g, z_o, z_i = (x[e, :, t] @ w + h[e, t] @ rw + bias).reshape(4, n)
            z_g, z_i = z_g + of_g * c[e, t], z_i + of_i * c[e, t]
            cell = s(z_i) * f(z_a) + s(z_g) * c[e, t]
            z_o = z_o + of_o * cell
            z[e, t] = z_a, z_g, z_o, z_i
            h[e, t + 1], c[e, t + 1] = there[e, t] * s(z_o) * f(cell), there[e, t] * cell

        def backward(epsilon):
            d_x, d = np.zeros(x.shape), zeros_like(params)
            for e in range(batch):
                d_h, d_c = np.zeros(n), np.zeros(n)
                for t in reversed(range(time)[first_step(time, steps) :]):
                    z_a, z_g, z_o, z_i = z[e, t]
                    before, cell = c[e, t], c[e, t + 1]
                    d_h, d_c = there[e, t] * (d_h + epsilon[e, :, t]), there[e, t] * d_c
                    d_o = back(gate, z_o, d_h * f(cell))
                    d_c = d_c + back(activation, cell, d_h * s(z_o)) + of_o * d_o
                    d_a = back(activation, z_a, d_c * s(z_i))
                    d_g, d_i = back(gate, z_g, d_c * before), back(gate, z_i, d_c * f(z_a))
                    d_c = d_c * s(z_g) + of_g * d_g + of_i * d_i
                    d_z = np.concatenate([d_a, d_g, d_o, d_i])
                    d["W"] += np.outer(x[e, :, t], d_z)
                    d["RW"][:, : 4 * n] += np.outer(h[e, t], d_z)
                    if len(peepholes):
                        d["RW"][:, 4 * n :] += np.array([before * d_g, cell * d_o, before * d_i]).T
                    if "b" in d:
                        d["b"] += d_z
                    d_x[e, :, t] = w @ d_z
                    d_h = rw @ d_z
            return d_x, d

        return Run(h[:, 1:].transpose(0, 2, 1), mask, {"prev_act": h[:, -1], "prev_mem": c[:, -1]}, backward)

    return run


def present(mask, batch, time):
    """Return 1 for the steps that are there, whatever their weight, and 0 for the others."""
    return np.ones((batch, time)) if mask is None else 1.0 * (mask != 0)


def first_state(state, name, shape):
    """Return zeros (batch, time + 1, n), that begin with the state before the first step."""
    states = np.zeros(shape)
    if state:
        states[:, 0] = state[name]
    return states


def first_step(time, steps):
    return 0 if steps is None else max(0, time - steps)


def zeros_like(params):
    return {name: np.zeros(array.shape) for name, array in params.items()}


# Layers around a layer


def bidirectional(inner, mode):
    """``inner`` twice, the second time from the end to the start: parameters with the prefixes f and b."""

    def run(params, x, mask=None, state=None, steps=None):
        assert steps is None, "what comes from the end has no last steps"
        parts = [{name[1:]: array for name, array in params.items() if name[0] == prefix} for prefix in "fb"]
        forward = inner(parts[0], x, mask)
        backward = inner(parts[1], x[..., ::-1], None if mask is None else mask[:, ::-1])
        f, b = forward.y, backward.y[..., ::-1]
        n = f.shape[1]
        y = {"concat": np.concatenate([f, b], axis=1), "add": f + b, "mul": f * b, "average": (f + b) / 2}[mode]

        def back_both(epsilon):
            of_f, of_b = {
                "concat": (epsilon[:, :n], epsilon[:, n:]),
                "add": (epsilon, epsilon),
                "mul": (epsilon * b, epsilon * f) if mode == "mul" else None,
                "average": (epsilon / 2, epsilon / 2),
            }[mode]
            (d_x, d_f), (d_turned, d_b) = forward.backward(of_f), backward.backward(of_b[..., ::-1])
            d = {"f" + name: array for name, array in d_f.items()} | {"b" + name: array for name, array in d_b.items()}
            return d_x + d_turned[..., ::-1], d

        return Run(y, forward.mask, {}, back_both)

    return run


def last_time_step(inner):
    """The last step of ``inner`` that its mask lets see, zeros where it lets see none."""

    def run(params, x, mask=None, state=None, steps=None):
        series = inner(params, x, mask, state, steps)
        batch, n, time = series.y.shape
        there = present(series.mask, batch, time)
        last = [max((t for t in range(time) if there[e, t]), default=None) for e in range(batch)]
        y = np.array([np.zeros(n) if last[e] is None else series.y[e, :, last[e]] for e in range(batch)])

        def backward(epsilon):
            d_series = np.zeros(series.y.shape)
            for e, t in enumerate(last):
                if t is not None:
                    d_series[e, :, t] = epsilon[e]
            return series.backward(d_series)

        return Run(y, None, series.state, backward)

    return run


def mask_zero(inner, value):
    """``inner``, which does not see the steps where all of x are ``value``."""

    def run(params, x, mask=None, state=None, steps=None):
        there = present(mask, len(x), x.shape[2])
        for e, t in np.ndindex(*there.shape):
            if all(number == value for number in x[e, :, t]):
                there[e, t] = 0
        return inner(params, x, there, state, steps)

    return run


def dense(activation):
    """Layer of vectors a = f(x W + b): returns (a, backward) of one of them."""

    def run(params, x):
        z = x @ params["W"] + params.get("b", 0.0)

        def backward(epsilon):
            d_z = back(activation, z, epsilon)
            return params["W"] @ d_z, {"W": np.outer(x, d_z)} | ({"b": d_z} if "b" in params else {})

        return FUNCTIONS[activation](z), backward

    return run


def time_distributed(layer):
    """A layer of vectors at every step by itself."""

    def run(params, x, mask=None, state=None, steps=None):
        batch, _, time = x.shape
        runs = {(e, t): layer(params, x[e, :, t]) for e, t in np.ndindex(batch, time)}
        y = np.array([[runs[e, t][0] for t in range(time)] for e in range(batch)]).transpose(0, 2, 1)

        def backward(epsilon):
            d_x, d = np.zeros(x.shape), zeros_like(params)
            for (e, t), (_, back_one) in runs.items():
                d_x[e, :, t], gradients = back_one(epsilon[e, :, t])
                for name, gradient in gradients.items():
                    d[name] += gradient
            return d_x, d

        return Run(y, mask, {}, backward)

    return run
