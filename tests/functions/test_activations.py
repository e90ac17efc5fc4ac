"""Activations: one contract for all classes, slow references, PyTorch's numbers."""

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import ConfigurationError
from minidl.functions import (
    ACTIVATIONS,
    ELU,
    GELU,
    Activation,
    Cube,
    HardSigmoid,
    HardTanh,
    Identity,
    LeakyReLU,
    ReLU,
    ReLU6,
    RReLU,
    Sigmoid,
    Softmax,
    Tanh,
    ThresholdedReLU,
    activation,
)

OPTIONS = [
    LeakyReLU(alpha=0.3),
    LeakyReLU(alpha=2.0),
    LeakyReLU(alpha=0.0),
    ELU(alpha=0.5),
    GELU(precise=True),
    RReLU(lower=0.0, upper=2.0),
    RReLU(lower=0.4, upper=0.4),
    ThresholdedReLU(theta=0.3),
    ThresholdedReLU(theta=0.0),
]
EVERY = [cls() for cls in dict.fromkeys(ACTIVATIONS.values())] + OPTIONS
SATURATION = [-1e4, -100.0, -30.0, -5.0, -1.0, -1e-3, 0.0, 1e-3, 0.7, 1.0, 5.0, 30.0, 100.0, 1e4]
LARGE = [1e6, 1e12, 1e20, 1e30, 3e38]
KINKS = [-2.5, -1.0, 0.0, 0.3, 1.0, 2.5, 6.0]
CUBE_LIMITS = {"float32": 6.98e12, "float64": 5.64e102}


def sigmoid(z):
    return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(max(z, -700)) / (1 + math.exp(max(z, -700)))


def rational_tanh(z):
    u = abs(2 * z / 3)
    polynomial = u + u**2 + 1.41645 * u**4
    return 1.7159 * math.copysign(polynomial / (1 + polynomial), z)  # 1 - 1 / (1 + polynomial), without cancellation


REFERENCES = {
    "cube": lambda z: z**3,
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "gelu": lambda z: z * sigmoid(1.702 * z),
    "hardsigmoid": lambda z: min(1.0, max(0.0, 0.2 * z + 0.5)),
    "hardtanh": lambda z: min(1.0, max(-1.0, z)),
    "identity": lambda z: z,
    "leakyrelu": lambda z: z if z > 0 else 0.01 * z,
    "mish": lambda z: z * math.tanh(math.log1p(math.exp(min(z, 700)))),
    "rationaltanh": rational_tanh,
    "rectifiedtanh": lambda z: max(0.0, math.tanh(z)),
    "relu": lambda z: max(z, 0.0),
    "relu6": lambda z: min(max(z, 0.0), 6.0),
    "rrelu": lambda z: z if z > 0 else (1 / 8 + 1 / 3) / 2 * z,
    "selu": lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * math.expm1(z)),
    "sigmoid": sigmoid,
    "softplus": lambda z: z + math.log1p(math.exp(-z)) if z > 0 else math.log1p(math.exp(z)),
    "softsign": lambda z: z / (1 + abs(z)),
    "swish": lambda z: z * sigmoid(z),
    "tanh": math.tanh,
    "thresholdedrelu": lambda z: z if z > 1 else 0.0,
}


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def forward(act, z):
    return act.forward(z, out=np.empty_like(z))


def trained(act, z, seed=0):
    """Return (a, what backward needs), as in training: always with the same draws."""
    if act.draws:
        kept = np.empty_like(z)
        return act.training_forward(z, kept=kept, out=np.empty_like(z), rng=np.random.default_rng(seed)), kept
    a = forward(act, z)
    return a, {"input": z, "output": a}[act.keeps]


def kept_array(act, z):
    return trained(act, z)[1]


def slopes(act, z):
    return act.backward(kept_array(act, z), np.ones_like(z), out=np.empty_like(z))


def smooth_input(rng, shape=(6, 5)):
    """Values at least 0.05 away from all kinks, a third of them beyond the outer ones."""
    z = rng.uniform(-3, 3, shape)
    z = np.where(rng.random(shape) < 0.3, z + 4 * np.sign(z), z)
    for kink in KINKS:
        z = np.where(np.abs(z - kink) < 0.05, kink + 0.06, z)
    return z


