"""class_weight and sample_weight: what they do to loss and gradient, in fit."""

import re

import numpy as np
import pytest
from networks import CLASSES, data, network, softmax_network

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.class_weights import weighted_mask
from minidl.data import ArrayDataSetIterator
from minidl.errors import ConfigurationError, DataError, ShapeError
from minidl.functions import LOSSES, XENT
from minidl.layers import ActivationLayer, LossLayer, OutputLayer

WEIGHTS = {0: 2.0, 1: 0.5, 3: 0.0}
ALL = [2.0, 0.5, 1.0, 0.0, 1.0]


def weight_of(labels):
    return np.array(ALL)[labels.argmax(axis=1)]


def trained(*arguments, name="two layers", steps=3, **options):
    net = network(name, dtype="float64")
    for _ in range(steps):
        net.fit(*arguments, **options)
    return net


def test_class_weight_is_the_sample_weight_of_its_examples():
    x, y = data(32)
    expected = trained(x, y, sample_weight=weight_of(y))
    for weights in (WEIGHTS, ALL, np.array(ALL, np.float32)):
        net = trained(x, y, class_weight=weights)
        assert net.params.tobytes() == expected.params.tobytes()
        assert net.score() == expected.score()
    assert trained(x, y).params.tobytes() != expected.params.tobytes()


def test_an_example_of_weight_2_counts_twice_and_one_of_0_not_at_all():
    x, y = data(8)
    weights = np.array([2, 1, 0, 1, 0, 0, 1, 1])
    net = trained(x, y, sample_weight=weights, steps=1)
    rows = np.repeat(np.arange(8), weights)
    other = network(dtype="float64")
    other.compute_gradient_and_score(x[rows], y[rows])
    assert net.score() == pytest.approx(other.score() * len(rows) / 8, rel=1e-12)


def test_gradient_of_weighted_examples():
    x, y = data(8)
    weights = np.random.default_rng(0).random(8)
    net = network(dtype="float64", updater="noop")
    total = np.zeros(net.num_params())
    for row, weight in enumerate(weights):
        net.compute_gradient_and_score(x[[row]], y[[row]])
        total += weight * net.gradient
    net.compute_gradient_and_score(DataSet(x, y, labels_mask=weights))
    np.testing.assert_allclose(net.gradient, total, rtol=1e-10, atol=1e-14)


def test_weights_and_a_mask_multiply():
    x, y = data(8)
    rng = np.random.default_rng(1)
    weights, mask = rng.random(8), rng.random(8)
    expected = trained(x, y, labels_mask=weights * mask)
    for given in (mask, mask[:, np.newaxis]):
        np.testing.assert_allclose(
            trained(x, y, sample_weight=weights, labels_mask=given).params, expected.params, rtol=1e-12
        )
    outputs = rng.random((8, CLASSES))
    np.testing.assert_allclose(
        trained(x, y, sample_weight=weights, labels_mask=outputs).params,
        trained(x, y, labels_mask=weights[:, np.newaxis] * outputs).params,
        rtol=1e-12,
    )


@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, CLASSES)])
def test_class_weight_beside_every_form_of_mask(shape):
    x, y = data(8)
    mask = np.random.default_rng(2).random(shape)
    expected = weight_of(y).reshape(8, *[1] * (len(shape) - 1)) * mask
    np.testing.assert_allclose(
        trained(x, y, class_weight=WEIGHTS, labels_mask=mask).params,
        trained(x, y, labels_mask=expected).params,
        rtol=1e-12,
    )


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
def test_class_weight_of_class_indices_and_of_an_iterator(mode):
    x, y = data(32)
    nets = [softmax_network(mode=mode, dtype="float64") for _ in range(3)]
    nets[0].fit(x, y, class_weight=WEIGHTS)
    nets[1].fit(x, y.argmax(axis=1), class_weight=WEIGHTS)
    nets[2].fit(ArrayDataSetIterator(x, y, batch_size=32), class_weight=WEIGHTS)
    assert len({net.params.tobytes() for net in nets}) == 1


def test_one_output_has_two_classes():
    x, y = data(16, width=1)
    expected = trained(x, y, sample_weight=np.where(y[:, 0] == 1, 3.0, 0.5), name="one output")
    net = trained(x, y, class_weight={0: 0.5, 1: 3.0}, name="one output")
    np.testing.assert_allclose(net.params, expected.params, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 3, 2, 5)])
@pytest.mark.parametrize("mask", ["none", "examples", "steps", "outputs"])
def test_every_time_step_has_the_weight_of_its_class(shape, mask):
    rng = np.random.default_rng(3)
    indices = rng.integers(0, 3, (4, *shape[2:]))
    labels = np.moveaxis(np.eye(3)[indices], -1, 1)
    weights = np.array([0.5, 2.0, 1.0])
    masks = {
        "none": None,
        "examples": rng.random(4),
        "steps": rng.random((4, *shape[2:])),
        "outputs": rng.random(shape),
    }
    result = weighted_mask(np.ascontiguousarray(labels), masks[mask], weights, np.empty)
    expected = weights[indices]
    if mask == "examples":
        expected = expected * masks[mask].reshape(4, *[1] * len(shape[2:]))
    elif mask == "steps":
        expected = expected * masks[mask]
    elif mask == "outputs":
        expected = expected[:, np.newaxis] * masks[mask]
    np.testing.assert_allclose(result, expected, rtol=1e-14)


