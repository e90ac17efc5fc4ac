"""What all evaluations have in common."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self, TypeVar

from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError, NotInitializedError, ShapeError
from .inputs import Accepted, BatchReader, Rows, checked_axis
from .metrics import plural
from .scratch import Scratch

__all__ = ["BaseEvaluation", "check_evaluations", "check_labels", "eval_together"]


EvaluationType = TypeVar("EvaluationType", bound="BaseEvaluation")


class BaseEvaluation(ABC):
    """Counts that grow batch by batch and give metrics at any time (DL4J: IEvaluation).

    A subclass implements ``_check``, ``_accumulate``, ``reset``, ``merge`` and ``stats``, and for JSON and ``==``
    ``_options``, ``_state`` and ``_set_state``. It keeps counts, never an array it was handed: labels and predictions
    may be views into recycled memory. ``axis`` is the one of the classes, or outputs, in labels and predictions: 1 for
    (batch, n_out, time) and (batch, n_out, height, width), -1 where they are last. Two evaluations are equal if their
    options, but for ``axis``, and all that they counted are; the order of the examples does not matter, but that of
    sums of real numbers, which rounding makes differ.
    """

    _accepted: ClassVar[Accepted] = Accepted()

    def __init__(self, axis: int = 1) -> None:
        self.axis = checked_axis(axis)
        self._scratch = Scratch()
        self._reader = BatchReader(type(self).__name__, self._scratch, self._accepted)

    def eval(self, labels: ArrayLike, predictions: ArrayLike, mask: ArrayLike | None = None) -> None:
        """Add one batch.

        Shapes: predictions (batch, n_out), (batch, n_out, time), (batch, n_out, height, width), or with one axis more,
        and n_out at ``axis``; labels the same, or integer class indices without the axis of n_out where the evaluation
        is one of classes. mask: (batch,) or (batch, 1) for examples, the shape of class indices for time steps or
        pixels, and the shape of the predictions for outputs, where the class says so. What is masked is left out; a
        fully masked batch changes nothing. After the first batch of its size it allocates no arrays (exact ROC: as long
        as ``expected_examples`` is not exceeded).

        Raises ShapeError, DataError or DtypeError, and then leaves the counts as they were.
        """
        self._add(labels, predictions, mask, None)

    def _add(
        self, labels: ArrayLike, predictions: ArrayLike, mask: ArrayLike | None, metadata: Sequence[Any] | None
    ) -> None:
        rows = self._checked_rows(labels, predictions, mask)
        if rows is not None:
            self._accumulate(rows if metadata is None else rows.with_metadata(type(self).__name__, metadata))

    def _checked_rows(self, labels: ArrayLike, predictions: ArrayLike, mask: ArrayLike | None) -> Rows | None:
        """Return the rows that count, None if a mask leaves none; raise what ``eval`` raises."""
        rows = self._reader.read(labels, predictions, mask, self.axis)
        if rows is not None:
            self._check(rows)
        return rows

    @abstractmethod
    def _check(self, rows: Rows) -> None:
        """Raise what ``eval`` raises for dense rows, which are C-contiguous and without NaN."""

    @abstractmethod
    def _accumulate(self, rows: Rows) -> None:
        """Add checked rows, which belong to this call only."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all batches; options and label names stay."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add the counts of ``other``, as if its batches had come here too; ``other`` stays as it is."""

    @abstractmethod
    def stats(self) -> str:
        """Return the report as text."""

    def to_json(self) -> str:
        """Return options and counts as JSON, from which ``from_json`` makes an equal evaluation.

        Raises ConfigurationError for a class that did not say how.
        """
        data = {"class": type(self).__name__, "options": {**self._options(), "axis": self.axis}, "state": self._state()}
        return json.dumps(data, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the evaluation that ``to_json`` wrote, of this class or one derived from it.

        ``BaseEvaluation.from_json`` takes those of any class. Raises ConfigurationError for any other text.
        """
        try:
            data = json.loads(text)
            name, options, state = data["class"], dict(data["options"]), dict(data["state"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ConfigurationError(
                f"this is not the JSON of an evaluation ({type(error).__name__}: {error}). Pass the text that "
                "to_json() returned."
            ) from error
        known = {found.__name__: found for found in _with_subclasses(cls) if not found.__abstractmethods__}
        if not isinstance(name, str) or name not in known:
            raise ConfigurationError(
                f"this JSON holds {name!r}, expected one of: {', '.join(sorted(known))}. Import the module that "
                "defines it first, or call BaseEvaluation.from_json()."
            )
        try:
            evaluation = known[name](**options)
            evaluation._set_state(state)
        except ConfigurationError:
            raise
        except Exception as error:  # wrong kinds of values raise anything
            raise ConfigurationError(
                f"this JSON of {name} is damaged ({type(error).__name__}: {error}). Pass the text that to_json() "
                "returned."
            ) from error
        return evaluation

    def _options(self) -> dict[str, Any]:
        """Return what ``__init__`` was given but for ``axis``, as JSON knows it."""
        raise ConfigurationError(
            f"{type(self).__name__} cannot be written as JSON: it has no _options(), _state() and _set_state(state). "
            "Define them."
        )

    def _state(self) -> dict[str, Any]:
        """Return what was counted, as JSON knows it."""
        return {}

    def _counted(self) -> Any:
        """Return what ``==`` compares: all that was counted, whatever the order of the examples."""
        return self._state()

    def _other_width(self, count: int, what: str, columns: int, names: Sequence[str] = ()) -> ShapeError:
        """Return the error for predictions of another width than that of the ``names``, or of what came before."""
        name = type(self).__name__
        if names and len(names) == count:
            given = plural(count, "name" if what == "column" else "label")
            return ShapeError(f"{name} with {given} got predictions with {columns} columns. Name every {what} once.")
        return ShapeError(
            f"{name} of {plural(count, what)} got predictions with {columns} columns. Use one {name} per kind of "
            "output, or reset() it."
        )

    def _set_state(self, state: dict[str, Any]) -> None:
        """Take over what ``_state`` returned, and raise for anything else; this evaluation is new."""
        if state:
            raise ValueError(f"the state has {sorted(state)}, but {type(self).__name__} keeps none")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        known = type(self)._options is not BaseEvaluation._options
        if not known or type(other) is not type(self) or not isinstance(other, BaseEvaluation):
            return NotImplemented
        return self._options() == other._options() and self._counted() == other._counted()

    __hash__ = None  # type: ignore[assignment]  # it changes with every batch

    def _check_same_options(self, other: "BaseEvaluation", *options: str) -> None:
        if type(other) is not type(self):
            raise ConfigurationError(
                f"cannot merge {type(other).__name__} into {type(self).__name__}. Merge evaluations of one class only."
            )
        for option in options:
            mine, theirs = getattr(self, option), getattr(other, option)
            if mine != theirs:
                raise ConfigurationError(
                    f"cannot merge {type(self).__name__} with {option}={theirs} into one with "
                    f"{option}={mine}: the counts differ in meaning. Create both with the same {option}."
                )

    def _no_data(self) -> NotInitializedError:
        return NotInitializedError(
            f"{type(self).__name__}: no evaluation has been performed. Call eval(labels, predictions) first."
        )


def _with_subclasses(cls: type[EvaluationType]) -> Iterator[type[EvaluationType]]:
    for child in cls.__subclasses__():
        yield from _with_subclasses(child)
    yield cls


def eval_together(given: Sequence[tuple[BaseEvaluation, Sequence[Any]]]) -> None:
    """Call ``eval`` of several evaluations, each with its (labels, predictions, mask): all of them, or none.

    If one refuses the batch, those of minidl have not counted it. Classes of users go first, whole.
    """
    package = __name__.partition(".")[0]
    own = [(one, arguments) for one, arguments in given if type(one).__module__.partition(".")[0] == package]
    checked = [(one, one._checked_rows(*arguments)) for one, arguments in own]
    for one, arguments in given:
        if type(one).__module__.partition(".")[0] != package:
            one.eval(*arguments)
    for one, rows in checked:
        if rows is not None:
            one._accumulate(rows)


def check_labels(evaluation: BaseEvaluation, labels: NDArray, mask: NDArray | None) -> None:
    """Raise what ``eval`` will raise for such labels (batch, n, ...) and mask, whatever the predictions."""
    if type(evaluation).__module__.partition(".")[0] == __name__.partition(".")[0]:
        evaluation._checked_rows(labels, labels, mask)


def check_evaluations(evaluations: Sequence[object]) -> None:
    """Raise ConfigurationError unless there is at least one, and each is an evaluation."""
    for evaluation in evaluations:
        if not isinstance(evaluation, BaseEvaluation):
            raise ConfigurationError(f"{evaluation!r} is not an evaluation. Pass objects such as Evaluation(), ROC().")
    if not evaluations:
        raise ConfigurationError("do_evaluation() got no evaluations. Pass some: do_evaluation(data, Evaluation()).")
