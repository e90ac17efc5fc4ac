"""Convolution and pooling against loops over every element in float64; what does not fit; memory in any order."""

from dataclasses import replace

import numpy as np
import pytest
import reference
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st
from layers.called_by_hand import call_by_hand, random_params
from layers.window_cases import (
    CONVOLVED,
    EPS,
    PLAIN,
    POOLED,
    Case,
    can_be_pooled,
    cases,
    check_convolution,
    check_pooling,
    convolution,
    fitting,
    pads_no_more_than_seen,
    pooling,
    run,
    zero_params,
)

from minidl.errors import ConfigurationError, ShapeError

PADDING_ONLY = Case((5, 5), (1, 2), (1, 1), (2, 2), (1, 1), rows_at_once=1)  # blocks that see nothing but padding
BETWEEN_TAPS = Case((1, 2), (2, 2), (1, 1), (2, 1), (3, 3))  # windows between whose taps the whole image lies
TO_THE_LAST = Case((7, 9), (4, 3), (3, 2), (0, 2), (1, 3), "strict", rows_at_once=1, is_channels_last=True)
EXACT = dict(dtype=np.float64, tolerance=1e-10)
ACTIVATIONS = {
    "identity": (lambda z: z, lambda a, d_a: d_a),
    "tanh": (np.tanh, lambda a, d_a: d_a * (1 - a**2)),
    "softmax": (
        lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
        lambda a, d_a: a * (d_a - (a * d_a).sum(axis=1, keepdims=True)),
    ),
}


def by_loops(along, x, params, activation, epsilon):
    function, backward = ACTIVATIONS[activation]
    a = function(reference.convolution(x, along, params["W"], params.get("b")))
    d_x, d_w, d_b = reference.convolution_gradients(x, along, params["W"], backward(a, epsilon))
    return a, d_x, {"W": d_w} | ({"b": d_b} if "b" in params else {})


@example(case=PADDING_ONLY, **PLAIN)
@example(case=BETWEEN_TAPS, **PLAIN)
@example(case=TO_THE_LAST, **PLAIN)
@settings(max_examples=300)
@given(case=fitting(2), **CONVOLVED)
def test_convolution_of_images_agrees_with_loops(case, **options):
    check_convolution(case, by_loops, **options, **EXACT)
    event(f"{case.mode}, rows at once: {case.rows_at_once}")


@settings(max_examples=200)
@given(case=fitting(1), **CONVOLVED)
def test_convolution_of_series_agrees_with_loops(case, **options):
    check_convolution(case, by_loops, **options, **EXACT)
    event(f"{case.mode}, length known: {case.has_known_length}")


def pooled_by_loops(case, along, x, epsilon, *, kind, p, include_padding):
    options = dict(p=p, include_padding=include_padding)
    output = reference.pooling(x, along, kind, **options)
    return output, reference.pooling_gradient(x, along, kind, epsilon, eps=EPS, **options)


@settings(max_examples=300)
@given(case=fitting(2), **POOLED)
def test_pooling_of_images_agrees_with_loops(case, **options):
    assume(can_be_pooled(case, options["kind"]))
    check_pooling(case, pooled_by_loops, **options, **EXACT)
    event(f"{options['kind']}, {case.mode}")


@settings(max_examples=200)
@given(case=fitting(1), **POOLED)
def test_pooling_of_series_agrees_with_loops(case, **options):
    assume(can_be_pooled(case, options["kind"]))
    check_pooling(case, pooled_by_loops, **options, **EXACT)
    event(f"{options['kind']}, {case.mode}")


