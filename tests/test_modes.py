"""Workspace modes change where arrays live, and nothing else: neither a number, nor a workspace of the user."""

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from networks import (
    CLASSES,
    FEATURES,
    NETS,
    Scale,
    assert_nothing_open,
    data,
    in_new_thread,
    network,
    recorded_spills,
    softmax_network,
    workspace_sizes,
)

from minidl import DataSet, Layer, MultiLayerNetwork, NeuralNetConfiguration, WorkspaceMode, nd
from minidl.data import ArrayDataSetIterator
from minidl.errors import StaleArrayError
from minidl.eval import Evaluation
from minidl.functions import Loss
from minidl.layers import DenseLayer, DropoutLayer, OutputLayer
from minidl.workspaces import WorkspaceArray, WorkspaceConfiguration, workspace_manager
from minidl.workspaces.thread_state import state

MODES = ["ENABLED", "NONE"]
BATCHES = [32, 32, 7, 1, 20] * 10  # short ones, and larger ones after them


@pytest.fixture(params=[False, True], ids=["", "recycled memory is NaN"])
def poison(request):
    """Fill recycled memory with NaN, or leave it as it is."""
    workspace_manager.poison_recycled_memory = request.param
    yield
    workspace_manager.poison_recycled_memory = False


def history(net, batches=BATCHES):
    """Return all numbers that training on ``batches`` shows: scores, outputs, evaluations, parameters."""
    width = net.output(data(1)[0]).shape[1]
    scores, outputs = [], []
    for step, examples in enumerate(batches):
        x, y = data(examples, width, seed=step)
        net.fit(x, y)
        scores += [net.score(), net.score(x, y), net.score(x, y, training=True)]
        outputs += [net.output(x), net.output(x, train=True), *net.feed_forward(x), net.gradient.copy()]
    return [*outputs, np.array(scores), np.array(net.evaluate(x, y).accuracy()), net.params.copy()]


