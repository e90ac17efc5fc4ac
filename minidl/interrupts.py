"""Ctrl-C in training: between two updates, and never inside one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["UpdateInterrupts"]


class UpdateInterrupts:
    """Holds back the interrupts (SIGINT) that arrive in an update until that is whole.

    Python runs the handlers of signals in the main thread only: in other threads there is nothing to hold back. A
    handler that somebody else sets meanwhile stays.
    """

    def __init__(self) -> None:
        self._original: Callable[[int, FrameType | None], Any] | None = None
        self._is_holding = self._is_pending = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            original = signal.getsignal(signal.SIGINT)
            if callable(original):
                self._original = original
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._original is not None and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._original)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_holding:
            self._is_pending = True
        elif self._original is not None:
            self._original(number, frame)

    def hold(self) -> None:
        """Begin an update."""
        self._is_holding = True

    def release(self) -> None:
        """End an update, and let the interrupt through that arrived in it."""
        self._is_holding = False
        if self._is_pending:
            self._is_pending = False
            self._handle(signal.SIGINT, None)
