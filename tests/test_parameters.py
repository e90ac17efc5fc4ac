"""The flat vectors: order, views, blocks of the updater, state, initialisation."""

import dataclasses
import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import InputType, Layer, NeuralNetConfiguration, ParamSpec
from minidl.errors import ConfigurationError, ConfigurationWarning
from minidl.layers import ActivationLayer, DenseLayer, OutputLayer
from minidl.parameters import CHUNK, Parameters
from minidl.training import Adam, AdamW, Nesterovs, NoOp, Sgd


@dataclass
class Held(Layer):
    """A layer of given parameters that does nothing."""

    specs: tuple = ()

    def param_specs(self, input_type):
        return self.specs

    def activate(self, x, *, training, workspace_mgr):
        return x

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon


def parameters(*layers, dtype="float32", **options):
    conf = NeuralNetConfiguration(**{"updater": "adam"} | options).list(*layers, input_type=InputType.feed_forward(3))
    return Parameters(conf.layers, conf.input_types(), dtype)


def network(**options):
    return parameters(DenseLayer(n_out=4), ActivationLayer("tanh"), OutputLayer(n_out=2), **options)


def blocks_of(made):
    """Return (updater, number of elements) of every block."""
    return [(block.updater, sum(len(chunk.gradient) for chunk in block.chunks)) for block in made.updater_blocks]


def address(array):
    return array.__array_interface__["data"][0]


def test_order_is_dl4js_weights_in_fortran_order_before_the_bias():
    made = network()
    made.flat[:] = np.arange(len(made))
    assert len(made) == 3 * 4 + 4 + 4 * 2 + 2
    np.testing.assert_array_equal(made.views[0]["W"], np.arange(12).reshape(4, 3).T)
    np.testing.assert_array_equal(made.views[0]["b"], np.arange(12, 16))
    assert made.views[1] == {}
    np.testing.assert_array_equal(made.views[2]["W"], np.arange(16, 24).reshape(2, 4).T)
    np.testing.assert_array_equal(made.views[2]["b"], [24, 25])


