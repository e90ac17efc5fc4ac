"""Drawn windows, with data and layers for them, to compare convolution and pooling with other implementations."""

from dataclasses import dataclass

import numpy as np
import reference
from hypothesis import strategies as st
from layers.called_by_hand import call_by_hand, random_params

from minidl import InputType
from minidl.layers import Convolution1DLayer, ConvolutionLayer, Subsampling1DLayer, SubsamplingLayer

__all__ = [
    "CONVOLVED",
    "EPS",
    "KINDS",
    "PLAIN",
    "POOLED",
    "Case",
    "can_be_pooled",
    "cases",
    "check_convolution",
    "check_pooling",
    "convolution",
    "fitting",
    "pads_no_more_than_seen",
    "pooling",
    "run",
    "zero_params",
]

MODES = ("truncate", "strict", "same")
KINDS = ("max", "avg", "sum", "pnorm")


@dataclass(frozen=True)
class Case:
    """A window over images (two axes) or over series (one), and the data: options are tuples, one number per axis."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    mode: str = "truncate"
    channels: int = 2
    batch: int = 2
    is_channels_last: bool = False
    has_known_length: bool = True
    rows_at_once: int | None = None  # that the buffer of windows holds; None for what fits the cache

    @property
    def axes(self):
        return len(self.size)

    def windows(self):
        """Return the windows along (height, width), as reference.py wants them. Raises DoesNotFitError."""
        options = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        along = [reference.windows(*each, self.mode) for each in options]
        return along if self.axes == 2 else [*along, [[0]]]

    @property
    def fits(self):
        try:
            self.windows()
        except reference.DoesNotFitError:
            return False
        return True

    def row_bytes(self, itemsize):
        """Return what the windows of one row take; a step of a series is a row."""
        positions = len(self.windows()[1])
        return positions * int(np.prod(self.kernel)) * self.channels * itemsize

    def options(self, dtype):
        """Return the fields of a layer."""
        names = dict(kernel_size=self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)
        fields = {name: value if self.axes == 2 else value[0] for name, value in names.items()}
        most = self.rows_at_once and self.rows_at_once * self.row_bytes(np.dtype(dtype).itemsize)
        return fields | dict(convolution_mode=self.mode, max_window_bytes=most)

    @property
    def input_type(self):
        if self.axes == 2:
            return InputType.convolutional(*self.size, self.channels, "NHWC" if self.is_channels_last else "NCHW")
        timesteps = self.size[0] if self.has_known_length else None
        return InputType.recurrent(self.channels, timesteps, "NWC" if self.is_channels_last else "NCW")

    def images(self, rng):
        """Return x (batch, channels, height, width), with a width of 1 for series."""
        return rng.standard_normal((self.batch, self.channels, *self.size, *(1,) * (2 - self.axes)))

    def of_network(self, images):
        """Return images (batch, channels, height, width) with the axes of the network."""
        array = images if self.axes == 2 else images[..., 0]
        return np.moveaxis(array, 1, -1) if self.is_channels_last else array

    def as_images(self, array):
        """Do the reverse."""
        array = np.moveaxis(array, -1, 1) if self.is_channels_last else array
        return array if self.axes == 2 else array[..., np.newaxis]


@st.composite
def cases(draw, axes):
    per_axis = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * axes))  # noqa: E731
    mode = draw(st.sampled_from(MODES if axes == 2 else (*MODES, "causal")))
    return Case(
        size=per_axis(1, 9),
        kernel=per_axis(1, 4),
        stride=per_axis(1, 3),
        padding=per_axis(0, 2 if mode in ("truncate", "strict") else 0),
        dilation=per_axis(1, 3),
        mode=mode,
        channels=draw(st.integers(1, 4)),
        batch=draw(st.integers(1, 3)),
        is_channels_last=draw(st.booleans()),
        has_known_length=axes == 2 or draw(st.booleans()),
        rows_at_once=draw(st.sampled_from([None, 1, 2, 3])),
    )


def fitting(axes):
    return cases(axes).filter(lambda case: case.fits)


def close(found, expected, tolerance):
    """Check that arrays agree to ``tolerance`` of the largest value, or of 1 where that is less."""
    largest = np.abs(expected).max(initial=1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest, strict=True)


def run(layer, case, params, images, epsilon, dtype=np.float64, **options):
    """Return (output, dL/dx, gradients) of a layer called by hand, all as images, whatever the format of the case."""
    call = call_by_hand(
        layer,
        case.input_type,
        params,
        case.of_network(images).astype(dtype),
        lambda output: case.of_network(epsilon.reshape(case.as_images(output).shape)).astype(dtype),
        **options,
    )
    assert call.output.dtype == dtype
    return case.as_images(call.output), case.as_images(call.d_x), call.gradients


# Convolution

CONVOLVED = dict(
    n_out=st.integers(1, 4),
    has_bias=st.booleans(),
    activation=st.sampled_from(["identity", "tanh", "softmax"]),
    seed=st.integers(0, 1000),
)
PLAIN = dict(n_out=2, has_bias=True, activation="identity", seed=0)


def convolution(case, n_out, *, has_bias=True, activation="identity", dtype=np.float64):
    cls = ConvolutionLayer if case.axes == 2 else Convolution1DLayer
    return cls(n_out=n_out, has_bias=has_bias, activation=activation, **case.options(dtype))


def zero_params(case, n_out):
    return {"W": np.zeros((n_out, case.channels, *case.kernel, *(1,) * (2 - case.axes))), "b": np.zeros(n_out)}


def check_convolution(case, expected, *, n_out, has_bias, activation, seed, dtype, tolerance):
    """Check a layer against ``expected(along, x, params, activation, epsilon)``, which gives what ``run`` does."""
    rng, along = np.random.default_rng(seed), case.windows()
    layer = convolution(case, n_out, has_bias=has_bias, activation=activation, dtype=dtype)
    params = random_params(layer, case.input_type, rng)
    params["W"] /= np.sqrt(params["W"][0].size)
    x, epsilon = case.images(rng), rng.standard_normal((case.batch, n_out, *map(len, along)))
    output, d_x, gradients = expected(along, x, params, activation, epsilon)
    found_output, found_d_x, found_gradients = run(layer, case, params, x, epsilon, dtype)
    close(found_output, output, tolerance)
    close(found_d_x, d_x, tolerance)
    assert set(found_gradients) == set(gradients) == ({"W", "b"} if has_bias else {"W"})
    for name, gradient in gradients.items():
        close(found_gradients[name], gradient, tolerance)


# Pooling

EPS = 0.3  # above many of the norms here
POOLED = dict(
    kind=st.sampled_from(KINDS),
    p=st.sampled_from([1, 1.5, 2, 3, 4.5]),
    include_padding=st.booleans(),
    has_ties=st.booleans(),
    seed=st.integers(0, 1000),
)


def pads_no_more_than_seen(case):
    """Tell whether a window that begins with the padding ends on the axis, or behind it: pooling refuses others."""
    along = zip(case.padding, case.dilation, case.kernel, strict=True)
    return all(padding <= dilation * (kernel - 1) for padding, dilation, kernel in along)


def can_be_pooled(case, kind):
    """Tell whether pooling takes this, and has a largest element everywhere.

    A window between whose taps the whole image lies has none. What is then the largest is left open here.
    """
    along = zip(case.windows(), (*case.size, 1), strict=False)
    sees_some = all(any(0 <= k < size for k in taps) for positions, size in along for taps in positions)
    return pads_no_more_than_seen(case) and (kind != "max" or sees_some)


def pooling(case, kind, *, p=2, include_padding=False, eps=EPS, dtype=np.float64):
    cls = SubsamplingLayer if case.axes == 2 else Subsampling1DLayer
    special = dict(pooling_type=kind, pnorm=p, eps=eps, avg_pool_include_pad_in_divisor=include_padding)
    options = case.options(dtype)
    del options["max_window_bytes"]  # pooling has no buffer of windows
    return cls(**special, **options)


def check_pooling(case, expected, *, has_ties, seed, dtype, tolerance, **options):
    """Check a layer of these options against ``expected(case, along, x, epsilon, **options)``: (output, dL/dx)."""
    rng, along = np.random.default_rng(seed), case.windows()
    x = case.images(rng)
    if has_ties:
        x = np.round(x)
    epsilon = rng.standard_normal((*x.shape[:2], *map(len, along)))
    output, d_x = expected(case, along, x, epsilon, **options)
    layer = pooling(case, dtype=dtype, **options)
    found_output, found_d_x, gradients = run(layer, case, {}, x, epsilon, dtype)
    close(found_output, output, tolerance)
    close(found_d_x, d_x, tolerance)
    assert gradients == {}
