"""The pictures: on which axes they are drawn, and that what is drawn is what was counted."""

import re
import sys

import matplotlib
import numpy as np
import pytest
from evaluations import batch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from minidl.errors import ConfigurationError, NotInitializedError
from minidl.eval import ROC, Evaluation, EvaluationCalibration, ROCBinary, ROCMultiClass

LABELS, PREDICTIONS = batch(1, rows=40, classes=3)


def filled(evaluation, width=3):
    evaluation.eval(LABELS[:, :width], PREDICTIONS[:, :width])
    return evaluation


PLOTS = {
    "confusion matrix": lambda ax: filled(Evaluation()).plot_confusion_matrix(ax),
    "ROC": lambda ax: filled(ROC(), 2).plot(ax),
    "ROC, precision and recall": lambda ax: filled(ROC(), 2).plot_precision_recall(ax),
    "ROCBinary": lambda ax: filled(ROCBinary()).plot(ax),
    "ROCBinary, precision and recall": lambda ax: filled(ROCBinary(20)).plot_precision_recall(ax),
    "ROCMultiClass": lambda ax: filled(ROCMultiClass()).plot(ax),
    "ROCMultiClass, precision and recall": lambda ax: filled(ROCMultiClass()).plot_precision_recall(ax),
    "reliability": lambda ax: filled(EvaluationCalibration()).plot_reliability_diagram(ax=ax),
    "residuals": lambda ax: filled(EvaluationCalibration()).plot_residuals(ax=ax),
    "probabilities": lambda ax: filled(EvaluationCalibration()).plot_probabilities(1, ax),
}
each = pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@each
def test_pictures_are_drawn_on_given_axes(plot):
    _, (left, right) = plt.subplots(1, 2)
    assert plot(left) is left
    assert left.has_data()
    assert not right.has_data()
    assert left.get_title()
    assert left.get_xlabel()
    assert left.get_ylabel()


@each
def test_pictures_are_drawn_on_a_new_figure(plot):
    before = plt.figure()
    ax = plot(None)
    assert ax.figure is not before
    assert plt.get_fignums() == [before.number, ax.figure.number]
    ax.figure.canvas.draw()


@each
def test_without_matplotlib(plot, monkeypatch):
    for name in "matplotlib", "matplotlib.pyplot":
        monkeypatch.setitem(sys.modules, name, None)
    message = "pictures need matplotlib, which is not installed. Install it with: pip install 'minidl[plot]'."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        plot(None)


@pytest.mark.parametrize("method", ["plot", "plot_precision_recall"])
def test_roc_without_data(method):
    message = "^ROC: no evaluation has been performed\\. Call eval\\(labels, predictions\\) first\\.$"
    with pytest.raises(NotInitializedError, match=message):
        getattr(ROC(), method)()
    assert not plt.get_fignums()


def texts(ax):
    return np.array([text.get_text() for text in ax.texts]).reshape(3, 3)


def test_the_confusion_matrix_shows_its_counts():
    evaluation = filled(Evaluation(labels=["ant", "bee", "cow"]))
    ax = evaluation.plot_confusion_matrix()
    np.testing.assert_array_equal(texts(ax).astype(int), evaluation.confusion_matrix)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["ant", "bee", "cow"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ant", "bee", "cow"]
    matrix = evaluation.confusion_matrix
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ax.images[0].get_array(), shares)
    shown = texts(evaluation.plot_confusion_matrix(normalize=True)).astype(float)
    np.testing.assert_allclose(shown, shares, atol=0.005)


def test_a_class_without_examples_is_a_row_of_zeros():
    evaluation = Evaluation(3)
    evaluation.eval_index(0, 1)
    ax = evaluation.plot_confusion_matrix(normalize=True)
    assert texts(ax).tolist() == [["0.00"] * 3, ["1.00", "0.00", "0.00"], ["0.00"] * 3]


def test_many_classes_are_shown_without_numbers():
    evaluation = Evaluation(40)
    evaluation.eval_index(0, 1)
    assert not evaluation.plot_confusion_matrix().texts


@pytest.mark.parametrize("cls", [ROCBinary, ROCMultiClass])
def test_curves_are_drawn_with_name_and_area(cls):
    roc = filled(cls(labels=["ant", "_bee", "cow"]))
    areas = roc.plot()
    curves = [line for line in areas.lines if len(line.get_xdata()) != 2 or line.get_linestyle() == "-"]
    for c, line in enumerate(curves):
        np.testing.assert_array_equal(line.get_xdata(), roc.get_roc_curve(c).false_positive_rate)
        np.testing.assert_array_equal(line.get_ydata(), roc.get_roc_curve(c).true_positive_rate)
    names = [text.get_text().strip() for text in areas.get_legend().get_texts()]
    assert names == [f"{name}  AUC {roc.calculate_auc(c):.3f}" for c, name in enumerate(("ant", "_bee", "cow"))]
    ax = roc.plot_precision_recall()
    for c, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_xdata(), roc.get_precision_recall_curve(c).recall)
        np.testing.assert_array_equal(line.get_ydata(), roc.get_precision_recall_curve(c).precision)
    assert f"cow  AUPRC {roc.calculate_auc_pr(2):.3f}" in ax.get_legend().get_texts()[2].get_text()


def test_many_curves_have_no_legend():
    labels, predictions = batch(1, rows=60, classes=13)
    roc = ROCMultiClass()
    roc.eval(labels, predictions)
    assert roc.plot().get_legend() is None


def test_reliability_and_histograms_show_their_counts():
    calibration = filled(EvaluationCalibration(5, 8, labels=["ant", "bee", "cow"]))
    ax = calibration.plot_reliability_diagram(1)
    diagram = calibration.get_reliability_diagram(1)
    np.testing.assert_array_equal(ax.lines[-1].get_xdata(), diagram.mean_predicted_value)
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), diagram.fraction_of_positives)
    assert len(calibration.plot_reliability_diagram().lines) == 4  # the diagonal too
    for histogram, drawn in (
        (calibration.get_residual_plot_all_classes(), calibration.plot_residuals()),
        (calibration.get_residual_plot(0), calibration.plot_residuals(0)),
        (calibration.get_probability_histogram_all_classes(), calibration.plot_probabilities()),
        (calibration.get_probability_histogram(2), calibration.plot_probabilities(2)),
    ):
        assert [bar.get_height() for bar in drawn.patches] == histogram.bin_counts.tolist()
        assert drawn.patches[3].get_x() == pytest.approx(3 / 8)
        assert drawn.get_title() == histogram.title
