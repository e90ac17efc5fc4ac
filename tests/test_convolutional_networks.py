"""Whole convolutional networks: what they learn, what memory they take, and that formats and modes change nothing."""

import dataclasses

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from image_networks import SHAPES, blocks, image_batch, lenet
from networks import in_new_thread, recorded_spills, workspace_sizes
from test_allocation import workspace_counters

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import DigitsDataSetIterator
from minidl.eval import Evaluation
from minidl.layers import (
    BatchNormalization,
    CnnLossLayer,
    Convolution1DLayer,
    ConvolutionLayer,
    DenseLayer,
    GlobalPoolingLayer,
    OutputLayer,
    RnnOutputLayer,
    SubsamplingLayer,
    TensorFlowCnnToFeedForwardPreProcessor,
)
from minidl.training import Adam, Sgd
from minidl.workspaces import workspace_manager

NETWORKS = {"lenet": lenet, "blocks": blocks}
LENET_LIMIT = 12_800_000  # 1.65 times 7.76 MB, the liveness bound of windows of 4 images and one kept array a layer


def test_lenet_learns_the_digits():
    conf = NeuralNetConfiguration(seed=123, updater=Adam(1e-3), weight_init="relu").list(
        ConvolutionLayer(n_out=20, kernel_size=3, convolution_mode="same", activation="relu"),
        SubsamplingLayer(),
        ConvolutionLayer(n_out=50, kernel_size=3, convolution_mode="same", activation="relu"),
        SubsamplingLayer(),
        DenseLayer(n_out=500, activation="relu"),
        OutputLayer(n_out=10),
        input_type=InputType.convolutional_flat(8, 8, 1),
    )
    net = MultiLayerNetwork(conf).init()
    net.fit(DigitsDataSetIterator(64, seed=1), epochs=20)
    assert net.evaluate(DigitsDataSetIterator(64, train=False)).accuracy() >= 0.985


# Memory


@pytest.mark.parametrize(("name", "examples", "ratio"), [("lenet", 64, 1.65), ("blocks", 32, 1.9)])
def test_memory_is_what_the_report_says_before(name, examples, ratio):
    def run():
        net = NETWORKS[name]()
        report = net.memory_report(examples)
        with recorded_spills() as spills:
            for batch in (examples, 1, examples - 1):
                net.fit(image_batch(name, batch))
                net.output(image_batch(name, batch).features)
        return report, spills, workspace_sizes()

    report, spills, sizes = in_new_thread(run)
    assert spills == []
    assert {id: size for id, size in report.workspaces.items() if size} == sizes
    assert report.workspace_bytes <= ratio * report.liveness_bound
    line = (
        f"Workspaces: {report.workspace_bytes:,}, {report.workspace_bytes / report.liveness_bound:.2f} x the liveness"
    )
    assert f"{line} bound of {report.liveness_bound:,}" in str(report)
    if name == "lenet":
        assert report.workspace_bytes <= LENET_LIMIT


def test_window_buffers_are_shared_by_all_layers():
    def layers(count):
        return [ConvolutionLayer(n_out=8, kernel_size=5, convolution_mode="same") for _ in range(count)]

    def working(count):
        conf = NeuralNetConfiguration().list(
            *layers(count), OutputLayer(n_out=2), input_type=InputType.convolutional(20, 20, 8)
        )
        return MultiLayerNetwork(conf).init().memory_report(16).workspaces["WS_LAYER_WORKING_MEM"]

    assert working(2) == working(5)


def test_the_cap_bounds_the_window_buffer():
    def working(cap):
        conf = NeuralNetConfiguration(seed=1, max_window_bytes=cap).list(
            ConvolutionLayer(n_out=8, kernel_size=5, convolution_mode="same"),
            OutputLayer(n_out=2),
            input_type=InputType.convolutional(20, 20, 8),
        )
        net = MultiLayerNetwork(conf).init()
        x = np.random.default_rng(0).random((3, 8, 20, 20), np.float32)
        return net.memory_report(16).workspaces["WS_LAYER_WORKING_MEM"], net.output(x)

    row = 20 * 25 * 8 * 4  # positions x taps x channels x bytes
    (small, one), (large, other) = working(2 * row), working(20 * row)
    assert 15 * row < large - small < 19 * row
    np.testing.assert_allclose(one, other, rtol=1e-5)


