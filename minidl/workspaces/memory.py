"""The memory behind a workspace: one private mapping that is given back at once, even while arrays look at it."""

import contextlib
import mmap
import sys

import numpy as np
import numpy.typing as npt

from ..errors import WorkspaceFullError

__all__ = ["Block", "POISON"]

POISON = 0xFF  # NaN in every float type
HUGE_PAGES_FROM = 4 << 20
_PRIVATE = hasattr(mmap, "MAP_PRIVATE") and hasattr(mmap, "MAP_ANONYMOUS") and sys.platform != "win32"


class Block:
    """``size`` bytes of zero-filled memory, as the plain uint8 array ``bytes``.

    Arrays are made over ``bytes``, which holds a memoryview of the mapping: made over the mapping itself they
    would not keep it, and a close would leave them pointing into nothing. The mapping is private, or a forked
    child would write into its parent's arrays. Raises WorkspaceFullError when the system has no such memory.
    """

    __slots__ = ("_map", "bytes", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._map: mmap.mmap | None = None
        self.bytes: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        if size == 0:
            return
        try:
            if _PRIVATE:
                self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                self.bytes = np.frombuffer(memoryview(self._map), np.uint8)
            else:
                self.bytes = np.zeros(size, np.uint8)
        except (OSError, OverflowError, ValueError, MemoryError) as error:
            raise WorkspaceFullError(
                f"Can't allocate memory: a buffer of {size} bytes is more than the system gives ({error}). "
                "Lower initial_size or min_size, or set max_size."
            ) from error
        if size >= HUGE_PAGES_FROM:
            self._advise("MADV_HUGEPAGE")

    def poison(self, start: int, stop: int) -> None:
        """Fill the bytes from ``start`` to before ``stop`` with POISON, so that reading them shows."""
        self.bytes[start:stop].fill(POISON)

    def release(self) -> None:
        """Give the memory back to the system; what arrays that still look at it read is then undefined."""
        self._advise("MADV_DONTNEED")
        self._map = None
        self.bytes = np.empty(0, np.uint8)
        self.size = 0

    def _advise(self, advice: str) -> None:
        if self._map is not None and hasattr(mmap, advice):
            with contextlib.suppress(OSError):  # only advice: some kernels do not know it
                self._map.madvise(getattr(mmap, advice))
