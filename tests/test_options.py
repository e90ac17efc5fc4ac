"""From names, classes and objects to what is meant."""

import dataclasses
import enum
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import NeuralNetConfiguration
from minidl.errors import ConfigurationError
from minidl.layers import DenseLayer
from minidl.options import CheckedOptions, enum_option, named_option
from minidl.training import Adam
from minidl.workspaces import WorkspaceConfiguration


class Colour(enum.Enum):
    DARK_RED = 1
    BLUE = 2


class Shape:
    pass


class Circle(Shape):
    pass


class RoundedBox(Shape):
    pass


KNOWN = {"circle": Circle, "rounded_box": RoundedBox}


@pytest.mark.parametrize("value", [Colour.DARK_RED, "DARK_RED", "dark_red", "DarkRed", "dark-red", "dark red"])
def test_member_of_an_enum_in_any_spelling(value):
    assert enum_option(Colour, value, "colour") is Colour.DARK_RED


@pytest.mark.parametrize("value", ["green", "", None, 1, Colour, b"BLUE", ["BLUE"]])
def test_what_is_no_member(value):
    message = f"colour={value!r} is not known. Choose one of: DARK_RED, BLUE."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        enum_option(Colour, value, "colour")


@pytest.mark.parametrize("value", ["rounded_box", "ROUNDED_BOX", "RoundedBox", "rounded-box", RoundedBox, RoundedBox()])
def test_object_of_a_class_in_any_spelling(value):
    assert type(named_option(Shape, KNOWN, value, "shape")) is RoundedBox


def test_object_is_taken_as_it_is():
    class OfAUser(Shape):
        pass

    circle, own = Circle(), OfAUser()
    assert named_option(Shape, KNOWN, circle, "shape") is circle
    assert named_option(Shape, KNOWN, own, "shape") is own
    assert type(named_option(Shape, KNOWN, OfAUser, "shape")) is OfAUser


@pytest.mark.parametrize("value", ["square", None, 3, int, object(), ("circle",)])
def test_what_is_no_object_of_the_class(value):
    message = (
        f"shape={value!r} is not known. Choose one of: circle, rounded_box; or pass an object of a class derived from "
        "Shape."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        named_option(Shape, KNOWN, value, "shape")


@given(st.text())
def test_any_text_is_found_or_refused(text):
    found = text.lower().replace("_", "").replace("-", "").replace(" ", "") in ("darkred", "blue")
    try:
        assert enum_option(Colour, text, "colour") in Colour
    except ConfigurationError:
        assert not found
    else:
        assert found


class NeedsArguments(Shape):
    def __init__(self, size):
        self.size = size


def test_a_class_that_needs_arguments_is_refused():
    message = (
        "^shape=NeedsArguments cannot be made without arguments: .* missing 1 required positional argument: 'size'. "
        "Pass an object instead.$"
    )
    with pytest.raises(ConfigurationError, match=message):
        named_option(Shape, KNOWN, NeedsArguments, "shape")


@dataclasses.dataclass
class Options(CheckedOptions):
    size: int = 1
    weight_decay: float = 0.0


class TakesAny(CheckedOptions):
    def __init__(self, **anything):
        self.anything = anything


def test_an_option_name_that_nobody_knows_is_refused_with_what_was_likely_meant():
    message = "Options has no option 'weigth_decay'. Did you mean 'weight_decay'? Its options: size, weight_decay."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        Options(weigth_decay=1)
    message = "Options has no option 'xyz'. Its options: size, weight_decay."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        Options(2, xyz=1)
    assert Options(3, weight_decay=0.5) == Options(size=3, weight_decay=0.5)
    assert TakesAny(a=1).anything == {"a": 1}


@pytest.mark.parametrize("cls", [NeuralNetConfiguration, DenseLayer, Adam, WorkspaceConfiguration])
def test_the_classes_that_users_configure_check_the_names(cls):
    with pytest.raises(ConfigurationError, match=f"^{cls.__name__} has no option 'no_such_option'. Its options: "):
        cls(no_such_option=1)
