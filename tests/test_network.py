"""What a user does with a network: every public method, and the numbers that come out."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from networks import CLASSES, FEATURES, NETS, data, network, softmax_network, targets

from minidl import DataSet, InputType, Layer, MultiLayerNetwork, NeuralNetConfiguration, WorkspaceMode
from minidl.data import ArrayDataSetIterator, DigitsDataSetIterator
from minidl.errors import DtypeError
from minidl.eval import ROC, Evaluation, ROCMultiClass
from minidl.layers import DenseLayer, OutputLayer
from minidl.training import Adam, Sgd
from minidl.workspaces import WorkspaceArray, WorkspaceConfiguration, workspace_manager


def reference_output(net, x):
    """Return softmax(tanh(x W0 + b0) W1 + b1) in float64."""
    table = {name: view.astype(float) for name, view in net.param_table().items()}
    z = np.tanh(x.astype(float) @ table["0_W"] + table["0_b"]) @ table["1_W"] + table["1_b"]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def tanh_network(mode="ENABLED", **options):
    return softmax_network(DenseLayer(n_out=9, activation="tanh"), mode=mode, **options)


def masked_loss(net, x, y, mask):
    """Return the sum over the batch of -mask y log a, example by example."""
    mask = np.broadcast_to(mask.reshape(len(x), -1), y.shape).astype(float)
    a = reference_output(net, x)
    return sum(-mask[i, j] * y[i, j] * math.log(a[i, j]) for i in range(len(x)) for j in range(y.shape[1]))


def numeric_gradient(loss, vector, step=1e-6):
    """Return d loss() / d vector by central differences, ``vector`` being written in place."""
    gradient = np.empty_like(vector)
    for i, value in enumerate(vector.copy()):
        vector[i] = value + step
        above = loss()
        vector[i] = value - step
        gradient[i] = (above - loss()) / (2 * step)
        vector[i] = value
    return gradient


# From the configuration to an evaluated model


@pytest.mark.parametrize("mode", [WorkspaceMode.ENABLED, WorkspaceMode.NONE])
def test_the_script_of_the_documentation_learns_the_digits(mode):
    conf = NeuralNetConfiguration(
        seed=123,
        updater=Adam(5e-3),
        weight_init="xavier",
        l2=1e-4,
        training_workspace_mode=mode,
        inference_workspace_mode=mode,
    ).list(
        DenseLayer(n_out=64, activation="relu"),
        OutputLayer(n_out=10, activation="softmax", loss="mcxent"),
        input_type=InputType.feed_forward(64),
    )
    net = MultiLayerNetwork(conf).init()
    assert net.fit(DigitsDataSetIterator(32, seed=1), epochs=12) is net
    test = DigitsDataSetIterator(100, train=False)
    evaluation = net.evaluate(test)
    assert evaluation.accuracy() >= 0.96
    assert evaluation.confusion_matrix.sum() == 360
    assert (net.epoch_count, net.iteration_count) == (12, 12 * 45)
    _, roc = net.do_evaluation(test, Evaluation(), ROCMultiClass())
    assert min(roc.calculate_auc(digit) for digit in range(10)) > 0.99


def test_do_evaluation_fills_and_returns_what_it_is_given():
    net = softmax_network(dtype="float64")
    x, _ = data(60)
    y = targets(np.arange(60) % 2)
    binary = MultiLayerNetwork(
        NeuralNetConfiguration(seed=1).list(OutputLayer(n_in=FEATURES, n_out=2, activation="softmax"))
    ).init()
    evaluation, roc = Evaluation(), ROC()
    assert binary.do_evaluation(ArrayDataSetIterator(x, y[:, :2], 16), evaluation, roc) == (evaluation, roc)
    expected = ROC()
    expected.eval(y[:, :2], binary.output(x))
    assert roc.calculate_auc() == pytest.approx(expected.calculate_auc())
    assert evaluation.accuracy() == np.mean(binary.predict(x) == np.arange(60) % 2)
    assert net.evaluate(x, y).accuracy() == np.mean(net.predict(x) == np.arange(60) % 2)


# Ways to hand over data


@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_all_ways_to_give_one_batch_train_alike(mode):
    x, y = data()
    expected = network(mode=mode).fit(x, y).params
    for arguments in [(DataSet(x, y),), ((x, y),), ([DataSet(x, y)],), ([(x, y)],), (x.tolist(), y.tolist())]:
        assert np.array_equal(network(mode=mode).fit(*arguments).params, expected)


@pytest.mark.parametrize("loss", ["mcxent", "negativeloglikelihood", "sparse_mcxent"])
@pytest.mark.parametrize("kind", ["float64", "int64", "uint8", "bool", "indices int32", "indices uint8", "column"])
def test_labels_of_every_kind_train_alike(loss, kind):
    x, y = data()
    indices = y.argmax(axis=1)
    labels = {"indices int32": indices.astype("i4"), "indices uint8": indices.astype("u1"), "column": indices[:, None]}
    results = []
    for given in (y, labels[kind] if kind in labels else y.astype(kind)):
        net = MultiLayerNetwork(
            NeuralNetConfiguration(seed=1).list(
                OutputLayer(n_in=FEATURES, n_out=CLASSES, activation="softmax", loss=loss)
            )
        ).init()
        results.append((net.fit(x, given).params, net.score(x, given), net.evaluate(x, given).accuracy()))
    assert np.array_equal(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]


@pytest.mark.parametrize("kind", ["f8", "i8", "i1", "u2", "?", "Fortran", "strided", "read-only"])
def test_features_of_every_kind_give_the_same(kind):
    x = np.random.default_rng(3).integers(0, 2, (20, FEATURES)).astype(np.float32)
    y = data(20)[1]
    wide = np.zeros((20, 2 * FEATURES), np.float32)
    wide[:, ::2] = x
    kinds = {"Fortran": np.asfortranarray(x), "strided": wide[:, ::2], "read-only": np.frombuffer(x.tobytes(), "f4")}
    given = kinds[kind].reshape(x.shape) if kind in kinds else x.astype(kind)
    first, second = network(), network()
    assert np.array_equal(first.output(x), second.output(given))
    assert np.array_equal(first.fit(x, y).params, second.fit(given, y).params)


def test_fit_cuts_arrays_into_shuffled_minibatches():
    x, y = data(100)
    net = network().fit(x, y, batch_size=32, epochs=3)
    assert (net.epoch_count, net.iteration_count) == (3, 3 * 4)
    assert np.array_equal(net.params, network().fit(x, y, batch_size=32, epochs=3).params)
    assert not np.array_equal(net.params, network().fit(ArrayDataSetIterator(x, y, 32), epochs=3).params)


def test_fit_of_one_batch_counts_iterations_but_no_epoch():
    net = network().fit(*data(), epochs=2)
    assert (net.epoch_count, net.iteration_count) == (0, 2)


@dataclass
class Watching(Layer):
    """A custom layer that notes the first feature of every example that it is trained on."""

    seen: list = field(default_factory=list)

    def activate(self, x, *, training, workspace_mgr):
        self.seen.append(x[:, 0].tolist())
        return x * 1.0

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


def test_every_call_of_fit_shuffles_anew():
    x, y = data(64)
    net = softmax_network(Watching(), mode="NONE").fit(x, y, batch_size=8).fit(x, y, batch_size=8)
    batches = [batch for batch in net.layers[0].seen if len(batch) == 8]  # others were rehearsed
    first, second = np.ravel(batches[:8]), np.ravel(batches[8:])
    assert sorted(first) == sorted(second) == sorted(x[:, 0])
    assert not np.array_equal(first, x[:, 0])
    assert not np.array_equal(first, second)


def test_one_batch_may_be_larger_when_it_is_asked_for():
    x, y = data(1500)
    assert network().fit(x, y, batch_size=1500).iteration_count == 1
    assert network().fit(*data(1024)).iteration_count == 1


def test_a_generator_is_passed_over_once():
    net = network().fit(data(8, seed=i) for i in range(3))
    assert (net.epoch_count, net.iteration_count) == (1, 3)


def test_fit_counts_on():
    net = network().fit([data()], epochs=2)
    net.fit([data(), data()])
    assert (net.epoch_count, net.iteration_count) == (3, 4)


# Output


@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
@pytest.mark.parametrize("batch", [1, 2, 33])
def test_output_is_the_formula(mode, batch):
    net, (x, _) = tanh_network(mode), data(batch)
    y = net.output(x)
    np.testing.assert_allclose(y, reference_output(net, x), rtol=2e-5)
    assert type(y) is np.ndarray
    assert (y.dtype, y.flags.c_contiguous) == (np.float32, True)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_every_way_to_get_the_output_agrees(name, mode):
    net, (x, _) = network(name, mode), data(20)
    y = net.output(x)
    out = np.full_like(y, np.nan)
    assert net.output(x, out=out) is out
    assert np.array_equal(out, y)
    assert np.array_equal(net.feed_forward(x)[-1], y)
    classes = y[:, 0] > 0.5 if y.shape[1] == 1 else y.argmax(axis=1)
    assert np.array_equal(net.predict(x), classes)
    into = np.full(20, -1)
    assert net.predict(x, out=into) is into
    assert np.array_equal(into, classes)


def test_results_belong_to_the_caller():
    net, (x, _) = network(), data()
    first, activations = net.output(x), net.feed_forward(x)
    kept = [array.copy() for array in (first, *activations)]
    net.output(x + 1)
    net.fit(x, targets(np.arange(32) % CLASSES))
    assert all(np.array_equal(a, b) for a, b in zip((first, *activations), kept, strict=True))


@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_feed_forward_gives_the_input_and_all_activations(mode):
    net, (x, _) = tanh_network(mode), data(4)
    given, hidden, y = net.feed_forward(x)
    assert np.array_equal(given, x)
    table = net.param_table()
    np.testing.assert_allclose(hidden, np.tanh(x @ table["0_W"] + table["0_b"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y, reference_output(net, x), rtol=2e-5)
    assert {type(array) for array in (given, hidden, y)} == {np.ndarray}
    assert [len(net.feed_forward_to_layer(layer, x)) for layer in (0, 1)] == [2, 3]


@pytest.mark.parametrize("by_id", [True, False])
def test_output_in_a_workspace_of_the_user(by_id):
    net, (x, _) = network(), data()
    expected = net.output(x)
    for _ in range(3):
        with workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(initial_size=4096), "RESULT") as ws:
            y = net.output(x, workspace="RESULT" if by_id else ws)
            assert isinstance(y, WorkspaceArray)
            assert np.array_equal(y, expected)
            assert ws.offset == expected.nbytes
        assert not ws.is_scope_active
    workspace_manager.destroy_workspace(ws)


@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_dropout_is_applied_only_when_asked_for(mode):
    net, (x, _) = network("dropout", mode), data()
    plain, dropped = net.output(x), net.output(x, train=True)
    assert np.array_equal(plain, net.output(x))
    assert not np.array_equal(plain, dropped)
    y = data()[1]
    assert net.score(x, y) != net.score(x, y, training=True)


@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_dropout_outside_training_draws_another_mask_in_every_call(mode):
    x, _ = data()
    nets = [network("dropout", mode) for _ in range(2)]
    first, second = ([net.output(x, train=True) for _ in range(3)] for net in nets)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[1], first[2])
    assert np.array_equal(network("dropout", mode).feed_forward(x, train=True)[-1], first[0])


def test_output_takes_one_batch_and_no_iterator():
    message = "^features: got an object of type ArrayDataSetIterator, expected an array with one batch of numbers.$"
    with pytest.raises(DtypeError, match=message):
        network().output(ArrayDataSetIterator(*data()))


# Score, gradient, masks


@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
@pytest.mark.parametrize("penalty", ["l2", "weight_decay"])
def test_score_is_the_mean_loss_plus_regularisation(mode, penalty):
    options = {"l1": 0.01, penalty: 0.05, "l1_bias": 0.1, "l2_bias": 0.2, "bias_init": 0.5}
    net, (x, y) = tanh_network(mode, **options), data()
    table = net.param_table()
    weights = [abs(view).sum() * 0.01 + (view**2).sum() * 0.05 / 2 for name, view in table.items() if "W" in name]
    biases = [abs(view).sum() * 0.1 + (view**2).sum() * 0.2 / 2 for name, view in table.items() if "b" in name]
    expected = masked_loss(net, x, y, np.ones(32)) / 32 + sum(weights + biases)
    assert net.score(x, y) == pytest.approx(expected, rel=1e-5)
    before = net.params.copy()
    net.fit(x, y)
    assert net.score() == pytest.approx(expected, rel=1e-5)
    assert not np.array_equal(net.params, before)


def test_score_of_an_iterator_is_the_mean_over_examples():
    net, (x, y) = network("regularised"), data(50)
    assert net.score(ArrayDataSetIterator(x, y, 16)) == pytest.approx(net.score(x, y), rel=1e-5)
    assert net.score(DataSet(x, y)) == net.score((x, y)) == net.score(x, y)


def test_score_of_data_leaves_the_score_of_training_alone():
    net, (x, y) = network(), data()
    net.fit(x, y)
    last = net.score()
    net.score(*data(seed=9))
    assert net.score() == last


@pytest.mark.parametrize("shape", ["per example", "column", "per output"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "?", "i4"])
@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_masked_labels_count_by_their_mask(shape, dtype, mode, rng):
    net, (x, y) = tanh_network(mode, dtype="float64"), data(10)
    mask = rng.integers(0, 2, {"per example": 10, "column": (10, 1), "per output": y.shape}[shape]).astype(dtype)
    dataset = DataSet(x, y, labels_mask=mask)
    expected = masked_loss(net, x, y, mask)
    assert net.score(dataset) == pytest.approx(expected / 10)
    assert net.compute_gradient_and_score(dataset) == pytest.approx(expected / 10)
    numeric = numeric_gradient(lambda: masked_loss(net, x, y, mask), net.params)
    np.testing.assert_allclose(net.gradient, numeric, rtol=1e-5, atol=1e-7)


def test_fit_takes_a_mask_beside_arrays():
    x, y = data(10)
    mask = (np.arange(10) < 6).astype(np.float32)
    net = softmax_network(updater=Sgd(0.1))
    alone = softmax_network(updater=Sgd(0.1 * 6 / 10))
    net.fit(x, y, labels_mask=mask)
    alone.fit(x[:6], y[:6])
    np.testing.assert_allclose(net.params, alone.params, rtol=1e-5, atol=1e-7)
    in_batches = softmax_network(updater=Sgd(0.1)).fit(x, y, labels_mask=mask, batch_size=10)
    assert np.array_equal(in_batches.params, net.params)


def test_masked_examples_are_not_evaluated():
    net, (x, y) = network(), data(20)
    mask = np.arange(20) % 2
    evaluation = net.evaluate(DataSet(x, y, labels_mask=mask))
    assert evaluation.accuracy() == net.evaluate(x[1::2], y[1::2]).accuracy()
    assert evaluation.confusion_matrix.sum() == 10


@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_gradient_is_the_sum_over_the_batch_without_regularisation(mode):
    net, (x, y) = tanh_network(mode, dtype="float64", l2=0.1), data(6)
    before = net.params.copy()
    net.compute_gradient_and_score(x, y)
    gradient = net.gradient.copy()
    assert np.array_equal(net.params, before)
    numeric = numeric_gradient(lambda: masked_loss(net, x, y, np.ones(6)), net.params)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-7)
    assert net.compute_gradient_and_score((x, y)) == net.compute_gradient_and_score(DataSet(x, y)) == net.score()
    assert net.iteration_count == 0


def test_a_step_of_sgd_follows_the_gradient():
    net, (x, y) = softmax_network(updater=Sgd(0.5)), data()
    before = net.params.copy()
    net.compute_gradient_and_score(x, y)
    expected = before - np.float32(0.5) * (net.gradient / 32)
    np.testing.assert_allclose(net.fit(x, y).params, expected, rtol=1e-6)


# Parameters


def test_params_are_live():
    net, (x, _) = network(), data()
    before = net.output(x)
    net.params[:] *= 2
    assert not np.array_equal(net.output(x), before)
    net.params[:] /= 2
    assert np.array_equal(net.output(x), before)
    net.param_table()["1_b"].fill(3)
    assert np.array_equal(net.params[-CLASSES:], np.full(CLASSES, 3))
    assert np.array_equal(net.layers[1].params["b"], np.full(CLASSES, 3))


def test_param_table_names_views_in_the_order_of_params():
    net = network()
    table = net.param_table()
    assert {name: view.shape for name, view in table.items()} == {
        "0_W": (FEATURES, 9),
        "0_b": (9,),
        "1_W": (9, CLASSES),
        "1_b": (CLASSES,),
    }
    flat = np.concatenate([view.ravel("F") for view in table.values()])
    assert np.array_equal(flat, net.params)
    assert net.num_params() == len(flat) == FEATURES * 9 + 9 + 9 * CLASSES + CLASSES


def test_set_params_copies():
    net, values = network(), np.arange(network().num_params(), dtype=np.float64)
    net.set_params(values)
    assert np.array_equal(net.params, values)
    values[:] = 0
    assert net.params[1] == 1
    net.set_params(list(range(net.num_params())))
    assert np.array_equal(net.params, np.arange(net.num_params()))


def test_parameters_to_start_from_come_with_the_constructor_or_with_init():
    conf, start = network().conf, network().fit(*data()).params.copy()
    first, second = MultiLayerNetwork(conf, start).init(), MultiLayerNetwork(conf).init(start)
    assert not MultiLayerNetwork(conf).is_init_called
    assert first.is_init_called
    assert np.array_equal(first.params, start)
    assert np.array_equal(second.params, start)
    assert first.params is not start


def test_networks_of_one_configuration_are_independent():
    conf = network().conf
    first, second = MultiLayerNetwork(conf).init(), MultiLayerNetwork(conf).init()
    assert np.array_equal(first.params, second.params)
    before = second.params.copy()
    first.fit(*data())
    assert np.array_equal(second.params, before)
    assert not np.array_equal(first.params, before)


def test_the_seed_makes_the_start():
    starts = [network(seed=seed).params for seed in (1, 1, 2)]
    assert np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])


def test_init_starts_afresh():
    net = network().fit(*data())
    net.init()
    assert np.array_equal(net.params, network().params)
    assert (net.iteration_count, net.epoch_count) == (0, 0)
    assert np.array_equal(net.fit(*data()).params, network().fit(*data()).params)


# Reports


def test_summary_is_a_table_of_the_layers():
    assert network("custom layers").summary().splitlines() == [
        "Layer  Type         Input        Output       Parameters  of which",
        "-" * 70,
        "0      Scale        (batch, 12)  (batch, 12)           0  -",
        "1      DenseLayer   (batch, 12)  (batch, 9)          117  W: 108, b: 9",
        "2      Scale        (batch, 9)   (batch, 9)            0  -",
        "3      OutputLayer  (batch, 9)   (batch, 5)           50  W: 45, b: 5",
        "Total parameters: 167",
    ]


def test_summary_shows_names_of_layers_and_needs_no_init():
    net = network()
    named = softmax_network(DenseLayer(n_out=9, name="hidden"))
    assert named.summary().splitlines()[2].startswith("0 hidden  DenseLayer")
    assert MultiLayerNetwork(net.conf).summary() == net.summary()


def test_progress_is_shown_on_demand(capsys):
    network().fit([data()], epochs=2, progress=True)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "score=" in shown
    network().fit([data()], epochs=2)
    assert capsys.readouterr().err == ""


class Rewinds:
    """An iterator in the way of DL4J: ``iter()`` starts it anew and returns it."""

    def __init__(self):
        self.batches = [DataSet(*data(8, seed=seed)) for seed in range(3)]

    def __iter__(self):
        self.position = 0
        return self

    def __next__(self):
        if self.position == len(self.batches):
            raise StopIteration
        self.position += 1
        return self.batches[self.position - 1]


def test_an_iterator_that_rewinds_itself_trains_for_many_epochs():
    one, other = network(), network()
    one.fit(Rewinds(), epochs=3)
    other.fit(Rewinds().batches, epochs=3)
    np.testing.assert_array_equal(one.params, other.params)


def test_a_batch_may_be_a_list_of_arrays():
    x, y = data()
    one, other = network(), network()
    one.fit([[x, y]])
    other.fit([(x, y)])
    np.testing.assert_array_equal(one.params, other.params)


def test_evaluate_takes_the_names_of_the_classes_from_the_iterator():
    iterator = ArrayDataSetIterator(*data())
    iterator.labels = ["ant", "bee", "cat", "dog", "elk"]
    assert "| 1 = bee" in network().evaluate(iterator).stats()
    assert "bee" not in network().evaluate(*data()).stats()


def test_feed_forward_gives_arrays_in_c_order_also_of_the_input():
    x, _ = data()
    assert all(array.flags.c_contiguous for array in network().feed_forward(np.asfortranarray(x)))


def test_out_may_lie_beside_the_input_in_one_array():
    net, (x, _) = network(), data()
    both = np.empty((len(x), x.shape[1] + 5), np.float32)
    both[:, 5:] = x
    net.output(both[:, 5:], out=both[:, :5])
    np.testing.assert_array_equal(both[:, :5], net.output(x))
