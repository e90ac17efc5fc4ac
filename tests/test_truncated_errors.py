"""Truncated backpropagation: what its configuration and its data are checked for, and with which words."""

import re
import warnings

import numpy as np
import pytest
from networks import assert_nothing_open
from recurrent_networks import CLASSES, PIECES, SIZE, Elman, in_format, one_hot, series, series_network

from minidl import (
    BackpropType,
    DataSet,
    InputType,
    MultiLayerConfiguration,
    MultiLayerNetwork,
    NeuralNetConfiguration,
)
from minidl.errors import ConfigurationError, ConfigurationWarning, DataError, ShapeError
from minidl.layers import (
    LSTM,
    Bidirectional,
    DenseLayer,
    GlobalPoolingLayer,
    LastTimeStep,
    MaskZeroLayer,
    OutputLayer,
    RnnLossLayer,
    RnnOutputLayer,
    SimpleRnn,
    Subsampling1DLayer,
)

TRUNCATED = dict(backprop_type="truncated_bptt")
SERIES = InputType.recurrent(SIZE)


def whole(message):
    return f"^{re.escape(message)}$"


def truncated(hidden="LSTM", **options):
    return series_network(hidden, **TRUNCATED | dict(tbptt_fwd_length=PIECES) | options)


# Configuration


@pytest.mark.parametrize("name", ["truncated_bptt", "TruncatedBPTT", "TRUNCATED_BPTT", BackpropType.TRUNCATED_BPTT])
def test_the_type_is_taken_by_any_of_its_names(name):
    net = series_network(backprop_type=name)
    assert net.conf.backprop_type is BackpropType.TRUNCATED_BPTT
    assert net.conf == truncated(tbptt_fwd_length=None).conf


@pytest.mark.parametrize("name", ["standard", "Standard", BackpropType.STANDARD, None])
def test_the_standard_type_is_taken_by_any_of_its_names(name):
    conf = series_network(backprop_type=name).conf
    assert conf.backprop_type is BackpropType.STANDARD
    assert conf.piece_lengths is None


@pytest.mark.parametrize("value", ["tbptt", 3, LSTM])
def test_an_unknown_type_is_an_error(value):
    message = f"backprop_type={value!r} is not known. Choose one of: STANDARD, TRUNCATED_BPTT."
    with pytest.raises(ConfigurationError, match=whole(message)):
        NeuralNetConfiguration(backprop_type=value)


@pytest.mark.parametrize("name", ["tbptt_fwd_length", "tbptt_back_length"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "4", np.nan])
def test_a_length_is_a_whole_number(name, value):
    message = f"{name}={value!r} is not a whole number of at least 1."
    with pytest.raises(ConfigurationError, match=whole(message)):
        NeuralNetConfiguration(**TRUNCATED, **{name: value})


@pytest.mark.parametrize(("forward", "backward"), [(4, 5), (None, 21), (1, 2)])
def test_errors_cannot_go_back_further_than_the_piece(forward, backward):
    message = (
        f"tbptt_back_length={backward} is more than tbptt_fwd_length={forward or 20}: errors cannot go back further "
        "than the piece. Make it at most as long."
    )
    with pytest.raises(ConfigurationError, match=whole(message)):
        NeuralNetConfiguration(**TRUNCATED, tbptt_fwd_length=forward, tbptt_back_length=backward)


@pytest.mark.parametrize(("forward", "backward"), [(4, None), (None, 4), (8, 4)])
def test_lengths_without_the_type_are_warned_of(forward, backward):
    message = (
        f"tbptt_fwd_length={forward} and tbptt_back_length={backward} do nothing with backprop_type=STANDARD. Set "
        "backprop_type='truncated_bptt'."
    )
    with pytest.warns(ConfigurationWarning, match=whole(message)) as caught:
        options = NeuralNetConfiguration(tbptt_fwd_length=forward, tbptt_back_length=backward)
    assert [warning.filename for warning in caught] == [__file__]
    assert (options.tbptt_fwd_length, options.tbptt_back_length) == (forward, backward)


def test_numbers_of_numpy_are_lengths():
    options = NeuralNetConfiguration(**TRUNCATED, tbptt_fwd_length=np.int64(4), tbptt_back_length=np.uint8(2))
    assert type(options.tbptt_fwd_length) is type(options.tbptt_back_length) is int


NEED_WHOLE_SERIES = {
    "Bidirectional": Bidirectional(LSTM(n_out=4)),
    "MaskZeroLayer": MaskZeroLayer(Bidirectional(LSTM(n_out=4))),
}


