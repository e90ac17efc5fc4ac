"""Labels, masks, weights and lengths of series and images: what is taken, and what is refused with which words."""

import re

import numpy as np
import pytest
from networks import in_new_thread, recorded_spills, workspace_sizes

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration, check_layer
from minidl.errors import ConfigurationError, DataError, ShapeError
from minidl.layers import (
    LSTM,
    CnnLossLayer,
    Convolution1DLayer,
    ConvolutionLayer,
    DropoutLayer,
    GlobalPoolingLayer,
    OutputLayer,
    RnnLossLayer,
    RnnOutputLayer,
    Subsampling1DLayer,
    SubsamplingLayer,
    ZeroPadding1DLayer,
)
from minidl.training import Sgd

RNG = np.random.default_rng(0)
LAST = {"NCHW": False, "NHWC": True, "NCW": False, "NWC": True}


def network(*layers, kind, **options):
    conf = NeuralNetConfiguration(**dict(seed=1, dtype="float64", updater=Sgd(0.1)) | options)
    return MultiLayerNetwork(conf.list(*layers, input_type=kind)).init()


def segmentation(format, n_out=3):
    """Return a network, features, and the classes of its pixels or steps; as many steps as classes."""
    if len(format) == 4:
        layers = [ConvolutionLayer(n_out=n_out, kernel_size=1), CnnLossLayer(activation="softmax")]
        kind, places = InputType.convolutional(4, 3, 2, format), (4, 3)
    else:
        layers = [Convolution1DLayer(n_out=2, kernel_size=1), RnnOutputLayer(n_out=n_out)]
        kind, places = InputType.recurrent(2, None, format), (3,)
    x = RNG.standard_normal((5, *places, 2))
    classes = RNG.integers(0, n_out, (5, *places))
    return network(*layers, kind=kind), x if LAST[format] else np.moveaxis(x, -1, 1), classes


def one_hot(classes, format):
    rows = np.eye(3)[classes]
    return rows if LAST[format] else np.moveaxis(rows, -1, 1)


each_format = pytest.mark.parametrize("format", LAST)


@each_format
@pytest.mark.parametrize("order", ["C", "F"])
def test_class_indices_for_every_pixel_or_step(format, order):
    net, x, classes = segmentation(format)
    expected = net.compute_gradient_and_score(DataSet(x, one_hot(classes, format)))
    gradient = net.gradient.copy()
    assert net.compute_gradient_and_score(DataSet(x, np.asarray(classes, order=order))) == pytest.approx(expected)
    np.testing.assert_allclose(net.gradient, gradient, rtol=1e-12)
    assert net.evaluate(x, classes).accuracy() == net.evaluate(x, one_hot(classes, format)).accuracy()


@each_format
def test_class_indices_of_whole_examples_are_refused(format):
    net, x, classes = segmentation(format)
    shape = one_hot(classes, format).shape
    places = ", ".join(map(str, classes.shape[1:]))
    for labels in (classes.reshape(5, -1)[:, 0], classes.reshape(5, -1)[:, :1]):
        message = (
            f"labels have shape {labels.shape} and dtype int64, expected {shape} for the network's outputs or integer "
            f"class indices of shape (batch, {places}). Give one number for each output of the last layer, at every "
            "step or pixel, or change the layers."
        )
        with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
            net.fit(x, labels)


def test_one_output_takes_labels_without_its_axis():
    layers = [ConvolutionLayer(n_out=1, kernel_size=1), CnnLossLayer(activation="sigmoid", loss="xent")]
    net = network(*layers, kind=InputType.convolutional(4, 3, 2))
    x, y = RNG.standard_normal((5, 2, 4, 3)), RNG.integers(0, 2, (5, 4, 3))
    assert net.score(DataSet(x, y)) == net.score(DataSet(x, y[:, np.newaxis]))


@each_format
@pytest.mark.parametrize("mask", [None, "examples", "places", "elements"])
def test_weights_of_examples_and_of_pixels_or_steps(format, mask):
    net, x, classes = segmentation(format)
    y, start = one_hot(classes, format), net.params.copy()
    masks = {"examples": np.arange(5) % 2, "places": RNG.integers(0, 2, classes.shape), "elements": RNG.random(y.shape)}
    for weights in (RNG.random(5), RNG.random(classes.shape)):
        of_places = weights.reshape(5, *([1] * (classes.ndim - 1) if weights.ndim == 1 else classes.shape[1:]))
        given = masks.get(mask)
        if mask == "elements":
            product = given * np.expand_dims(of_places, -1 if LAST[format] else 1)
        else:
            product = of_places * (1 if given is None else given.reshape(5, *(given.shape[1:] or (1,) * (y.ndim - 2))))
            product = np.broadcast_to(product, classes.shape)
        net.set_params(start)
        expected = net.fit(x, y, labels_mask=product).params.copy()
        net.set_params(start)
        np.testing.assert_allclose(net.fit(x, y, labels_mask=given, sample_weight=weights).params, expected, rtol=1e-12)