def assert_derivative(act, z, rng, factor=1.0):
    """Compare <backward, v> with a central difference of <epsilon, forward> along a random v."""
    epsilon, direction = rng.standard_normal(z.shape), rng.standard_normal(z.shape)
    gradient = factor * act.backward(kept_array(act, z), epsilon, out=np.empty_like(z))
    h = 1e-5
    above, below = (trained(act, z + sign * h * direction)[0] for sign in (1, -1))
    numeric = np.sum(epsilon * (above - below)) / (2 * h)
    np.testing.assert_allclose(np.vdot(gradient, direction), numeric, rtol=1e-6, atol=1e-9)


def test_every_class_is_reachable_by_name():
    built_in = {cls for cls in subclasses(Activation) if cls.__module__.startswith("minidl.functions")}
    assert built_in - {Activation} == set(ACTIVATIONS.values())


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_names_are_found_in_any_case(name):
    assert type(activation(name.upper())) is ACTIVATIONS[name]


def test_class_object_and_dl4j_spelling():
    leaky = LeakyReLU(alpha=0.2)
    assert activation(leaky) is leaky
    assert activation(Tanh) == activation("TANH") == Tanh()
    assert activation("leaky_relu") == LeakyReLU(alpha=0.01)


def test_unknown_name_lists_what_exists():
    message = (
        "activation='rellu' is not known. Choose one of: cube, elu, gelu, hardsigmoid, hardtanh, identity, leakyrelu, "
        "mish, rationaltanh, rectifiedtanh, relu, relu6, rrelu, selu, sigmoid, softmax, softplus, softsign, swish, "
        "tanh, thresholdedrelu; or pass an object of a class derived from Activation."
    )
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        activation("rellu")


@pytest.mark.parametrize(("cls", "option"), [(LeakyReLU, "alpha"), (ELU, "alpha"), (ThresholdedReLU, "theta")])
@pytest.mark.parametrize("value", [-0.5, math.inf, math.nan, "x", None, True, np.float64(-0.5)])
def test_option_must_keep_the_sign(cls, option, value):
    rule = f"{cls.__name__}({option}={value!r})"
    message = f"{rule} cannot be differentiated from its output. Choose a finite {option} of 0 or more."
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        cls(**{option: value})


@pytest.mark.parametrize("value", ["x", None, 1, 0.0])
def test_precise_is_a_flag(value):
    message = f"GELU: precise={value!r} is not True or False."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        GELU(precise=value)


def test_unknown_option_suggests_what_was_meant():
    message = "LeakyReLU has no option 'alhpa'. Did you mean 'alpha'? Its options: alpha."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        LeakyReLU(alhpa=1)


@pytest.mark.parametrize("cls", dict.fromkeys(ACTIVATIONS.values()))
def test_no_class_takes_an_unknown_option(cls):
    with pytest.raises(ConfigurationError, match=f"^{cls.__name__} has no option 'slope'"):
        cls(slope=1)


def numeric_options(act):
    options = {field.name: getattr(act, field.name) for field in dataclasses.fields(act)}
    return {name: value for name, value in options.items() if not isinstance(value, bool)}


NUMERIC = [act for act in EVERY if numeric_options(act)]


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("act", NUMERIC, ids=repr)
def test_numbers_of_numpy_become_those_of_python(act, kind):
    given = {name: kind(value) for name, value in numeric_options(act).items()}
    made, expected = type(act)(**given), type(act)(**{name: float(value) for name, value in given.items()})
    assert made == expected
    assert repr(made) == repr(expected)
    assert made.output_range == expected.output_range
    assert {type(value) for value in (*numeric_options(made).values(), *made.output_range)} == {float}


@pytest.mark.parametrize("act", EVERY, ids=repr)
@pytest.mark.parametrize("seed", range(5))
def test_derivative(act, seed):
    rng = np.random.default_rng(seed)
    assert_derivative(act, smooth_input(rng), rng)


