"""The scaling of features."""

import dataclasses
import re

import numpy as np
import pytest

from minidl.data import ArrayDataSetIterator, DataSet, ImagePreProcessingScaler, ListDataSetIterator
from minidl.errors import ConfigurationError, DataError, DtypeError, ShapeError

PIXELS = np.array([[0, 51, 255], [102, 204, 153]], np.uint8)


def exactly(message):
    return f"^{re.escape(message)}$"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64, np.float16, np.float32, np.float64])
def test_pixels_of_any_type_become_float32_between_zero_and_one(dtype):
    scaled = ImagePreProcessingScaler().transform(PIXELS.astype(dtype))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0, 0.2, 1], [0.4, 0.8, 0.6]], rtol=1e-7)


def test_other_ranges_and_pixels():
    scaled = ImagePreProcessingScaler(-1, 3, max_pixel=65535).transform([[0, 65535, 13107]])
    np.testing.assert_allclose(scaled, [[-1, 3, -0.2]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3, 1)])
def test_revert_is_the_inverse(shape):
    scaler = ImagePreProcessingScaler(-0.5, 2)
    pixels = scaler.revert_features(scaler.transform(PIXELS.reshape(shape)))
    assert (pixels.dtype, pixels.shape) == (np.float32, shape)
    np.testing.assert_allclose(pixels, PIXELS.reshape(shape), atol=1e-4)


def test_a_data_set_gets_new_features_and_keeps_the_rest():
    features, labels, mask = PIXELS.astype(np.float32), np.ones((2, 1)), np.ones(2)
    dataset = DataSet(features, labels, mask, mask)
    scaler = ImagePreProcessingScaler()
    assert scaler.transform(dataset) is dataset
    np.testing.assert_allclose(dataset.features, PIXELS / 255, rtol=1e-6)
    np.testing.assert_array_equal(features, PIXELS)
    assert all(kept is given for kept, given in zip(list(dataset)[1:], [labels, mask, mask], strict=True))


def test_a_transformed_array_is_new():
    pixels = PIXELS.astype(np.float32)
    scaler = ImagePreProcessingScaler(max_pixel=1)
    for result in (scaler.transform(pixels), scaler.revert_features(pixels)):
        np.testing.assert_array_equal(result, pixels)
        assert not np.shares_memory(result, pixels)


@pytest.mark.parametrize("recycled", [False, True])
@pytest.mark.parametrize("kind", ["in order", "shuffled", "list"])
def test_an_iterator_hands_out_scaled_batches_of_unchanged_data(kind, recycled, rng):
    pixels = rng.integers(0, 256, (20, 4), dtype=np.uint8)
    before = pixels.copy()
    iterator = {
        "in order": lambda: ArrayDataSetIterator(pixels, pixels, 6),
        "shuffled": lambda: ArrayDataSetIterator(pixels, pixels, 6, shuffle=True, seed=1),
        "list": lambda: ListDataSetIterator([DataSet(pixels, pixels)], 6),
    }[kind]()
    iterator.pre_processor = ImagePreProcessingScaler(-1, 1)
    for _ in range(2):
        for batch in iterator.recycled() if recycled else iterator:
            assert batch.features.dtype == np.float32
            np.testing.assert_allclose(batch.features, batch.labels / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(pixels, before)


def test_fit_has_nothing_to_learn():
    scaler = ImagePreProcessingScaler()
    assert scaler.fit(ArrayDataSetIterator(PIXELS, None)) is scaler


def test_a_scaler_is_a_value():
    scaler = ImagePreProcessingScaler(np.float32(0), 1, max_pixel=np.int64(15))
    assert scaler == ImagePreProcessingScaler(max_pixel=15.0)
    assert repr(scaler) == "ImagePreProcessingScaler(min_range=0.0, max_range=1.0, max_pixel=15.0)"
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"^cannot assign to field 'max_pixel'$"):
        scaler.max_pixel = 1


