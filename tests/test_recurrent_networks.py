"""Recurrent layers in networks: series of different lengths, their steps as rows and images, formats and files."""

import numpy as np
import pytest
import recurrent_loops as loops
import reference
from gradients import gradient_error

from minidl import DataSet, InputType, MultiLayerConfiguration, MultiLayerNetwork, NeuralNetConfiguration
from minidl.eval import Evaluation
from minidl.layers import (
    LSTM,
    BatchNormalization,
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
    RnnLossLayer,
    RnnOutputLayer,
    RnnToCnnPreProcessor,
    RnnToFeedForwardPreProcessor,
    SimpleRnn,
    TimeDistributed,
)

SIZE, CLASSES, LENGTHS = 4, 3, (7, 3, 1, 5)


def network(layers, format="NCW", timesteps=None, preprocessors=None, **options):
    """Return a network of float64 with random biases, too."""
    kind = InputType.recurrent(SIZE, timesteps, format)
    conf = NeuralNetConfiguration(seed=1, dtype="float64", **options).list(
        *layers, input_type=kind, input_preprocessors=preprocessors
    )
    net = MultiLayerNetwork(conf).init()
    net.set_params(net.params + 0.2 * np.random.default_rng(3).standard_normal(net.num_params()))
    return net


def in_format(array, format):
    """Return series (batch, size, time), or vectors, in a format, as an array of its own."""
    return array.transpose(0, 2, 1).copy() if format == "NWC" and array.ndim == 3 else array


def one_hot(rng, *places):
    """Return random classes, along axis 1."""
    return np.moveaxis(np.eye(CLASSES)[rng.integers(0, CLASSES, places)], -1, 1)


def close(found, expected, tolerance=1e-10):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max(initial=0.0)))


# A padded batch and its mask, against the series one by one

LAYERS = {
    "LSTM": [LSTM(n_out=5)],
    "GravesLSTM": [GravesLSTM(n_out=4, activation="softsign")],
    "SimpleRnn": [SimpleRnn(n_out=5)],
    "SimpleRnn layer norm": [SimpleRnn(n_out=5, has_layer_norm=True)],
    "Bidirectional": [Bidirectional(LSTM(n_out=3))],
    "Bidirectional mul": [Bidirectional(GravesLSTM(n_out=4), "mul"), Bidirectional(SimpleRnn(n_out=3), "average")],
    "one behind the other": [LSTM(n_out=3), GravesLSTM(n_out=4)],
    "DenseLayer between": [LSTM(n_out=3), DenseLayer(n_out=4, activation="tanh"), SimpleRnn(n_out=3)],
    "TimeDistributed": [TimeDistributed(DenseLayer(n_out=3, activation="swish")), LSTM(n_out=4)],
    "MaskZeroLayer": [MaskZeroLayer(LSTM(n_out=3)), LSTM(n_out=4)],
}
ENDS = {
    "RnnOutputLayer": [RnnOutputLayer(n_out=CLASSES)],
    "RnnLossLayer": [DenseLayer(n_out=CLASSES, activation="identity"), RnnLossLayer(activation="softmax")],
    "LastTimeStep": [LastTimeStep(LSTM(n_out=3)), OutputLayer(n_out=CLASSES)],
    "LastTimeStep of both": [LastTimeStep(Bidirectional(LSTM(n_out=3), "add")), OutputLayer(n_out=CLASSES)],
    **{
        f"GlobalPoolingLayer {kind}": [GlobalPoolingLayer(pooling_type=kind), OutputLayer(n_out=CLASSES)]
        for kind in ("avg", "max", "sum", "pnorm")
    },
}
EVERY_STEP = ("RnnOutputLayer", "RnnLossLayer")


class Outputs(Evaluation):
    """Keeps the outputs of a batch, which the features mask has a part in, and the mask of the loss."""

    def eval(self, labels, predictions, mask=None):
        self.outputs = np.array(predictions)
        self.mask = None if mask is None else np.array(mask)