@pytest.mark.parametrize("act", EVERY, ids=repr)
def test_derivative_check_sees_an_error_of_a_thousandth(act):
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="Not equal to tolerance rtol=1e-06"):
        assert_derivative(act, smooth_input(rng), rng, factor=1.001)


def test_softmax_derivative_over_time():
    rng = np.random.default_rng(0)
    assert_derivative(Softmax(), rng.standard_normal((3, 4, 5)), rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("act", EVERY, ids=repr)
def test_out_is_returned_and_may_be_the_input(act, dtype):
    rng = np.random.default_rng(1)
    z, epsilon = (rng.standard_normal((4, 3)).astype(dtype) for _ in range(2))
    out, d_z = np.empty_like(z), np.empty_like(z)
    assert act.forward(z, out=out) is out
    assert act.keeps in ("input", "output") or act.draws
    kept = kept_array(act, z)
    assert act.backward(kept, epsilon, out=d_z) is d_z
    assert act.backward(kept, epsilon, out=epsilon) is epsilon
    np.testing.assert_array_equal(epsilon, d_z)
    if act.keeps == "output":
        np.testing.assert_array_equal(act.forward(z, out=z), out)


@pytest.mark.parametrize("act", EVERY, ids=repr)
def test_inputs_are_left_alone_and_old_memory_is_not_read(act):
    rng = np.random.default_rng(2)
    z, epsilon = rng.standard_normal((2, 4, 3))
    dirty = lambda shape, dtype: np.full(shape, np.nan, dtype)  # noqa: E731
    clean = forward(act, z)
    kept = kept_array(act, z)
    before = z.copy(), kept.copy(), epsilon.copy()
    np.testing.assert_array_equal(act.forward(z, out=dirty(z.shape, float), empty=dirty), clean)
    d_z = act.backward(kept, epsilon, out=dirty(z.shape, float), empty=dirty)
    np.testing.assert_array_equal(d_z, act.backward(kept, epsilon, out=np.zeros_like(z)))
    for array, copy in zip((z, kept, epsilon), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("act", EVERY, ids=repr)
def test_all_layouts_give_the_same_numbers(act):
    rng = np.random.default_rng(3)
    z, epsilon = rng.standard_normal((2, 4, 3))
    kept = kept_array(act, z)
    expected = forward(act, z), act.backward(kept, epsilon, out=np.empty_like(z))
    for fortran_out in (np.empty((4, 3), order="F"), np.empty((8, 6))[::2, ::-2]):
        np.testing.assert_allclose(act.forward(z, out=fortran_out), expected[0], rtol=1e-14)
        result = act.backward(np.asfortranarray(kept), epsilon, out=fortran_out)
        np.testing.assert_allclose(result, expected[1], rtol=1e-13, atol=1e-15)


def reference(name, z):
    """Return the reference of every element of z, where it can be computed; that of cube clips z as cube does."""
    limit = CUBE_LIMITS[z.dtype.name] if name == "cube" else math.inf
    return [REFERENCES[name](min(max(float(value), -limit), limit)) for value in z.reshape(-1)]


def whole_range(dtype):
    """Values of all magnitudes whose fourth power is finite in float64, which the references need."""
    return np.array([[-value for value in LARGE] + SATURATION + LARGE], dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-13)])
@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_values_over_the_whole_range(name, dtype, tolerance):
    z = whole_range(dtype)
    with np.errstate(all="raise", under="ignore"):
        result = forward(activation(name), z)
    assert result.dtype == dtype
    np.testing.assert_allclose(result[0], reference(name, z), rtol=tolerance, atol=1e-30)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-8)])
