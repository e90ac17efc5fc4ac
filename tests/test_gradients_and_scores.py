"""calculate_gradients, score_examples, pretrain, and scores that are not finite."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from networks import CLASSES, FEATURES, NETS, assert_nothing_open, data, data_for, network, softmax_network

from minidl import DataSet, InputType, Layer, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import ArrayDataSetIterator, ListDataSetIterator
from minidl.errors import ConfigurationError, DataError, LayerError, NonFiniteScoreError
from minidl.layers import DenseLayer, LossLayer, OutputLayer
from minidl.training import DropConnect, Sgd


def numeric_gradient(net, x, y, direction, step=1e-6):
    scores = [net.score(x + sign * step * direction, y, training=True) * len(x) for sign in (1, -1)]
    return (scores[0] - scores[1]) / (2 * step)


# calculate_gradients


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
@pytest.mark.parametrize("name", sorted(set(NETS) - {"float64", "custom activation"}))
def test_gradient_by_the_features_agrees_with_a_central_difference(name, mode):
    net = network(name, mode, dtype="float64")
    x, y = (array.astype(float) for array in data_for(name, 6))
    _, by_features = net.calculate_gradients(x, y)
    direction = np.random.default_rng(0).standard_normal(x.shape)
    numeric = numeric_gradient(net, x, y, direction)
    assert np.vdot(by_features, direction) == pytest.approx(numeric, rel=1e-6)
    assert abs(np.vdot(by_features * 1.001, direction) / numeric - 1) > 1e-6


def test_gradients_by_name_are_those_of_compute_gradient_and_score():
    net, (x, y) = network(), data()
    score = net.compute_gradient_and_score(x, y)
    flat = net.gradient.copy()
    by_name, _ = net.calculate_gradients(x, y)
    assert list(by_name) == list(net.param_table())
    np.testing.assert_array_equal(np.concatenate([table.ravel("F") for table in by_name.values()]), flat)
    assert net.score() == score
    net.fit(x, y)
    np.testing.assert_array_equal(np.concatenate([table.ravel("F") for table in by_name.values()]), flat)


def test_gradient_by_the_features_has_their_shape_and_obeys_masks():
    net, (x, y) = network("no fused loss", dtype="float64"), data(6)
    mask = np.array([1, 0, 1, 1, 0, 1])
    _, by_features = net.calculate_gradients(x, y, labels_mask=mask)
    assert by_features.shape == x.shape
    assert by_features.dtype == np.float64
    np.testing.assert_array_equal(np.any(by_features != 0, axis=1), mask == 1)


def test_training_goes_on_as_if_gradients_had_not_been_calculated():
    first, second = network("dropout"), network("dropout")
    x, y = data()
    for step in range(4):
        if step == 2:
            first.calculate_gradients(x, y)
        first.fit(x, y)
        second.fit(x, y)
    assert first.params.tobytes() == second.params.tobytes()


@dataclass
class NoInputGradient(Layer):
    """A first layer that never gives dL/dx."""

    def activate(self, x, *, training, workspace_mgr):
        return x * 2

    def backprop(self, epsilon, *, workspace_mgr):
        return None


def test_first_layer_without_an_input_gradient_is_named():
    net, (x, y) = softmax_network(NoInputGradient()), data()
    net.fit(x, y)
    message = "layer 0 (NoInputGradient) returned NoneType instead of an array. "
    with pytest.raises(LayerError, match=f"^{re.escape(message)}"):
        net.calculate_gradients(x, y)
    assert_nothing_open()


# score_examples


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
@pytest.mark.parametrize("name", ["two layers", "regularised", "weight decay", "one output", "loss layer", "dropout"])
def test_scores_of_examples_are_the_scores_of_batches_of_one(name, mode):
    net = network(name, mode, dtype="float64")
    x, y = data_for(name, 7)
    expected = [net.score(x[[row]], y[[row]]) for row in range(7)]
    with_penalties = net.score_examples(x, y, add_regularization_terms=True)
    np.testing.assert_allclose(with_penalties, expected, rtol=1e-12)
    penalty = net.score(x, y) - net.score_examples(x, y).sum() / 7
    np.testing.assert_allclose(net.score_examples(x, y) + penalty, expected, rtol=1e-9)
    assert (penalty > 1e-6) == (name in ("regularised", "weight decay"))


def test_scores_of_an_iterator_are_joined():
    net, (x, y) = network(dtype="float64"), data(10)
    source = ArrayDataSetIterator(x, y, batch_size=4)
    np.testing.assert_allclose(net.score_examples(source), net.score_examples(x, y), rtol=1e-12)
    assert net.score_examples(DataSet(x, y)).shape == (10,)


def test_masked_examples_score_their_part():
    net, (x, y) = network(dtype="float64"), data(4)
    mask = np.array([1.0, 0.0, 0.5, 1.0])
    masked = net.score_examples(DataSet(x, y, labels_mask=mask))
    np.testing.assert_allclose(masked, net.score_examples(x, y) * mask, rtol=1e-12)


@dataclass
class OnlyScore(LossLayer):
    """An output layer of a user that knows the sum only."""

    def score_examples(self, labels, *, mask, workspace_mgr):
        return super(LossLayer, self).score_examples(labels, mask=mask, workspace_mgr=workspace_mgr)


def test_output_layer_without_scores_of_examples_is_named():
    conf = NeuralNetConfiguration().list(OnlyScore(loss="l2"), input_type=InputType.feed_forward(3))
    message = (
        "OnlyScore has no score_examples(), the loss of every example. Define it, or end with OutputLayer or LossLayer."
    )
    with pytest.raises(LayerError, match=f"^{re.escape(message)}"):
        MultiLayerNetwork(conf).init().score_examples(np.ones((2, 3)), np.ones((2, 3)))
    assert_nothing_open()


# pretrain


def test_pretrain_is_not_offered():
    message = (
        "pretrain() is not offered: minidl has no layers that are trained without labels, such as DL4J's AutoEncoder. "
        "Call fit() with labels; fit(x, x) trains a network to give back its input."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        network().pretrain(ArrayDataSetIterator(*data()))


# Scores that are not finite


def exploding(rate=1e30, **options):
    conf = NeuralNetConfiguration(seed=1, updater=Sgd(rate), activation="identity", **options).list(
        DenseLayer(n_out=4),
        DenseLayer(n_out=4, name="second"),
        OutputLayer(n_out=2, activation="identity", loss="mse"),
        input_type=InputType.feed_forward(3),
    )
    return MultiLayerNetwork(conf).init()


REGRESSION = np.ones((5, 3), np.float32), np.ones((5, 2), np.float32)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
def test_training_stops_where_asked_to_and_names_layer_and_iteration(mode):
    net = exploding(training_workspace_mode=mode)
    source = ListDataSetIterator([DataSet(*REGRESSION)])
    message = (
        r"^the score is (nan|inf) in iteration 1 \(epoch 1\): layer 1 \(second\) gave the first activations that are "
        r"not finite, from parameters that are\. No update was made with it, but the parameters may have gone wrong "
        r"before\. Lower the learning rate, clip the gradients \(gradient_normalization='ClipL2PerLayer'\), or look "
        r"for extreme values in the data\."
    )
    with pytest.raises(NonFiniteScoreError, match=message):
        net.fit(source, epochs=5, terminate_on_nan=True)
    assert np.isfinite(net.params).all()
    assert net.iteration_count == 1
    assert_nothing_open()
    assert net.fit(*REGRESSION) is net  # not asked to: it goes on
    assert not np.isfinite(net.score())


def test_parameters_that_are_not_finite_are_named():
    net = network()
    net.param_table()["0_W"][3, 2] = np.nan
    before = net.params.copy()
    message = (
        "the score is nan in iteration 0 (epoch 0): layer 0 (DenseLayer) gave the first activations that are not "
        "finite, and has parameters that are not. No update was made with it, but the parameters may have gone wrong "
    )
    with pytest.raises(NonFiniteScoreError, match=f"^{re.escape(message)}"):
        net.fit(*data(), terminate_on_nan=True)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_penalty_or_loss_that_is_not_finite_is_named():
    net = softmax_network(DenseLayer(n_out=3, activation="tanh", l2=1e-3))
    net.param_table()["0_W"][...] = 1e25
    message = (
        r"^the score is inf in iteration 0 \(epoch 0\): the loss is finite, but the penalty of the parameters is not, "
        r"of which layer 0 \(DenseLayer\) has the largest, 1e\+25\. No update"
    )
    with pytest.raises(NonFiniteScoreError, match=message):
        net.fit(*data(), terminate_on_nan=True)


def test_finite_scores_do_not_stop():
    first, second = network(), network()
    for _ in range(3):
        first.fit(*data(), terminate_on_nan=True)
        second.fit(*data())
    assert first.params.tobytes() == second.params.tobytes()


# Data that cannot be


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_named(mode, value):
    net, (x, y) = network(mode=mode), data()
    x[5, 2] = value
    before = net.params.copy()
    message = (
        f"features: {value} in row 5 of 32 is not a finite number of type float32. Remove such examples. The "
        "parameters were not changed by this batch."
    )
    with np.errstate(invalid="ignore"), pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        net.fit(x, y)
    np.testing.assert_array_equal(net.params, before)
    assert_nothing_open()


@pytest.mark.parametrize("value", [-0.25, 2.0])
@pytest.mark.parametrize(("name", "outputs"), [("two layers", CLASSES), ("one output", 1)])
@pytest.mark.parametrize("method", ["fit", "score", "compute_gradient_and_score", "score_examples"])
def test_labels_that_are_no_probabilities(method, name, outputs, value):
    net, (x, y) = network(name), data(8, outputs)
    y[3, 0] = value
    before = net.params.copy()
    message = (
        f"labels: {value} in row 3 of 8 is not in [0, 1], but the loss is one of probabilities. Scale the labels, or "
        "use another loss, such as 'mse'. The parameters were not changed by this batch."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        getattr(net, method)(x, y)
    np.testing.assert_array_equal(net.params, before)
    assert_nothing_open()


def test_labels_of_other_losses_may_be_any_number():
    net, (x, y) = network("no fused loss"), data(8)
    net.fit(x, y * 7 - 3)
    assert np.isfinite(net.score())


@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, CLASSES)])
def test_labels_that_are_masked_may_be_any_number(shape):
    net, same = network(), network()
    x, y = data(8)
    mask = np.ones(shape, np.float32)
    mask[3] = 0
    same.fit(x, y, labels_mask=mask)
    y[3] = -1
    net.fit(x, y, labels_mask=mask)
    np.testing.assert_allclose(net.params, same.params, rtol=1e-6)
    y[4] = -1
    with pytest.raises(DataError, match=r"^labels: -1\.0 in row 4 of 8 is not in \[0, 1\]"):
        net.fit(x, y, labels_mask=mask)


def test_noise_of_an_output_layer_reaches_its_score():
    layer = OutputLayer(n_out=CLASSES, weight_noise=DropConnect(0.5))
    conf = NeuralNetConfiguration(seed=1).list(layer, input_type=InputType.feed_forward(FEATURES))
    net, (x, y) = MultiLayerNetwork(conf).init(), data()
    assert net.score(x, y, training=True) != net.score(x, y)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
@pytest.mark.parametrize("value", [np.inf, 1e300])
def test_features_that_the_type_of_the_network_cannot_hold(mode, value):
    """Behind tanh the loss stays finite, but the gradient would not."""
    net, (x, y) = network("no fused loss", mode), data()
    x = x.astype(float)
    x[5, 2] = value
    before = net.params.copy()
    message = (
        "features: inf in row 5 of 32 is not a finite number of type float32. Remove such examples. The parameters "
        "were not changed by this batch."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        net.fit(x, y)
    np.testing.assert_array_equal(net.params, before)
    assert_nothing_open()


@pytest.mark.parametrize("field", ["labels", "labels_mask"])
def test_labels_and_masks_that_the_type_of_the_network_cannot_hold(field):
    net, (x, y) = network("no fused loss"), data()
    mask = np.ones(32)
    (y := y.astype(float))[3, 1] = 1e300 if field == "labels" else 0
    mask[3] = 1e300 if field == "labels_mask" else 1
    before = net.params.copy()
    message = f"{field}: inf in row 3 of 32 is not a finite number of type float32. "
    with np.errstate(all="ignore"), pytest.raises(DataError, match=f"^{re.escape(message)}"):
        net.fit(x, y, labels_mask=mask)
    np.testing.assert_array_equal(net.params, before)


def test_negative_mask_is_refused():
    net, (x, y) = network(), data()
    mask = np.ones(32)
    mask[4] = -0.5
    message = (
        "labels_mask: -0.5 in row 4 of 32 is negative. Use 0 to leave an example out. The parameters were not changed "
        "by this batch."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        net.fit(x, y, labels_mask=mask)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_hinge_takes_signs_only(loss):
    net, (x, y) = softmax_network(), data()
    conf = NeuralNetConfiguration(seed=1).list(OutputLayer(n_in=FEATURES, n_out=CLASSES, activation="tanh", loss=loss))
    net = MultiLayerNetwork(conf).init()
    message = (
        "labels: 0.0 in row 0 of 32 is neither -1 nor 1, which the loss expects. Use 2 y - 1 for y of 0 and 1. The "
        "parameters were not changed by this batch."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        net.fit(x, y)
    net.fit(x, 2 * y - 1)


def test_error_in_a_pass_names_the_batch():
    x, y = data(64)
    net, bad = network(), y.copy()
    bad[40, 0] = 7
    with pytest.raises(DataError, match=r"^labels: 7\.0 in row 8 of 16 is not in \[0, 1\]") as caught:
        net.fit(ArrayDataSetIterator(x, bad, batch_size=16))
    assert caught.value.__notes__[-1] == "in batch 2 of epoch 0; the batches before it were trained on"
    assert net.iteration_count == 2


def test_arrays_are_looked_through_before_they_are_shuffled():
    x, y = data(64)
    x[50, 3] = np.nan
    net = network()
    with pytest.raises(DataError, match=r"^features: nan in row 50 of 64 is not a finite number of type float32\."):
        net.fit(x, y, batch_size=16)
    assert net.iteration_count == 0


@pytest.mark.parametrize("labels", [10, np.ones(3)])
def test_labels_beside_an_iterator(labels):
    hint = " Name an option: epochs=10, or threshold_steps=10." if isinstance(labels, int) else ""
    message = (
        f"data is a ArrayDataSetIterator, which gives batches with their own labels, but labels are given too, a "
        f"{type(labels).__name__}. Leave them out.{hint}"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        network().fit(ArrayDataSetIterator(*data()), labels)


@dataclass
class Lean(Layer):
    """Multiplies by 3, and keeps what the gradient by its input needs only where that is wanted."""

    def activate(self, x, *, training, workspace_mgr):
        wanted = workspace_mgr.wants_input_gradient
        workspace_mgr.save_for_backprop(*([x] if wanted else []))
        return x * 3.0

    def backprop(self, epsilon, *, workspace_mgr):
        saved = workspace_mgr.saved()
        assert bool(saved) == workspace_mgr.wants_input_gradient
        return epsilon * 3.0 if saved else None


def test_first_layer_knows_in_its_forward_pass_whether_its_input_gradient_is_wanted():
    net, (x, y) = softmax_network(Lean(), dtype="float64"), data(6)
    x, y = x.astype(float), y.astype(float)
    for _ in range(2):
        net.fit(x, y)
        _, by_features = net.calculate_gradients(x, y)
        direction = np.random.default_rng(0).standard_normal(x.shape)
        assert np.vdot(by_features, direction) == pytest.approx(numeric_gradient(net, x, y, direction), rel=1e-6)
        net.compute_gradient_and_score(x, y)
