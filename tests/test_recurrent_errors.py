"""What cannot be configured with recurrent layers: the whole sentence, and the layer that it is about."""

import re

import numpy as np
import pytest

from minidl import InputType, NeuralNetConfiguration
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers import (
    LSTM,
    Bidirectional,
    CnnToRnnPreProcessor,
    Convolution1DLayer,
    ConvolutionLayer,
    DenseLayer,
    FeedForwardToRnnPreProcessor,
    GlobalPoolingLayer,
    GravesLSTM,
    LastTimeStep,
    MaskZeroLayer,
    OutputLayer,
    RepeatVector,
    RnnLossLayer,
    RnnOutputLayer,
    RnnToCnnPreProcessor,
    RnnToFeedForwardPreProcessor,
    SimpleRnn,
    TimeDistributed,
)

VECTORS, SERIES = InputType.feed_forward(4), InputType.recurrent(4, 6)
IMAGES = InputType.convolutional(2, 3, 1)
END, VECTOR_END = RnnOutputLayer(n_out=2), OutputLayer(n_out=2)
NO_SERIES = (
    "series, (batch, size, time), are expected here, but the input is {}. Use InputType.recurrent(size, timesteps), or "
    "put a RepeatVector in front, which makes series of vectors."
)
N_IN = (
    "{}: n_in=3, but its input has size 4. Set n_in=4, or leave n_in unset to take it from the input type.",
    "{} needs n_out, the number of its outputs: n_out=10.",
)
DRAWS = (
    "{}: {}=RReLU draws random numbers, which a layer that repeats its steps cannot take back. Use another, such as "
    "'leakyrelu'."
)
MIXES = (
    "{}: gate_activation=Softmax mixes the units of the gates. Use one that acts on each alone, such as 'sigmoid' or "
    "'hardsigmoid'."
)
AROUND_SERIES = (
    "Bidirectional stands around a layer from series to series, but {} makes {} of Recurrent(size=4, timesteps=6, "
    "format='NCW'). Use an LSTM, for example, and put LastTimeStep around Bidirectional."
)
OF_VECTORS = (
    "OutputLayer expects vectors, (batch, n_in), but its input is Recurrent(size={}, timesteps=6, format='NCW'). Use "
    "RnnOutputLayer for an output at every step, or put LastTimeStep or a GlobalPoolingLayer in front for one of each "
    "series."
)
ROWS_AT_END = (
    "the network ends in rows, one for every step of Recurrent(size=3, timesteps=6, format='NCW'). End with "
    "RnnOutputLayer or RnnLossLayer for an output at every step, or put LastTimeStep or a GlobalPoolingLayer in front "
    "of the layers without time."
)
FORMAT = "{}: format='NWC', but its input has the format NCW. Leave it unset, and give the format to the input type."  #


def configured(kind, layers, preprocessors=None):
    return NeuralNetConfiguration(seed=1).list(*layers, input_type=kind, input_preprocessors=preprocessors)


def check(error, sentence, kind, layers, *, at, preprocessors=None):
    """Check that layers are refused with this sentence, about the layer ``at`` (None for none of them)."""
    note = "" if at is None else f"\nin layer {at} of {len(layers)} ({type(layers[at]).__name__})"
    with pytest.raises(error, match=f"^{re.escape(sentence + note)}$"):
        configured(kind, layers, preprocessors)