@pytest.mark.parametrize("name", NEED_WHOLE_SERIES)
def test_layers_that_need_whole_series_are_refused(name):
    layers = [LSTM(n_out=4), NEED_WHOLE_SERIES[name], RnnOutputLayer(n_out=CLASSES)]
    message = (
        f"layer 1 ({name}) needs series from start to end, but backprop_type=TRUNCATED_BPTT trains on pieces. Use "
        "backprop_type='standard', or list(..., validate_tbptt_config=False)."
    )
    options = NeuralNetConfiguration(**TRUNCATED, tbptt_fwd_length=PIECES)
    with pytest.raises(ConfigurationError, match=whole(message)):
        options.list(*layers, input_type=SERIES)
    net = MultiLayerNetwork(options.list(*layers, input_type=SERIES, validate_tbptt_config=False)).init()
    assert net.fit(series()[0], one_hot(series()[1])).iteration_count == 3
    NeuralNetConfiguration().list(*layers, input_type=SERIES)


@pytest.mark.parametrize("name", ["LastTimeStep", "GlobalPoolingLayer"])
def test_layers_that_end_the_time_are_refused(name):
    layer = LastTimeStep(SimpleRnn(n_out=4)) if name == "LastTimeStep" else GlobalPoolingLayer()
    layers = [LSTM(n_out=4), layer, DenseLayer(n_out=3), OutputLayer(n_out=CLASSES)]
    message = (
        f"layer 1 ({name}) makes FeedForward(size=4) of series, but backprop_type=TRUNCATED_BPTT needs an output at "
        "every step. Use backprop_type='standard', or list(..., validate_tbptt_config=False)."
    )
    options = NeuralNetConfiguration(**TRUNCATED)
    with pytest.raises(ConfigurationError, match=whole(message)):
        options.list(*layers, input_type=SERIES)
    net = MultiLayerNetwork(options.list(*layers, input_type=SERIES, validate_tbptt_config=False)).init()
    message = (
        f"the features have 10 time steps, but the output of the network has shape (5, {CLASSES}). Truncated "
        "backpropagation needs an output at every step: use RnnOutputLayer and layers that keep the length, or "
        "backprop_type='standard'."
    )
    with pytest.raises(ShapeError, match=whole(message)):
        net.fit(series()[0], np.zeros(5, int))
    assert net.iteration_count == 0


@pytest.mark.parametrize("input_type", [InputType.feed_forward(3), InputType.convolutional(2, 2, 1)])
def test_an_input_without_time_is_refused(input_type):
    message = (
        f"backprop_type=TRUNCATED_BPTT cuts series into pieces, but the input type is {input_type}. Use "
        "InputType.recurrent(size), or backprop_type='standard'."
    )
    with pytest.raises(ConfigurationError, match=whole(message)):
        NeuralNetConfiguration(**TRUNCATED).list(DenseLayer(n_out=4), OutputLayer(n_out=2), input_type=input_type)


def test_the_configuration_survives_json():
    for lengths in ({}, dict(tbptt_fwd_length=6), dict(tbptt_fwd_length=6, tbptt_back_length=2)):
        conf = series_network("dense between", **TRUNCATED, **lengths).conf
        again = MultiLayerConfiguration.from_json(conf.to_json())
        assert again == conf
        assert again.piece_lengths == conf.piece_lengths
        assert again.backprop_type is BackpropType.TRUNCATED_BPTT


def test_json_without_a_type_is_standard():
    conf = series_network().conf
    lines = conf.to_json().splitlines()
    kept = "\n".join(line for line in lines if "tbptt" not in line and "backprop_type" not in line)
    assert MultiLayerConfiguration.from_json(re.sub(r",(\s*})", r"\1", kept)) == conf


@pytest.mark.parametrize(
    "layers",
    [
        [LSTM(n_out=4), RnnOutputLayer(n_out=2)],
        [LSTM(n_out=2), RnnLossLayer(loss="mse")],
        [DenseLayer(n_out=4), MaskZeroLayer(LSTM(n_out=4)), RnnOutputLayer(n_out=2)],
        [Elman(4), RnnOutputLayer(n_out=2)],
        [RnnOutputLayer(n_out=2)],
    ],
)
def test_layers_that_keep_the_time_are_taken(layers):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NeuralNetConfiguration(**TRUNCATED).list(*layers, input_type=SERIES)


# Data


def refused(net, error, message, *data, **options):
    """Check that a batch is refused in these words, and that nothing was trained on it."""
    before, iterations = net.params.copy(), net.iteration_count
    with pytest.raises(error, match=whole(message)):
        net.fit(*data, **options)
    np.testing.assert_array_equal(net.params, before)
    assert net.iteration_count == iterations
    assert_nothing_open()
    x, classes = series(3, 9, 1)
    spared = truncated(net.layers[0].name or "LSTM", format=net.conf.input_type.format)
    x, y = in_format(x, net.conf.input_type.format), in_format(one_hot(classes), net.conf.input_type.format)
    np.testing.assert_array_equal(net.fit(x, y).params, spared.fit(x, y).params)


@pytest.mark.parametrize("time", [1, 4, 9, 11])
def test_labels_of_another_length_are_refused(time):
    x, _ = series()
    message = (
        f"labels have shape (5, {CLASSES}, {time}) and dtype float64, expected (5, {CLASSES}, 10) for the network's "
        "outputs or integer class indices of shape (batch, 10). Give one number for each output of the last layer, at "
        "every step or pixel, or change the layers."
    )
    refused(truncated(), ShapeError, message, x, np.zeros((5, CLASSES, time)))


