"""Convolution and pooling against PyTorch 2.13, in float32."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from layers.window_cases import CONVOLVED, KINDS, POOLED, Case, can_be_pooled, check_convolution, check_pooling, fitting

FLOAT32 = dict(dtype=np.float32, tolerance=1e-5)


def pads(case):
    """Return (before, after) for each axis: as told, or as DL4J pads in modes "same" and "causal"."""
    for size, kernel, stride, padding, dilation in zip(
        case.size, case.kernel, case.stride, case.padding, case.dilation, strict=True
    ):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
        yield {"same": (total // 2, total - total // 2), "causal": (dilation * (kernel - 1), 0)}.get(
            case.mode, (padding, padding)
        )


def padded(torch, case, x, value=0.0):
    widths = [width for pair in reversed(list(pads(case))) for width in pair]  # the last axis first
    return torch.nn.functional.pad(x, widths, value=value)


def tensor_of(torch, case, images):
    """Return a float32 tensor (batch, channels, height, width), or (batch, channels, time)."""
    array = images.reshape(*images.shape[:2], *images.shape[2 : 2 + case.axes])
    return torch.tensor(array.astype(np.float32), requires_grad=True)


def as_images(case, tensor):
    return tensor.detach().numpy()[..., *(np.newaxis,) * (2 - case.axes)]


def convolution_of_torch(torch, case):
    """Return ``by_loops``, computed by PyTorch."""
    functional = torch.nn.functional
    function = functional.conv2d if case.axes == 2 else functional.conv1d
    of_z = {"identity": lambda z: z, "tanh": torch.tanh, "softmax": lambda z: z.softmax(1)}

    def run_torch(along, x, params, activation, epsilon):
        given = tensor_of(torch, case, x)
        weights = tensor_of(torch, case, params["W"])
        bias = torch.tensor(params["b"].astype(np.float32), requires_grad=True) if "b" in params else None
        z = function(padded(torch, case, given), weights, bias, stride=case.stride, dilation=case.dilation)
        a = of_z[activation](z)
        a.backward(tensor_of(torch, case, epsilon))
        gradients = {"W": as_images(case, weights.grad)} | ({} if bias is None else {"b": bias.grad.numpy()})
        return as_images(case, a), as_images(case, given.grad), gradients

    return run_torch


def pooled_by_torch(torch):
    """Return ``pooled_by_loops``, computed by PyTorch: as sums over windows, but the largest by its own function."""

    def run_torch(case, along, x, epsilon, *, kind, p, include_padding, eps):
        functional = torch.nn.functional
        max_pool = functional.max_pool2d if case.axes == 2 else functional.max_pool1d
        sums = functional.conv2d if case.axes == 2 else functional.conv1d
        given = tensor_of(torch, case, x)
        way = dict(stride=case.stride, dilation=case.dilation)

        def sum_of(values):
            ones = torch.ones(case.channels, 1, *case.kernel)
            return sums(padded(torch, case, values), ones, groups=case.channels, **way)

        if kind == "max":
            y = max_pool(padded(torch, case, given, -np.inf), case.kernel, **way)
        elif kind == "pnorm":
            y = sum_of(given.abs() ** p) ** (1 / p)
        else:
            y = sum_of(given)
            if kind == "avg":
                seen = sum_of(torch.ones_like(given)).clamp(min=1)
                y = y / (np.prod(case.kernel) if include_padding else seen)
        y.backward(tensor_of(torch, case, epsilon))
        return as_images(case, y), as_images(case, given.grad)

    return run_torch


@settings(max_examples=150)
@given(case=st.one_of(fitting(2), fitting(1)), **CONVOLVED)
def test_convolution_agrees_with_pytorch(torch, case, **options):
    check_convolution(case, convolution_of_torch(torch, case), **options, **FLOAT32)


IMAGES_OF_MNIST = Case((28, 28), (5, 5), (1, 1), (0, 0), (1, 1), channels=1, batch=3)
LARGE = {
    "first of LeNet": (IMAGES_OF_MNIST, 20),
    "second of LeNet": (replace(IMAGES_OF_MNIST, size=(12, 12), channels=20), 50),
    "odd channels": (Case((31, 30), (3, 3), (1, 1), (1, 1), (1, 1), channels=15, batch=4), 40),
    "channels last": (Case((31, 30), (3, 2), (2, 1), (1, 2), (1, 2), channels=16, batch=4, is_channels_last=True), 33),
    "blocks of rows": (Case((96, 90), (3, 3), (1, 1), (0, 0), (1, 1), "same", channels=24, batch=2), 8),
    "one by one": (Case((20, 21), (1, 1), (1, 1), (0, 0), (1, 1), channels=48, batch=5), 17),
    "series": (Case((400,), (7,), (1,), (0,), (2,), "causal", channels=24, batch=4), 31),
    "short series": (Case((5,), (3,), (1,), (1,), (1,), channels=64, batch=9, has_known_length=False), 3),
}


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("name", LARGE)
def test_large_convolution_agrees_with_pytorch(torch, name, has_bias):
    case, n_out = LARGE[name]
    expected = convolution_of_torch(torch, case)
    check_convolution(case, expected, n_out=n_out, has_bias=has_bias, activation="tanh", seed=0, **FLOAT32)


@settings(max_examples=200)
@given(case=st.one_of(fitting(2), fitting(1)), **POOLED)
def test_pooling_agrees_with_pytorch(torch, case, **options):
    assume(can_be_pooled(case, options["kind"]))
    assume(options["kind"] != "pnorm" or not options["has_ties"])  # PyTorch has no slope of a norm of zeros
    check_pooling(case, pooled_by_torch(torch), **options, eps=1e-8, **FLOAT32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in LARGE if name != "one by one"])
def test_large_pooling_agrees_with_pytorch(torch, name, kind):
    case = replace(LARGE[name][0], batch=20)
    options = dict(kind=kind, p=3, include_padding=False, has_ties=kind == "max", seed=0, eps=1e-8)
    check_pooling(case, pooled_by_torch(torch), **options, **FLOAT32)


@settings(max_examples=60)
@given(case=st.one_of(fitting(2), fitting(1)), include_padding=st.booleans(), seed=st.integers(0, 1000))
def test_mean_agrees_with_that_of_pytorch(torch, case, include_padding, seed):
    """PyTorch's own means have no dilation, and pad by half a kernel at most, as much at the start as at the end."""
    half = tuple(min(pad, size // 2) for pad, size in zip(case.padding, case.kernel, strict=True))
    case = replace(case, dilation=(1,) * case.axes, padding=half, mode="truncate")
    assume(case.fits)
    functional = torch.nn.functional

    def expected(case, along, x, epsilon, *, kind, include_padding):
        given = tensor_of(torch, case, x)
        mean = functional.avg_pool2d if case.axes == 2 else functional.avg_pool1d
        y = mean(given, case.kernel, case.stride, case.padding, count_include_pad=include_padding)
        y.backward(tensor_of(torch, case, epsilon))
        return as_images(case, y), as_images(case, given.grad)

    options = dict(kind="avg", include_padding=include_padding, has_ties=False, seed=seed)
    check_pooling(case, expected, **options, **FLOAT32)