def masked_output(net, data):
    return net.do_evaluation(data, Outputs())[0]


def padded_series(where, ends_in_steps, format):
    """Return the series and labels one by one, (1, size, time), and all as one batch with a features mask.

    In the padding is what the network must not see.
    """
    rng, time = np.random.default_rng(5), max(LENGTHS)
    x, mask = 9 * rng.standard_normal((len(LENGTHS), SIZE, time)), np.zeros((len(LENGTHS), time))
    y = one_hot(rng, len(LENGTHS), time) if ends_in_steps else one_hot(rng, len(LENGTHS))
    spans = [slice(0, length) if where == "end" else slice(time - length, time) for length in LENGTHS]
    singles = []
    for i, steps in enumerate(spans):
        x[i, :, steps] = rng.standard_normal((SIZE, LENGTHS[i]))
        mask[i, steps] = 1
        label = y[i : i + 1, :, steps] if ends_in_steps else y[i : i + 1]
        singles.append((in_format(x[i : i + 1, :, steps], format), in_format(label, format)))
    return singles, spans, (in_format(x, format), in_format(y, format), mask)


def check_padded(layers, end, where, format):
    net = network([*LAYERS[layers], *ENDS[end]], format)
    singles, spans, (x, y, mask) = padded_series(where, end in EVERY_STEP, format)
    outputs = in_format(masked_output(net, DataSet(x, y, mask)).outputs, "NCW")  # an evaluation has classes on axis 1
    by_name, by_x = net.calculate_gradients(x, y, mask)
    score, by_x = net.score() * len(x), in_format(by_x, format)
    total, scores = {name: np.zeros(gradient.shape) for name, gradient in by_name.items()}, []
    for i, (single, label) in enumerate(singles):
        expected = in_format(net.output(single), format)[0]
        close(outputs[i, ..., spans[i]] if end in EVERY_STEP else outputs[i], expected)
        gradients, d_x = net.calculate_gradients(single, label)
        scores.append(net.score())
        close(by_x[i, :, spans[i]], in_format(d_x, format)[0])
        for name, gradient in gradients.items():
            total[name] += gradient
    close(score, sum(scores))
    for name, gradient in by_name.items():
        close(gradient, total[name])
    close(net.score_examples(DataSet(x, y, mask)), scores)
    assert not (by_x * (mask == 0)[:, np.newaxis]).any()
    if end in EVERY_STEP:
        np.testing.assert_array_equal(net.calculate_gradients(x, y, mask, mask)[1], in_format(by_x, format))


@pytest.mark.parametrize("where", ["end", "start"])
@pytest.mark.parametrize("layers", LAYERS)
def test_padded_series_are_the_series_one_by_one(layers, where):
    check_padded(layers, "RnnOutputLayer", where, "NCW")
    check_padded(layers, "RnnOutputLayer", where, "NWC")


@pytest.mark.parametrize("where", ["end", "start"])
@pytest.mark.parametrize("end", [end for end in ENDS if end != "RnnOutputLayer"])
def test_the_end_of_padded_series_is_that_of_the_series_one_by_one(end, where):
    for layers in ("LSTM", "Bidirectional mul", "DenseLayer between"):
        check_padded(layers, end, where, "NCW")
        check_padded(layers, end, where, "NWC")


def test_the_mask_of_the_features_is_that_of_the_loss_unless_there_is_one():
    net, (_, _, (x, y, mask)) = network([LSTM(n_out=5), *ENDS["RnnOutputLayer"]]), padded_series("end", True, "NCW")
    of_labels = 1.0 * (np.random.default_rng(0).random(mask.shape) < 0.5)
    p = masked_output(net, DataSet(x, y, mask)).outputs
    losses = -(y * np.log(p)).sum(axis=1)
    close(net.score(DataSet(x, y, mask)), (losses * mask).sum() / len(x))
    close(net.score(DataSet(x, y, mask, of_labels)), (losses * of_labels).sum() / len(x))
    assert net.score(DataSet(x, y, mask, of_labels)) != net.score(DataSet(x, y, None, of_labels))