def test_the_first_of_equal_largest_elements_gets_the_gradient():
    """Row by row: also where a window sees padding, and where windows overlap."""
    for window, where in [
        (Case((2, 4), (2, 2), (2, 2), (0, 0), (1, 1), channels=1, batch=1), [[1, 0, 1, 0], [0, 0, 0, 0]]),
        (Case((2, 3), (2, 2), (1, 1), (0, 0), (1, 1), channels=1, batch=1), [[1, 1, 0], [0, 0, 0]]),
        (Case((2, 2), (3, 3), (1, 1), (0, 0), (1, 1), "same", channels=1, batch=1), [[4, 0], [0, 0]]),
    ]:
        images, along = np.full((1, 1, *window.size), -7.0), window.windows()
        epsilon = np.ones((1, 1, *map(len, along)))
        output, d_x, _ = run(pooling(window, "max"), window, {}, images, epsilon)
        np.testing.assert_array_equal(output, -7.0 * epsilon)  # padding is not the largest
        np.testing.assert_array_equal(d_x[0, 0], where)
        np.testing.assert_array_equal(reference.pooling_gradient(images, along, "max", epsilon), d_x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1, 1.5, 2, 3, 6, 8, 50])
def test_the_norm_of_zeros_has_no_slope(p, dtype):
    """As in DL4J and PyTorch's abs; a ReLU in front gives many. Whatever ``eps`` to a power of p - 1 underflows to."""
    window = Case((5, 5), (2, 2), (1, 1), (0, 0), (1, 1), channels=1, batch=1)
    layer, epsilon = pooling(window, "pnorm", p=p, eps=1e-8, dtype=dtype), np.ones((1, 1, 4, 4))
    for zero in (0.0, -0.0):
        x = np.full((1, 1, 5, 5), zero)
        output, d_x, _ = run(layer, window, {}, x, epsilon, dtype)
        np.testing.assert_array_equal(output, np.zeros((1, 1, 4, 4)))
        np.testing.assert_array_equal(d_x, np.zeros((1, 1, 5, 5)))


# What does not fit


@settings(max_examples=100)
@given(case=st.one_of(cases(2), cases(1)).filter(lambda case: not case.fits))
def test_what_does_not_fit_raises(case):
    """What the arithmetic of reference.py finds no place for, the layers refuse, in the type or with the first x."""
    case = replace(case, rows_at_once=None)
    x = case.images(np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"is larger than the padded|is no whole number"):
        run(convolution(case, 2), case, zero_params(case, 2), x, x)
    assume(pads_no_more_than_seen(case))
    with pytest.raises(ShapeError, match=r"is larger than the padded|is no whole number"):
        run(pooling(case, "max"), case, {}, x, x)


@given(case=st.one_of(fitting(2), fitting(1)))
def test_more_padding_than_a_pooled_window_sees_raises(case):
    """Of modes that pad by themselves nothing is said here."""
    assume(case.mode in ("truncate", "strict"))
    is_seen = [axis[0][-1] >= 0 for axis in case.windows()]  # the first window ends on the axis, or behind it
    assert all(is_seen) == pads_no_more_than_seen(case)
    if not all(is_seen):
        with pytest.raises(ConfigurationError, match="would see nothing but"):
            pooling(case, "avg")


@settings(max_examples=60)
@given(case=st.one_of(fitting(2), fitting(1)))
def test_a_buffer_too_small_for_a_row_raises(case):
    params, x, row = zero_params(case, 2), case.images(np.random.default_rng(0)), case.row_bytes(8)
    layer = convolution(replace(case, rows_at_once=None), 2)
    epsilon = np.zeros((case.batch, 2, *map(len, case.windows())))
    run(replace(layer, max_window_bytes=row), case, params, x, epsilon)
    with pytest.raises(ConfigurationError, match=r"^max_window_bytes=.*, but the windows of one output row take "):
        run(replace(layer, max_window_bytes=row - 1), case, params, x, epsilon)


# Memory

