"""Runs that DL4J recorded, again. What the files hold is written in data/README.md."""

from pathlib import Path

import numpy as np
import pytest

from minidl import MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import ArrayDataSetIterator
from minidl.layers import DenseLayer, OutputLayer
from minidl.training import Nesterovs

MINIBATCH = 32


@pytest.fixture
def moon():
    with np.load(Path(__file__).parent / "data" / "MLPMoon.npz") as arrays:
        return dict(arrays)


def network(parameters, mode="ENABLED"):
    conf = NeuralNetConfiguration(
        updater=Nesterovs(0.005, momentum=0.9), training_workspace_mode=mode, inference_workspace_mode=mode
    ).list(DenseLayer(n_in=2, n_out=20, activation="relu"), OutputLayer(n_out=2, activation="softmax", loss="mcxent"))
    return MultiLayerNetwork(conf).init(parameters)


def one_hot(labels):
    return np.eye(2, dtype=np.float32)[labels]


@pytest.mark.parametrize("name", ["prediction_0", "prediction_1"])
def test_predictions_of_the_untrained_network(moon, name):
    expected = moon[name]
    output = network(moon["init_params"]).output(moon["eval_features"][: len(expected)])
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)


def test_gradient_of_the_untrained_network(moon):
    net = network(moon["init_params"])
    net.compute_gradient_and_score(moon["eval_features"][:5], one_hot(moon["eval_labels"][:5]))
    expected = moon["gradient"]
    np.testing.assert_allclose(net.gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
def test_scores_and_parameters_of_training(moon, mode):
    net = network(moon["init_params"], mode)
    features, labels = moon["train_features"], one_hot(moon["train_labels"])
    scores = []
    for start in range(0, len(features), MINIBATCH):
        scores.append(net.fit(features[start : start + MINIBATCH], labels[start : start + MINIBATCH]).score())
    np.testing.assert_allclose(scores, moon["scores"], rtol=1e-5)
    np.testing.assert_allclose(net.params, moon["final_params"], rtol=0, atol=2e-5)


def test_evaluation_after_training_with_an_iterator(moon):
    net = network(moon["init_params"])
    net.fit(ArrayDataSetIterator(moon["train_features"], one_hot(moon["train_labels"]), batch_size=MINIBATCH))
    np.testing.assert_allclose(net.params, moon["final_params"], rtol=0, atol=2e-5)
    evaluation = net.evaluate(ArrayDataSetIterator(moon["eval_features"], one_hot(moon["eval_labels"])))
    np.testing.assert_array_equal(evaluation.confusion_matrix, [[393, 104], [118, 385]])
    assert evaluation.accuracy() == pytest.approx(0.778)
