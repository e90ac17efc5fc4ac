"""Input types: extents, formats, equality, errors."""

import re

import numpy as np
import pytest

from minidl import InputType
from minidl.errors import ConfigurationError
from minidl.inputs import ConvolutionalFlat, FeedForward, positive_int


@pytest.mark.parametrize(
    ("input_type", "shape"),
    [
        (InputType.feed_forward(5), (5,)),
        (InputType.recurrent(5), (5, None)),
        (InputType.recurrent(5, 7), (5, 7)),
        (InputType.recurrent(5, 7, format="nwc"), (7, 5)),
        (InputType.convolutional(2, 3, 4), (4, 2, 3)),
        (InputType.convolutional(2, 3, 4, format="NHWC"), (2, 3, 4)),
        (InputType.convolutional_flat(2, 3, 4), (24,)),
    ],
)
def test_shape_of_one_example(input_type, shape):
    assert input_type.example_shape() == shape


def test_equality_is_by_value():
    assert InputType.feed_forward(np.int64(5)) == FeedForward(5)
    assert type(InputType.feed_forward(np.int64(5)).size) is int
    assert InputType.convolutional(2, 3, 4, "nchw") == InputType.convolutional(2, 3, 4)
    assert InputType.recurrent(5) != InputType.recurrent(5, 7)
    assert InputType.feed_forward(24) != InputType.convolutional_flat(2, 3, 4)
    assert len({FeedForward(1), FeedForward(1), FeedForward(2)}) == 2


def test_flat_images_have_a_size():
    assert ConvolutionalFlat(2, 3, 4).size == 24


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InputType.feed_forward(0), "FeedForward: size=0 is not a whole number of at least 1."),
        (lambda: InputType.feed_forward(2.0), "FeedForward: size=2.0 is not a whole number of at least 1."),
        (lambda: InputType.feed_forward(True), "FeedForward: size=True is not a whole number of at least 1."),
        (lambda: InputType.feed_forward("5"), "FeedForward: size='5' is not a whole number of at least 1."),
        (lambda: InputType.feed_forward(None), "FeedForward: size=None is not a whole number of at least 1."),
        (lambda: InputType.recurrent(-1), "Recurrent: size=-1 is not a whole number of at least 1."),
        (lambda: InputType.recurrent(5, 0), "Recurrent: timesteps=0 is not a whole number of at least 1."),
        (lambda: InputType.recurrent(5, format="NHWC"), "Recurrent: format='NHWC' is not known. Choose NCW or NWC."),
        (lambda: InputType.convolutional(2, 0, 1), "Convolutional: width=0 is not a whole number of at least 1."),
        (
            lambda: InputType.convolutional(2, 2, 1, format=3),
            "Convolutional: format=3 is not known. Choose NCHW or NHWC.",
        ),
        (
            lambda: InputType.convolutional_flat(2, 2, 0),
            "ConvolutionalFlat: channels=0 is not a whole number of at least 1.",
        ),
    ],
)
def test_extents_that_cannot_be(make, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        make()


def test_base_class_is_abstract():
    with pytest.raises(TypeError, match=r"^Can't instantiate abstract class InputType .*example_shape.*$"):
        InputType()


def test_positive_int():
    assert positive_int(np.uint8(3), "n") == 3
    with pytest.raises(ConfigurationError, match=r"^n=-3 is not a whole number of at least 1\.$"):
        positive_int(-3, "n")
