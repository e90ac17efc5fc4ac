"""The evaluation of a network: its output, read in its workspace, by whatever counts there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .batches import Batch, check_finite, checked_batch
from .data import DataSet
from .eval import ROC, BaseEvaluation, Evaluation, RegressionEvaluation, ROCMultiClass, check_evaluations, check_labels
from .feeding import class_names as known_class_names
from .feeding import is_arrays, one_batch, one_pass, sized
from .pieces import check_ranges, has_output_at_every_step, pieces
from .solver import evaluate_batch, for_axis
from .stepping import SteppingNetwork
from .workspaces import Carried, CarriedState

__all__ = ["EvaluatedNetwork"]


class EvaluatedNetwork(SteppingNetwork):
    """A network whose predictions are compared with labels.

    Data are an iterator over batches, a DataSet or arrays (x, y). A labels_mask leaves out examples, steps, pixels or
    outputs, and a features_mask that reaches the output does where there is none. Source: DL4J
    ``MultiLayerNetwork.doEvaluation`` and its kin.
    """

    def evaluate(
        self, data: Any, labels: Any = None, *, class_names: Sequence[str] | None = None, top_n: int = 1
    ) -> Evaluation:
        """Return the Evaluation of data: accuracy, precision, recall, F1 and others.

        ``class_names`` are the names of the classes in its report; an iterator may know them as its ``labels``.
        """
        names = known_class_names(data, labels) if class_names is None else class_names
        evaluation = Evaluation(labels=names, top_n=top_n)
        self._evaluate(data, labels, evaluation)
        return evaluation

    def evaluate_regression(
        self, data: Any, labels: Any = None, *, column_names: Sequence[str] | None = None
    ) -> RegressionEvaluation:
        """Return the RegressionEvaluation of data: MSE, MAE, RMSE, RSE, correlation and R^2 of each output."""
        evaluation = RegressionEvaluation(column_names)
        self._evaluate(data, labels, evaluation)
        return evaluation

    def evaluate_roc(self, data: Any, labels: Any = None, *, threshold_steps: int = 0) -> ROC:
        """Return the ROC of data, for a network with one output or two; exact for ``threshold_steps`` 0."""
        evaluation = ROC(threshold_steps)
        self._evaluate(data, labels, evaluation)
        return evaluation

    def evaluate_roc_multi_class(
        self,
        data: Any,
        labels: Any = None,
        *,
        threshold_steps: int = 0,
        class_names: Sequence[str] | None = None,
    ) -> ROCMultiClass:
        """Return the ROC of every class against all others; exact for ``threshold_steps`` 0."""
        names = known_class_names(data, labels) if class_names is None else class_names
        evaluation = ROCMultiClass(threshold_steps, labels=names)
        self._evaluate(data, labels, evaluation)
        return evaluation

    def do_evaluation(
        self, data: Any, *evaluations: BaseEvaluation, progress: bool | None = None
    ) -> tuple[BaseEvaluation, ...]:
        """Add an iterator, a DataSet or a tuple (x, y) to the evaluations, and return them.

        They read the output in its workspace: a warm loop allocates no array memory (exact ROC: as long as its
        ``expected_examples`` suffice). Series are evaluated piece by piece where the network is trained so. Whatever
        ``axis`` an evaluation has, it is given the classes there. ``progress`` None shows a bar for passes in a
        terminal. Raises ConfigurationError for what is no evaluation, and what ``eval`` and ``output`` raise: then no
        evaluation has counted the batch, but those before it stay counted. (Of series in pieces, what was right in the
        labels and goes wrong in the output of a later piece is found when those before it are counted.)
        """
        from .listeners import ProgressBar

        self._initialized()
        check_evaluations(evaluations)
        many = not is_arrays(data, None)
        batches_of_data = self._batches(data)
        with (
            ProgressBar("evaluate", sized(batches_of_data), progress, otherwise=many) as bar,
            one_pass(batches_of_data) as batches,
        ):
            for dataset in batches:
                self._evaluate_on(self._checked_batch(dataset), evaluations)
                bar.iteration_done()
        return evaluations

    def _evaluate(self, data: Any, labels: Any, evaluation: BaseEvaluation) -> None:
        self.do_evaluation(one_batch(data, labels) if is_arrays(data, labels) else data, evaluation)

    def _evaluate_on(self, batch: Batch, evaluations: Sequence[BaseEvaluation]) -> None:
        length = self.conf.evaluated_piece_length
        if length is None or not has_output_at_every_step(batch, self._input_types[0]):
            evaluate_batch(*self._frames.evaluation(batch), batch, evaluations)
            return
        self._check_pieces(batch, length, evaluations)
        own = self._local.__dict__
        states = own.pop("evaluated_states", None) or CarriedState()  # not there if an evaluation evaluates in turn
        try:
            for piece in pieces(batch, self._input_types[0], length, self._dtype):
                evaluate_batch(*self._frames.evaluation(piece), piece, evaluations, Carried(states))
        finally:
            states.clear()
            own["evaluated_states"] = states

    def _check_pieces(self, batch: Batch, length: int, evaluations: Sequence[BaseEvaluation]) -> None:
        """Raise what an evaluation will raise for the labels, before a piece is counted."""
        check_ranges(batch, self.layers)
        if batch.features_mask is None:
            check_finite("features", batch.features)
        if batch.label_form.of_classes or (batch.features_mask is not None and batch.labels_mask is None):
            return  # of classes: they are known to be right; otherwise it shows later which steps are seen
        for piece in pieces(batch, self._input_types[0], length, self._dtype):
            for evaluation in evaluations:
                arrays = (piece.labels, piece.labels_mask)
                check_labels(evaluation, *(for_axis(array, evaluation.axis, piece.output_shape) for array in arrays))

    # Inside

    @staticmethod
    def _batches(data: Any, labels: Any = None) -> Any:
        return [one_batch(data, labels)] if is_arrays(data, labels) else data

    def _checked_batch(self, dataset: DataSet, class_weights: Any = None) -> Batch:
        loss = getattr(self.layers[-1], "loss", None)
        types = self._input_types[0], self._input_types[-1]
        return checked_batch(dataset, types, self._model.output_shape, self._dtype, loss, class_weights)
