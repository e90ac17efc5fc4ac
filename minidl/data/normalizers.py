"""What brings features into a range that networks learn well from, as a ``pre_processor`` of an iterator."""

from dataclasses import dataclass, field
from typing import Self, overload

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigurationError, DataError
from ..numeric_options import set_real
from ..options import CheckedOptions
from .dataset import DataSet

__all__ = ["ImagePreProcessingScaler"]

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class ImagePreProcessingScaler(CheckedOptions):
    """Pixels in [0, max_pixel] to [min_range, max_range]: x / max_pixel (max_range - min_range) + min_range.

    ``iterator.pre_processor = ImagePreProcessingScaler()`` scales each batch as it is handed out. Arrays of the
    caller are never changed. There is nothing to learn, so ``fit`` may be left out.

    Parameters
    ----------
    min_range, max_range : what 0 and ``max_pixel`` become
    max_pixel : the largest value of a pixel: 255 in images of 8 bits, 65535 in those of 16

    Shapes
    ------
    Any (batch, ...) of real numbers, integers or bool, to the same shape in float32.

    Raises
    ------
    ConfigurationError : an option is not a finite number, ``min_range`` is not below ``max_range`` or ``max_pixel``
        not above 0
    DataError : a value that is not finite, before or after
    DtypeError, ShapeError : not an array of numbers whose first axis counts examples, as in DataSet

    Source: ND4J ``ImagePreProcessingScaler``, whose third option is the number of bits and not the largest value.
    """

    min_range: float = 0.0
    max_range: float = 1.0
    max_pixel: float = field(default=255.0, kw_only=True)  # ND4J has a number of bits in this place

    def __post_init__(self) -> None:
        set_real(self, "min_range", _fits_float32, "a finite number of float32, such as 0.0 or -1.0")
        set_real(self, "max_range", _fits_float32, "a finite number of float32, such as 1.0")
        set_real(self, "max_pixel", _is_divisor, "a finite number of float32 above 0. Give 255.0 for images of 8 bits")
        if not _is_divisor(self.max_range - self.min_range):
            raise ConfigurationError(
                f"ImagePreProcessingScaler: min_range={self.min_range} is not below max_range={self.max_range} by a "
                "finite number of float32. Exchange them, or choose others."
            )

    def fit(self, data: object) -> Self:
        """Return this scaler: the range is given, so nothing of ``data`` is read."""
        return self

    def pre_process(self, dataset: DataSet) -> None:
        """Put scaled features into ``dataset``, in an array of their own. Raises as the class says."""
        if not isinstance(dataset, DataSet):
            raise DataError(
                f"pre_process expects a DataSet, got {type(dataset).__name__}. Use transform for arrays, and set "
                "pre_processor for iterators."
            )
        dataset.features = self._scaled(dataset.features)

    __call__ = pre_process

    @overload
    def transform(self, data: DataSet) -> DataSet: ...

    @overload
    def transform(self, data: ArrayLike) -> np.ndarray: ...

    def transform(self, data: DataSet | ArrayLike) -> DataSet | np.ndarray:
        """Return scaled pixels (batch, ...) as a new float32 array; of a DataSet the same object, after pre_process.

        Raises as the class says.
        """
        if isinstance(data, DataSet):
            self.pre_process(data)
            return data
        return self._scaled(DataSet(data, None).features)

    def revert_features(self, features: ArrayLike) -> np.ndarray:
        """Return the pixels (batch, ...) that ``features`` were made of, as a new float32 array, not rounded.

        Raises as the class says.
        """
        scaled = DataSet(features, None).features
        with np.errstate(over="ignore", invalid="ignore"):  # _check_finite says it with the place
            pixels = np.subtract(scaled, self.min_range, dtype=np.float32)
            np.divide(pixels, self.max_range - self.min_range, out=pixels)
            np.multiply(pixels, self.max_pixel, out=pixels)
        _check_finite(pixels, scaled)
        return pixels

    def _scaled(self, pixels: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.divide(pixels, self.max_pixel, dtype=np.float32)
            np.multiply(scaled, self.max_range - self.min_range, out=scaled)
            np.add(scaled, self.min_range, out=scaled)
        _check_finite(scaled, pixels)
        return scaled


def _fits_float32(value: float) -> bool:
    return abs(value) <= LARGEST


def _is_divisor(value: float) -> bool:
    return SMALLEST <= value <= LARGEST


def _check_finite(result: np.ndarray, source: np.ndarray) -> None:
    if result.size and not np.isfinite([result.min(), result.max()]).all():  # without an array of flags
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise DataError(
            f"features hold {source[place]} at {place}, which becomes {result[place]}. Expected finite numbers of "
            "float32: repair or leave out that example."
        )