def assert_same_bits(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("name", NETS)
def test_modes_agree_to_the_bit(name, poison):
    assert_same_bits(history(network(name, "NONE")), history(network(name, "ENABLED")))
    assert_nothing_open()


def test_modes_agree_to_the_bit_over_epochs_of_an_iterator(poison):
    x, y = data(100)
    results = []
    for mode in MODES:
        iterator = ArrayDataSetIterator(x.astype(np.float64), y.argmax(axis=1), 32, shuffle=True, seed=5)
        results.append(network("dropout", mode).fit(iterator, epochs=4).params)
    assert_same_bits(*[[params] for params in results])


@pytest.mark.parametrize("mask_shape", [(20,), (20, 1), (20, CLASSES)])
def test_modes_agree_to_the_bit_with_masks(mask_shape, poison, rng):
    (x, y), mask = data(20), rng.integers(0, 2, mask_shape)
    nets = [network("regularised", mode) for mode in MODES]
    for _ in range(5):
        for net in nets:
            net.fit(DataSet(x, y, labels_mask=mask))
    assert_same_bits(*[[net.params, net.score()] for net in nets])


@pytest.mark.parametrize("old", ["SINGLE", "SEPARATE", WorkspaceMode.SINGLE, "separate"])
def test_old_names_of_modes_mean_enabled(old):
    with pytest.warns(DeprecationWarning, match=r"^training_workspace_mode=S\w+ is an old name of ENABLED\. Use Work"):
        old_net = softmax_network(training_workspace_mode=old, mode="ENABLED")
    assert old_net.conf.training_workspace_mode is WorkspaceMode.ENABLED
    assert_same_bits(history(old_net, [8, 3]), history(softmax_network(), [8, 3]))


def test_training_and_inference_have_modes_of_their_own():
    x, y = data()
    results = []
    for training in MODES:
        for inference in MODES:
            net = network(training_workspace_mode=training, inference_workspace_mode=inference)
            assert (net.conf.training_workspace_mode.name, net.conf.inference_workspace_mode.name) == (
                training,
                inference,
            )
            results.append(history(net, [32, 5]))
            net.evaluate(x, y)
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_mode_none_maps_no_workspace():
    def run():
        history(network(mode="NONE"), [8])
        return workspace_sizes(), workspace_manager.get_all_workspaces_ids_for_current_thread()

    assert in_new_thread(run) == ({}, [])


# Several networks in one thread


def test_networks_of_different_modes_take_turns_in_one_thread(poison):
    names = ["four layers", "one layer", "dropout", "custom layers"]
    alone = [history(network(name, mode), BATCHES[:10]) for name in names for mode in MODES]
    nets = [network(name, mode) for name in names for mode in MODES]
    x, y = data()
    for net in nets:
        net.output(x)
    for step, examples in enumerate(BATCHES[:10]):
        for net in nets:
            net.fit(*data(examples, seed=step))
            net.evaluate(x, y)
    for net, expected in zip(nets, alone, strict=True):
        np.testing.assert_array_equal(net.params, expected[-1])


def test_a_small_network_first_leaves_a_large_one_nothing_to_spill():
    def run():
        network("one layer").fit(*data(2))
        with recorded_spills() as requests:
            network("four layers").fit(*data(64))
        return requests

    assert in_new_thread(run) == []


def test_outputs_of_one_number_are_detached():
    def run(mode):
        net, (x, _) = network("one output", mode), data(1)
        first, second = net.output(x), net.output(x)
        assert np.array_equal(first, second)
        assert not nd.is_attached(first)
        workspace_manager.destroy_all_workspaces_for_current_thread()
        np.testing.assert_array_equal(net.output(x), first)
        np.testing.assert_array_equal(
            net.fit(x, np.ones((1, 1))).params, network("one output").fit(x, np.ones((1, 1))).params
        )

    for mode in MODES:
        in_new_thread(run, mode)


# Inside workspaces of the user

LAYERS = {
    1: list,
    2: lambda: [DenseLayer(n_out=8, activation="relu")],
    3: lambda: [DenseLayer(n_out=8, activation="relu"), Scale()],
}


def sequence(x, y):
    return ArrayDataSetIterator(x, y, 5, shuffle=True, seed=1)


ENTRIES = {
    "init": lambda net, x, y: net.init().params,
    "fit": lambda net, x, y: net.fit(x, y).params,
    "fit DataSet": lambda net, x, y: net.fit(DataSet(x, y)).params,
    "fit iterator": lambda net, x, y: net.fit(sequence(x, y), epochs=2).params,
    "fit batches": lambda net, x, y: net.fit(x, y, batch_size=5, epochs=2).params,
    "fit converted": lambda net, x, y: net.fit(x.astype("f8"), y.argmax(axis=1), labels_mask=np.arange(12) % 2).params,
    "gradient": lambda net, x, y: [net.compute_gradient_and_score(x, y), net.gradient],
    "score": lambda net, x, y: net.score(x, y),
    "score iterator": lambda net, x, y: net.score(sequence(x, y)),
    "output": lambda net, x, y: net.output(x),
    "output train": lambda net, x, y: net.output(x, train=True),
    "output out": lambda net, x, y: net.output(x.astype("f8"), out=np.empty((12, CLASSES), "f4")),
    "predict": lambda net, x, y: net.predict(x),
    "predict out": lambda net, x, y: net.predict(x, out=np.empty(12, np.intp)),
    "feed forward": lambda net, x, y: np.concatenate(net.feed_forward(x), axis=1),
    "feed forward to layer": lambda net, x, y: net.feed_forward_to_layer(0, x)[-1],
    "evaluate": lambda net, x, y: net.evaluate(x, y).accuracy(),
    "do evaluation": lambda net, x, y: net.do_evaluation(sequence(x, y), Evaluation())[0].confusion_matrix,
    "memory report": lambda net, x, y: net.memory_report(batch_size=12).total_bytes,
    "set params": lambda net, x, y: net.set_params(np.ones(net.num_params())),
    "summary": lambda net, x, y: net.summary(),
}
SITUATIONS = ["1 open", "2 open", "scoped out", "open, scoped out, open"]


@contextlib.contextmanager
def opened(situation):
    """Open workspaces of a user, each with an array in it, check them in the end, and destroy them."""
    configuration = WorkspaceConfiguration(initial_size=1 << 16)
    used = []
    with contextlib.ExitStack() as scopes:
        for name in {"1 open": "A", "2 open": "AB", "scoped out": "A-", "open, scoped out, open": "A-B"}[situation]:
            if name == "-":
                scopes.enter_context(workspace_manager.scope_out_of_workspaces())
                continue
            workspace = scopes.enter_context(workspace_manager.get_and_activate_workspace(configuration, name))
            used.append((workspace, nd.full((100,), 1.5), vars_of(workspace)))
        current, before = state.current, list(state.scopes)
        yield
        assert state.current is current
        assert state.scopes == before
        for workspace, array, counters in used:
            assert np.array_equal(array, np.full(100, 1.5))
            assert vars_of(workspace) == counters
    for workspace, _, _ in used:
        workspace_manager.destroy_workspace(workspace)


def vars_of(workspace):
    names = ("offset", "generation_id", "cycles_count", "current_size", "spilled_size", "is_scope_active")
    return {name: getattr(workspace, name) for name in names}


def prepared(layers, mode):
    return softmax_network(*LAYERS[layers](), mode=mode, dropout=0.9)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layers", LAYERS)
def test_open_workspaces_of_the_user_are_left_alone(entry, mode, layers):
    x, y = data(12)
    expected = ENTRIES[entry](prepared(layers, mode), x, y)
    assert_nothing_open()
    for situation in SITUATIONS:
        net = prepared(layers, mode)
        with opened(situation):
            result = ENTRIES[entry](net, x, y)
            assert not nd.is_attached(result)
        np.testing.assert_equal(result, expected)
        np.testing.assert_equal(ENTRIES[entry](net, x, y), ENTRIES[entry](prepared_after(layers, mode, entry), x, y))


def prepared_after(layers, mode, entry):
    net = prepared(layers, mode)
    ENTRIES[entry](net, *data(12))
    return net


@pytest.mark.parametrize("mode", MODES)
def test_data_in_a_workspace_of_the_user_is_taken_as_it_is(mode):
    x, y = data()
    expected = [network(mode=mode).output(x), network(mode=mode).fit(x, y).params]
    with workspace_manager.get_and_activate_workspace(
        WorkspaceConfiguration(initial_size=1 << 16), "USER"
    ) as workspace:
        attached = nd.migrate(x), nd.migrate(y)
        offset = workspace.offset
        results = [network(mode=mode).output(attached[0]), network(mode=mode).fit(*attached).params]
        assert not any(map(nd.is_attached, results))
        assert workspace.offset == offset
    assert_same_bits(results, expected)
    workspace_manager.destroy_workspace(workspace)


# A network inside a network


@dataclass(frozen=True)
class Distillation(Loss):
    """Mean of (a - t)^2 with t the output of a teacher: a user's loss that calls a network."""

    teacher: Any = None
    seen: Any = None

    def scores(self, labels, output, *, out, mask=None, empty=np.empty):
        return ((output - self._targets(labels)) ** 2).sum(axis=1)

    def gradient(self, labels, output, *, out, mask=None, empty=np.empty):
        return 2 * (output - self._targets(labels))

    def _targets(self, labels):
        self.seen.append(state.network_depth)
        return self.teacher.output(np.repeat(labels, 3, axis=1)[:, :FEATURES])


@dataclass
class Frozen(Layer):
    """Add the output of another network: a user's layer that calls one."""

    network: Any = None

    def activate(self, x, *, training, workspace_mgr):
        return x + self.network.output(x).sum(axis=1, keepdims=True)

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon


def student(teacher, mode, seen):
    configuration = NeuralNetConfiguration(
        seed=3, training_workspace_mode=mode, inference_workspace_mode=mode, updater="adam"
    )
    loss = Distillation(teacher=teacher, seen=seen)
    output = OutputLayer(n_out=CLASSES, activation="softmax", loss=loss)
    return MultiLayerNetwork(configuration.list(DenseLayer(n_in=FEATURES, n_out=8), output)).init()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("teacher_mode", MODES)
def test_a_teacher_in_a_loss_has_workspaces_of_its_own(mode, teacher_mode, poison):
    def run(mode, teacher_mode):
        seen = []
        net = student(network("four layers", teacher_mode), mode, seen)
        for step in range(4):
            net.fit(*data(16, seed=step))
        assert set(seen) == {1}
        assert_nothing_open()
        return net.params, {id.partition("/")[2] for id in workspace_sizes()}

    params, suffixes = in_new_thread(run, mode, teacher_mode)
    expected, _ = in_new_thread(run, "NONE", "NONE")
    np.testing.assert_array_equal(params, expected)
    assert suffixes == {"" for _ in [1] if mode == "ENABLED"} | {"1" for _ in [1] if teacher_mode == "ENABLED"}


@pytest.mark.parametrize("entry", sorted(ENTRIES.keys() - {"init", "memory report", "summary", "set params"}))
def test_networks_nest_to_any_depth_in_every_call(entry, poison):
    def run(mode):
        innermost = network("dropout", mode)
        middle = softmax_network(Frozen(innermost), mode=mode)
        outer = softmax_network(Frozen(middle), DenseLayer(n_out=FEATURES), Frozen(innermost), mode=mode)
        with opened("2 open"):
            return ENTRIES[entry](outer, *data(12)), {id.partition("/")[2] for id in workspace_sizes()}

    (result, suffixes), (expected, _) = in_new_thread(run, "ENABLED"), in_new_thread(run, "NONE")
    np.testing.assert_equal(result, expected)
    assert suffixes == {"", "1", "2"}


def test_a_network_may_call_itself():
    def run(mode):
        seen = []
        net = student(None, mode, seen)
        object.__setattr__(net.layers[-1].loss, "teacher", net)
        net.fit(*data(16)).fit(*data(9))
        return net.params

    np.testing.assert_array_equal(in_new_thread(run, "ENABLED"), in_new_thread(run, "NONE"))


def test_workspaces_of_inner_networks_are_planned_and_do_not_spill():
    def run():
        inner = network("four layers")
        net = softmax_network(Frozen(inner))
        with recorded_spills() as requests:
            net.fit(*data(40))
        report = inner.memory_report(batch_size=40, training=False).workspaces
        sizes = {id.removesuffix("/1"): size for id, size in workspace_sizes().items() if id.endswith("/1")}
        return requests, report, sizes

    requests, report, sizes = in_new_thread(run)
    assert requests == []
    assert sizes == report


# Layers of users that pass arrays on, or keep them


@dataclass
class PassesOn(Layer):
    """A custom layer that returns what it was handed."""

    def activate(self, x, *, training, workspace_mgr):
        return x

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon


@dataclass
class InPlace(Layer):
    """A custom layer that overwrites epsilon, as it may, and returns a view of it."""

    def activate(self, x, *, training, workspace_mgr):
        return x * 3.0

    def backprop(self, epsilon, *, workspace_mgr):
        epsilon *= 3.0
        return epsilon[:]


@dataclass
class Keeps(Layer):
    """A custom layer that keeps what it is handed, which it must not."""

    kept: Any = None

    def activate(self, x, *, training, workspace_mgr):
        y = x * 1.0
        self.kept.extend([x, y])
        return y

    def backprop(self, epsilon, *, workspace_mgr):
        self.kept.append(epsilon)
        return epsilon * 1.0


@pytest.mark.parametrize("layer", [PassesOn(), InPlace(), DropoutLayer(1.0), DropoutLayer(0.5)])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_results_that_lie_in_a_workspace_already_need_no_warning(layer, position, poison):
    results = []
    for mode in MODES:
        layers = [DenseLayer(n_out=9), DenseLayer(n_out=8)]
        layers.insert(position, layer)
        results.append(history(softmax_network(*layers, mode=mode, strict=True), [16, 7, 16]))
    assert_same_bits(*results)


def test_layers_that_only_pass_on_change_nothing():
    plain, padded = softmax_network(DenseLayer(n_out=9)), softmax_network(PassesOn(), DenseLayer(n_out=9), PassesOn())
    for net in (plain, padded):
        net.fit(*data(16)).fit(*data(5))
    assert_same_bits([plain.params, plain.output(data(9)[0])], [padded.params, padded.output(data(9)[0])])


@dataclass
class Masked(Layer):
    """A custom layer that reads the mask of its input."""

    seen: Any = None

    def activate(self, x, *, training, workspace_mgr):
        mask = workspace_mgr.mask
        if mask is None:
            return x * 1.0
        self.seen.append((type(mask), mask.dtype))
        return x * mask[:, np.newaxis]

    def backprop(self, epsilon, *, workspace_mgr):
        mask = workspace_mgr.mask
        return epsilon * (1.0 if mask is None else mask[:, np.newaxis])


@pytest.mark.parametrize("dtype", ["f4", "f8", "?"])
def test_layers_are_handed_the_mask_of_the_features_in_the_type_of_the_network(dtype):
    x, y = data(16)
    mask = np.arange(16) % 3 > 0
    nets = [softmax_network(Masked([]), mode=mode) for mode in MODES]
    for net in nets:
        net.fit(DataSet(x, y, mask.astype(dtype)))
        assert set(net.layers[0].seen) == {(WorkspaceArray, np.dtype(np.float32))}
    plain = softmax_network(PassesOn()).fit(x * mask[:, np.newaxis], y)
    assert_same_bits(*[[net.params] for net in nets])
    assert_same_bits([plain.params], [nets[0].params])


def test_what_user_code_is_handed_raises_when_it_is_used_too_late():
    kept = []
    net = softmax_network(DenseLayer(n_out=9), Keeps(kept), DenseLayer(n_out=8))
    net.output(data()[0])
    net.fit(*data())
    kept = net.layers[1].kept
    assert {type(array) for array in kept} == {WorkspaceArray}
    for array in kept[-5:]:
        with pytest.raises(
            StaleArrayError, match=r"^Op \[multiply\] X argument uses (leaked|outdated) workspace pointer"
        ):
            array * 2.0
