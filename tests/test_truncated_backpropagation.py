"""Truncated backpropagation gives the gradient and the updates of every piece, against references and identities."""

import numpy as np
import pytest
from recurrent_networks import (
    CLASSES,
    HIDDEN,
    MODES,
    PIECES,
    PLAIN,
    Recorded,
    in_format,
    one_hot,
    series,
    series_network,
)
from recurrent_reference import LoopedRnn, TorchSeries, cuts

from minidl.layers import LSTM, DenseLayer, DropoutLayer, RnnLossLayer, RnnOutputLayer, SimpleRnn
from minidl.training import Adam, MapSchedule, Sgd

TIME, BATCH = 7, 5
LENGTHS = [(forward, back) for forward in (1, 2, 3, 5, 7, 9) for back in (1, 2, 3, 5, 7, 9) if back <= forward]
each_length = pytest.mark.parametrize(("forward", "back"), LENGTHS)
each_plain = pytest.mark.parametrize("hidden", PLAIN)
each_hidden = pytest.mark.parametrize("hidden", HIDDEN)


def truncated(hidden, forward=PIECES, back=None, **options):
    lengths = dict(backprop_type="truncated_bptt", tbptt_fwd_length=forward, tbptt_back_length=back)
    return series_network(hidden, **lengths | options)


def assert_close(found, expected, tolerance=1e-10):
    """Check the difference against the largest element, so that small ones count as much as they matter."""
    assert np.shape(found) == np.shape(expected)
    assert np.abs(np.subtract(found, expected)).max() <= tolerance * np.abs(expected).max()


# Against references


@each_length
def test_every_gradient_and_every_update_is_that_of_a_loop(forward, back):
    updater = Recorded()
    net = truncated([SimpleRnn(n_out=6)], forward, back, updater=updater, dtype="float64")
    loop = LoopedRnn(net, rate=lambda _: updater.learning_rate)
    for seed in range(3):
        x, classes = series(BATCH, TIME, seed)
        net.fit(x, one_hot(classes))
        loop.fit(x, one_hot(classes), forward, back)
        assert_close(net.params, loop.params())
    assert len(updater.gradients) == 3 * len(cuts(TIME, forward))
    assert_close(updater.gradients, loop.gradients)


@each_plain
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize(("forward", "back"), [(3, 3), (3, 2), (5, 1), (4, 4)])
def test_every_gradient_and_every_update_is_that_of_pytorch(torch, hidden, masked, forward, back, rng):
    updater = Recorded()
    net = truncated(hidden, forward, back, updater=updater, dtype="float64")
    theirs = TorchSeries(torch, net)
    for seed in range(2):
        x, classes = series(BATCH, TIME, seed)
        masks = {}
        if masked:
            masks = dict(features_mask=rng.integers(0, 2, (BATCH, TIME)), labels_mask=rng.random((BATCH, TIME)))
        net.fit(x, one_hot(classes), **masks)
        theirs.fit(x, one_hot(classes), **masks)
        assert_close(net.params, theirs.params())
    assert_close(updater.gradients, theirs.gradients)


@each_plain
def test_adam_goes_on_from_piece_to_piece_as_in_pytorch(torch, hidden):
    net = truncated(hidden, 3, 2, updater=Adam(0.01), dtype="float64")
    theirs = TorchSeries(torch, net)
    start = net.params.copy()
    for seed in range(4):
        x, classes = series(BATCH, TIME, seed)
        net.fit(x, one_hot(classes))
        theirs.fit(x, one_hot(classes))
    assert_close(net.params, theirs.params())
    assert np.abs(net.params - start).max() > 0.05


@each_plain
def test_a_mask_of_features_is_that_of_the_labels_where_they_have_none(torch, hidden, rng):
    net = truncated(hidden, 3, updater=Sgd(0.3), dtype="float64")
    theirs, (x, classes) = TorchSeries(torch, net), series(BATCH, TIME)
    mask = rng.integers(0, 2, (BATCH, TIME))
    net.fit(x, one_hot(classes), features_mask=mask)
    theirs.fit(x, one_hot(classes), features_mask=mask)
    assert_close(net.params, theirs.params())


def test_schedules_see_the_iteration_of_the_piece():
    rates = {0: 0.5, 1: 0.1, 2: 0.7, 4: 0.2}
    net = truncated([SimpleRnn(n_out=6)], 3, updater=Sgd(MapSchedule("iteration", rates)), dtype="float64")
    loop = LoopedRnn(net, rate=lambda iteration: rates[max(key for key in rates if key <= iteration)])
    for seed in range(2):
        x, classes = series(BATCH, TIME, seed)
        net.fit(x, one_hot(classes))
        loop.fit(x, one_hot(classes), 3, 3)
    assert net.iteration_count == 6
    assert_close(net.params, loop.params())


# Identities that need no reference