@pytest.mark.parametrize("name", sorted(REFERENCES.keys() - {"rrelu"}))
def test_slopes_over_the_whole_range(name, dtype, tolerance):
    z = whole_range(dtype)
    z = z[:, np.abs(z[0]) < (CUBE_LIMITS[dtype] if name == "cube" else math.inf)]
    z = z[:, np.abs(z[0, :, np.newaxis] - KINKS).min(axis=1) > 0.05]
    h = 1e-5 * np.maximum(np.abs(z, dtype=float), 1)
    above, below = (np.array(reference(name, z + sign * h)) for sign in (1, -1))
    with np.errstate(all="raise", under="ignore"):
        result = slopes(activation(name), z)
    assert result.dtype == dtype
    np.testing.assert_allclose(result[0], (above - below) / (2 * h[0]), rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("act", EVERY, ids=repr)
def test_no_warning_and_finite_gradient_at_saturation(act, dtype):
    z = np.array([SATURATION, SATURATION[::-1]], dtype)
    with np.errstate(all="raise", under="warn" if act.elementwise else "ignore"):
        result = forward(act, z)
        d_z = slopes(act, z)
    assert result.dtype == d_z.dtype == dtype
    assert np.isfinite(result).all()
    assert np.isfinite(d_z).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("act", [a for a in EVERY if a.elementwise], ids=repr)
def test_largest_numbers_neither_overflow_nor_give_nan(act, dtype):
    steepest = {LeakyReLU(alpha=2.0): 2.0, RReLU(lower=0.0, upper=2.0): 2.0, activation("rationaltanh"): 1.2}
    largest_slope = 3.01 * CUBE_LIMITS[dtype] ** 2 if act == Cube() else steepest.get(act, 1.1)
    largest = float(np.finfo(dtype).max) / (1 if act == Cube() else largest_slope)
    z = np.array([[-largest, largest, -1e30, 1e30]], dtype)
    with np.errstate(all="raise", under="ignore"):
        outputs = forward(act, z), trained(act, z)[0]
        d_z = slopes(act, z)
    assert np.isfinite(outputs).all()
    assert np.abs(d_z).max() <= largest_slope


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("act", EVERY, ids=repr)
def test_output_range(act, dtype):
    z = np.concatenate([np.linspace(-12, 12, 2002), SATURATION, np.negative(SATURATION)])
    z = np.random.default_rng(7).permutation(z).reshape(-1, 10).astype(dtype)
    lower, upper = act.output_range
    for a in (forward(act, z), trained(act, z)[0]):
        assert a.min() >= lower - 1e-6
        assert a.max() <= upper + 1e-6
        assert lower == -math.inf or a.min() <= lower + 1e-4
        assert upper == math.inf or a.max() >= upper - 1e-4


def test_range_and_draws_of_a_users_class():
    class Square(Activation):
        def forward(self, z, *, out, empty):
            return z * z

        def backward(self, kept, epsilon, *, out, empty):
            return 2 * kept * epsilon

    assert Square().output_range is None
    assert not Square().draws


def test_sigmoid_keeps_its_relative_precision_in_the_tail():
    z = np.linspace(-60, 10, 200, dtype=np.float32)[None]
    expected = [sigmoid(float(value)) for value in z[0]]
    np.testing.assert_allclose(forward(Sigmoid(), z)[0], expected, rtol=1e-6)


def test_slope_of_relu_is_zero_at_zero_and_nan_passes():
    kept = np.array([[-0.0, 0.0, 1e-40, 5.0, np.nan]], np.float32)
    d_z = ReLU().backward(kept, np.full_like(kept, 3), out=np.empty_like(kept))
    np.testing.assert_array_equal(d_z, [[0, 0, 3, 3, np.nan]])


def test_slope_of_hard_sigmoid_is_zero_on_the_flat_parts():
    kept = np.array([[0.0, 0.3, 1.0]])
    d_z = HardSigmoid().backward(kept, np.ones_like(kept), out=np.empty_like(kept))
    np.testing.assert_array_equal(d_z, [[0, 0.2, 0]])


def test_slopes_are_zero_on_the_edges_of_flat_parts():
    assert slopes(HardTanh(), np.array([-1.5, -1.0, -0.0, 1e-300, 0.999, 1.0, 2.0])).tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert slopes(ReLU6(), np.array([-1.0, 0.0, 1e-300, 5.999999, 6.0, 7.0])).tolist() == [0, 0, 1, 1, 0, 0]
    assert slopes(ThresholdedReLU(), np.array([-2.0, 0.5, 1.0, 1.0000001])).tolist() == [0, 0, 0, 1]


def test_threshold_is_not_passed():
    z = np.array([[-3.0, 0.0, 0.5, np.nextafter(0.5, 1), np.nan]])
    np.testing.assert_array_equal(forward(ThresholdedReLU(theta=0.5), z), [[0, 0, 0, z[0, 3], np.nan]])


def test_rational_tanh_keeps_its_relative_precision_near_zero():
    z = np.array([[1e-30, -1e-12, 1e-7, 1e-5]], np.float32)
    expected = [1.7159 * (2 * value / 3) * (1 + abs(2 * value / 3)) for value in z[0].tolist()]
    expected = [a / (1 + abs(a) / 1.7159) for a in expected]
    np.testing.assert_allclose(forward(activation("rationaltanh"), z)[0], expected, rtol=3e-7)


def test_softmax_against_a_loop():
    z = np.array([[1.0, 2.0, 3.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])
    powers = [[math.exp(value - max(row)) for value in row] for row in z.tolist()]
    expected = [[power / sum(row) for power in row] for row in powers]
    np.testing.assert_allclose(forward(Softmax(), z), expected, rtol=1e-15)


def test_softmax_over_time_is_softmax_of_every_step():
    z = np.random.default_rng(4).standard_normal((2, 5, 3))
    steps = [forward(Softmax(), np.ascontiguousarray(z[:, :, t])) for t in range(3)]
    np.testing.assert_allclose(forward(Softmax(), z), np.stack(steps, axis=2), rtol=1e-15)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8), st.floats(-1e3, 1e3))
