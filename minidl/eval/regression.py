"""Errors and correlations of predicted numbers."""

import enum
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, ShapeError
from ..options import enum_option
from .base import BaseEvaluation
from .inputs import Accepted, Rows
from .metrics import checked_class, plural
from .moments import Moments
from .options import class_names, whole_number
from .report import scientific, table_row

__all__ = ["RegressionEvaluation", "RegressionMetric"]


class RegressionMetric(enum.Enum):
    """What ``RegressionEvaluation.score_for_metric`` gives (DL4J: RegressionEvaluation.Metric)."""

    MSE = "mean_squared_error"
    MAE = "mean_absolute_error"
    RMSE = "root_mean_squared_error"
    RSE = "relative_squared_error"
    PC = "pearson_correlation"
    R2 = "r_squared"

    @property
    def minimize(self) -> bool:
        """Whether smaller is better."""
        return self not in (RegressionMetric.PC, RegressionMetric.R2)


class RegressionEvaluation(BaseEvaluation):
    """MSE, MAE, RMSE, RSE, Pearson correlation and R^2 of each column (DL4J: RegressionEvaluation).

    With labels y and predictions p of one column and means ȳ and p̄: MSE = mean (p - y)^2, MAE = mean |p - y|,
    RMSE = sqrt(MSE), RSE = Σ(p - y)^2 / Σ(y - ȳ)^2, R^2 = 1 - RSE, and the correlation
    Σ(y - ȳ)(p - p̄) / sqrt(Σ(y - ȳ)^2 Σ(p - p̄)^2). Masks may be per output, and what they leave out may be NaN. Sums
    are kept in double precision and around the means, so large means cost no digits. Where all labels are equal, RSE is
    infinite, R^2 -infinity (NaN without any error), and the correlation NaN; a column without examples has NaN
    throughout. Unlike in DL4J, ``merge`` and ``reset`` are complete.

    All metrics raise NotInitializedError without data, and DataError for a column out of range.

    Parameters
    ----------
    columns
        How many there are, or their names; taken from the first batch if not given.
    precision
        Decimals in the report.
    axis
        The axis of the columns in labels and predictions.
    """

    _accepted = Accepted(class_indices=False, output_masks=True, float64=True)

    def __init__(self, columns: int | Sequence[str] | None = None, precision: int = 5, *, axis: int = 1) -> None:
        super().__init__(axis)
        self._fixed_columns: int | None = None
        self.column_names: tuple[str, ...] = ()
        if columns is not None and not hasattr(columns, "__iter__"):
            self._fixed_columns = whole_number("columns", columns, 1, "at least 1, a list of names, or None")
        elif columns is not None:
            self.column_names = class_names(columns)  # type: ignore[arg-type]  # not a number
            self._fixed_columns = len(self.column_names) or None
        self.precision = whole_number("precision", precision, 0, "a number of decimals, 0 to 17")
        if self.precision > 17:  # more than float64 has
            raise ConfigurationError(f"precision={precision!r}: expected a number of decimals, 0 to 17.")
        self.reset()

    def reset(self) -> None:
        """Forget all batches; options and column names stay."""
        self._moments = None if self._fixed_columns is None else Moments(self._fixed_columns)

    def _check(self, rows: Rows) -> None:
        columns = rows.predictions.shape[1]
        if self._moments is not None and self._moments.columns != columns:
            raise self._other_width(self._moments.columns, "column", columns, self.column_names)

    def _accumulate(self, rows: Rows) -> None:
        if self._moments is None:
            self._moments = Moments(rows.predictions.shape[1])
        self._moments.add(rows.labels, rows.predictions, rows.kept, self._scratch)

    def _moments_of(self, columns: int, problem: str) -> Moments:
        """Return the moments of so many columns, to merge with or to read from JSON."""
        if self._moments is None:
            self._moments = Moments(columns)
        if self._moments.columns != columns:
            raise ShapeError(
                f"RegressionEvaluation of {plural(self._moments.columns, 'column')} {problem} with {columns} columns. "
                f"Use one RegressionEvaluation per kind of output, or reset() it."
            )
        return self._moments

    def merge(self, other: "RegressionEvaluation") -> None:
        """Add all sums of ``other``, and take its column names if there are none here.

        Raises ShapeError for another number of columns.
        """
        self._check_same_options(other)
        if other._moments is not None:
            mine = self._moments_of(other._moments.columns, "cannot be merged with one")
            mine.merge(other._moments)
            if not self.column_names:
                self.column_names = other.column_names
                self._fixed_columns = self._fixed_columns or len(self.column_names) or None

    @property
    def num_columns(self) -> int | None:
        """Number of columns, None while it is unknown."""
        return None if self._moments is None else self._moments.columns

    def total_count(self, column: int) -> int:
        """Return the number of examples of one column, without masked ones."""
        return int(self._column(self._with_data().counts, column))

    def mean_squared_error(self, column: int) -> float:
        """Mean of (p - y)^2."""
        return self._column(self._means(self._with_data().squared_errors), column)

    def mean_absolute_error(self, column: int) -> float:
        """Mean of |p - y|."""
        return self._column(self._means(self._with_data().absolute_errors), column)

    def root_mean_squared_error(self, column: int) -> float:
        """Square root of the mean of (p - y)^2."""
        return math.sqrt(self.mean_squared_error(column))

    def relative_squared_error(self, column: int) -> float:
        """Sum of (p - y)^2 over that of (y - ȳ)^2, infinity where all labels are equal."""
        moments, empty = self._with_data(), self.total_count(column) == 0
        if empty:
            return math.nan
        spread = self._column(moments.spread_of_labels, column)
        if moments.are_equal(0, column) or spread == 0:
            return math.inf
        return self._column(moments.squared_errors, column) / spread

    def pearson_correlation(self, column: int) -> float:
        """Pearson's correlation of labels and predictions, NaN where all of one are equal."""
        moments, empty = self._with_data(), self.total_count(column) == 0
        spreads = moments.spread_of_labels, moments.spread_of_predictions
        labels, predictions = (math.sqrt(self._column(spread, column)) for spread in spreads)
        if empty or any(moments.are_equal(side, column) for side in (0, 1)) or 0 in (labels, predictions):
            return math.nan
        ratio = self._column(moments.joint_spread, column) / labels / predictions
        return min(1.0, max(-1.0, ratio))

    def r_squared(self, column: int) -> float:
        """Coefficient of determination, 1 - RSE; where all labels are equal -infinity, or NaN without any error."""
        relative = self.relative_squared_error(column)
        no_error = self._column(self._with_data().squared_errors, column) == 0
        return math.nan if math.isinf(relative) and no_error else 1 - relative

    def average_mean_squared_error(self) -> float:
        """Mean of the MSE of all columns."""
        return self.score_for_metric(RegressionMetric.MSE)

    def average_mean_absolute_error(self) -> float:
        """Mean of the MAE of all columns."""
        return self.score_for_metric(RegressionMetric.MAE)

    def average_root_mean_squared_error(self) -> float:
        """Mean of the RMSE of all columns."""
        return self.score_for_metric(RegressionMetric.RMSE)

    def average_relative_squared_error(self) -> float:
        """Mean of the RSE of all columns."""
        return self.score_for_metric(RegressionMetric.RSE)

    def average_pearson_correlation(self) -> float:
        """Mean of Pearson's correlations of all columns."""
        return self.score_for_metric(RegressionMetric.PC)

    def average_r_squared(self) -> float:
        """Mean of the R^2 of all columns."""
        return self.score_for_metric(RegressionMetric.R2)

    def score_for_metric(self, metric: RegressionMetric | str, column: int | None = None) -> float:
        """Return the metric of that name, of one column or the mean over all.

        Raises ConfigurationError for an unknown name, which lists the known ones.
        """
        method = getattr(self, enum_option(RegressionMetric, metric, "metric").value)
        columns = range(self._with_data().columns) if column is None else [column]
        return float(np.mean([method(c) for c in columns]))

    def stats(self) -> str:
        """Return a table of the columns."""
        if self._moments is None or not self._moments.counts.any():
            return "RegressionEvaluation: No Data"
        names = self.column_names or tuple(f"col_{c}" for c in range(self._moments.columns))
        widths = (max(map(len, (*names, "Column"))) + 5, *[15] * len(RegressionMetric))
        lines = [table_row(("Column", "MSE", "MAE", "RMSE", "RSE", "PC", "R^2"), widths)]
        for c, name in enumerate(names):
            values = [scientific(self.score_for_metric(metric, c), self.precision) for metric in RegressionMetric]
            lines.append(table_row((name, *values), widths))
        return "\n".join(lines)

    def _with_data(self) -> Moments:
        if self._moments is None or not self._moments.counts.any():
            raise self._no_data()
        return self._moments

    def _means(self, sums: NDArray) -> NDArray:
        counts = self._with_data().counts
        return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)

    def _column(self, values: NDArray, column: int) -> float:
        return float(values[checked_class(column, len(values), "column")])

    def _options(self) -> dict[str, Any]:
        columns: Any = list(self.column_names) or self._fixed_columns
        return {"columns": columns, "precision": self.precision}

    def _state(self) -> dict[str, Any]:
        return {} if self._moments is None else self._moments.state()

    def _set_state(self, state: dict[str, Any]) -> None:
        if state:
            if type(state["columns"]) is not int or state["columns"] < 1:
                raise ValueError(f"columns is {state['columns']!r}")
            self._moments_of(state["columns"], "cannot be read from JSON").set_state(state)