def measure(name, examples):
    net, dataset = NETWORKS[name](), image_batch(name, examples)
    out = np.empty((examples, 10), np.float32)
    evaluation = Evaluation()

    def step():
        net.fit(dataset)
        net.output(dataset.features, out=out)
        net.do_evaluation(dataset, evaluation)

    return gauges(step, repeats=3, counters=workspace_counters)


@pytest.mark.parametrize(("name", "examples"), [("lenet", 64), ("blocks", 32)])
def test_a_warm_step_allocates_nothing(name, examples, run_under_counter):
    assert_no_allocation(run_under_counter(measure, name, examples), arrays_alive=200)


# Modes and formats


@pytest.mark.parametrize("poison", [False, True])
@pytest.mark.parametrize(("name", "cap"), [("lenet", None), ("lenet", 16_000), ("blocks", None), ("blocks", 80_000)])
def test_modes_give_the_same_bits(name, cap, poison):
    """With a cap an image is split into blocks of rows; the last batch is several blocks of images in any case."""

    def history(mode):
        net = NETWORKS[name](training_workspace_mode=mode, inference_workspace_mode=mode, max_window_bytes=cap)
        numbers = []
        for step, examples in enumerate((5, 2, 1, 30)):
            net.fit(image_batch(name, examples, step))
            numbers += [net.score(), net.output(image_batch(name, 3).features).tobytes(), net.params.tobytes()]
        return numbers

    workspace_manager.poison_recycled_memory = poison
    try:
        assert history("NONE") == history("ENABLED")
    finally:
        workspace_manager.poison_recycled_memory = False


def both_formats(layers, input_type, preprocessor=None):
    """Return networks of the same parameters for the channels first and last."""
    nets = []
    for format in ("NCHW", "NHWC"):
        steps = {} if preprocessor is None else {preprocessor: TensorFlowCnnToFeedForwardPreProcessor(format)}
        kind = dataclasses.replace(input_type, format=format)
        conf = NeuralNetConfiguration(seed=3, dtype="float64", updater=Adam(0.01)).list(
            *layers, input_type=kind, input_preprocessors=steps
        )
        nets.append(MultiLayerNetwork(conf).init())
    return nets