def test_layer_without_bias_has_weights_only():
    made = parameters(DenseLayer(n_out=4, has_bias=False))
    assert len(made) == 12
    assert list(made.views[0]) == ["W"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_views_share_the_memory_of_the_vectors(dtype):
    made = network(dtype=dtype)
    for flat, views in ((made.flat, made.views), (made.gradient, made.gradient_views)):
        assert flat.dtype == dtype
        for table in views:
            for view in table.values():
                view[...] = 7
        np.testing.assert_array_equal(flat, 7)
    other = np.arange(float(len(made)))
    np.testing.assert_array_equal(made.views_of_gradient(other)[2]["b"], [24, 25])


def test_equal_updaters_of_adjacent_parameters_form_one_block():
    assert blocks_of(network()) == [(Adam(), 26)]
    assert blocks_of(parameters(DenseLayer(n_out=4, updater=Adam(1e-3)), OutputLayer(n_out=2))) == [(Adam(), 26)]


def test_different_updaters_split_blocks():
    made = parameters(DenseLayer(n_out=4), DenseLayer(n_out=5, updater=Sgd(0.1)), OutputLayer(n_out=2))
    assert blocks_of(made) == [(Adam(), 16), (Sgd(0.1), 25), (Adam(), 12)]
    assert len(made.updater_state) == 2 * 16 + 0 + 2 * 12


def test_parameter_that_is_not_trainable_has_a_block_without_rules():
    specs = (ParamSpec("a", (2,)), ParamSpec("mean", (3,), trainable=False), ParamSpec("b", (4,)))
    made = parameters(Held(specs), l1=0.1, weight_decay=0.3)
    assert blocks_of(made) == [(Adam(), 2), (NoOp(), 3), (Adam(), 4)]
    (chunk,) = made.updater_blocks[1].chunks
    assert chunk.rules == (NoOp(), 0.0, 0.0, 0.0, 0.0, 0.0, False)
    assert [len(part) for part in made.layer_parts(0, made.flat)] == [2, 4]


@pytest.mark.parametrize("rule", [Adam(), Nesterovs(), Sgd(), NoOp()], ids=str)
def test_state_of_a_block_lies_slot_after_slot(rule):
    made = network(updater=rule)
    (block,) = made.updater_blocks
    made.updater_state[:] = np.arange(len(made.updater_state))
    assert len(made.updater_state) == len(rule.slots) * len(made)
    for slot in range(len(rule.slots)):
        pieces = np.concatenate([chunk.state[slot] for chunk in block.chunks])
        np.testing.assert_array_equal(pieces, np.arange(slot * len(made), (slot + 1) * len(made)))


@given(sizes=st.lists(st.integers(1, 3 * CHUNK), min_size=1, max_size=5), split=st.integers(0, 4))
def test_chunks_cover_every_element_once_and_in_order(sizes, split):
    layers = [Held((ParamSpec("p", (n,)),), updater=Sgd() if i == split else Adam()) for i, n in enumerate(sizes)]
    made = parameters(*layers)
    chunks = [chunk for block in made.updater_blocks for chunk in block.chunks]
    end = 0
    for chunk in chunks:
        for part, flat in ((chunk.parameters, made.flat), (chunk.gradient, made.gradient)):
            assert address(part) == address(flat) + 4 * end
        assert len(chunk.parameters) == len(chunk.gradient) <= CHUNK
        assert {len(state) for state in chunk.state} <= {len(chunk.gradient)}
        end += len(chunk.gradient)
    assert end == len(made)
    assert sum(len(state) for chunk in chunks for state in chunk.state) == len(made.updater_state)


def test_longest_chunk_says_how_large_scratch_must_be():
    for size, longest in ((10, 15), (CHUNK, CHUNK), (CHUNK + 1, CHUNK)):
        (block,) = parameters(Held((ParamSpec("p", (size,)), ParamSpec("q", (5,))))).updater_blocks
        assert block.scratch_shape == (longest,)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"updater": "sgd"}, 0),
        ({"updater": "sgd", "l2": 0.1}, 1),
        ({"updater": "sgd", "l1_bias": 0.1}, 1),
        ({"updater": "sgd", "weight_decay": 0.1}, 1),
        ({"updater": "adam"}, 1),
        ({"updater": "adam", "l1": 0.1}, 1),
    ],
)
def test_scratch_for_the_updater_and_the_regularisation(options, count):
    made = network(**options)
    assert [made.scratch_arrays(block) for block in made.updater_blocks] == [count]


def test_rules_of_weights_and_biases():
    def rules(**options):
        blocks = parameters(DenseLayer(n_out=4), **options).updater_blocks
        return [chunk.rules._asdict() for block in blocks for chunk in block.chunks]

    nothing = dict(l1=0.0, l2=0.0, weight_decay=0.0, decay=0.0, decay_by_rate=0.0, trainable=True)
    assert rules(l1=0.1, l2=0.2, l1_bias=0.4, weight_decay_bias=0.6) == [
        nothing | dict(updater=Adam(), l1=0.1, l2=0.2),
        nothing | dict(updater=Adam(), l1=0.4, weight_decay=0.6, decay_by_rate=0.6),
    ]
    assert rules(weight_decay=0.3, l2_bias=0.5, weight_decay_apply_lr=False, bias_updater="sgd") == [
        nothing | dict(updater=Adam(), weight_decay=0.3, decay=0.3),
        nothing | dict(updater=Sgd(), l2=0.5),
    ]
    with pytest.warns(
        ConfigurationWarning, match=r"^DenseLayer: weight_decay=0\.5 comes on top of the decay of AdamW\("
    ):
        both = rules(updater=AdamW(weight_decay=0.25), weight_decay=0.5)
    assert both == [
        nothing | dict(updater=AdamW(weight_decay=0.25), weight_decay=0.5, decay_by_rate=0.75),
        nothing | dict(updater=AdamW(weight_decay=0.25)),
    ]