def test_series_that_a_mask_leaves_nothing_of_give_zeros():
    rng, mask = np.random.default_rng(0), np.ones((3, 5))
    mask[1] = 0
    x = rng.standard_normal((3, SIZE, 5))
    net = network([LastTimeStep(Bidirectional(LSTM(n_out=3))), OutputLayer(n_out=CLASSES)])
    data = DataSet(x, one_hot(rng, 3), mask)
    bias = net.param_table()["1_b"]
    close(masked_output(net, data).outputs[1], np.exp(bias) / np.exp(bias).sum())
    assert not net.calculate_gradients(*data)[1][1].any()


ZEROS = {
    "MaskZeroLayer(LSTM)": lambda: MaskZeroLayer(LSTM(n_out=3)),
    "MaskZeroLayer(Bidirectional)": lambda: MaskZeroLayer(Bidirectional(GravesLSTM(n_out=3))),
    "Bidirectional(MaskZeroLayer)": lambda: Bidirectional(MaskZeroLayer(SimpleRnn(n_out=3))),
}


@pytest.mark.parametrize("name", ZEROS)
def test_mask_zero_layer_makes_the_mask_of_the_layers_behind(name):
    """As if a features mask had left out the steps of zeros, for the loss and for the layers behind."""
    _, _, (x, y, mask) = padded_series("end", True, "NCW")
    zeros = x * mask[:, np.newaxis]
    layer = ZEROS[name]()
    plain = layer.layer if isinstance(layer, MaskZeroLayer) else Bidirectional(layer.layer.layer)
    ours, masked = (network([each, Bidirectional(LSTM(n_out=2)), *ENDS["RnnOutputLayer"]]) for each in (layer, plain))
    close(ours.score(DataSet(zeros, y)), masked.score(DataSet(x, y, mask)))
    ours.compute_gradient_and_score(DataSet(zeros, y))
    masked.compute_gradient_and_score(DataSet(x, y, mask))
    close(ours.gradient, masked.gradient)
    np.testing.assert_array_equal(masked_output(ours, DataSet(zeros, y)).mask, mask)


# The steps of series as rows


@pytest.mark.parametrize("mask", [None, "of steps", "of examples", "of examples in a column"])
@pytest.mark.parametrize("format", ["NCW", "NWC"])
def test_dense_layer_between_is_time_distributed(format, mask):
    dense = DenseLayer(n_out=5, activation="softmax")
    around = [LSTM(n_out=3), LSTM(n_out=4), *ENDS["RnnOutputLayer"]]
    nets = [network([around[0], each, *around[1:]], format) for each in (dense, TimeDistributed(dense))]
    there_and_back = RnnToFeedForwardPreProcessor(format=format), FeedForwardToRnnPreProcessor(format=format)
    assert nets[0].conf.input_preprocessors == (None, *there_and_back, None)
    assert nets[1].conf.input_preprocessors == (None,) * 4
    _, _, (x, y, of_steps) = padded_series("end", True, format)
    of_examples = np.array([1.0, 0, 1, 1])
    masks = {"of steps": of_steps, "of examples": of_examples, "of examples in a column": of_examples[:, np.newaxis]}
    data = DataSet(x, y, masks.get(mask))
    (by_name, by_x), (expected_by_name, expected_by_x) = (net.calculate_gradients(*data) for net in nets)
    close(nets[0].score(), nets[1].score())
    close(masked_output(nets[0], data).outputs, masked_output(nets[1], data).outputs)
    close(by_x, expected_by_x)
    for name, gradient in by_name.items():
        close(gradient, expected_by_name[name])


