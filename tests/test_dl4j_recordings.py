"""Runs that DL4J recorded, again. What the files hold is written in data/README.md."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from minidl import DataSet, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import ArrayDataSetIterator, ListDataSetIterator
from minidl.eval import ROC, Evaluation
from minidl.layers import DenseLayer, OutputLayer
from minidl.training import Adam, MapSchedule, Nesterovs


@dataclass(frozen=True)
class Case:
    """One recording: the network, what DL4J's evaluation said, and how far apart the parameters may be."""

    options: dict
    layers: tuple
    minibatch: int
    gradient_of: int
    confusion: tuple
    auc: tuple
    auprc: tuple
    parameters_within: float
    quantile: float = 1.0


CASES = {
    "MLPMoon": Case(
        dict(updater=Nesterovs(0.005, momentum=0.9)),
        (DenseLayer(n_in=2, n_out=20, activation="relu"), OutputLayer(n_out=2, activation="softmax", loss="mcxent")),
        32,
        5,
        ((393, 104), (118, 385)),
        (0.8947482109355938, 0.894748210935594),
        (0.9016765048315465, 0.906143628632249),
        1e-6,
    ),
    "MLPMnist": Case(
        dict(l1=1e-3, l2=1e-3, updater=Adam(MapSchedule("iteration", {0: 0.05, 4: 0.04, 8: 0.03, 12: 0.02, 14: 0.01}))),
        (DenseLayer(n_in=784, n_out=64, activation="tanh"), OutputLayer(n_out=10, activation="softmax", loss="mcxent")),
        16,
        10,
        (
            (10, 0, 0, 0, 0, 0, 1, 1, 0, 0),
            (0, 13, 0, 0, 0, 0, 0, 0, 0, 0),
            (0, 2, 9, 0, 0, 0, 8, 1, 1, 0),
            (0, 2, 0, 13, 0, 0, 1, 0, 0, 3),
            (0, 0, 0, 0, 14, 0, 0, 0, 0, 0),
            (1, 1, 0, 7, 2, 0, 0, 0, 1, 2),
            (1, 1, 0, 0, 3, 0, 17, 0, 0, 0),
            (0, 0, 0, 0, 0, 0, 0, 20, 0, 0),
            (0, 4, 0, 2, 0, 0, 1, 0, 3, 3),
            (0, 0, 0, 0, 0, 0, 0, 1, 0, 11),
        ),
        (
            0.9971846846846847, 1.0, 0.9410757108598835, 0.9301978350130646, 0.9960861056751467,
            0.937866927592955, 0.9634387351778656, 0.9992857142857143, 0.901098901098901, 0.9926801801801802,
        ),
        (
            0.9693833943833944, 1.0, 0.8868510570267774, 0.7732842552773691, 0.9507387453816025,
            0.584067526526865, 0.8893070034131954, 0.9949937343358396, 0.44552426029150083, 0.9557638888888889,
        ),
        2e-5,
        quantile=0.99,
    ),
}  # fmt: skip
each_case = pytest.mark.parametrize("name", CASES)


def recording(name):
    """Return (training set, evaluation set, the other arrays)."""
    with np.load(Path(__file__).parent / "data" / f"{name}.npz") as file:
        arrays = dict(file)
    classes = len(CASES[name].confusion)

    def one_hot(labels):
        return np.eye(classes, dtype=np.float32)[labels]

    if name == "MLPMnist":
        features = arrays["train_images"].reshape(-1, 784).astype(np.float32) / np.float32(255)
        labels = one_hot(arrays["train_labels"])
        return DataSet(features, labels), DataSet(features[:160], labels[:160]), arrays
    train, test = (DataSet(arrays[f"{part}_features"], one_hot(arrays[f"{part}_labels"])) for part in ("train", "eval"))
    return train, test, arrays


def network(name, parameters, mode="ENABLED"):
    case = CASES[name]
    conf = NeuralNetConfiguration(**case.options, training_workspace_mode=mode, inference_workspace_mode=mode)
    return MultiLayerNetwork(conf.list(*case.layers)).init(parameters)


def minibatches(name, dataset):
    size = CASES[name].minibatch
    return [
        DataSet(dataset.features[start : start + size], dataset.labels[start : start + size])
        for start in range(0, len(dataset), size)
    ]


@each_case
@pytest.mark.parametrize("prediction", ["prediction_0", "prediction_1"])
def test_predictions_of_the_untrained_network(name, prediction):
    _, test, arrays = recording(name)
    expected = arrays[prediction]
    output = network(name, arrays["init_params"]).output(test.features[: len(expected)])
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)


@each_case
def test_gradient_of_the_untrained_network(name):
    _, test, arrays = recording(name)
    net, rows = network(name, arrays["init_params"]), CASES[name].gradient_of
    net.compute_gradient_and_score(test.features[:rows], test.labels[:rows])
    expected = arrays["gradient"]
    np.testing.assert_allclose(net.gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@each_case
@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
def test_scores_and_parameters_of_training(name, mode):
    train, _, arrays = recording(name)
    net, case = network(name, arrays["init_params"], mode), CASES[name]
    scores = [net.fit(batch).score() for batch in minibatches(name, train)]
    np.testing.assert_allclose(scores, arrays["scores"], rtol=1e-5 if name == "MLPMnist" else 1e-6)
    differences = np.abs(net.params - arrays["final_params"])
    assert np.quantile(differences, case.quantile) <= case.parameters_within


@each_case
@pytest.mark.parametrize("source", ["list", "arrays"])
def test_evaluation_after_training_with_an_iterator(name, source):
    train, test, arrays = recording(name)
    net, case = network(name, arrays["init_params"]), CASES[name]
    if source == "list":
        net.fit(ListDataSetIterator(minibatches(name, train)))
    else:
        net.fit(ArrayDataSetIterator(train.features, train.labels, batch_size=case.minibatch))
    (evaluation,) = net.do_evaluation(test, Evaluation())
    np.testing.assert_array_equal(evaluation.confusion_matrix, case.confusion)
    assert evaluation.accuracy() == pytest.approx(np.trace(case.confusion) / np.sum(case.confusion))
    output = net.output(test.features)
    for column, (auc, auprc) in enumerate(zip(case.auc, case.auprc, strict=True)):
        roc = ROC()
        roc.eval(test.labels[:, [column]], output[:, [column]])
        assert roc.calculate_auc() == pytest.approx(auc, abs=1e-12)
        assert roc.calculate_auc_pr() == pytest.approx(auprc, abs=1e-12)