@each_hidden
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("forward", "back"), [(TIME, None), (TIME, TIME), (20, None), (20, TIME), (None, None)])
def test_one_piece_is_standard_backpropagation_to_the_bit(hidden, mode, forward, back):
    nets = [truncated(hidden, forward, back, mode=mode), series_network(hidden, mode=mode)]
    for seed in range(3):
        x, classes = series(BATCH, TIME, seed, "f4")
        for net in nets:
            net.fit(x, one_hot(classes, "f4"))
    assert nets[0].score() == nets[1].score()
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


@pytest.mark.parametrize("mode", MODES)
def test_without_recurrent_layers_pieces_are_batches_of_their_own(mode, rng):
    hidden = [DenseLayer(n_out=6, activation="tanh", dropout=0.8), DropoutLayer(0.5), DenseLayer(n_out=5)]
    nets = [truncated(hidden, 3, 1, mode=mode), series_network(hidden, mode=mode)]
    x, classes = series(BATCH, TIME, dtype="f4")
    features_mask, labels_mask = rng.integers(0, 2, (BATCH, TIME)), rng.random((BATCH, TIME))
    for y in (one_hot(classes), one_hot(classes, "f4"), classes):
        nets[0].fit(x, y, features_mask=features_mask, labels_mask=labels_mask)
        for steps in cuts(TIME, 3):
            masks = dict(features_mask=features_mask[:, steps], labels_mask=labels_mask[:, steps])
            nets[1].fit(x[:, :, steps], y[..., steps], **masks)
        np.testing.assert_array_equal(nets[0].params, nets[1].params)


@pytest.mark.parametrize("hidden", [*PLAIN, "mask zero", "dropout"])
def test_where_a_mask_ends_every_piece_with_0_pieces_are_batches_of_their_own(hidden, rng):
    nets = [truncated(hidden, 3), series_network(hidden)]
    x, classes = series(BATCH, TIME, dtype="f4")
    x, classes = x[:, :, : TIME - 1], classes[:, : TIME - 1]
    mask = rng.integers(0, 2, (BATCH, TIME - 1)).astype("f4")
    mask[0] = 1  # a batch whose mask leaves out everything is refused
    for steps in cuts(TIME - 1, 3):  # a masked step leaves the state 0
        mask[:, steps.stop - 1] = 0
        x[:, :, steps.stop - 1] = 0
    nets[0].fit(x, one_hot(classes, "f4"), features_mask=mask)
    for steps in cuts(TIME - 1, 3):
        nets[1].fit(x[:, :, steps], one_hot(classes, "f4")[:, :, steps], features_mask=mask[:, steps])
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


@each_hidden
def test_a_piece_goes_on_from_the_state_of_the_piece_before(hidden):
    x, classes = series(BATCH, 6)
    gradients = []
    for factor in (1, -1):
        updater = Recorded(learning_rate=0.0)
        net = truncated(hidden, 3, updater=updater)
        net.fit(np.concatenate([factor * x[:, :, :3], x[:, :, 3:]], axis=2), one_hot(classes))
        gradients.append(updater.gradients[1])
    assert np.abs(gradients[0] - gradients[1]).max() > 1e-4


@pytest.mark.parametrize("hidden", ["LSTM", "GravesLSTM", "SimpleRnn", "SimpleRnn layer norm", "mask zero"])
@pytest.mark.parametrize("format", ["NCW", "NWC"])
@pytest.mark.parametrize(("back", "forward"), [(1, 4), (2, 4), (3, 4)])
def test_errors_before_the_last_steps_reach_the_output_layer_only(hidden, format, back, forward):
    gradients = []
    x, classes = series(BATCH, forward)
    for changed in (0, 1):
        updater = Recorded()
        net = truncated(hidden, forward, back, format=format, updater=updater)
        y = one_hot((classes + changed) % CLASSES)
        y[:, :, forward - back :] = one_hot(classes)[:, :, forward - back :]
        net.fit(in_format(x, format), in_format(y, format))
        (gradient,) = updater.gradients
        size = net.layers[-1].params["W"].size + CLASSES
        gradients.append((gradient[:-size], gradient[-size:]))
    np.testing.assert_array_equal(gradients[0][0], gradients[1][0])
    assert np.abs(gradients[0][0]).max() > 0
    assert np.abs(gradients[0][1] - gradients[1][1]).max() > 1e-3


@pytest.mark.parametrize("back", [1, 2, 3])
def test_layers_in_front_of_a_recurrent_one_get_the_errors_of_the_last_steps_only(back):
    x, classes = series(BATCH, 4)
    for step in range(4):
        updater = Recorded()
        net = truncated([DenseLayer(n_out=5, activation="tanh"), LSTM(n_out=4)], 4, back, updater=updater)
        only = np.where(np.arange(4) == step, x, 0.0)
        net.fit(only, one_hot(classes))
        (gradient,) = updater.gradients
        by_weights = np.abs(gradient[: 5 * len(x[0])]).max()
        assert (by_weights > 0) == (step >= 4 - back)


# Every form of labels and masks