SEVERAL_BLOCKS = Case((8, 7), (3, 2), (2, 1), (1, 1), (1, 2), channels=3, batch=3, rows_at_once=2)
UNPADDED = Case((9, 8), (3, 3), (2, 2), (0, 0), (1, 1), channels=2, batch=3)
PARTITION = Case((8, 6), (2, 3), (2, 3), (0, 0), (1, 1), channels=3, batch=3)
SERIES = Case((9,), (3,), (1,), (0,), (2,), "causal", channels=3, batch=3)
STRIDED = {
    "convolution": (convolution, dict(n_out=4, activation="tanh"), SEVERAL_BLOCKS),
    "unpadded convolution": (convolution, dict(n_out=4, activation="softmax"), UNPADDED),
    "convolution of many channels": (convolution, dict(n_out=2, has_bias=False), replace(UNPADDED, channels=9)),
    "convolution of series": (convolution, dict(n_out=4, activation="tanh"), SERIES),
    "max": (pooling, dict(kind="max"), SEVERAL_BLOCKS),
    "max of a partition": (pooling, dict(kind="max"), PARTITION),
    "avg": (pooling, dict(kind="avg"), SEVERAL_BLOCKS),
    "sum": (pooling, dict(kind="sum"), UNPADDED),
    "pnorm": (pooling, dict(kind="pnorm", p=3), SEVERAL_BLOCKS),
    "pnorm of series": (pooling, dict(kind="pnorm"), SERIES),
}
ORDERS = {
    "channels last": lambda array: np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1),
    "channels first": lambda array: np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, 1)), 1, -1),
    "Fortran": np.asfortranarray,
    "backwards": lambda array: np.ascontiguousarray(array[:, ::-1, ::-1])[:, ::-1, ::-1],
    "with gaps": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
}


def strided(name, is_channels_last):
    """Return (layer, case, parameters, x, epsilon), the last two in C order."""
    make, options, case = STRIDED[name]
    case, rng = replace(case, is_channels_last=is_channels_last), np.random.default_rng(0)
    layer = make(case, **options)
    params = random_params(layer, case.input_type, rng)
    n_out = len(params["W"]) if params else case.channels
    epsilon = rng.standard_normal((case.batch, n_out, *map(len, case.windows())))
    arrays = (np.ascontiguousarray(case.of_network(array)) for array in (case.images(rng), epsilon))
    return layer, case, params, *arrays


def assert_same_bits(found, expected):
    assert found.output.tobytes() == expected.output.tobytes()
    assert found.d_x.tobytes() == expected.d_x.tobytes()
    assert {name: array.tobytes() for name, array in found.gradients.items()} == {
        name: array.tobytes() for name, array in expected.gradients.items()
    }


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("is_channels_last", [False, True])
@pytest.mark.parametrize("name", STRIDED)
def test_the_order_in_memory_changes_no_bit(name, is_channels_last, order):
    layer, case, params, x, epsilon = strided(name, is_channels_last)
    expected = call_by_hand(layer, case.input_type, params, x, epsilon)
    for other_x, other_epsilon in [
        (ORDERS[order](x), epsilon),
        (x, ORDERS[order](epsilon)),
        (ORDERS[order](x), ORDERS[order](epsilon)),
    ]:
        assert_same_bits(call_by_hand(layer, case.input_type, params, other_x, other_epsilon), expected)


@pytest.mark.parametrize("name", STRIDED)
def test_both_formats_give_the_same_bits(name):
    layer, case, params, x, epsilon = strided(name, False)
    expected = call_by_hand(layer, case.input_type, params, x, epsilon)
    layer, case, params, x, epsilon = strided(name, True)
    found = call_by_hand(layer, case.input_type, params, x, epsilon)
    back = [np.moveaxis(array, -1, 1) for array in (found.output, found.d_x)]
    assert_same_bits(replace(found, output=back[0], d_x=back[1]), expected)


@pytest.mark.parametrize("name", STRIDED)
def test_without_an_input_gradient_the_others_are_the_same(name):
    layer, case, params, x, epsilon = strided(name, False)
    expected = call_by_hand(layer, case.input_type, params, x, epsilon)
    found = call_by_hand(layer, case.input_type, params, x, epsilon, wants_input_gradient=False)
    assert found.d_x is None
    assert_same_bits(replace(found, d_x=expected.d_x), expected)