def test_pixel_masks_of_dl4j_beside_weights():
    net, x, classes = segmentation("NCHW")
    mask, start = RNG.integers(0, 2, (5, 1, 4, 3)), net.params.copy()
    found = net.fit(x, classes, labels_mask=mask, sample_weight=np.ones(5)).params.copy()
    net.set_params(start)
    np.testing.assert_allclose(net.fit(x, classes, labels_mask=mask[:, 0]).params, found)


# What is refused


@pytest.mark.parametrize(
    ("value", "problem"),
    [(np.nan, "nan in row 0 of 5 is not a finite number of type float64"), (-1.0, "-1.0 in row 0 of 5 is negative")],
)
def test_a_mask_of_features_that_cannot_be(value, problem):
    net, x, classes = segmentation("NCW")
    before, mask = net.params.copy(), np.ones((5, 3))
    mask[0, 0] = value
    with pytest.raises(DataError, match=rf"^features_mask: {re.escape(problem)}"):
        net.fit(x, classes, features_mask=mask)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize(("format", "place"), [("NCHW", "pixel"), ("NCW", "time step")])
def test_a_mask_of_features_for_every_element_is_refused(format, place):
    net, x, classes = segmentation(format)
    known = f"(5,), (5, 1), {classes.shape}"
    message = (
        f"features_mask has shape {x.shape}, expected one of {known}. Give one number for each example, or for each "
        f"{place}."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        net.fit(DataSet(x, classes, np.ones(x.shape)))


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (InputType.convolutional(5, 6, 3), (2, 5, 6, 3), "(batch, 3, 5, 6). {}: x.transpose(0, 3, 1, 2), {}"),
        (InputType.convolutional(5, 6, 3, "NHWC"), (2, 3, 5, 6), "(batch, 5, 6, 3). {}: x.transpose(0, 2, 3, 1), {}"),
        (InputType.recurrent(3), (2, 7, 3), "(batch, 3, time). {}: x.transpose(0, 2, 1), {}"),
    ],
)
def test_axes_in_another_order(kind, shape, message):
    layers = [GlobalPoolingLayer(), OutputLayer(n_out=2)]
    said = message.format("Its axes are in another order", "or give the input type the format of the data.")
    with pytest.raises(ShapeError, match=f"^{re.escape(f'features have shape {shape}, expected {said}')}$"):
        network(*layers, kind=kind).output(np.zeros(shape))


def test_series_of_no_steps():
    net, _, _ = segmentation("NCW")
    message = "features of shape (2, 2, 0) hold series of no time steps. Leave them out."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        net.output(np.zeros((2, 2, 0)))


# Masks where steps are few, and windows many


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_steps_that_padding_adds_do_not_count(steps):
    layers = [ZeroPadding1DLayer((0, 2)), GlobalPoolingLayer(pooling_type="avg")]
    net = network(*layers, OutputLayer(n_out=1, activation="identity", loss="mse"), kind=InputType.recurrent(1))
    net.set_params(np.array([1.0, 0.0]))
    data = DataSet(np.full((1, 1, steps), 3.0), np.zeros((1, 1)), np.ones((1, steps)))
    assert net.score(data) == pytest.approx(9.0)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_series_of_masked_steps_gives_nothing(steps):
    layers = [Convolution1DLayer(n_out=2, kernel_size=5, convolution_mode="same", bias_init=1.0)]
    net = network(*layers, RnnOutputLayer(n_out=2), kind=InputType.recurrent(3))
    x, y, seen = RNG.standard_normal((2, 3, steps)), np.ones((2, 2, steps)), np.array([[0.0], [1.0]]) * np.ones(steps)
    net.compute_gradient_and_score(DataSet(x, y, seen))
    gradient = net.gradient[: 2 + 3 * 5 * 2].copy()
    net.compute_gradient_and_score(DataSet(x[1:], y[1:], seen[1:]))
    np.testing.assert_allclose(gradient, net.gradient[: len(gradient)], rtol=1e-10, atol=1e-14)


def test_masks_that_leave_out_every_step_are_refused():
    net = network(LSTM(n_out=2), RnnOutputLayer(n_out=2), kind=InputType.recurrent(3))
    x, y, nothing = RNG.standard_normal((2, 3, 4)), np.ones((2, 2, 4)), np.zeros((2, 4))
    for name in ("features_mask", "labels_mask"):
        sentence = (
            f"{name} of shape (2, 4) is all 0: it leaves out every time step of every series. Leave the batch out, or "
            "put 1 where there are steps."
        )
        with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
            net.fit(DataSet(x, y, **{name: nothing}))


