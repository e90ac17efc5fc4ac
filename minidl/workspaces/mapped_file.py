"""The memory behind a workspace that lives in a file."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import stat
import tempfile
from typing import IO

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, WorkspaceFullError

__all__ = ["MappedFile"]

CHUNK = 16 << 10
_REFUSED = (OSError, OverflowError, ValueError, MemoryError)
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_HINT = "Name a writable file in an existing folder, or none, and minidl makes a temporary one."


class MappedFile:
    """A file of at least ``size`` bytes, as the plain uint8 array ``bytes``; it stands in for a Block.

    A shorter file grows by zeros, a longer one is mapped whole, or up to ``limit`` bytes (0: no limit). Without a
    path it is a temporary file, which nobody else sees and which goes with the mapping. Room on the disk is taken
    at once: were it missing later, writing to an array would kill the interpreter. For the same reason nobody may
    make the file shorter while it is mapped. The mapping is shared, with a forked child too.

    Raises ConfigurationError for a path that is no writable file, and for an empty file (E8), WorkspaceFullError
    when the disk is full or the file cannot be mapped; the file is then as it was before.
    """

    __slots__ = ("_map", "bytes", "size")

    def __init__(self, path: str | None, size: int, limit: int = 0) -> None:
        file, is_new = _opened(path)
        self._map: mmap.mmap | None
        with file:
            length = os.fstat(file.fileno()).st_size
            self.size = max(size, length)
            if limit:
                self.size = min(self.size, limit)
            try:
                if self.size == 0:
                    raise ConfigurationError(
                        f"{path!r}: the file should have positive length, as initial_size is 0. Set initial_size."
                    )
                self._map = _mapped(file, length, self.size, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    file.truncate(length)
                    if is_new and path is not None:
                        os.unlink(path)
                raise
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(memoryview(self._map), np.uint8)

    def poison(self, start: int, stop: int) -> None:
        """Do nothing: what is in the file is to stay."""

    def release(self) -> None:
        """Unmap the file, as soon as no array looks at it any more."""
        self._map = None
        self.bytes = np.empty(0, np.uint8)
        self.size = 0


def _opened(path: str | None) -> tuple[IO[bytes], bool]:
    """Return the file, open, and whether it is a new one."""
    try:
        if path is None:
            return tempfile.TemporaryFile(buffering=0), True
        is_new = not os.path.exists(path)
        file = open(path, "x+b" if is_new else "r+b", buffering=0)  # noqa: SIM115 - the caller closes it
    except (OSError, ValueError) as error:
        name = "a temporary file" if path is None else repr(path)
        raise ConfigurationError(f"temp_file_path: {name} cannot be opened for writing ({error}). {_HINT}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ConfigurationError(f"temp_file_path: {path!r} is not a regular file and cannot be mapped. {_HINT}")
    return file, is_new


def _mapped(file: IO[bytes], length: int, size: int, path: str | None) -> mmap.mmap:
    name = "a temporary file" if path is None else repr(path)
    try:
        _take_room(file, length, size)
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_WRITE)
    except _REFUSED as error:
        raise WorkspaceFullError(
            f"Can't allocate memory: {name} cannot be mapped with {size} bytes ({error}). Free room on the disk, "
            "lower initial_size, or set temp_file_path to a file on another disk."
        ) from error


def _take_room(file: IO[bytes], length: int, size: int) -> None:
    """Make the file ``size`` bytes long if it is shorter, all of them really on the disk."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    missing = size - length
    if missing > shutil.disk_usage(file.name if isinstance(file.name, str) else tempfile.gettempdir()).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    file.seek(length)
    while missing > 0:
        missing -= file.write(bytes(min(CHUNK, missing)))
