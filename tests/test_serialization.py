"""JSON of values and dataclasses, both ways."""

import enum
import json
import math
import re
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import functions
from minidl.errors import ConfigurationError
from minidl.functions import Activation
from minidl.serialization import from_data, to_data


class Colour(enum.Enum):
    RED = "r"


class Level(enum.IntEnum):
    HIGH = 3


@dataclass(frozen=True)
class Thing:
    size: int = 1
    parts: tuple = ()
    other: object = None
    secret: int = field(default=0, init=False)


class SpecialThing(Thing):
    pass


@dataclass(frozen=True)
class Strict(Thing):
    def __post_init__(self):
        if not isinstance(self.size, int):
            raise ConfigurationError("size is not whole.")


def both_ways(value):
    return from_data(json.loads(json.dumps(to_data(value))), [Thing])


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("text", "text"),
        ((1, (2, "a")), [1, [2, "a"]]),
        ([1, 2], [1, 2]),
        ({"a": (1,)}, {"a": [1]}),
        (Colour.RED, "RED"),
        (Level.HIGH, "HIGH"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.dtype("f4"), "float32"),
        (Thing(2), {"class": "Thing", "size": 2, "parts": [], "other": None}),
        (SpecialThing(other=Thing()), {"class": "SpecialThing", "size": 1, "parts": [], "other": to_data(Thing())}),
    ],
)
def test_data_of_a_value(value, data):
    assert to_data(value) == data
    assert type(to_data(value)) is type(data)
    json.dumps(to_data(value))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text().filter(lambda key: key != "class"), inner, max_size=3)
        | st.builds(Thing, st.integers(), st.tuples(inner), inner)
        | st.builds(SpecialThing, st.integers(), st.tuples(), inner)
    ),
    max_leaves=10,
)


@settings(max_examples=50)
@given(values)
def test_json_gives_the_value_back(value):
    same = both_ways(value)
    assert same == value
    assert type(same) is type(value)


def test_infinite_numbers_and_nan_come_back():
    assert both_ways((math.inf, -math.inf)) == (math.inf, -math.inf)
    assert math.isnan(both_ways(math.nan))


def test_lists_come_back_as_tuples():
    assert both_ways(Thing(parts=[1, [2]])) == Thing(parts=(1, (2,)))


@pytest.mark.parametrize(
    ("value", "where", "kind"),
    [
        (object(), "value", "object"),
        ({1, 2}, "value", "set"),
        ({3: "a"}, "value", "dict"),
        ({"class": "a"}, "value", "dict"),
        (Thing, "value", "type"),
        (Thing(size=np.ones(2)), "Thing.size", "ndarray"),
        (Thing(parts=(1, [print])), "Thing.parts", "builtin_function_or_method"),
        (Thing(other=SpecialThing(other={"a": 1j})), "SpecialThing.other", "complex"),
    ],
)
def test_value_that_has_no_form_in_json(value, where, kind):
    message = (
        f"{where} is a {kind}, which cannot be written as JSON. Use numbers, text, tuples, dataclasses and "
        'dictionaries with text other than "class" as keys.'
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        to_data(value)


@pytest.mark.parametrize("name", ["Unknown", "os.system", "", None, 3, ["Thing"], {"class": "Thing"}])
def test_class_that_is_not_known(name):
    message = f"class {name!r} is not known. Import the module that defines it first. Known: "
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}[^.]*Thing[^.]*\\.$"):
        from_data({"class": name}, [Thing])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"class": "Thing", "colour": 1, "size": 2},
            r"Thing cannot be made from the fields \['colour', 'size'\]: .*unexpected keyword argument 'colour'\.",
        ),
        ({"class": "Strict", "size": "x"}, r"size is not whole\."),
        ({"class": "Thing", "secret": 1}, r"Thing cannot be made from the fields \['secret'\]: .*'secret'\."),
    ],
)
def test_fields_that_do_not_fit(data, message):
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        from_data(data, [Thing])


def test_whatever_a_constructor_raises_is_a_configuration_error():
    @dataclass(frozen=True)
    class Divides(Thing):
        def __post_init__(self):
            raise OSError("there is no size 0")

    message = "Divides cannot be made from the fields ['size']: there is no size 0."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        from_data({"class": "Divides", "size": 0}, [Thing])


def test_class_of_a_user_with_the_name_of_one_of_minidls_is_refused_and_never_read_in_its_place():
    @dataclass(frozen=True)
    class Tanh(Activation):
        def forward(self, z, *, out, empty=np.empty):
            return z

        def backward(self, kept, epsilon, *, out, empty=np.empty):
            return epsilon

    message = (
        "a class of minidl is named Tanh too, and JSON could not tell the two apart. Give yours another name, such as "
        "MyTanh."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        to_data(Tanh())
    assert type(from_data({"class": "Tanh"}, [Activation])) is functions.Tanh


def test_class_defined_last_is_taken():
    def define(number):
        @dataclass(frozen=True)
        class Again(Thing):
            size: int = number

        return Again

    _old, new = define(1), define(2)
    assert type(from_data({"class": "Again"}, [Thing])) is new