def test_sample_weight_of_time_steps():
    conf = NeuralNetConfiguration(dtype="float64", updater="noop").list(
        LossLayer(loss="l2"), input_type=InputType.recurrent(3)
    )
    rng = np.random.default_rng(4)
    x, y, weights = rng.random((2, 3, 5)), rng.random((2, 3, 5)), rng.random((2, 5))
    net = MultiLayerNetwork(conf).init()
    expected = (((x - y) ** 2).sum(axis=1) * weights).sum() / 2
    assert net.fit(x, y, sample_weight=weights).score() == pytest.approx(expected, rel=1e-12)
    assert net.score(DataSet(x, y, labels_mask=weights)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({5: 1.0}, "class_weight has the key 5, but the classes are the whole numbers 0 to 4."),
        ({"cat": 1.0}, "class_weight has the key 'cat', but the classes are the whole numbers 0 to 4."),
        (
            {0: -1.0},
            "class_weight=[-1.0, 1.0, 1.0, 1.0, 1.0] must be 5 finite numbers of at least 0, one for each class. Give "
            "{class: weight} or a list.",
        ),
        (
            [1, 2],
            "class_weight=[1, 2] must be 5 finite numbers of at least 0, one for each class. Give {class: weight} or a "
            "list.",
        ),
        (
            [1, 2, 3, 4, np.nan],
            "class_weight=[1, 2, 3, 4, nan] must be 5 finite numbers of at least 0, one for each class. Give {class: "
            "weight} or a list.",
        ),
    ],
)
def test_class_weights_that_cannot_be(weights, message):
    net = network()
    before = net.params.copy()
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        net.fit(*data(), class_weight=weights)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize(("loss", "name", "outputs"), [("mse", "MSE", 5), (XENT(), "XENT", 5)])
def test_class_weights_need_classes(loss, name, outputs):
    conf = NeuralNetConfiguration().list(OutputLayer(n_in=12, n_out=outputs, loss=loss, activation="sigmoid"))
    message = (
        f"class_weight goes with labels of classes, but the loss {name} of {outputs} outputs has none. Use "
        "loss='mcxent', or give the outputs weights: loss=XENT(weights=(1, 2))."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        MultiLayerNetwork(conf).init().fit(*data(), class_weight=WEIGHTS)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(31), ShapeError, "sample_weight has shape (31,), expected (32,). Give one number for each example."),
        (
            np.ones((32, 1, 1)),
            ShapeError,
            "sample_weight has shape (32, 1, 1), expected (32,). Give one number for each example.",
        ),
        (
            np.where(np.arange(32) == 3, -1.0, 1.0),
            DataError,
            "sample_weight: -1.0 in row 3 is not a finite number of at least 0. Use 0 to ignore an example.",
        ),
        (
            np.where(np.arange(32) == 4, np.inf, 1.0),
            DataError,
            "sample_weight: inf in row 4 is not a finite number of at least 0. Use 0 to ignore an example.",
        ),
    ],
)
def test_sample_weights_that_cannot_be(weights, error, message):
    net = network()
    before = net.params.copy()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        net.fit(*data(32), sample_weight=weights)
    np.testing.assert_array_equal(net.params, before)


def test_sample_weight_does_not_go_with_an_iterator():
    message = (
        "sample_weight goes with arrays or one DataSet, but data is a ArrayDataSetIterator. Put the weights into the "
        "DataSets: DataSet(features, labels, labels_mask=weights)."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        network().fit(ArrayDataSetIterator(*data()), sample_weight=np.ones(32))


# Masks of series


def series_network(loss, activation="softmax"):
    conf = NeuralNetConfiguration(dtype="float64", updater="noop").list(
        ActivationLayer("tanh"), LossLayer(loss=loss, activation=activation), input_type=InputType.recurrent(3)
    )
    return MultiLayerNetwork(conf).init()


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("kind", ["none", "examples", "steps", "outputs"])
def test_a_series_scores_like_its_time_steps_under_any_mask(loss, kind):
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((2, 3, 5)), np.moveaxis(np.eye(3)[rng.integers(0, 3, (2, 5))], 2, 1)
    y = 2 * y - 1 if LOSSES[loss].label_kind == "signs" else y
    shape = {"none": None, "examples": (2,), "steps": (2, 5), "outputs": (2, 3, 5)}[kind]
    mask = None if shape is None else rng.random(shape)
    net = series_network(loss)
    by_step, gradients = 0.0, np.empty_like(x)
    for t in range(5):
        part = mask if kind in ("none", "examples") else mask[..., [t]]
        _, gradients[:, :, [t]] = net.calculate_gradients(x[:, :, [t]], y[:, :, [t]], labels_mask=part)
        by_step += net.score()
    _, gradient = net.calculate_gradients(x, y, labels_mask=mask)
    assert net.score() == pytest.approx(by_step, rel=1e-12)
    np.testing.assert_allclose(gradient, gradients, rtol=1e-12, atol=1e-15)


def test_mask_of_columns_is_none_of_time_steps():
    net, x = series_network("mse"), np.ones((2, 3, 5))
    message = (
        "labels_mask has shape (2, 3), expected (2,), (2, 1), (2, 5) or (2, 3, 5). Give one number for each example, "
        "each time step, or for each element."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        net.fit(x, x, labels_mask=np.ones((2, 3)))