@pytest.mark.parametrize("pooling", ["max", "avg", "sum", "pnorm"])
def test_padding_that_makes_more_rows_than_there_were(pooling):
    kind = InputType.convolutional(28, 28, 20)
    layers = [SubsamplingLayer(pooling_type=pooling, kernel_size=2, stride=1, padding=1), GlobalPoolingLayer()]
    net = network(*layers, OutputLayer(n_out=2), kind=kind)
    x, y = RNG.random((40, 20, 28, 28)), np.eye(2)[RNG.integers(0, 2, 40)]
    whole = net.fit(x, y).output(x)
    assert whole.shape == (40, 2)
    np.testing.assert_allclose(np.concatenate([net.output(x[:7]), net.output(x[7:])]), whole, rtol=1e-10)


def test_a_mask_behind_padding_that_makes_more_rows():
    layers = [ConvolutionLayer(n_out=2, kernel_size=3, padding=2), GlobalPoolingLayer(), OutputLayer(n_out=2)]
    net = network(*layers, kind=InputType.convolutional(6, 6, 1))
    assert np.isfinite(net.fit(DataSet(np.ones((2, 1, 6, 6)), np.eye(2), np.ones((2, 6, 6)))).score())


@pytest.mark.parametrize(
    "kind", [InputType.convolutional(8, 6, 4), InputType.recurrent(4), InputType.recurrent(4, 5, "NWC")]
)
def test_a_layer_that_hands_its_epsilon_on(kind):
    report = check_layer(DropoutLayer(), kind)
    assert (report.copied_in, report.spilled_bytes) == (0, 0)
    convolution = Convolution1DLayer if kind.example_shape()[1:] == (None,) or len(kind.example_shape()) == 2 else None
    make = convolution or ConvolutionLayer
    layers = [make(n_out=3, kernel_size=2), DropoutLayer(1.0), make(n_out=3, kernel_size=2), GlobalPoolingLayer()]
    net = network(*layers, OutputLayer(n_out=2), kind=kind)
    x = RNG.standard_normal((3, *(extent or 6 for extent in kind.example_shape())))
    assert np.isfinite(net.fit(x, np.eye(2)[[0, 1, 1]]).score())


# Lengths


def varying():
    layers = [
        Convolution1DLayer(n_out=6, kernel_size=3),
        Subsampling1DLayer(),
        GlobalPoolingLayer(),
        OutputLayer(n_out=2),
    ]
    return network(*layers, kind=InputType.recurrent(4), dtype="float32")


@pytest.mark.parametrize("masked", [False, True])
def test_one_plan_serves_series_of_many_lengths(masked):
    def run():
        net = varying()
        report = net.memory_report(8, timesteps=90)
        for _ in range(2):  # what of a shorter series takes more than of a longer one is learned once
            with recorded_spills() as spills:
                for steps in (96, 90, 5, 61, 96, 20):
                    mask = np.ones((8, steps)) if masked else None
                    net.fit(DataSet(RNG.random((8, 4, steps)), np.eye(2)[[0, 1] * 4], mask))
        return report, spills, workspace_sizes()

    report, spills, sizes = in_new_thread(run)
    assert spills == []
    assert report.timesteps == 96
    assert "with batches of 8, series of up to 96 steps: bytes that" in str(report)
    if not masked:
        assert {id: size for id, size in report.workspaces.items() if size}.keys() == sizes.keys()


def test_a_report_needs_the_length_of_series_that_vary_and_no_other():
    kind = "Recurrent(size=4, timesteps=None, format='NCW')"
    message = (
        f"timesteps=None, but the input type {kind} says no timesteps: give memory_report(batch_size, timesteps=...)."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        varying().memory_report(8)
    net = network(OutputLayer(n_out=2), kind=InputType.feed_forward(3))
    message = "timesteps=7, but the input type FeedForward(size=3) leaves none open."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        net.memory_report(8, timesteps=7)


def test_long_series_go_through_the_buffer_in_blocks():
    def working(steps):
        layers = [
            Convolution1DLayer(n_out=64, kernel_size=9),
            Convolution1DLayer(n_out=2, kernel_size=1),
            RnnLossLayer(loss="mse"),
        ]
        net = network(*layers, kind=InputType.recurrent(64, steps), dtype="float32")
        return net.memory_report(2).workspaces["WS_LAYER_WORKING_MEM"]

    assert working(20_000) < 1.1 * working(1_000) < 2_000_000  # all windows of a long one are 46 MB


@pytest.mark.parametrize(
    ("value", "problem"), [(np.nan, "is not a finite number of type float64"), (-1.0, "is negative")]
)
@pytest.mark.parametrize("method", ["output", "feed_forward"])
def test_masks_at_inference_are_checked_as_in_training(value, problem, method):
    net = network(LSTM(n_out=2), RnnOutputLayer(n_out=2), kind=InputType.recurrent(3))
    mask = np.ones((2, 4))
    mask[1, 2] = value
    with pytest.raises(DataError, match=f"^features_mask: {value} in row 1 of 2 {problem}"):
        getattr(net, method)(RNG.standard_normal((2, 3, 4)), features_mask=mask)