SHAPES = {
    "LSTM on vectors": (NO_SERIES.format(VECTORS), VECTORS, [LSTM(n_out=3), END], 0),
    "SimpleRnn on vectors": (NO_SERIES.format(VECTORS), VECTORS, [SimpleRnn(n_out=3), END], 0),
    "Bidirectional on vectors": (NO_SERIES.format(VECTORS), VECTORS, [Bidirectional(LSTM(n_out=3)), END], 0),
    "LSTM on images": (NO_SERIES.format(IMAGES), IMAGES, [LSTM(n_out=3), END], 0),
    "LSTM behind vectors": (
        NO_SERIES.format(InputType.feed_forward(3)),
        VECTORS,
        [DenseLayer(n_out=3), LSTM(n_out=3), END],
        1,
    ),
    "LSTM behind LastTimeStep": (
        NO_SERIES.format(InputType.feed_forward(3)),
        SERIES,
        [LastTimeStep(LSTM(n_out=3)), GravesLSTM(n_out=3), END],
        1,
    ),
    "Bidirectional around LastTimeStep": (
        AROUND_SERIES.format("LastTimeStep", "FeedForward(size=3)"),
        SERIES,
        [Bidirectional(LastTimeStep(LSTM(n_out=3))), VECTOR_END],
        0,
    ),
    "Bidirectional around GlobalPoolingLayer": (
        AROUND_SERIES.format("GlobalPoolingLayer", "FeedForward(size=4)"),
        SERIES,
        [Bidirectional(GlobalPoolingLayer()), VECTOR_END],
        0,
    ),
    "Bidirectional around a layer that shortens series": (
        "Bidirectional expects series as long as they were, but Convolution1DLayer makes Recurrent(size=3, timesteps="
        "5, format='NCW') of Recurrent(size=4, timesteps=6, format='NCW'). Use a layer that keeps the length.",
        SERIES,
        [Bidirectional(Convolution1DLayer(n_out=3, kernel_size=2)), END],
        0,
    ),
    "TimeDistributed around an LSTM": (
        "LSTM expects series, but its input is FeedForward(size=4). Use InputType.recurrent(size, timesteps).",
        SERIES,
        [TimeDistributed(LSTM(n_out=3)), END],
        0,
    ),
    "TimeDistributed around RepeatVector": (
        "TimeDistributed stands around a layer from vectors to vectors, but RepeatVector makes Recurrent(size=4, "
        "timesteps=3, format='NCW') of vectors. Use a DenseLayer, for example.",
        SERIES,
        [TimeDistributed(RepeatVector(3)), END],
        0,
    ),
    "LastTimeStep around LastTimeStep": (
        "LastTimeStep expects series, but the layer inside gives FeedForward(size=3). Use InputType.recurrent(size, "
        "timesteps), and layers that keep the time.",
        SERIES,
        [LastTimeStep(LastTimeStep(LSTM(n_out=3))), VECTOR_END],
        0,
    ),
    "OutputLayer on series": (OF_VECTORS.format(4), SERIES, [VECTOR_END], 0),
    "OutputLayer behind an LSTM": (OF_VECTORS.format(3), SERIES, [LSTM(n_out=3), VECTOR_END], 1),
    "n_in of LSTM": (N_IN[0].format("LSTM"), SERIES, [LSTM(n_in=3, n_out=3), END], 0),
    "n_in of SimpleRnn inside": (
        N_IN[0].format("SimpleRnn"),
        SERIES,
        [LastTimeStep(SimpleRnn(n_in=3, n_out=3)), VECTOR_END],
        0,
    ),
    "rows at the end": (ROWS_AT_END, SERIES, [LSTM(n_out=3), DenseLayer(n_out=5), VECTOR_END], None),
}


@pytest.mark.parametrize("name", SHAPES)
def test_layers_that_do_not_fit_are_refused(name):
    sentence, kind, layers, at = SHAPES[name]
    check(ShapeError, sentence, kind, layers, at=at)


