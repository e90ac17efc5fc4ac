"""What evaluations counted, to and from what JSON knows."""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["counts_of", "numbers_of", "packed", "unpacked"]

KNOWN_DTYPES = ("<f4", "<f8", "|i1")


def counts_of(state: Mapping[str, Any], name: str, length: int) -> NDArray[np.int64]:
    """Return ``state[name]``, ``length`` counts, as an array; raise ValueError for anything else."""
    counts = state[name]
    if not isinstance(counts, list) or len(counts) != length:
        raise ValueError(f"{name} is no list of {length} counts")
    if not all(type(count) is int and 0 <= count < 2**63 for count in counts):
        raise ValueError(f"{name} has an item that is no count")
    return np.array(counts, np.int64)


def numbers_of(state: Mapping[str, Any], name: str, length: int) -> NDArray[np.float64]:
    """Return ``state[name]``, ``length`` finite numbers, as an array; raise ValueError for anything else."""
    numbers = state[name]
    if not isinstance(numbers, list) or len(numbers) != length:
        raise ValueError(f"{name} is no list of {length} numbers")
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError(f"{name} has an item that is no finite number")
    return np.array(numbers, np.float64)


def packed(array: NDArray) -> dict[str, Any]:
    """Return an array with its bytes, little endian, in base64."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    data = base64.b64encode(little.tobytes()).decode("ascii")
    return {"dtype": little.dtype.str, "shape": list(little.shape), "base64": data}


def unpacked(state: Mapping[str, Any], name: str) -> NDArray:
    """Return the array that ``packed`` wrote as ``state[name]``; raise ValueError for anything else."""
    data = state[name]
    if data["dtype"] not in KNOWN_DTYPES:
        raise ValueError(f"{name} has the dtype {data['dtype']!r}")
    values = np.frombuffer(base64.b64decode(data["base64"], validate=True), data["dtype"])
    if not all(type(extent) is int and extent >= 0 for extent in data["shape"]):
        raise ValueError(f"{name} has the shape {data['shape']!r}")
    array = values.reshape(data["shape"])
    return array.astype(array.dtype.newbyteorder("="))
