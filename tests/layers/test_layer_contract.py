"""What holds for every layer of minidl, wherever it stands in a network. A new class only needs an example here."""

import copy
import dataclasses
import inspect

import numpy as np
import pytest
from gradients import gradient_error
from layer_examples import EXAMPLES, batch, before_and_after, input_type, other_features, positions

from minidl import MultiLayerConfiguration, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import DataSet
from minidl.inputs import channels_last
from minidl.layers import BatchNormalization, Layer, WrapperLayer
from minidl.layers.feed_forward import WeightLayer
from minidl.workspaces import workspace_manager


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def stack(name, position):
    """Return the layers of a network with the example ``name`` at ``position``."""
    layer = EXAMPLES[name]
    before, after = before_and_after(name)
    return {
        "only": [layer],
        "first": [layer, after],
        "middle": [before, layer, after],
        "twice": [before, layer, layer, after],
        "last": [before, layer],
    }[position]


def has_weights(layer):
    if isinstance(layer, WrapperLayer):
        return has_weights(layer.layer)
    return isinstance(layer, WeightLayer) or (isinstance(layer, BatchNormalization) and not layer.lock_gamma_beta)


PLACES = [(name, position) for name in EXAMPLES for position in positions(name)]
TRAINABLE = [(name, at) for name, at in PLACES if at != "only" or has_weights(EXAMPLES[name])]
DIFFERENTIATED = [(name, at) for name, at in TRAINABLE if at != "first" or has_weights(EXAMPLES[name])]

OUTPUTS = [(name, at) for name, at in TRAINABLE if at in ("only", "last")]


def each(places):
    return pytest.mark.parametrize(("name", "position"), places, ids=lambda value: value.replace(" ", "_"))


each_place = each(PLACES)
each_example = pytest.mark.parametrize("name", EXAMPLES, ids=lambda value: value.replace(" ", "_"))


def configuration(name, position, **options):
    options = {"seed": 7, "updater": "adam", "l2": 0.0, "strict": True} | options
    return NeuralNetConfiguration(**options).list(*stack(name, position), input_type=input_type(name))


def network(name, position, **options):
    return MultiLayerNetwork(configuration(name, position, **options)).init()


def plant_error(layer, factor):
    """Let everything that the backward pass of ``layer`` gives be wrong by ``factor``."""

    def wrap(method):
        def wrong(*arguments, workspace_mgr, **options):
            result = method(*arguments, workspace_mgr=workspace_mgr, **options)
            for name in layer.params:
                workspace_mgr.gradient(name)[...] *= factor
            return None if result is None else np.multiply(result, factor, out=result)

        return wrong

    layer.backprop, layer.backprop_labels = wrap(layer.backprop), wrap(layer.backprop_labels)


def trained(name, position, mode, poison=False, dropout=None):
    """Return parameters, score and output after 20 iterations over batches of changing size."""
    net = network(name, position, training_workspace_mode=mode, inference_workspace_mode=mode, dropout=dropout)
    before = workspace_manager.poison_recycled_memory
    workspace_manager.poison_recycled_memory = poison
    try:
        for iteration in range(20):
            net.fit(batch(net, (5, 5, 2, 1, 7)[iteration % 5], iteration))
        return net.params, net.score(), net.output(batch(net, 4).features)
    finally:
        workspace_manager.poison_recycled_memory = before


def state_of(net):
    """Return a copy of all that a network and its layers hold."""
    return copy.deepcopy([{k: v for k, v in vars(layer).items() if k != "params"} for layer in net.layers]), [
        net.params.tobytes(),
        net.gradient.tobytes(),
        [{name: view.tobytes() for name, view in layer.params.items()} for layer in net.layers],
        net.iteration_count,
    ]


def test_every_layer_has_an_example():
    ours = {cls for cls in subclasses(Layer) if cls.__module__.startswith("minidl.") and not inspect.isabstract(cls)}
    ours = {cls for cls in ours if not cls.__name__.startswith("_")}  # what several layers share
    assert {type(layer) for layer in EXAMPLES.values()} == ours


@each_place
def test_output_type_is_the_shape_of_the_output(name, position):
    net = network(name, position)
    activations = net.feed_forward(batch(net, 4).features)
    shapes = [kind.example_shape() for kind in net.conf.input_types()]
    expected = [
        (4, *(e or n for e, n in zip(shape, a.shape[1:], strict=True)))
        for shape, a in zip(shapes, activations, strict=True)
    ]
    assert [activation.shape for activation in activations] == expected


@each(TRAINABLE)
@pytest.mark.parametrize("rows", [1, 5])
def test_gradient_agrees_with_a_central_difference(name, position, rows):
    net = network(name, position, dtype="float64")
    assert gradient_error(net, batch(net, rows)) < 1e-6


@each(DIFFERENTIATED)
def test_gradient_that_is_wrong_by_a_thousandth_is_found(name, position):
    net = network(name, position, dtype="float64")
    plant_error(net.layers[0 if position in ("only", "first") else 1], 1.001)
    assert gradient_error(net, batch(net, 5)) > 1e-6