def test_layer_parts_are_flat_views_of_the_parameters_of_one_layer():
    made = network()
    parts = made.layer_parts(2, made.gradient)
    assert [(part.shape, address(part) - address(made.gradient)) for part in parts] == [((8,), 64), ((2,), 96)]
    assert made.layer_parts(1, made.gradient) == []


def test_initialisation_is_drawn_from_the_generator():
    first, same, other = (network(weight_init="xavier") for _ in range(3))
    for made, seed in ((first, 1), (same, 1), (other, 2)):
        made.initialize(np.random.default_rng(seed))
    assert first.flat.tobytes() == same.flat.tobytes() != other.flat.tobytes()
    assert np.count_nonzero(first.views[0]["W"]) == 12
    np.testing.assert_array_equal(first.views[0]["b"], 0)


def test_initialisation_in_float32_is_that_in_float64_rounded():
    single, double = network(), network(dtype="float64")
    for made in (single, double):
        made.initialize(np.random.default_rng(1))
    np.testing.assert_array_equal(single.flat, double.flat.astype("f4"))


def test_numbers_and_names_as_a_start():
    specs = (ParamSpec("a", (2, 2), 0.5), ParamSpec("b", (3,), "ones"), ParamSpec("c", (), 7), ParamSpec("d", (2,)))
    made = parameters(Held(specs))
    made.initialize(np.random.default_rng(0))
    np.testing.assert_array_equal(made.flat, [0.5] * 4 + [1] * 3 + [7] + [0] * 2)
    assert made.views[0]["c"].shape == ()


def test_fans_are_the_first_and_last_extent_or_those_given():
    specs = (ParamSpec("a", (200, 300), "xavier"), ParamSpec("b", (200, 300), "xavier", fan_in=1, fan_out=1))
    made = parameters(Held(specs))
    made.initialize(np.random.default_rng(0))
    np.testing.assert_allclose(made.views[0]["a"].std(), (2 / 500) ** 0.5, rtol=0.02)
    np.testing.assert_allclose(made.views[0]["b"].std(), 1, rtol=0.02)


def test_bias_starts_where_it_is_told_to():
    made = parameters(DenseLayer(n_out=4, bias_init=0.5), OutputLayer(n_out=2), bias_init=0.25)
    made.initialize(np.random.default_rng(0))
    np.testing.assert_array_equal(made.views[0]["b"], 0.5)
    np.testing.assert_array_equal(made.views[1]["b"], 0.25)


def test_start_that_is_impossible_names_the_layer():
    message = (
        "weight_init='identity' needs a square weight matrix, got shape (3, 4). Make n_in and n_out equal, or choose "
        "another weight_init, such as 'xavier'."
    )
    made = parameters(DenseLayer(n_out=4, weight_init="identity"))
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}") as caught:
        made.initialize(np.random.default_rng(0))
    assert caught.value.__notes__ == ["in layer 0 of 1 (DenseLayer)"]


def test_network_without_parameters():
    made = parameters(ActivationLayer("tanh"))
    made.initialize(np.random.default_rng(0))
    assert len(made) == len(made.updater_state) == len(made.updater_blocks) == 0


def test_parameters_with_equal_rules_are_updated_in_one_go():
    layers = DenseLayer(n_out=4), DenseLayer(n_out=5), OutputLayer(n_out=2)

    def chunks(*changes, **options):
        own = [dataclasses.replace(layer, **change) for layer, change in zip(layers, changes or ({},) * 3, strict=True)]
        return [[len(c.gradient) for c in block.chunks] for block in parameters(*own, **options).updater_blocks]

    assert chunks() == [[16 + 25 + 12]]
    assert chunks(l2=0.1) == [[12, 4, 20, 5, 10, 2]]
    assert chunks({}, {"l2": 0.1}, {}) == [[16, 20, 5 + 12]]
    assert chunks({}, {"gradient_normalization": "ClipL2PerLayer"}, {}) == [[16, 25, 12]]
    assert chunks(gradient_normalization="ClipL2PerLayer") == [[16, 25, 12]]
    assert chunks({}, {"updater": "sgd"}, {}) == [[16], [25], [12]]