WRONG_OPTIONS = {
    "NaN": ({"min_range": np.nan}, "min_range=nan is not a finite number of float32, such as 0.0 or -1.0."),
    "text": ({"min_range": "0"}, "min_range='0' is not a finite number of float32, such as 0.0 or -1.0."),
    "infinite": ({"max_range": np.inf}, "max_range=inf is not a finite number of float32, such as 1.0."),
    "too large": ({"max_range": 1e39}, "max_range=1e+39 is not a finite number of float32, such as 1.0."),
    "flag": ({"max_range": True}, "max_range=True is not a finite number of float32, such as 1.0."),
    **{
        f"max_pixel {value}": (
            {"max_pixel": value},
            f"max_pixel={value} is not a finite number of float32 above 0. Give 255.0 for images of 8 bits.",
        )
        for value in (0, -255, np.nan, None, 1e-60)
    },
    **{
        f"range {low} to {high}": (
            {"min_range": low, "max_range": high},
            f"min_range={low} is not below max_range={high} by a finite number of float32. Exchange them, or choose "
            "others.",
        )
        for low, high in [(1.0, 0.0), (0.5, 0.5), (-3e38, 3e38)]
    },
}


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=exactly(f"ImagePreProcessingScaler: {message}")):
        ImagePreProcessingScaler(**options)


def test_an_unknown_option_is_refused():
    expected = (
        "ImagePreProcessingScaler has no option 'max_pixels'. Did you mean 'max_pixel'? Its options: min_range, "
        "max_range, max_pixel."
    )
    with pytest.raises(ConfigurationError, match=exactly(expected)):
        ImagePreProcessingScaler(max_pixels=255)


WRONG_DATA = {
    "text": (
        np.array(["a"]),
        DtypeError,
        "features have dtype <U1. Expected real numbers, integers or bool: convert them first.",
    ),
    "complex": (
        np.array([1j]),
        DtypeError,
        "features have dtype complex128. Expected real numbers, integers or bool: convert them first.",
    ),
    "number": (
        5,
        ShapeError,
        "features is a single number. Expected an array whose first axis counts examples.",
    ),
    "empty": (np.ones((0, 3)), DataError, "features of shape (0, 3) are empty. Expected at least one example."),
    "None": (None, DataError, "features=None: a DataSet needs features. Only labels and masks may be None."),
    "NaN": (
        np.array([[0, 1], [np.nan, 2]]),
        DataError,
        "features hold nan at (1, 0), which becomes nan. Expected finite numbers of float32: repair or leave out that "
        "example.",
    ),
    "infinite": (
        np.array([1, -np.inf]),
        DataError,
        "features hold -inf at (1,), which becomes -inf. Expected finite numbers of float32: repair or leave out that "
        "example.",
    ),
}


@pytest.mark.parametrize("method", ["transform", "revert_features"])
@pytest.mark.parametrize(("data", "error", "message"), WRONG_DATA.values(), ids=WRONG_DATA)
def test_data_that_cannot_be_scaled_is_refused(method, data, error, message):
    with pytest.raises(error, match=exactly(message)):
        getattr(ImagePreProcessingScaler(), method)(data)


def test_a_result_that_is_too_large_is_refused():
    expected = (
        "features hold 2.0 at (0,), which becomes inf. Expected finite numbers of float32: repair or leave out that "
        "example."
    )
    with pytest.raises(DataError, match=exactly(expected)):
        ImagePreProcessingScaler(max_range=3e38, max_pixel=1).transform([2.0])


def test_a_refused_data_set_keeps_its_features():
    features = np.array([[np.nan]])
    dataset = DataSet(features, None)
    with pytest.raises(DataError, match=r"^features hold nan at \(0, 0\), which becomes nan\. Expected finite numbers"):
        ImagePreProcessingScaler().pre_process(dataset)
    assert dataset.features is features


def test_pre_process_takes_data_sets_only():
    expected = (
        "pre_process expects a DataSet, got ndarray. Use transform for arrays, and set pre_processor for iterators."
    )
    with pytest.raises(DataError, match=exactly(expected)):
        ImagePreProcessingScaler().pre_process(PIXELS)
