"""ReduceLROnPlateau: on a network that only has rates, against sequences by hand and PyTorch's scheduler."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

from minidl.errors import ConfigurationError
from minidl.training import Adam, FixedSchedule, Nesterovs, PlateauMode, PlateauThreshold, ReduceLROnPlateau, Sgd


class Network:
    """Rates and the updaters they come from; None where a layer has none."""

    def __init__(self, *rates, bias_rates=None):
        self.rates = {False: list(rates), True: bias_rates or [None] * len(rates)}
        self.layers = [SimpleNamespace(updater=Sgd(0.1), bias_updater=None) for _ in rates]
        self.calls = []

    def get_learning_rate(self, layer, *, bias=False):
        return self.rates[bias][layer]

    def set_learning_rate(self, rate, layer, *, bias=False):
        assert self.rates[bias][layer] is not None
        self.calls.append((layer, bias, rate))
        self.rates[bias][layer] = rate


def rates_after(plateau, values, network=None):
    """Return the first rate after each value."""
    network = network or Network(1.0)
    result = []
    for value in values:
        before = network.rates[False][0]
        reduced = plateau.step(network, value)
        result.append(network.rates[False][0])
        assert reduced == (result[-1] < before)
    return result


@pytest.mark.parametrize(
    ("options", "values", "rates"),
    [
        (dict(patience=0), [3, 2, 1], [1, 1, 1]),
        (dict(patience=0), [3, 3, 2, 2], [1, 0.5, 0.5, 0.25]),
        (dict(patience=1), [3, 3, 3, 3, 3], [1, 1, 0.5, 0.5, 0.25]),
        (dict(patience=1), [3, 4, 2, 4, 4], [1, 1, 1, 1, 0.5]),
        (dict(patience=0, cooldown=2), [3] * 6, [1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        (dict(patience=0, threshold=0.1), [10, 9.5, 9, 8.9], [1, 0.5, 0.25, 0.25]),
        (dict(patience=0, threshold=1, threshold_mode="abs"), [10, 9.5, 9, 8.9], [1, 0.5, 0.25, 0.25]),
        (dict(patience=0, mode="max", threshold=0.1), [10, 10.5, 11, 11.5], [1, 0.5, 0.25, 0.25]),
        (dict(patience=0, mode="max", threshold_mode="ABS", threshold=1), [10, 10.5, 11.5], [1, 0.5, 0.5]),
        (dict(patience=0), [math.nan, 3, math.nan, 2], [0.5, 0.5, 0.25, 0.25]),
        (dict(patience=0, min_learning_rate=0.3), [3] * 4, [1, 0.5, 0.3, 0.3]),
        (dict(patience=0, min_learning_rate=2), [3] * 3, [1, 1, 1]),
        (dict(patience=0), [np.float32(3), np.int64(3)], [1, 0.5]),
        (dict(patience=0), [np.asarray(3.0), np.array(2, "i4"), np.array(3, "f4")], [1, 1, 0.5]),
        (dict(patience=0), [np.float64(3), np.array(math.nan)], [1, 0.5]),
    ],
)
def test_rates_by_hand(options, values, rates):
    assert rates_after(ReduceLROnPlateau(factor=0.5, **options), values) == rates


def test_defaults_are_those_of_pytorch():
    plateau = ReduceLROnPlateau()
    assert plateau == ReduceLROnPlateau(0.1, 10, 1e-4, "rel", 0, 0.0, "min")
    assert (plateau.threshold_mode, plateau.mode) == (PlateauThreshold.REL, PlateauMode.MIN)
    assert rates_after(plateau, [3.0] * 12)[-2:] == [1, 0.1]


@pytest.mark.parametrize("case", range(60))
def test_rates_are_those_of_pytorch(case):
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(case)
    options = {
        "factor": rng.choice([0.0, 0.1, 0.5, 0.9]),
        "patience": int(rng.integers(0, 4)),
        "threshold": rng.choice([0, 1e-4, 0.2]),
        "threshold_mode": str(rng.choice(["rel", "abs"])),
        "cooldown": int(rng.integers(0, 4)),
        "mode": str(rng.choice(["min", "max"])),
    }
    least = rng.choice([0, 1e-3, 0.3])
    values = np.round(rng.standard_normal(80).cumsum() / 4, 1)  # rounded: ties
    values[rng.random(80) < 0.1] = rng.choice([math.nan, math.inf, -math.inf])
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=least, **options)
    expected = []
    for value in values:
        scheduler.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates_after(ReduceLROnPlateau(min_learning_rate=least, **options), values) == expected


def test_all_rates_are_reduced_and_layers_without_one_skipped():
    network = Network(1.0, None, 0.5, bias_rates=[0.25, None, None])
    plateau = ReduceLROnPlateau(factor=0.5, patience=0)
    assert not plateau.step(network, 1.0)
    assert plateau.step(network, 1.0)
    assert network.rates == {False: [0.5, None, 0.25], True: [0.125, None, None]}
    assert network.calls == [(0, False, 0.5), (0, True, 0.125), (2, False, 0.25)]


def test_rates_that_would_hardly_change_are_left():
    network = Network(1.0, 1e-8, 1e-6, 0.0)
    plateau = ReduceLROnPlateau(factor=0.1, patience=0)
    assert [plateau.step(network, 1.0) for _ in range(2)] == [False, True]
    assert network.calls == [(0, False, 0.1), (2, False, 1e-7)]
    assert not ReduceLROnPlateau(patience=0).step(Network(1e-8), math.nan)


def test_reset_forgets_the_values():
    plateau = ReduceLROnPlateau(factor=0.5, patience=1, cooldown=3)
    first = rates_after(plateau, [3, 3, 3, 3])
    plateau.reset()
    assert plateau == ReduceLROnPlateau(factor=0.5, patience=1, cooldown=3)
    assert rates_after(plateau, [5, 5, 5, 5]) == first == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize(
    ("bias", "updater", "where"), [(False, "updater", "layer 1"), (True, "bias_updater", "layer 1 (bias)")]
)
def test_schedules_cannot_be_reduced(bias, updater, where):
    network = Network(1.0, 0.5, bias_rates=[1.0, 0.5])
    setattr(network.layers[1], updater, Adam(FixedSchedule(0.5)))
    plateau = ReduceLROnPlateau(patience=0)
    message = (
        f"ReduceLROnPlateau: the learning rate of {where} is FixedSchedule(value=0.5), but only a number can be "
        "reduced. Give its updater a number, or train without ReduceLROnPlateau."
    )
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
            plateau.step(network, 1.0)
    assert (plateau, network.calls) == (ReduceLROnPlateau(patience=0), [])


def test_schedules_elsewhere_do_not_matter():
    network = Network(1.0, None)
    network.layers[1].updater = Adam(FixedSchedule(0.5))  # of a layer without parameters
    network.layers[0].updater = Nesterovs(1.0, momentum=FixedSchedule(0.5))
    plateau = ReduceLROnPlateau(patience=0)
    assert [plateau.step(network, 1.0) for _ in range(2)] == [False, True]


def test_a_network_without_any_rate():
    plateau = ReduceLROnPlateau(patience=0)
    message = (
        "ReduceLROnPlateau: the network has no learning rate that could be reduced. Give it an updater that has one, "
        "such as Sgd(0.1)."
    )
    for network in (Network(), Network(None, None)):
        with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
            plateau.step(network, 1.0)
    assert plateau == ReduceLROnPlateau(patience=0)


@pytest.mark.parametrize(
    "value", [None, "3", [3.0], True, 3j, np.array([3.0]), np.array("3"), np.array(True), np.array(3j)], ids=repr
)
def test_value_must_be_a_number(value):
    message = f"value={value!r} is not a number. Pass one score, such as network.score(data_set), at every step."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        ReduceLROnPlateau().step(Network(1.0), value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(factor=1), "ReduceLROnPlateau: factor=1 is not in [0, 1). Use 0.1, for example."),
        (dict(patience=-1), "ReduceLROnPlateau: patience=-1 is not a whole number of at least 0, such as 10."),
        (dict(cooldown=0.5), "ReduceLROnPlateau: cooldown=0.5 is not a whole number of at least 0, such as 10."),
        (
            dict(threshold=math.nan),
            "ReduceLROnPlateau: threshold=nan is not a finite number of at least 0, such as 1e-4.",
        ),
        (
            dict(threshold=1),
            "ReduceLROnPlateau: threshold=1.0 is not below 1, as a relative one must be in mode 'min'. Use 1e-4, for "
            "example, or threshold_mode='abs'.",
        ),
        (
            dict(min_learning_rate="0"),
            "ReduceLROnPlateau: min_learning_rate='0' is not a finite number of at least 0, such as 1e-6.",
        ),
        (dict(mode="auto"), "mode='auto' is not known. Choose one of: MIN, MAX."),
        (dict(threshold_mode="both"), "threshold_mode='both' is not known. Choose one of: REL, ABS."),
        (
            dict(min_lr=0.1),
            "ReduceLROnPlateau has no option 'min_lr'. Its options: factor, patience, threshold, threshold_mode, "
            "cooldown, min_learning_rate, mode.",
        ),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        ReduceLROnPlateau(**options)