@pytest.mark.parametrize("format", ["NCW", "NWC"])
def test_batch_normalisation_between_is_over_all_steps_of_all_examples(format):
    layers = [LSTM(n_out=3), DenseLayer(n_out=5, activation="tanh"), BatchNormalization(eps=1e-3), LSTM(n_out=4)]
    net, rng = network([*layers, *ENDS["RnnOutputLayer"]], format), np.random.default_rng(0)
    x, y = rng.standard_normal((3, SIZE, 6)), one_hot(rng, 3, 6)
    given = DataSet(in_format(x, format), in_format(y, format))
    activations = net.feed_forward(given.features, train=True)
    h, p = in_format(activations[1], format), net.param_table()
    rows = np.array([np.tanh(h[e, :, t] @ p["1_W"] + p["1_b"]) for t in range(6) for e in range(3)])
    close(activations[2], rows)
    normalised = p["2_gamma"] * (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-3) + p["2_beta"]
    close(activations[3], normalised)
    series = normalised.reshape(6, 3, 5).transpose(1, 2, 0)
    behind = loops.lstm("tanh", "sigmoid")({name: p["3_" + name] for name in ("W", "RW", "b")}, series)
    close(in_format(activations[4], format), behind.y)
    assert gradient_error(net, given) < 1e-6


def test_steps_of_series_as_images_agree_with_loops():
    """SimpleRnn, a convolution at every step, LSTM and a mean squared error, forward and backward."""
    height, width, channels, maps, time, batch = 2, 3, 2, 3, 5, 3
    layers = [
        SimpleRnn(n_out=height * width * channels),
        ConvolutionLayer(n_out=maps, kernel_size=2, activation="tanh"),
        LSTM(n_out=4),
        RnnOutputLayer(n_out=CLASSES, loss="mse", activation="identity"),
    ]
    net = network(layers, preprocessors={1: RnnToCnnPreProcessor(height, width, channels)})
    assert net.conf.input_preprocessors[2:] == (CnnToRnnPreProcessor(height - 1, width - 1, maps), None)
    rng, table = np.random.default_rng(0), net.param_table()
    params = [{name[2:]: p for name, p in table.items() if name[0] == str(i)} for i in range(4)]
    x, y = rng.standard_normal((batch, SIZE, time)), rng.standard_normal((batch, CLASSES, time))

    first = loops.simple_rnn("tanh")(params[0], x)
    along = [reference.windows(size, 2, 1, 0, 1, "truncate") for size in (height, width)]
    steps = list(np.ndindex(batch, time))
    images = {(e, t): first.y[e, :, t].reshape(1, channels, height, width) for e, t in steps}
    seen = {at: np.tanh(reference.convolution(image, along, *map(params[1].get, "Wb"))) for at, image in images.items()}
    flat = np.array([[seen[e, t].reshape(-1) for t in range(time)] for e in range(batch)]).transpose(0, 2, 1)
    second = loops.lstm("tanh", "sigmoid")(params[2], flat)
    last = loops.time_distributed(loops.dense("identity"))(params[3], second.y)
    close(net.output(x), last.y)

    d_second, of_last = last.backward(2 * (last.y - y) / CLASSES)
    d_flat, of_second = second.backward(d_second)
    d_first, of_convolution = np.zeros(first.y.shape), {"W": 0.0, "b": 0.0}
    for e, t in steps:
        d_z = d_flat[e, :, t].reshape(seen[e, t].shape) * (1 - seen[e, t] ** 2)
        d_image, d_w, d_b = reference.convolution_gradients(images[e, t], along, params[1]["W"], d_z)
        d_first[e, :, t] = d_image.reshape(-1)
        of_convolution = {"W": of_convolution["W"] + d_w, "b": of_convolution["b"] + d_b}
    d_x, of_first = first.backward(d_first)
    by_name, by_x = net.calculate_gradients(x, y)
    close(by_x, d_x)
    for i, gradients in enumerate((of_first, of_convolution, of_second, of_last)):
        for name, gradient in gradients.items():
            close(by_name[f"{i}_{name}"], gradient)


