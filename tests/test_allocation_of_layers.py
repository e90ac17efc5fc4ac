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
from minidl.training import Adam

BATCH, ARRAYS_ALIVE = 256, 150
KINDS = sorted({name.partition(" of ")[2] for name in EXAMPLES})


def network_and_step(name, masked):
    before, after = before_and_after(name)
    layers = [before, EXAMPLES[name]] if EXAMPLES[name].is_output_layer else [before, EXAMPLES[name], after]
    conf = NeuralNetConfiguration(seed=1, updater=Adam(1e-3)).list(*layers, input_type=input_type(name))
    net = MultiLayerNetwork(conf).init()
    data = batch(net, BATCH)
    if masked:
        data = DataSet(data.features, data.labels, np.ones(masked, np.float32))
    out = np.empty(data.labels.shape, np.float32)
    evaluation = Evaluation()

    def step():
        net.fit(data)
        net.output(data.features, out=out)
        net.score(data)
        if data.labels.ndim == 2:
            net.do_evaluation(data, evaluation)

    return step


def measure_kind(kind):
    """Return the gauges of every layer with one kind of input."""
    return {
        name: gauges(network_and_step(name, None), repeats=5, counters=workspace_counters)
        for name in EXAMPLES
        if name.partition(" of ")[2] == kind
    }


@pytest.fixture(scope="module")
def measured(run_under_counter):
    return functools.cache(lambda kind: run_under_counter(measure_kind, kind))


@pytest.mark.parametrize("name", EXAMPLES, ids=lambda name: name.replace(" ", "_"))
def test_a_warm_step_allocates_nothing(name, measured):
    assert_no_allocation(measured(name.partition(" of ")[2])[name], arrays_alive=ARRAYS_ALIVE)
