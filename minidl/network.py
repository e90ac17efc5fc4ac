"""The network: what the user sees."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .batches import Batch, checked_features
from .class_weights import checked_class_weights
from .data import DataSet
from .errors import ConfigurationError, NotInitializedError
from .evaluating import EvaluatedNetwork
from .feeding import (
    check_repeatable,
    checked_count,
    is_arrays,
    noting_batch,
    one_batch,
    one_pass,
    sized,
    training_source,
    with_sample_weights,
)
from .inputs import channels_of
from .interrupts import UpdateInterrupts
from .pieces import check_trainable_in_pieces, pieces
from .workspaces import Carried, memory_manager

__all__ = ["MultiLayerNetwork"]

Array = npt.NDArray[Any]


class MultiLayerNetwork(EvaluatedNetwork):
    """A chain of layers that trains, predicts and is evaluated in memory that is planned once and then reused.

    ::

        network = MultiLayerNetwork(configuration).init()
        network.fit(iterator, epochs=3)
        print(network.evaluate(test_iterator).stats())

    Arrays: features (batch, ...) as the input type says, labels (batch, n_out) or integer class indices (batch,).
    ``output`` and the other methods that only read may run in several threads at once. Source: DL4J
    ``MultiLayerNetwork``.
    """

    # Training

    def fit(  # noqa: PLR0913  # the options that users of Keras and DL4J look for
        self,
        data: Any,
        labels: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        features_mask: Any = None,
        labels_mask: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        terminate_on_nan: bool = False,
        progress: bool | None = None,
    ) -> Self:
        """Train, and return the network.

        ``data`` is an iterator over batches; or one minibatch, as (x, y) or a DataSet, which ``batch_size`` cuts into
        shuffled ones, and must from 1025 examples on. Only passes over minibatches count as epochs. The loss of an
        example is multiplied by its ``sample_weight`` (batch,), or (batch, time), and by the ``class_weight`` of its
        class, {class: weight}; the sum is still divided by the number of examples. ``terminate_on_nan`` stops at a
        score that is not finite, before the update; otherwise training goes on, as in DL4J. ``progress`` None shows a
        bar for passes in a terminal. A warm pass over an iterator with ``recycled`` allocates no array memory.
        Raises DataError, ShapeError and DtypeError before the batch concerned is trained on, NonFiniteScoreError if
        asked to, ConfigurationError for weights that cannot be, ConcurrentUseError when another thread is training.
        """
        self._check_trainable()
        epochs = checked_count(epochs, "epochs")
        if sample_weight is not None:
            data, labels, labels_mask = with_sample_weights(
                data, labels, labels_mask, sample_weight, self._output_shape, self._model.classes_are_last
            )
        weights = None if class_weight is None else self._class_weights(class_weight)
        with self._training.by("fit"), memory_manager.training_loop(), UpdateInterrupts() as interrupts:
            seed = self._shuffling_seed + self.epoch_count
            source = training_source(data, labels, (features_mask, labels_mask), batch_size, seed)
            step = functools.partial(self._train_on, weights, terminate_on_nan, interrupts)
            many = not is_arrays(data, labels) or batch_size is not None
            self._train(source, step, epochs, counts_epochs=many, progress=progress)
        return self

    def _train(
        self,
        source: Iterable[Any],
        step: Callable[[DataSet], None],
        epochs: int,
        *,
        counts_epochs: bool,
        progress: bool | None,
    ) -> None:
        from .listeners import ProgressBar

        check_repeatable(source, epochs)
        length = sized(source)
        total = None if length is None else epochs * length
        with ProgressBar("fit", total, progress, otherwise=counts_epochs) as bar:
            for _ in range(epochs):
                with one_pass(source) as batches:
                    for number, dataset in enumerate(batches):
                        with noting_batch(number, self.epoch_count, many=counts_epochs):
                            step(dataset)
                        bar.iteration_done(self)
                        memory_manager.invoke_gc_occasionally()
                if counts_epochs:
                    self.epoch_count += 1

    def _train_on(
        self, class_weights: Array | None, terminate_on_nan: bool, interrupts: UpdateInterrupts, dataset: DataSet
    ) -> None:
        batch = self._checked_batch(dataset, class_weights)
        if self.conf.piece_lengths is None:
            self._step(batch, terminate_on_nan, interrupts)
            return
        forward, backward = self.conf.piece_lengths
        states = self._piece_states
        states.clear()
        check_trainable_in_pieces(batch, self._input_types[0], self._dtype, self.layers)
        try:
            for piece in pieces(batch, self._input_types[0], forward, self._dtype):
                self._step(piece, terminate_on_nan, interrupts, Carried(states, backward))
        finally:
            states.clear()

    def _step(
        self, batch: Batch, terminate_on_nan: bool, interrupts: UpdateInterrupts, carried: Carried | None = None
    ) -> None:
        """Make one update; with ``carried`` the batch is a piece of series."""
        frame, plan = self._frames.training(batch)
        solver, clock = self._solver, self._clock
        solver.check_rates(clock)
        self._score = solver.gradient_and_score(
            frame, plan, batch, clock, terminate_on_nan=terminate_on_nan, carried=carried
        )
        interrupts.hold()
        try:
            solver.update(frame, plan, len(batch.features), clock)
            self.iteration_count += 1
            solver.constrain(frame, plan)
        finally:
            interrupts.release()

    def pretrain(self, data: Any = None, *, epochs: int = 1) -> Self:
        """Raise ConfigurationError: minidl has no layers that train without labels."""
        raise ConfigurationError(
            "pretrain() is not offered: minidl has no layers that are trained without labels, such as DL4J's "
            "AutoEncoder. Call fit() with labels; fit(x, x) trains a network to give back its input."
        )

    def compute_gradient_and_score(self, data: Any, labels: Any = None) -> float:
        """Write ``gradient``, summed over the batch and not regularised, and return the score; parameters stay."""
        self._check_trainable()
        batch = self._checked_batch(one_batch(data, labels))
        with self._training.by("compute_gradient_and_score"):
            frame, plan = self._frames.training(batch)
            self._score = self._solver.gradient_and_score(frame, plan, batch, self._clock)
        return self._score

    def calculate_gradients(
        self, features: Any, labels: Any, features_mask: Any = None, labels_mask: Any = None
    ) -> tuple[dict[str, Array], Array]:
        """Return the gradients by the parameters, by name such as "0_W", and by the features, as new arrays.

        Both are sums over the batch, and not regularised; ``gradient`` and ``score()`` hold those of this call, too.
        For a DataSet write ``calculate_gradients(*dataset)``.
        Dropout and noise act as in the next training step. Raises what ``fit`` raises for data that do not fit.
        """
        self._check_trainable()
        batch = self._checked_batch(one_batch(features, labels, features_mask, labels_mask))
        by_features = np.empty(batch.features.shape, self._dtype)
        with self._training.by("calculate_gradients"):
            frame, plan = self._frames.training(batch, input_gradient=True)
            self._score = self._solver.gradient_and_score(frame, plan, batch, self._clock, input_gradient=by_features)
            views = self._initialized().gradient_views
            by_name = {f"{i}_{name}": view.copy() for i, table in enumerate(views) for name, view in table.items()}
        return by_name, by_features

    def score(self, data: Any = None, labels: Any = None, *, training: bool = False) -> float:
        """Return the score of the last training step, or of ``data``: loss / batch size + regularisation.

        ``training`` True applies dropout. Raises NotInitializedError when there was no step yet.
        """
        if data is None:
            if self._score is None:
                raise NotInitializedError("there is no score yet. Call fit() first, or pass data: score(dataset).")
            return self._score
        self._check_trainable()
        total, examples = 0.0, 0
        with one_pass(self._batches(data, labels)) as batches:
            for dataset in batches:
                batch = self._checked_batch(dataset)
                frame, plan = self._frames.training(batch)
                score = self._solver.score(frame, plan, batch, self.iteration_count, training)
                if is_arrays(data, labels):
                    return score
                total += score * len(dataset)
                examples += len(dataset)
        return total / examples

    def score_examples(self, data: Any, labels: Any = None, *, add_regularization_terms: bool = False) -> Array:
        """Return the loss of every example of an iterator, a DataSet or (x, y), (examples,), as a new array.

        ``add_regularization_terms`` adds the penalties of the parameters to each. Nothing is divided by the batch size.
        Source: DL4J ``MultiLayerNetwork.scoreExamples``.
        """
        self._check_trainable()
        scores = []
        with one_pass(self._batches(data, labels)) as batches:
            for dataset in batches:
                batch = self._checked_batch(dataset)
                frame, plan = self._frames.training(batch)
                now = self.iteration_count
                scores.append(self._solver.score_examples(frame, plan, batch, now, add_regularization_terms))
        return np.concatenate(scores)

    # Inside

    def _check_trainable(self) -> None:
        self._initialized()
        last = self.layers[-1]
        if not last.is_output_layer:
            raise ConfigurationError(
                f"the last layer ({type(last).__name__}) has no loss. End with an OutputLayer or a LossLayer to train."
            )

    def _class_weights(self, weights: Any) -> Array:
        outputs = channels_of(self._input_types[-1])
        return checked_class_weights(weights, outputs, getattr(self.layers[-1], "loss", None), self._dtype)

    def _output_shape(self, features: Any) -> tuple[int, ...]:
        return self._model.output_shape(checked_features(features, self._input_types[0]))