@pytest.mark.parametrize("where", ["end", "start"])
def test_padded_series_may_be_images_between(where):
    layers = [LSTM(n_out=12), ConvolutionLayer(n_out=3, kernel_size=2), DenseLayer(n_out=4), GravesLSTM(n_out=3)]
    net = network([*layers, *ENDS["RnnOutputLayer"]], preprocessors={1: RnnToCnnPreProcessor(2, 3, 2)})
    singles, _, (x, y, mask) = padded_series(where, True, "NCW")
    score = net.compute_gradient_and_score(DataSet(x, y, mask)) * len(x)
    gradient, total, scores = net.gradient.copy(), 0.0, 0.0
    for single in singles:
        scores += net.compute_gradient_and_score(*single)
        total = total + net.gradient
    close(score, scores)
    close(gradient, total)


# Formats and files

NESTED = {
    "LSTM": lambda: [LSTM(n_out=5), GravesLSTM(n_out=3, activation="swish", gate_activation="hardsigmoid")],
    "SimpleRnn": lambda: [SimpleRnn(n_out=6, has_layer_norm=True, weight_init_recurrent="identity", has_bias=False)],
    "Bidirectional": lambda: [Bidirectional(Bidirectional(LSTM(n_out=2), "mul"), "average")],
    "MaskZeroLayer": lambda: [MaskZeroLayer(Bidirectional(GravesLSTM(n_out=3)), masking_value=0.5)],
    "TimeDistributed": lambda: [TimeDistributed(DenseLayer(n_out=3, l2=0.1)), LSTM(n_out=4)],
    "rows between": lambda: [LSTM(n_out=3), DenseLayer(n_out=4), BatchNormalization(), Bidirectional(LSTM(n_out=2))],
    "pieces": lambda: [Convolution1DLayer(n_out=3, kernel_size=2), LSTM(n_out=3), LastTimeStep(SimpleRnn(n_out=3))],
}


def nested(name, format, **options):
    layers = NESTED[name]()
    end = OutputLayer(n_out=CLASSES) if isinstance(layers[-1], LastTimeStep) else RnnOutputLayer(n_out=CLASSES)
    return network([*layers, end], format, updater="adam", **options)


def trained(net, format):
    """Return the bits of what a network gives and learns, with the sizes along axis 1."""
    rng, bits = np.random.default_rng(0), []
    for batch, time in ((4, 7), (1, 7), (3, 2)):
        x = rng.standard_normal((batch, SIZE, time))
        steps = in_format(net.output(in_format(x, format)), format)
        y, mask = one_hot(rng, batch, *steps.shape[2:]), rng.integers(0, 2, (batch, time))
        masks = [mask, mask if steps.ndim == 3 and steps.shape[2] == time else None]
        data = DataSet(in_format(x, format), in_format(y, format), *masks)
        by_name, by_x = net.calculate_gradients(*data)
        arrays = [steps, in_format(by_x, format), *by_name.values()]
        net.fit(data)
        bits += [array.copy().tobytes() for array in (*arrays, net.params)]
    return bits


@pytest.mark.parametrize("name", NESTED)
def test_both_formats_give_the_same_bits(name):
    assert trained(nested(name, "NCW"), "NCW") == trained(nested(name, "NWC"), "NWC")


@pytest.mark.parametrize("format", ["NCW", "NWC"])
@pytest.mark.parametrize("name", NESTED)
def test_layers_inside_layers_come_back_from_json(name, format):
    net = nested(name, format)
    read = MultiLayerConfiguration.from_json(net.conf.to_json())
    assert read == net.conf
    again = MultiLayerNetwork(read).init()
    again.set_params(net.params)
    assert trained(again, format) == trained(net, format)


def test_images_between_come_back_from_json():
    layers = [LSTM(n_out=12), ConvolutionLayer(n_out=3, kernel_size=2), LSTM(n_out=3), *ENDS["RnnOutputLayer"]]
    conf = network(layers, "NWC", preprocessors={1: RnnToCnnPreProcessor(2, 3, 2, format="NWC")}).conf
    assert MultiLayerConfiguration.from_json(conf.to_json()) == conf
    assert conf.input_preprocessors[2] == CnnToRnnPreProcessor(1, 2, 3, format="NWC")
