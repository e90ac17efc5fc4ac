"""When cyclic garbage is collected: when Python likes, at chosen moments between iterations, or not at all."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import operator
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from ..errors import ConfigurationError
from .manager import ScopedOut
from .thread_state import state
from .workspace import Workspace

__all__ = ["MemoryManager", "memory_manager"]

MAX_INTERVALS = 100


class _Collector:
    """Python's collector of cyclic garbage, and the sections that keep it from running.

    The switch belongs to the process. Were each section to restore what it found, two that overlap would leave the
    collector off for ever; so what was found first is kept until the last section is left.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sections = 0
        self._was_enabled = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        with self._lock:
            if self._sections == 0:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._sections += 1
        try:
            yield
        finally:
            with self._lock:
                self._sections -= 1
                if self._sections == 0 and self._was_enabled:
                    gc.enable()


class _Loop(threading.local):
    """When the last iteration of this thread's loop ended, in seconds."""

    last_end: float | None = None


_collector = _Collector()
_loop = _Loop()


class MemoryManager:
    """Says when cyclic garbage is collected while a network trains. The settings hold for the whole process.

    Python frees an array at once when nobody refers to it any more. Its collector only looks for objects that refer
    to each other in a circle; it starts by itself, also in the middle of an iteration, and with many objects it takes
    long. Nothing of that is changed until a setting is. Then, inside ``fit``:

    - ``toggle_periodic_gc(False)``: the collector does not start by itself;
    - ``toggle_periodic_gc(True)``: garbage is collected between iterations as well, whenever ``auto_gc_window``
      milliseconds have passed since this manager collected last;
    - ``set_occasional_gc_frequency(n)``: the same after every n-th iteration, if the window has passed. Together with
      ``toggle_periodic_gc(False)`` garbage is collected then and only then.

    Loops of your own get the same with ``training_loop()`` and ``invoke_gc_occasionally()``.
    Source: ND4J ``MemoryManager``, ``BasicMemoryManager``, where periodic collection is off as long as nobody asks.
    """

    def __init__(self) -> None:
        self._periodic: bool | None = None
        self._window = 100.0
        self._frequency = 0
        self._averaging = False
        self._calls = itertools.count(1)
        self._intervals: deque[float] = deque(maxlen=MAX_INTERVALS)
        self._last_collection = -math.inf
        self._last_gc_time = 0

    # Settings

    @property
    def is_periodic_gc_active(self) -> bool:
        """Whether garbage is collected between iterations by the clock."""
        return self._periodic is True

    def toggle_periodic_gc(self, enabled: bool | None) -> None:
        """Collect by the clock (True), keep the collector from running (False), or leave all to Python (None).

        ``fit`` calls that run already keep what held when they began as to the pause. Raises ConfigurationError.
        """
        self._periodic = None if enabled is None else _flag(enabled, "toggle_periodic_gc")

    @property
    def auto_gc_window(self) -> float:
        """The least time between two collections by the clock or by a frequency, in milliseconds."""
        return self._window

    def set_auto_gc_window(self, milliseconds: float) -> None:
        """Set the least time between two collections. Raises ConfigurationError for what is no time."""
        if not isinstance(milliseconds, (int, float)) or isinstance(milliseconds, bool) or not milliseconds >= 0:
            raise ConfigurationError(
                f"set_auto_gc_window got {milliseconds!r}, which is no number of milliseconds. Pass 10_000 for ten "
                "seconds, or 0 to collect whenever it is asked for."
            )
        self._window = milliseconds

    @property
    def occasional_gc_frequency(self) -> int:
        """After how many calls ``invoke_gc_occasionally`` collects; 0 means never."""
        return self._frequency

    def set_occasional_gc_frequency(self, frequency: int) -> None:
        """Collect at every ``frequency``-th call of ``invoke_gc_occasionally``; 0: never. Raises ConfigurationError."""
        self._frequency = _count(frequency)
        self._calls = itertools.count(1)

    # Collecting

    def invoke_gc(self) -> None:
        """Collect cyclic garbage now."""
        gc.collect()
        self._last_collection = time.monotonic()
        self._last_gc_time = int(time.time() * 1000)

    def invoke_gc_occasionally(self) -> None:
        """Tell that an iteration ended, and collect if it is time; ``fit`` calls this after every iteration."""
        if not (self._periodic or self._frequency or self._averaging):
            return
        now = time.monotonic()
        if self._averaging:
            if _loop.last_end is not None:
                self._intervals.append((now - _loop.last_end) * 1000)
            _loop.last_end = now
        is_nth = self._frequency > 0 and next(self._calls) % self._frequency == 0
        if (self._periodic or is_nth) and (now - self._last_collection) * 1000 >= self._window:
            self.invoke_gc()

    @property
    def last_gc_time(self) -> int:
        """When this manager collected last, in milliseconds since 1970; 0 if it never did."""
        return self._last_gc_time

    @contextlib.contextmanager
    def training_loop(self) -> Iterator[None]:
        """Apply the settings to a loop inside a ``with`` block; ``fit`` runs in one.

        With ``toggle_periodic_gc(False)`` it is ``collection_paused``.
        """
        _loop.last_end = None  # the time between two loops is no interval
        with self.collection_paused() if self._periodic is False else contextlib.nullcontext():
            yield

    def collection_paused(self) -> contextlib.AbstractContextManager[None]:
        """Keep Python's collector from starting by itself inside a ``with`` block, in the whole process.

        Blocks may nest and overlap, in any threads: the collector is as it was before the first when the last one is
        left, so it stays off if it was off. ``gc.collect()`` and ``invoke_gc()`` work all the time.
        """
        return _collector.paused()

    def purge_caches(self) -> None:
        """Do nothing: on a CPU no cache holds memory back. Source: ND4J."""

    # The time an iteration takes

    def toggle_averaging(self, enabled: bool) -> None:
        """Measure the time between iterations, anew, or stop measuring. Raises ConfigurationError."""
        self._averaging = _flag(enabled, "toggle_averaging")
        self._intervals.clear()
        _loop.last_end = None

    @property
    def average_loop_time(self) -> float:
        """The mean of the last 100 or fewer intervals between iterations, in milliseconds; 0 without averaging."""
        intervals = list(self._intervals)
        return statistics.fmean(intervals) if intervals else 0.0

    # Workspaces

    @property
    def current_workspace(self) -> Workspace | None:
        """The workspace that new arrays of this thread go to, or None."""
        return state.current

    def scope_out_of_workspaces(self) -> ScopedOut:
        """Return a scope, entered, in which no workspace is current."""
        return ScopedOut()


def _flag(value: Any, method: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{method} got {value!r}, expected True or False.")
    return value


def _count(value: Any) -> int:
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise ConfigurationError(
            f"set_occasional_gc_frequency got {value!r}, which is no whole number of at least 0. Pass 100 to collect "
            "at every hundredth iteration, or 0 for never."
        )
    return number


memory_manager = MemoryManager()
