"""Any legal mixture of options: the gradient is right, JSON gives it back, and both modes give the same bits."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from minidl import DataSet, InputType, MultiLayerConfiguration, MultiLayerNetwork, NeuralNetConfiguration
from minidl import functions as f
from minidl import training as t
from minidl.functions import ACTIVATIONS, LOSSES, WEIGHT_INITS
from minidl.layers import (
    ActivationLayer,
    CnnToFeedForwardPreProcessor,
    DenseLayer,
    DropoutLayer,
    LossLayer,
    OutputLayer,
)

N_IN, STEPS = 4, (1e-5, 1e-6, 1e-7)
POSITIVE_OUTPUT = ("sigmoid", "softplus", "softmax")  # what losses with a logarithm of the output need
BOUNDED = ("sigmoid", "softmax", "hardsigmoid")
LOGARITHMIC = ("poisson", "mean_squared_logarithmic_error", "kl_divergence", "reconstruction_crossentropy")

rate = st.floats(1e-4, 0.1)
small = st.floats(0, 0.1)
NOT_AT_A_KINK = st.sampled_from([-0.4, 0.3])  # 0 is one of relu, l1 and others, where dropout makes the input 0
kind = st.sampled_from(["iteration", "epoch"])
schedules = st.one_of(
    st.builds(t.FixedSchedule, rate),
    st.builds(lambda by, a, b: t.MapSchedule(by, {0: a, 3: b}), kind, rate, rate),
    st.builds(t.StepSchedule, kind, rate, st.floats(0.1, 1), st.integers(1, 5)),
    st.builds(t.ExponentialSchedule, kind, rate, st.floats(0.5, 1)),
    st.builds(t.InverseSchedule, kind, rate, st.floats(0, 1), st.floats(0, 2)),
    st.builds(t.PolySchedule, kind, rate, st.floats(0.5, 2), st.integers(1, 50)),
    st.builds(t.SigmoidSchedule, kind, rate, st.floats(0, 1), st.integers(1, 9)),
    st.builds(t.RampSchedule, st.builds(t.FixedSchedule, rate), st.integers(1, 9)),
    st.builds(lambda by, a, n: t.CycleSchedule(by, a, a * 2, 4 * n, n, 0.5), kind, rate, st.integers(1, 5)),
    st.builds(lambda by, a, n: t.CosineWarmupSchedule(by, a, n, 3 * n), kind, rate, st.integers(1, 5)),
)
learning_rates = rate | schedules
updaters = st.one_of(
    st.just(t.NoOp()),
    st.builds(t.AdaDelta),
    st.builds(t.Nesterovs, learning_rates, st.floats(0, 0.9) | schedules),
    *(
        st.builds(cls, learning_rates)
        for cls in dict.fromkeys(t.UPDATERS.values())
        if cls not in (t.NoOp, t.AdaDelta, t.Nesterovs)
    ),
)
elementwise_distributions = st.one_of(
    st.builds(f.NormalDistribution, st.floats(-0.1, 0.1), st.floats(0.01, 0.3)),
    st.builds(f.UniformDistribution, st.just(-0.5), st.just(0.5)),
    st.builds(f.TruncatedNormalDistribution, st.just(0.0), st.floats(0.1, 0.5)),
    st.builds(f.LogNormalDistribution, st.just(-1.0), st.just(0.3)),
    st.builds(f.ConstantDistribution, NOT_AT_A_KINK),
)
binomial = st.builds(f.BinomialDistribution, st.integers(1, 3), st.floats(0.1, 0.9))  # has zeros: kinks of relu
weight_inits = (
    st.sampled_from(sorted(set(WEIGHT_INITS) - {"identity", "zero"}))
    | elementwise_distributions
    | st.builds(f.OrthogonalDistribution, st.floats(0.5, 1.5))
)
dropouts = st.one_of(
    st.floats(0.3, 1),
    st.builds(t.Dropout, st.floats(0.3, 1)),
    st.builds(t.AlphaDropout, st.floats(0.3, 1)),
    st.builds(t.GaussianDropout, st.floats(0, 0.5)),
    st.builds(t.GaussianNoise, st.floats(0, 0.5)),
)
noises = st.one_of(
    st.builds(t.DropConnect, st.floats(0.3, 1), apply_to_bias=st.booleans()),
    st.builds(t.WeightNoise, elementwise_distributions | binomial, apply_to_bias=st.booleans(), additive=st.booleans()),
)
constraints = st.one_of(
    st.builds(t.MaxNorm, st.floats(0.5, 3), st.sampled_from([(1,), (0,)])),
    st.builds(t.MinMaxNorm, st.floats(0.1, 0.5), st.floats(0.5, 3), st.floats(0.1, 1), st.just((1,))),
    st.builds(t.UnitNorm, st.just((1,))),
    st.just(t.NonNegative()),
)
training_options = dict(
    updater=updaters,
    bias_updater=updaters,
    l1=small,
    l2=small,
    l1_bias=small,
    l2_bias=small,
    weight_decay_apply_lr=st.booleans(),
    dropout=dropouts,
    weight_noise=noises,
    gradient_normalization=st.sampled_from(t.GradientNormalization),
    gradient_normalization_threshold=st.floats(0.1, 2),
    constrain_weights=constraints.filter(lambda rule: getattr(rule, "dimensions", (1,)) == (1,)) | constraints,
    constrain_bias=constraints.filter(lambda rule: getattr(rule, "dimensions", (1,)) == (1,)),
    constrain_all_parameters=st.just((t.NonNegative(), t.MaxNorm(2.0))),
)
dense_options = training_options | dict(
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    weight_init=weight_inits,
    bias_init=NOT_AT_A_KINK,
    has_bias=st.booleans(),
)
hidden_layers = st.one_of(
    st.fixed_dictionaries({"n_out": st.integers(1, 6)}, optional=dense_options).map(lambda o: DenseLayer(**o)),
    st.fixed_dictionaries({"n_out": st.integers(2, 6)}, optional=dense_options).map(lambda o: DenseLayer(**o)),
    st.builds(ActivationLayer, st.sampled_from(sorted(ACTIVATIONS))),
    st.builds(DropoutLayer, dropouts),
)


@st.composite
def output_layers(draw):
    name, n_out = draw(st.sampled_from(sorted(LOSSES))), draw(st.integers(1, 4))
    cls = LOSSES[name]
    choice = sorted(ACTIVATIONS)
    if cls.label_kind in ("classes", "probabilities"):
        choice = BOUNDED[:2] if cls.label_kind == "classes" or name in LOGARITHMIC else BOUNDED
    elif name in LOGARITHMIC:
        choice = POSITIVE_OUTPUT
    activation = draw(st.sampled_from(choice))
    if activation == "softmax" or cls.label_kind == "classes":
        n_out = max(n_out, 2)
    weights = draw(st.none() | st.lists(st.floats(0.1, 2), min_size=n_out, max_size=n_out).map(tuple))
    loss = cls(weights=weights)
    if draw(st.booleans()):
        return [DenseLayer(n_out=n_out, activation="tanh"), LossLayer(loss=loss, activation=activation)]
    options = draw(st.fixed_dictionaries({}, optional=dense_options)) | dict(activation=activation, loss=loss)
    return [OutputLayer(n_out=n_out, **options)]


INPUTS = [
    (InputType.feed_forward(N_IN), None),
    (InputType.convolutional(2, 1, 2), {0: CnnToFeedForwardPreProcessor()}),
    (InputType.convolutional_flat(1, 2, 2), None),
]


@st.composite
def configurations(draw):
    options = draw(
        st.fixed_dictionaries(
            {"bias_init": NOT_AT_A_KINK},
            optional={k: v for k, v in dense_options.items() if k != "bias_init"} | dict(mini_batch=st.booleans()),
        ).map(lambda found: {k: v for k, v in found.items() if k != "has_bias"})
    )
    if not options.get("l2"):
        options["weight_decay"] = draw(small)
    layers = [*draw(st.lists(hidden_layers, max_size=3)), *draw(output_layers())]
    input_type, steps = draw(st.sampled_from(INPUTS))
    return NeuralNetConfiguration(seed=draw(st.integers(0, 99)), dtype="float64", **options).list(
        *layers, input_type=input_type, input_preprocessors=steps
    )


def batch_for(conf, seed, masked):
    """Return 5 examples whose labels fit the loss, away from its kinks."""
    rng = np.random.default_rng(seed)
    n_out, loss = conf.input_types()[-1].size, conf.layers[-1].loss
    labels = {
        "classes": lambda: np.eye(n_out)[rng.integers(0, n_out, 5)],
        "probabilities": lambda: rng.uniform(0.05, 0.95, (5, n_out)),
        "values": lambda: rng.uniform(0.5, 1.5, (5, n_out)),
        "signs": lambda: rng.choice([-1.0, 1.0], (5, n_out)),
    }[loss.label_kind]()
    mask = {None: None, "examples": rng.random(5), "outputs": rng.random((5, n_out))}[masked]
    return DataSet(rng.standard_normal((5, *conf.input_type.example_shape())), labels, labels_mask=mask)


def network(conf, mode):
    conf = dataclasses.replace(conf, training_workspace_mode=mode, inference_workspace_mode=mode)
    return MultiLayerNetwork(conf).init()


CLIPPED_AT = {f.MCXENT: 1e-10, f.SparseMCXENT: 1e-10, f.XENT: 1e-5, f.KLDivergence: 1e-5}


def is_clipped(net, data):
    """Tell whether the score clips a probability, or nearly so, as DL4J's do, which the gradient never does.

    The gradient is drawn with the masks of the next step, and this with others: the margin is for that.
    """
    bound = 2 * CLIPPED_AT.get(type(net.layers[-1].loss), -1.0)
    output = net.output(data.features)
    return bool(((output < bound) | (output > 1 - bound)).any()) and bound > 0


def penalty_gradient(net):
    """Return the derivative of the penalties that the score has, in the order of the parameters."""
    parts = []
    for layer in net.layers:
        for name, w in layer.params.items():
            l1, l2, decay = (
                (layer.l1, layer.l2, layer.weight_decay)
                if name == "W"
                else (layer.l1_bias, layer.l2_bias, layer.weight_decay_bias)
            )
            parts.append((l1 * np.sign(w) + (l2 + decay) * w).ravel("F"))
    return np.concatenate(parts) if parts else np.zeros(0)


def gradient_error(net, data):
    """Return the relative error along a random direction; of several steps the best, as one may cross a kink."""
    net.compute_gradient_and_score(data)
    direction = np.random.default_rng(1).standard_normal(net.num_params())
    analytic = (net.gradient / len(data) + penalty_gradient(net)) @ direction
    scale = np.linalg.norm(net.gradient / len(data) + penalty_gradient(net)) + 1e-3
    start, errors = net.params.copy(), []
    for step in STEPS:
        scores = []
        for sign in (1, -1):
            net.set_params(start + sign * step * direction)
            scores.append(net.score(data, training=True))
        errors.append(abs((scores[0] - scores[1]) / (2 * step) - analytic) / scale)
    net.set_params(start)
    return min(errors)


@pytest.mark.filterwarnings("ignore:.* comes on top of the decay of AdamW:minidl.errors.ConfigurationWarning")
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(configurations(), st.integers(0, 99), st.sampled_from([None, "examples", "outputs"]))
def test_gradient_json_and_modes(conf, seed, masked):
    data = batch_for(conf, seed, masked)
    net = network(conf, "ENABLED")
    assume(not is_clipped(net, data))  # Hypothesis draws another one: 300 are checked
    assert gradient_error(net, data) < 1e-6
    same = MultiLayerConfiguration.from_json(conf.to_json())
    assert same == conf
    assert same.to_json() == conf.to_json()
    other = network(same, "NONE")
    for _ in range(3):
        for each in (net, other):
            each.fit(data)
    assert net.params.tobytes() == other.params.tobytes()


@pytest.mark.parametrize("seed", range(5))
def test_planted_error_of_a_thousandth_is_found(seed, monkeypatch):
    conf = NeuralNetConfiguration(seed=seed, dtype="float64", l1=0.01, l2=0.01, activation="tanh").list(
        DenseLayer(n_out=5), OutputLayer(n_out=3), input_type=InputType.feed_forward(N_IN)
    )
    net, data = network(conf, "ENABLED"), batch_for(conf, seed, None)
    assert gradient_error(net, data) < 1e-6
    right = net.compute_gradient_and_score
    monkeypatch.setattr(net, "compute_gradient_and_score", lambda given: (right(given), net.gradient.__imul__(1.001)))
    assert gradient_error(net, data) > 1e-6
