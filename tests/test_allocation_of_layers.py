"""A warm step takes no array memory whatever layers a network has: every one, found by reflection.

The gauges are those of allocation.py; a process measures all layers of one kind of input, at a batch at which the
arrays of every layer are over the size from which heap requests are counted.
"""

import functools

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from layer_examples import EXAMPLES, batch, before_and_after, input_type
from test_allocation import workspace_counters

from minidl import DataSet, MultiLayerNetwork, NeuralNetConfiguration
from minidl.eval import Evaluation
from minidl.inputs import channels_last
from minidl.training import Adam

BATCH, ARRAYS_ALIVE = 256, 150
KINDS = sorted({name.partition(" of ")[2] for name in EXAMPLES})


def network_and_step(name, masked=False):
    before, after = before_and_after(name)
    layers = [before, EXAMPLES[name]] if EXAMPLES[name].is_output_layer else [before, EXAMPLES[name], after]
    layers = [layer for layer in layers if layer is not None]
    conf = NeuralNetConfiguration(seed=1, updater=Adam(1e-3)).list(*layers, input_type=input_type(name))
    net = MultiLayerNetwork(conf).init()
    data = batch(net, BATCH)
    if masked:
        kinds, arrays = (conf.input_type, conf.input_types()[-1]), (data.features, data.labels)
        masks = [mask_of_places(array, kind) for array, kind in zip(arrays, kinds, strict=True)]
        data = DataSet(data.features, data.labels, *masks)
    out = np.empty(data.labels.shape, np.float32)
    evaluation = Evaluation()

    def step():
        net.fit(data)
        net.output(data.features, out=out)
        net.score(data)
        if data.labels.ndim == 2:
            net.do_evaluation(data, evaluation)

    return step


def mask_of_places(array, kind):
    """Return a mask of the steps or pixels of an array, or of its examples where it has none, some of it 0."""
    places = array.shape[1:-1] if channels_last(kind) else array.shape[2:]
    return np.random.default_rng(0).integers(0, 2, (len(array), *places)).astype(np.float32)


def measure_kind(kind):
    """Return the gauges of every layer with one kind of input, and where that has places with masks of them."""
    return {
        name + (" masked" if masked else ""): gauges(
            network_and_step(name, masked), repeats=5, counters=workspace_counters
        )
        for name in EXAMPLES
        if name.partition(" of ")[2] == kind
        for masked in ((False, True) if kind else (False,))
    }


@pytest.fixture(scope="module")
def measured(run_under_counter):
    return functools.cache(lambda kind: run_under_counter(measure_kind, kind))


@pytest.mark.parametrize("name", EXAMPLES, ids=lambda name: name.replace(" ", "_"))
def test_a_warm_step_allocates_nothing(name, measured):
    assert_no_allocation(measured(name.partition(" of ")[2])[name], arrays_alive=ARRAYS_ALIVE)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if " of " in name], ids=lambda name: name.replace(" ", "_"))
def test_a_warm_step_with_masks_allocates_nothing(name, measured):
    assert_no_allocation(measured(name.partition(" of ")[2])[f"{name} masked"], arrays_alive=ARRAYS_ALIVE)