def test_softmax_is_a_distribution_that_ignores_a_shift(values, shift):
    z = np.array([values])
    result = forward(Softmax(), z)
    assert math.isclose(result.sum(), 1, rel_tol=1e-12)
    np.testing.assert_allclose(forward(Softmax(), z + shift), result, atol=1e-10)


@given(st.floats(-1e4, 1e4))
def test_sigmoid_is_symmetric(value):
    both = forward(Sigmoid(), np.array([[value, -value]]))
    assert math.isclose(both.sum(), 1, rel_tol=1e-15)


TORCH = {
    Identity(): lambda f, z: z,
    activation("elu"): lambda f, z: f.elu(z),
    activation("hardtanh"): lambda f, z: f.hardtanh(z),
    activation("leakyrelu"): lambda f, z: f.leaky_relu(z, 0.01),
    activation("mish"): lambda f, z: f.mish(z),
    activation("rectifiedtanh"): lambda f, z: f.relu(z.tanh()),
    activation("relu"): lambda f, z: f.relu(z),
    activation("relu6"): lambda f, z: f.relu6(z),
    activation("selu"): lambda f, z: f.selu(z),
    activation("sigmoid"): lambda f, z: z.sigmoid(),
    activation("softmax"): lambda f, z: f.softmax(z, dim=1),
    activation("softplus"): lambda f, z: f.softplus(z, threshold=1e9),
    activation("softsign"): lambda f, z: f.softsign(z),
    activation("swish"): lambda f, z: f.silu(z),
    activation("tanh"): lambda f, z: z.tanh(),
    activation("gelu"): lambda f, z: z * (1.702 * z).sigmoid(),
    GELU(precise=True): lambda f, z: f.gelu(z),
    ThresholdedReLU(theta=0.3): lambda f, z: f.threshold(z, 0.3, 0.0),
    RReLU(lower=0.4, upper=0.4): lambda f, z: f.rrelu(z, 0.4, 0.4, training=True),
}


@pytest.mark.parametrize("act", TORCH, ids=repr)
def test_agrees_with_torch(act):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    z, epsilon = (rng.normal(0, 3, (16, 10)).astype(np.float32) for _ in range(2))
    z_torch = torch.tensor(z, requires_grad=True)
    a_torch = TORCH[act](torch.nn.functional, z_torch)
    a_torch.backward(torch.tensor(epsilon))
    d_z = act.backward(kept_array(act, z), epsilon, out=np.empty_like(z))
    np.testing.assert_allclose(forward(act, z), a_torch.detach().numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(d_z, z_torch.grad.numpy(), rtol=1e-5, atol=1e-6 * np.abs(epsilon).max())