OPTIONS = {
    "n_out of LSTM": (N_IN[1].format("LSTM"), [LSTM(), END]),
    "n_out of SimpleRnn inside": (N_IN[1].format("SimpleRnn"), [Bidirectional(SimpleRnn(n_in=4)), END]),
    "rrelu in LSTM": (DRAWS.format("LSTM", "activation"), [LSTM(n_out=3, activation="rrelu"), END]),
    "rrelu in SimpleRnn": (DRAWS.format("SimpleRnn", "activation"), [SimpleRnn(n_out=3, activation="rrelu"), END]),
    "rrelu of gates": (DRAWS.format("GravesLSTM", "gate_activation"), [GravesLSTM(n_out=3, gate_activation="rrelu")]),
    "rrelu inside": (DRAWS.format("LSTM", "activation"), [MaskZeroLayer(LSTM(n_out=3, activation="rrelu")), END]),
    "softmax of gates": (MIXES.format("LSTM"), [LSTM(n_out=3, gate_activation="softmax"), END]),
    "softmax of peephole gates": (MIXES.format("GravesLSTM"), [GravesLSTM(n_out=3, gate_activation="softmax"), END]),
    "format of LSTM": (FORMAT.format("LSTM"), [LSTM(n_out=3, format="NWC"), END]),
    "format inside": (FORMAT.format("SimpleRnn"), [Bidirectional(SimpleRnn(n_out=3, format="NWC")), END]),
    "format of Bidirectional": (FORMAT.format("Bidirectional"), [Bidirectional(LSTM(n_out=3), format="NWC"), END]),
    "format of LastTimeStep": (FORMAT.format("LastTimeStep"), [LastTimeStep(LSTM(n_out=3), format="NWC"), VECTOR_END]),
    "format of MaskZeroLayer": (FORMAT.format("MaskZeroLayer"), [MaskZeroLayer(LSTM(n_out=3), format="NWC"), END]),
    "format of TimeDistributed": (
        FORMAT.format("TimeDistributed"),
        [TimeDistributed(DenseLayer(n_out=3), format="NWC"), END],
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_cannot_be_are_refused(name):
    sentence, layers = OPTIONS[name]
    check(ConfigurationError, sentence, SERIES, layers, at=0)


@pytest.mark.parametrize("cls", [LSTM, GravesLSTM, SimpleRnn])
@pytest.mark.parametrize("wrapped", [lambda layer: layer, Bidirectional, MaskZeroLayer])
def test_the_input_type_follows_from_n_in(cls, wrapped):
    conf = NeuralNetConfiguration(seed=1).list(wrapped(cls(n_in=4, n_out=3)), END)
    assert conf.input_type == InputType.recurrent(4)


@pytest.mark.parametrize("wrapped", [lambda layer: layer, Bidirectional])
def test_without_n_in_and_input_type_there_is_an_error(wrapped):
    layer = wrapped(LSTM(n_out=3))
    example = "InputType.recurrent(size, timesteps)" if isinstance(layer, LSTM) else "InputType.recurrent(size)"
    sentence = (
        f"the input of the first layer ({type(layer).__name__}) is not known. Give list(..., input_type={example}), "
        "with the extents of your data."
    )
    check(ConfigurationError, sentence, None, [layer, END], at=None)


# Preprocessors

DENSE, IMAGE = [LSTM(n_out=4), DenseLayer(n_out=3), END], [LSTM(n_out=4), ConvolutionLayer(n_out=3, kernel_size=1)]
PREPROCESSORS = {
    "format of rows to series": (
        "FeedForwardToRnnPreProcessor(format='NWC') makes series again that had the format NCW before. Give it that "
        "format.",
        DENSE,
        {2: FeedForwardToRnnPreProcessor(format="NWC")},
        2,
    ),
    "format of images to series": (
        "CnnToRnnPreProcessor(format='NWC') makes series again that had the format NCW before. Give it that format.",
        [*IMAGE, LSTM(n_out=3), END],
        {1: RnnToCnnPreProcessor(1, 2, 2), 2: CnnToRnnPreProcessor(1, 2, 3, format="NWC")},
        2,
    ),
    "format of series to rows": (
        "RnnToFeedForwardPreProcessor expects series of the format NWC, but its input is Recurrent(size=4, timesteps="
        "6, format='NCW'). Leave it out, or give it the format of its input.",
        DENSE,
        {1: RnnToFeedForwardPreProcessor(format="NWC")},
        1,
    ),
    "rows that were no series": (
        NO_SERIES.format(InputType.feed_forward(4)),
        [LastTimeStep(LSTM(n_out=4)), DenseLayer(n_out=4), END],
        {2: FeedForwardToRnnPreProcessor()},
        2,
    ),
    "size of images": (
        "RnnToCnnPreProcessor expects steps of channels x height x width = 3 x 1 x 2 = 6 numbers, but its input is "
        "Recurrent(size=4, timesteps=6, format='NCW'). Make the two equal.",
        [*IMAGE, LSTM(n_out=3), END],
        {1: RnnToCnnPreProcessor(1, 2, 3)},
        1,
    ),
    "extents of images": (
        "CnnToRnnPreProcessor expects Convolutional(height=2, width=1, channels=3, format='NCHW'), but its input is "
        "Convolutional(height=1, width=2, channels=3, format='NCHW'). Give it the extents of its input.",
        [*IMAGE, LSTM(n_out=3), END],
        {1: RnnToCnnPreProcessor(1, 2, 2), 2: CnnToRnnPreProcessor(2, 1, 3)},
        2,
    ),
}


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_preprocessors_that_do_not_fit_are_refused(name):
    sentence, layers, preprocessors, at = PREPROCESSORS[name]
    check(ShapeError, sentence, SERIES, layers, at=at, preprocessors=preprocessors)


@pytest.mark.parametrize("end", [[LSTM(n_out=3), END], [GlobalPoolingLayer(), END], [DenseLayer(n_out=2), END]])
def test_rows_that_are_steps_are_no_examples_of_series_of_their_own(end):
    """RepeatVector makes series of every step of series, which no layer behind could tell apart."""
    with pytest.raises(ShapeError):
        configured(SERIES, [LSTM(n_out=4), DenseLayer(n_out=4), RepeatVector(3), *end])


@pytest.mark.parametrize("end", [END, RnnLossLayer(activation="softmax")])
def test_output_layers_of_series_make_series_of_images_again(end):
    conf = configured(SERIES, [*IMAGE, end], {1: RnnToCnnPreProcessor(1, 2, 2)})
    assert conf.input_preprocessors[2] == CnnToRnnPreProcessor(1, 2, 3)


# Objects that cannot be made

MADE = {
    "around OutputLayer": (
        lambda: TimeDistributed(OutputLayer(n_out=2)),
        "TimeDistributed cannot stand around OutputLayer, which has a loss. Put the output layer behind it.",
    ),
    "around RnnOutputLayer": (
        lambda: Bidirectional(RnnOutputLayer(n_out=2)),
        "Bidirectional cannot stand around RnnOutputLayer, which has a loss. Put the output layer behind it.",
    ),
    "around RnnLossLayer": (
        lambda: MaskZeroLayer(RnnLossLayer()),
        "MaskZeroLayer cannot stand around RnnLossLayer, which has a loss. Put the output layer behind it.",
    ),
    "around a number": (
        lambda: LastTimeStep(3),
        "LastTimeStep: 3 is no layer. Give an object of a class derived from Layer, such as LSTM(n_out=10).",
    ),
    "around a class": (
        lambda: LastTimeStep(LSTM),
        "LastTimeStep: <class 'minidl.layers.lstm.LSTM'> is no layer. Give an object of a class derived from Layer, "
        "such as LSTM(n_out=10).",
    ),
    "mode": (
        lambda: Bidirectional(LSTM(n_out=2), "sum"),
        "Bidirectional: mode='sum' is not known. Choose one of: CONCAT, ADD, MUL, AVERAGE.",
    ),
    "masking_value": (
        lambda: MaskZeroLayer(LSTM(n_out=2), np.nan),
        "MaskZeroLayer: masking_value=nan is not a finite number.",
    ),
    "forget_gate_bias_init": (
        lambda: LSTM(n_out=2, forget_gate_bias_init=np.inf),
        "LSTM: forget_gate_bias_init=inf is not a finite number.",
    ),
    "has_layer_norm": (
        lambda: SimpleRnn(n_out=2, has_layer_norm=1.5),
        "SimpleRnn: has_layer_norm=1.5 is not True or False.",
    ),
    "n_out": (lambda: GravesLSTM(n_out=0), "GravesLSTM: n_out=0 is not a whole number of at least 1."),
    "height": (
        lambda: RnnToCnnPreProcessor(0, 2, 3),
        "RnnToCnnPreProcessor: height=0 is not a whole number of at least 1.",
    ),
    "format": (
        lambda: FeedForwardToRnnPreProcessor(format="CWN"),
        "Recurrent: format='CWN' is not known. Choose NCW or NWC.",
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_values_that_cannot_be_are_refused(name):
    make, sentence = MADE[name]
    with pytest.raises(ConfigurationError, match=f"^{re.escape(sentence)}$"):
        make()


@pytest.mark.parametrize("option", ["activation", "gate_activation", "weight_init", "weight_init_recurrent"])
def test_an_unknown_name_is_reported_for_the_option_that_has_it(option):
    with pytest.raises(ConfigurationError, match=f"^{option}='foo' is not known. Choose one of: "):
        LSTM(n_out=3, **{option: "foo"})
