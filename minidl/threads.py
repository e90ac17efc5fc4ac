"""How many threads BLAS may use: one counted limit for the whole process."""

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from threadpoolctl import LibController, ThreadpoolController

from .errors import ConfigurationError

__all__ = ["blas_threads", "current_blas_threads"]


class _BlasPools:
    """The BLAS libraries of this process, and the sections that limit them.

    The setting belongs to the process. Were each section to restore what it found, two that overlap would
    leave the process limited for ever; so what was found first is kept until the last section is left.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, LibController] = {}
        self._modules_seen = 0
        self._limits: list[int] = []
        self._originals: dict[str, int] = {}

    @contextmanager
    def limited(self, limit: int) -> Iterator[None]:
        with self._lock:
            self._limits.append(limit)
        try:
            with self._lock:
                self._apply()
            yield
        finally:
            with self._lock:
                self._limits.remove(limit)
                self._apply()

    def num_threads(self) -> int:
        with self._lock:
            self._find_pools()
            return max((pool.get_num_threads() for pool in self._pools.values()), default=1)

    def _apply(self) -> None:
        self._find_pools()
        for path, pool in self._pools.items():
            original = self._originals.setdefault(path, pool.get_num_threads())
            _set_num_threads(pool, min([original, *self._limits]))
        if not self._limits:
            self._originals.clear()

    def _find_pools(self) -> None:
        """Look for libraries, 5 ms, only when modules were imported since: a BLAS comes with a module."""
        modules = len(sys.modules)
        if modules == self._modules_seen:
            return
        for pool in ThreadpoolController().select(user_api="blas").lib_controllers:
            self._pools.setdefault(pool.filepath, pool)
        self._modules_seen = modules


def _set_num_threads(pool: LibController, count: int) -> None:
    """Set the count from any thread; newer threadpoolctl obeys the first thread that asked, and no other."""
    release = getattr(pool, "clear_controlling_thread", lambda force: None)
    release(force=True)
    pool.set_num_threads(count)
    release(force=True)


_blas_pools = _BlasPools()


def blas_threads(limit: int) -> AbstractContextManager[None]:
    """Let BLAS use at most ``limit`` threads inside a ``with`` block, in the whole process.

    Blocks may nest and overlap, in any threads and any order: the smallest limit of the open blocks holds,
    never more threads than before the first of them, and what was set before returns when the last one is
    left. A BLAS that is loaded while blocks are open, such as SciPy's, is limited from the next entry or
    exit of a block on.

    Raises
    ------
    ConfigurationError
        If ``limit`` is not an integer of 1 or more.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigurationError(
            f"blas_threads(limit) expects an integer of 1 or more, got {limit!r}. "
            "Pass 1 for BLAS without threads of its own."
        )
    return _blas_pools.limited(limit)


def current_blas_threads() -> int:
    """Return how many threads BLAS may use now: the most of all its libraries, 1 where none can be asked."""
    return _blas_pools.num_threads()