def trained(format="NCW", **data):
    """Return the parameters after two batches of pieces, the second one shorter."""
    net = truncated("dense between", 3, 2, format=format, dtype="float64")
    for time in (TIME, 5):
        net.fit(**{name: value(time) for name, value in data.items()})
    return net.params.copy()


def x_of(time):
    return series(BATCH, time)[0]


def y_of(time):
    return one_hot(series(BATCH, time)[1])


def classes_of(time):
    return series(BATCH, time)[1]


def steps_of(time):
    return np.random.default_rng(time).integers(0, 3, (BATCH, time))


def last_axis(make):
    return lambda time: make(time).transpose(0, 2, 1)


def test_class_indices_are_one_hot_labels():
    assert_close(trained(data=x_of, labels=classes_of), trained(data=x_of, labels=y_of), 1e-12)


@pytest.mark.parametrize("labels", [classes_of, last_axis(y_of)], ids=["indices", "one-hot"])
def test_sizes_last_give_the_same_numbers(labels):
    expected = trained(data=x_of, labels=y_of, features_mask=steps_of)
    found = trained("NWC", data=last_axis(x_of), labels=labels, features_mask=steps_of)
    assert_close(found, expected, 1e-12)


@pytest.mark.parametrize("shape", [(BATCH,), (BATCH, 1)])
@pytest.mark.parametrize("format", ["NCW", "NWC"])
def test_a_mask_of_whole_examples_goes_with_every_piece(shape, format):
    weights = np.array([1, 0, 1, 2, 0])
    turned = last_axis if format == "NWC" else lambda make: make
    data = dict(data=turned(x_of), labels=turned(y_of))
    of_steps = trained(format, **data, labels_mask=lambda time: np.repeat(weights[:, np.newaxis], time, axis=1))
    assert_close(trained(format, **data, labels_mask=lambda _: weights.reshape(shape)), of_steps, 1e-12)


def test_a_mask_of_whole_examples_means_the_same_in_a_piece_of_one_step():
    weights = np.array([1, 0, 1, 1, 0])
    nets = [truncated("LSTM", 3, dtype="float64") for _ in range(2)]
    for net, shape in zip(nets, [(BATCH,), (BATCH, 1)], strict=True):
        net.fit(x_of(TIME), y_of(TIME), features_mask=weights.reshape(shape))
    assert_close(nets[1].params, nets[0].params)


def test_weights_of_examples_of_steps_and_of_classes_are_masks_of_labels():
    of_examples, of_classes = np.array([0.5, 2, 0, 1, 1.5]), np.array([1.0, 0.2, 3.0, 0.0])
    data = dict(data=x_of, labels=classes_of)
    products = {
        "sample_weight": lambda time: np.repeat(of_examples[:, np.newaxis], time, axis=1),
        "class_weight": lambda time: of_classes[classes_of(time)],
    }
    given = {"sample_weight": lambda _: of_examples, "class_weight": lambda _: dict(enumerate(of_classes))}
    for name, product in products.items():
        expected = trained(**data, labels_mask=lambda time, product=product: product(time) * steps_of(time))
        assert_close(trained(**data, labels_mask=steps_of, **{name: given[name]}), expected, 1e-12)
    of_steps = trained(**data, sample_weight=lambda time: steps_of(time) / 2)
    assert_close(of_steps, trained(**data, labels_mask=lambda time: steps_of(time) / 2), 1e-12)


@pytest.mark.parametrize("format", ["NCW", "NWC"])
def test_a_mask_of_elements_is_cut_into_pieces(format):
    """Masked squares count as those of labels that the network gives itself, whose gradient is 0."""
    output = RnnOutputLayer(n_out=CLASSES, activation="identity", loss="mse")
    turned = last_axis if format == "NWC" else lambda make: make
    net = truncated("LSTM", 3, format=format, dtype="float64", output=output, updater=Recorded(0.0))
    x, y = (turned(make)(TIME) for make in (x_of, y_of))
    mask = np.random.default_rng(0).integers(0, 2, y.shape)
    net.fit(x, y, labels_mask=mask)
    masked = net.layers[0].updater.gradients
    net.layers[0].updater.seen.clear()
    net.fit(x, np.where(mask, y, net.output(x)))
    assert len(masked) == 3
    assert_close(masked, net.layers[0].updater.gradients, 1e-12)


def test_a_loss_layer_takes_pieces():
    """Without parameters behind the LSTM, the second piece is trained on as by a network that is given its state."""
    layers, updater = [LSTM(n_out=CLASSES)], Recorded()
    net = truncated(layers, 3, output=RnnLossLayer(loss="mse"), updater=updater, dtype="float64")
    x, y = x_of(6), y_of(6)
    net.fit(x, y)
    standard = series_network(layers, output=RnnLossLayer(loss="mse"), updater=Recorded(), dtype="float64")
    standard.fit(x[:, :, :3], y[:, :, :3])
    assert_close(updater.gradients[0], standard.layers[0].updater.gradients[0], 1e-12)
    assert updater.iterations == [0, 1]
