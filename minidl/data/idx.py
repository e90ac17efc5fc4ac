"""Files in the IDX format of MNIST: bytes 0, 0, type and number of axes, then the extents, then the data."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import DataError

__all__ = ["read_idx"]

TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
UINT8 = 0x08
GZIP_MAGIC = b"\x1f\x8b"
LARGEST_RATIO = 1032  # of deflate: a byte of a file becomes no more than these
MAX_BYTES = 2**30  # of data; what MNIST's relatives have is half of it
CHUNK = 2**20


def read_idx(path: Path, item_shape: tuple[int, ...]) -> np.ndarray:
    """Return the items of an IDX file, plain or compressed by gzip: uint8 of shape (count,) + ``item_shape``.

    No more is allocated than the file can fill, and no more is decompressed than its header announces, and one byte.

    Raises DataError that names the file for one that cannot be read, is no IDX file of bytes, has other axes, or has
    more or less data than its header announces.
    """
    try:
        with path.open("rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            if raw.peek(2)[:2] != GZIP_MAGIC:
                return _items(raw, path, item_shape, size - 4 * (2 + len(item_shape)))
            with gzip.GzipFile(fileobj=raw) as file:
                return _items(file, path, item_shape, LARGEST_RATIO * size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _unusable(path, f"broken gzip data ({error})", "a whole file") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}. Make it readable, or give another folder."
        ) from error


def _items(file: BinaryIO | gzip.GzipFile, path: Path, item_shape: tuple[int, ...], most: int) -> np.ndarray:
    """Return the items of an open file, which holds ``most`` bytes of data at most."""
    shape = _shape(file, path, item_shape)
    size = math.prod(shape)
    announced = f"a header that announces {size} bytes of data"
    if size > min(most, MAX_BYTES):  # before any memory is asked for
        raise _unusable(path, announced, f"at most {min(most, MAX_BYTES)}, from a file of this size")
    items = np.empty(shape, np.uint8)
    filled = _fill(file, items.reshape(-1).data)
    if filled < size:
        raise _unusable(path, f"{announced}, and {filled} bytes", "as many as announced")
    if file.read(1):
        raise _unusable(path, f"{announced}, and more bytes", "as many as announced")
    return items


def _shape(file: BinaryIO | gzip.GzipFile, path: Path, item_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the extents that the header announces."""
    axes = 1 + len(item_shape)
    header = file.read(4 + 4 * axes)
    magic = bytes([0, 0, UINT8, axes])
    if header[:2] != magic[:2] or len(header) < 4 or header[2] not in TYPES:
        found = f"the first bytes {header[:4].hex(' ')}" if header else "no bytes"
        raise _unusable(path, found, f"{magic.hex(' ')}, with which an IDX file of bytes begins")
    if header[2] != UINT8:
        raise _unusable(path, f"items of type {TYPES[header[2]]}", "uint8")
    if header[3] != axes:
        raise _unusable(path, f"{header[3]} axes", f"{axes}; images have 3 and labels 1")
    if len(header) < 4 + 4 * axes:
        raise _unusable(path, f"{len(header)} bytes", f"a header of {4 + 4 * axes} bytes")
    count, *extents = struct.unpack(f">{axes}I", header[4:])
    if tuple(extents) != item_shape:
        raise _unusable(path, f"images of {_by(extents)} pixels", _by(item_shape))
    if count == 0:
        raise _unusable(path, "no examples", "at least one")
    return count, *extents


def _fill(file: BinaryIO | gzip.GzipFile, buffer: memoryview) -> int:
    """Read into ``buffer`` until it is full or the file ends, and return how many bytes."""
    filled = 0
    while filled < len(buffer):
        # in pieces, as each is copied once
        data = file.read(min(CHUNK, len(buffer) - filled))
        if not data:
            break
        buffer[filled : filled + len(data)] = data
        filled += len(data)
    return filled


def _by(extents: tuple[int, ...] | list[int]) -> str:
    return " x ".join(str(extent) for extent in extents)


def _unusable(path: Path, found: str, expected: str) -> DataError:
    return DataError(f"{path} has {found}. Expected {expected}. The file is damaged or not the right one: replace it.")