def test_formats_give_the_same_results():
    layers = [
        ConvolutionLayer(n_out=4, kernel_size=3, activation="tanh"),
        BatchNormalization(),
        SubsamplingLayer(pooling_type="avg"),
        ConvolutionLayer(n_out=5, kernel_size=2, stride=(1, 2), convolution_mode="same"),
        DenseLayer(n_out=6, activation="tanh"),
        OutputLayer(n_out=3),
    ]
    first, last = both_formats(layers, InputType.convolutional(9, 8, 2), preprocessor=4)
    rng = np.random.default_rng(0)
    for examples in (4, 1, 5):
        x, y = rng.standard_normal((examples, 2, 9, 8)), np.eye(3)[rng.integers(0, 3, examples)]
        first.fit(x, y)
        last.fit(x.transpose(0, 2, 3, 1), y)
        np.testing.assert_allclose(last.params, first.params, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(last.output(x.transpose(0, 2, 3, 1)), first.output(x), rtol=1e-9)


@pytest.mark.parametrize("mask", [False, True])
def test_losses_of_images_are_the_same_in_both_formats(mask):
    layers = [ConvolutionLayer(n_out=3, kernel_size=3, convolution_mode="same"), CnnLossLayer(activation="softmax")]
    first, last = both_formats(layers, InputType.convolutional(5, 4, 2))
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((3, 2, 5, 4)), np.eye(3)[rng.integers(0, 3, (3, 5, 4))]
    pixels = rng.integers(0, 2, (3, 5, 4)) if mask else None
    scores = [
        first.compute_gradient_and_score(DataSet(x, np.moveaxis(y, -1, 1), labels_mask=pixels)),
        last.compute_gradient_and_score(DataSet(x.transpose(0, 2, 3, 1), y, labels_mask=pixels)),
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)
    np.testing.assert_allclose(last.gradient, first.gradient, rtol=1e-9, atol=1e-12)
    output = first.output(x)
    losses = -np.log(np.take_along_axis(output, y.argmax(-1)[:, np.newaxis], axis=1))[:, 0]
    assert scores[0] == pytest.approx((losses * (1 if pixels is None else pixels)).sum() / 3, rel=1e-9)
    evaluation = last.evaluate(DataSet(x.transpose(0, 2, 3, 1), y, labels_mask=pixels))
    right = output.argmax(1) == y.argmax(-1)
    counted = np.ones_like(right) if pixels is None else pixels.astype(bool)
    assert evaluation.accuracy() == pytest.approx(right[counted].mean())


def test_weights_of_classes_follow_the_channels_in_both_formats():
    layers = [Convolution1DLayer(n_out=3, kernel_size=1), RnnOutputLayer(n_out=3)]
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((4, 2, 5)), np.eye(3)[rng.integers(0, 3, (4, 5))]
    params = []
    for format, features, labels in (("NCW", x, np.moveaxis(y, -1, 1)), ("NWC", x.transpose(0, 2, 1), y)):
        conf = NeuralNetConfiguration(seed=3, dtype="float64", updater=Sgd(0.1))
        net = MultiLayerNetwork(conf.list(*layers, input_type=InputType.recurrent(2, None, format))).init()
        net.fit(features, labels, class_weight=[1.0, 5.0, 0.5])
        params.append(net.params.copy())
    np.testing.assert_allclose(params[1], params[0], rtol=1e-10)
    net.fit(features, labels)
    assert not np.allclose(net.params, params[1])


# Batch normalisation


@pytest.mark.parametrize("use_log_std", [False, True])
def test_running_values_move_towards_those_of_the_batches(use_log_std):
    conf = NeuralNetConfiguration(
        dtype="float64", updater=Adam(0.01), gradient_normalization="RENORMALIZE_L2_PER_LAYER"
    )
    layers = [BatchNormalization(decay=0.8, use_log_std=use_log_std), OutputLayer(n_out=2)]
    net = MultiLayerNetwork(conf.list(*layers, input_type=InputType.convolutional(3, 2, 2))).init()
    rng = np.random.default_rng(0)
    mean, variance = np.zeros(2), np.ones(2)
    for examples in (6, 3, 9):
        x = rng.normal(3.0, 2.0, (examples, 2, 3, 2))
        net.fit(x, np.eye(2)[rng.integers(0, 2, examples)])
        mean = 0.8 * mean + 0.2 * x.mean((0, 2, 3))
        variance = 0.8 * variance + 0.2 * x.var((0, 2, 3))
    params = net.layers[0].params
    np.testing.assert_allclose(params["mean"], mean, rtol=1e-12)
    stored = (10 ** params["log10stdev"]) ** 2 if use_log_std else params["var"]
    np.testing.assert_allclose(stored, variance, rtol=1e-12)
    gamma, beta = (params[name].reshape(2, 1, 1) for name in ("gamma", "beta"))
    column = (2, 1, 1)
    expected = gamma * (x - mean.reshape(column)) / np.sqrt(variance.reshape(column) + 1e-5) + beta
    np.testing.assert_allclose(net.feed_forward(x)[1], expected, rtol=1e-10)


def test_batch_normalisation_has_no_penalty_and_its_state_no_updater():
    conf = NeuralNetConfiguration(l1=0.1, l2=0.1, l1_bias=0.1, l2_bias=0.1, updater=Adam(0.1))
    last = OutputLayer(n_out=2, l1=0.0, l2=0.0, l1_bias=0.0, l2_bias=0.0)
    net = MultiLayerNetwork(conf.list(BatchNormalization(), last, input_type=InputType.feed_forward(3))).init()
    x, y = np.zeros((4, 3)), np.full((4, 2), 0.5)
    net.set_params(np.concatenate([np.ones(3), np.zeros(9), np.zeros(8)]))
    net.fit(x, y)
    np.testing.assert_array_equal(net.layers[0].params["gamma"], 1)  # no gradient, and nothing that pulls
    assert net.memory_report(4).model_bytes == 4 * (20 + 20 + 2 * (6 + 8))  # no state for mean and log10stdev


def test_large_means_do_not_spoil_the_variance():
    x = np.random.default_rng(0).normal(1000.0, 0.5, (64, 3)).astype(np.float32)
    net = MultiLayerNetwork(
        NeuralNetConfiguration().list(BatchNormalization(), OutputLayer(n_out=2), input_type=InputType.feed_forward(3))
    ).init()
    exact = (x - x.mean(0, dtype=np.float64)) / np.sqrt(x.var(0, dtype=np.float64) + 1e-5)
    np.testing.assert_allclose(net.feed_forward(x, train=True)[1], exact, atol=1e-3)


# Masks


def test_a_masked_series_gives_what_its_seen_part_gives():
    layers = [
        Convolution1DLayer(n_out=4, kernel_size=3, convolution_mode="causal", activation="tanh"),
        GlobalPoolingLayer(pooling_type="avg"),
        OutputLayer(n_out=2),
    ]
    conf = NeuralNetConfiguration(seed=1, dtype="float64").list(*layers, input_type=InputType.recurrent(3))
    net = MultiLayerNetwork(conf).init()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 3, 9)), np.eye(2)[[0, 1, 1, 0]]
    mask = (np.arange(9) < 6).astype(float) * np.ones((4, 1))
    whole = net.compute_gradient_and_score(DataSet(x, y, mask))
    gradient = net.gradient.copy()
    part = net.compute_gradient_and_score(DataSet(x[:, :, :6], y))
    assert whole == pytest.approx(part, rel=1e-12)
    np.testing.assert_allclose(gradient, net.gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pooling", ["max", "avg", "sum", "pnorm"])
@pytest.mark.parametrize("shape", ["series", "images"])
def test_global_pooling_leaves_out_what_is_masked(pooling, shape):
    rng = np.random.default_rng(0)
    series = shape == "series"
    kind = InputType.recurrent(3, 6) if series else InputType.convolutional(2, 3, 3)
    x = rng.standard_normal((4, 3, 6) if series else (4, 3, 2, 3))
    mask = rng.integers(0, 2, (4, 6))
    mask[:, 2], mask[3] = 1, 0
    conf = NeuralNetConfiguration(dtype="float64").list(
        GlobalPoolingLayer(pooling_type=pooling), OutputLayer(n_out=2), input_type=kind
    )
    net = MultiLayerNetwork(conf).init()
    flat = x.reshape(4, 3, 6)
    expected = np.zeros((4, 3))
    for row in range(3):
        seen = flat[row][:, mask[row] > 0]
        expected[row] = {
            "max": lambda seen=seen: seen.max(1),
            "avg": lambda seen=seen: seen.mean(1),
            "sum": lambda seen=seen: seen.sum(1),
            "pnorm": lambda seen=seen: np.sqrt((seen**2).sum(1)),
        }[pooling]()
    y = np.eye(2)[[0, 1, 1, 0]]
    masked = net.score(DataSet(x, y, mask if series else mask.reshape(4, 2, 3)))
    w, b = (net.layers[1].params[name] for name in ("W", "b"))
    logits = expected @ w + b
    losses = np.log(np.exp(logits).sum(1)) - (logits * y).sum(1)
    assert masked == pytest.approx(losses.mean(), rel=1e-10)


# Bad input


@pytest.mark.parametrize("name", NETWORKS)
def test_wrong_images_are_refused(name):
    net = NETWORKS[name]()
    channels, height, width = SHAPES[name]
    x = np.zeros((2, height, width, channels), np.float32)
    with pytest.raises(ValueError, match=rf"^features have shape \(2, {height}, {width}, {channels}\), expected "):
        net.output(x)
