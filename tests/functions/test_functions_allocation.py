"""Activations and losses take no array memory but what they ask for, in any layout of what they are given."""

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges

from minidl.functions import ACTIVATIONS, GELU, LOSSES

SHAPES = {"two axes": (1024, 24), "three axes": (128, 24, 8)}


class Pool:
    """Working memory that is given out again in every step."""

    def __init__(self, size=1 << 21):
        self.memory, self.used = np.zeros(size, np.uint8), 0

    def empty(self, shape, dtype):
        array = np.ndarray(shape, dtype, self.memory, self.used)
        self.used += -(-array.nbytes // 64) * 64
        return array


def arrays(shape, layout, count):
    """Return positive arrays that all lie in memory alike, or, if mixed, in turn in both orders."""
    made = []
    for index in range(count):
        values = np.random.default_rng(index).uniform(0.1, 0.9, shape).astype("f4")
        order = layout if layout in "CF" else "FC"[index % 2]
        if layout == "strided":
            values = np.repeat(values, 2, axis=-1)[..., ::2]
        made.append(values if layout == "strided" else np.array(values, order=order))
    return made


def measure_activation(name, axes, layout):
    act = GELU(precise=True) if name == "precise gelu" else ACTIVATIONS[name]()
    z, kept, out, epsilon, d_z = arrays(SHAPES[axes], layout, 5)
    pool, rng = Pool(), np.random.default_rng(0)

    def step():
        pool.used = 0
        act.forward(z, out=out, empty=pool.empty)
        if act.draws:
            act.training_forward(z, kept=kept, out=out, rng=rng, empty=pool.empty)
        act.backward(kept, epsilon, out=d_z, empty=pool.empty)

    return gauges(step, repeats=5, warm_up=2)


def measure_loss(name, axes, layout):
    shape = SHAPES[axes]
    labels, output, d_output, whole = arrays(shape, layout, 4)
    masks = None, whole, whole[:, 0], whole[:, :1]
    rules = [LOSSES[name](weights=weights) for weights in (None, [1.5] * shape[1])]
    scores, pool = np.empty(2 * shape[0], "f4")[::2], Pool()

    def step():
        for rule in rules:
            for mask in masks:
                pool.used = 0
                rule.scores(labels, output, out=scores, mask=mask, empty=pool.empty)
                rule.gradient(labels, output, out=d_output, mask=mask, empty=pool.empty)
                if rule.fused_with:
                    rule.gradient_at_preactivation(labels, output, out=d_output, mask=mask, empty=pool.empty)

    return gauges(step, repeats=5, warm_up=2)


def measure_all(axes):
    """Check everything in one process, as one for each class would take long, and return what was found last."""
    for layout in ("C", "F", "mixed", "strided"):
        found = {name: measure_activation(name, axes, layout) for name in [*ACTIVATIONS, "precise gelu"]}
        found |= {name: measure_loss(name, axes, layout) for name in LOSSES}
        for name, measured in found.items():
            assert not measured.native_large_bytes, f"{name}, {layout}: {measured}"
            assert_no_allocation(measured, arrays_alive=15)
    return measured


@pytest.mark.parametrize("axes", SHAPES)
def test_nothing_is_allocated(axes, run_under_counter):
    assert_no_allocation(run_under_counter(measure_all, axes), arrays_alive=15)