@each(OUTPUTS)
@pytest.mark.parametrize("kind", ["example", "example as a column", "position", "element"])
def test_gradient_under_a_mask_agrees_with_a_central_difference(name, position, kind):
    net = network(name, position, dtype="float64")
    data = batch(net, 5)
    shape = data.labels.shape
    places = shape[1:-1] if channels_last(input_type(name)) else shape[2:]
    shapes = {"example": (5,), "example as a column": (5, 1), "position": (5, *places), "element": shape}
    data.labels_mask = np.random.default_rng(2).random(shapes[kind])
    assert gradient_error(net, data) < 1e-6


@each(OUTPUTS)
def test_masked_rows_count_as_if_they_were_not_there(name, position):
    net = network(name, position, dtype="float64")
    net.layers[-1].dropout = None  # what it drops depends on the row
    data = batch(net, 5)
    kept = np.array([0, 1, 1, 0, 1])
    score = net.compute_gradient_and_score(DataSet(data.features, data.labels, labels_mask=kept))
    gradient = net.gradient.copy()
    rows = kept.astype(bool)
    expected = net.compute_gradient_and_score(DataSet(data.features[rows], data.labels[rows]))
    assert score * 5 == pytest.approx(expected * 3, rel=1e-12)
    np.testing.assert_allclose(gradient, net.gradient, rtol=1e-10, atol=1e-14)


@each_place
def test_examples_are_independent_where_the_layer_says_so(name, position):
    nets = [network(name, position, dtype="float64") for _ in range(2)]  # each draws the same dropout
    features = batch(nets[0], 20).features
    other = features.copy()
    other[:10] = other_features(nets[0].layers[0], other[:10])
    outputs = [net.output(x, train=True) for net, x in zip(nets, (features, other), strict=True)]
    changed = np.abs(outputs[0] - outputs[1]).max(axis=1) > 1e-9
    assert changed[:10].any()
    assert changed[10:].any() != EXAMPLES[name].independent_examples


@each_place
def test_json_gives_an_equal_configuration(name, position):
    conf = configuration(name, position)
    assert MultiLayerConfiguration.from_json(conf.to_json()) == conf
    assert configuration(name, position, seed=8) != conf


@each_place
@pytest.mark.parametrize("dropout", [None, 0.8])
def test_modes_give_the_same_bits(name, position, dropout):
    params, score, output = trained(name, position, "NONE", dropout=dropout)
    assert np.isfinite(params).all()
    for poison in (False, True):
        same_params, same_score, same_output = trained(name, position, "ENABLED", poison, dropout)
        assert (params.tobytes(), score, output.tobytes()) == (same_params.tobytes(), same_score, same_output.tobytes())


@each_place
def test_inference_changes_nothing(name, position):
    net = network(name, position)
    data = batch(net, 5)
    net.fit(data)
    fields, numbers = state_of(net)
    features = data.features.copy()
    outputs = [net.output(data.features), net.output(data.features, train=True), *net.feed_forward(data.features)]
    if data.labels.ndim == 2:  # one class for an example, as in DL4J
        net.predict(data.features)
    net.score(data)
    net.evaluate(data)
    assert state_of(net) == (fields, numbers)
    np.testing.assert_array_equal(data.features, features)
    np.testing.assert_array_equal(net.output(features), outputs[0])


@each_place
def test_one_example_alone_gives_what_it_gives_in_a_batch(name, position):
    net = network(name, position)
    features = batch(net, 5).features
    alone = np.concatenate([net.output(row[np.newaxis]) for row in features])
    np.testing.assert_allclose(alone, net.output(features), rtol=1e-5, atol=1e-6)


@each(TRAINABLE)
def test_seed_decides_the_parameters(name, position):
    first, same, other = (network(name, position, seed=seed).params for seed in (7, 7, 8))
    assert first.tobytes() == same.tobytes() != other.tobytes()


@each_example
def test_network_and_configuration_have_layers_of_their_own(name):
    example = copy.copy(EXAMPLES[name])
    conf = NeuralNetConfiguration().list(example, input_type=input_type(name))
    net = MultiLayerNetwork(conf).init()
    owners = (example, conf.layers[0], net.layers[0])
    for field in dataclasses.fields(example):
        before = [getattr(owner, field.name) for owner in owners]
        for owner, value in zip(owners, before, strict=True):
            setattr(owner, field.name, object())
            others = [getattr(o, field.name) is v for o, v in zip(owners, before, strict=True) if o is not owner]
            assert others == [True, True]
            setattr(owner, field.name, value)


@each_example
def test_output_is_the_same_for_any_order_of_memory(name):
    net = network(name, "middle" if "middle" in positions(name) else "first", dtype="float64")
    features = batch(net, 5).features
    expected = net.output(features)
    wide = np.repeat(np.repeat(features, 2, axis=0), 2, axis=1)
    for same in (np.asfortranarray(features), wide[::2, ::2], features.tolist(), features[::-1].copy()[::-1]):
        np.testing.assert_array_equal(net.output(same), expected)
