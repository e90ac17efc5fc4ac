"""What surrounds training and evaluation."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

__all__ = ["ProgressBar"]


class ProgressBar:
    """A bar that counts minibatches for ``what``, and shows the score where there is one; a context manager.

    ``batches`` is their number, None if it is not known. ``shows`` True or False is a user's wish; None shows the bar
    in a terminal if ``otherwise`` is set, and keeps log files clean.
    """

    def __init__(self, what: str, batches: int | None, shows: bool | None, *, otherwise: bool) -> None:
        self._bar: tqdm[Any] | None = None
        self._network: Any = None
        if shows or (shows is None and otherwise):
            self._bar = tqdm(total=batches, unit="batch", desc=what, disable=False if shows else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._show_score()
            self._bar.close()

    def iteration_done(self, network: Any = None) -> None:
        """Count a minibatch, of which ``network`` has the score."""
        self._network = network
        if self._bar is not None and self._bar.update():
            self._show_score()  # when the bar is drawn the next time

    def _show_score(self) -> None:
        if self._bar is not None and self._network is not None:
            self._bar.set_postfix(score=f"{self._network.score():.4f}", refresh=False)