def test_labels_of_whole_examples_are_refused():
    x, _ = series()
    message = (
        f"labels have shape (5, {CLASSES}) and dtype float64, expected (5, {CLASSES}, 10) for the network's outputs "
        "or integer class indices of shape (batch, 10). Give one number for each output of the last layer, at every "
        "step or pixel, or change the layers."
    )
    refused(truncated(), ShapeError, message, x, np.zeros((5, CLASSES)))


def test_features_without_time_are_refused():
    message = (
        f"features have shape (5, {SIZE}), expected (batch, {SIZE}, time). Series have three axes: for one step each, "
        "add that of time with np.expand_dims(x, 1) or (x, 2)."
    )
    refused(truncated(), ShapeError, message, np.zeros((5, SIZE)), np.zeros((5, CLASSES)))


def test_layers_that_shorten_series_are_refused():
    conf = NeuralNetConfiguration(seed=1, **TRUNCATED).list(
        LSTM(n_out=4),
        Subsampling1DLayer(),
        RnnOutputLayer(n_out=CLASSES),
        input_type=InputType.recurrent(SIZE),
        validate_tbptt_config=False,
    )
    net = MultiLayerNetwork(conf).init()
    message = (
        f"the features have 10 time steps, but the output of the network has shape (5, {CLASSES}, 5). Truncated "
        "backpropagation needs an output at every step: use RnnOutputLayer and layers that keep the length, or "
        "backprop_type='standard'."
    )
    with pytest.raises(ShapeError, match=whole(message)):
        net.fit(series()[0], one_hot(series(time=5)[1]))


@pytest.mark.parametrize("shape", [(5, 4), (5, 9), (5, SIZE, 10)])
def test_masks_of_another_shape_are_refused(shape):
    x, classes = series()
    message = (
        f"features_mask has shape {shape}, expected one of (5,), (5, 1), (5, 10). Give one number for each example, or "
        "for each time step."
    )
    refused(truncated(), ShapeError, message, x, one_hot(classes), features_mask=np.ones(shape))
    message = (
        f"labels_mask has shape {shape}, expected (5,), (5, 1), (5, 10) or (5, {CLASSES}, 10). Give one number for "
        "each example, each time step, or for each element."
    )
    refused(truncated(), ShapeError, message, x, one_hot(classes), labels_mask=np.ones(shape))


@pytest.mark.parametrize("format", ["NCW", "NWC"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("step", [0, 4, 9])
@pytest.mark.parametrize("what", ["features", "labels"])
def test_what_is_not_finite_in_any_piece_is_refused_before_the_first(format, value, step, what):
    x, classes = series()
    arrays = {"features": x.copy(), "labels": one_hot(classes)}
    arrays[what][3, 1, step] = value
    remedy = "" if what == "features" else ", or mask them with a labels_mask of 0 and put a number in their place"
    message = (
        f"{what}: {value} in row 3 of 5 is not a finite number of type float64. Remove such examples{remedy}. The "
        "parameters were not changed by this batch."
    )
    net = truncated(format=format)
    refused(net, DataError, message, *(in_format(array, format) for array in arrays.values()))


def spoiled(what):
    """Return data of which the last piece, and no other, cannot be trained on."""
    x, classes = series()
    labels = classes if what == "class index" else one_hot(classes)
    data = {"data": x, "labels": labels, "labels_mask": np.ones((5, 10))}
    if what == "class index":
        data["labels"][3, 9] = CLASSES
    elif what == "overflow":  # finite as float64, but not as float32
        x[3, 0, 9] = 1e300
    elif what == "label":
        data["labels"][3, :, 9] = 2.0
    else:
        data["labels_mask"][3, 9] = -1.0 if what == "negative mask" else np.nan
    return data


@pytest.mark.parametrize("what", ["class index", "overflow", "label", "negative mask", "mask that is not finite"])
def test_other_bad_values_in_the_last_piece_are_refused_before_the_first(what):
    net = truncated()
    before = net.params.copy()
    with pytest.raises(DataError, match=r"(The parameters were not changed by this batch|the number of classes)\.$"):
        net.fit(**spoiled(what))
    np.testing.assert_array_equal(net.params, before)


def test_the_batch_is_named_and_those_before_it_count():
    x, classes = series()
    bad = x.copy()
    bad[2, 0, 9] = np.nan
    net = truncated()
    with pytest.raises(DataError, match=r"^features: nan in row 2 of 5 ") as caught:
        net.fit([DataSet(x, classes), DataSet(bad, classes)])
    assert caught.value.__notes__ == ["in batch 1 of epoch 0; the batches before it were trained on"]
    np.testing.assert_array_equal(net.params, truncated().fit(x, classes).params)
