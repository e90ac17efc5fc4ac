"""One batch: a training step, gradient and score, then the update, in DL4J's order; or its evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .batches import Batch, check_finite, check_values, mask_of_loss, placed, placed_mask
from .class_weights import weighted_mask
from .errors import NonFiniteScoreError
from .eval import BaseEvaluation, eval_together
from .labels import classes_first
from .layers import Layer, is_user_code
from .parameters import Chunk, Parameters, UpdaterBlock
from .passes import Frame
from .placement import Place
from .plan import MemoryPlan
from .training import GradientNormalization, normalize_gradients
from .workspaces import Carried

__all__ = ["Clock", "Solver", "evaluate_batch", "for_axis"]

Array = npt.NDArray[Any]


class Clock(NamedTuple):
    """Where training stands, both counted from 0; schedules look at it."""

    iteration: int
    epoch: int


class Solver:
    """Trains the parameters of a network.

    Order of a step: forward, score, backward; divide by the batch size; normalise the gradient per layer; per block of
    the updater: l1 and l2, updater, weight decay, subtract; then the constraints. Source: DL4J ``BaseOptimizer``,
    ``BaseMultiLayerUpdater``.
    """

    def __init__(self, layers: Sequence[Layer], parameters: Parameters, mini_batch: bool) -> None:
        self._layers = layers
        self._parameters = parameters
        self._views = parameters.views
        self._mini_batch = mini_batch
        self._label_kind: str = getattr(getattr(layers[-1], "loss", None), "label_kind", "values")

    def gradient_and_score(
        self,
        frame: Frame,
        plan: MemoryPlan,
        batch: Batch,
        clock: Clock,
        *,
        input_gradient: Array | None = None,
        terminate_on_nan: bool = False,
        carried: Carried | None = None,
    ) -> float:
        """Write the gradient, summed over the batch, and return the score: loss / batch size + regularisation.

        With ``input_gradient``, an array like the features, the gradient by the features is written there. Raises
        DataError for labels, features or a labels mask that cannot be, before anything is written, and with
        ``terminate_on_nan`` NonFiniteScoreError, naming the layer. ``carried`` is for a piece of series.
        """
        frame.want_input_gradient(input_gradient is not None)
        with frame.opened(plan, carried):
            frame.all.begin_cycle()
            output, loss, labels, mask = self._forward(frame, batch, clock.iteration, training=True)
            culprit = frame.first_not_finite(output) if terminate_on_nan and not math.isfinite(loss) else None
            frame.backward(labels, mask, input_gradient)
            frame.all.end_cycle()
            score = loss / len(batch.features) + self._regularization(frame)
        if terminate_on_nan and not math.isfinite(score):
            raise NonFiniteScoreError(self._diagnosis(frame, score, loss, culprit, clock))
        return score

    def score(self, frame: Frame, plan: MemoryPlan, batch: Batch, iteration: int, training: bool) -> float:
        """Return the score of a batch without touching the gradient; ``training`` applies dropout."""
        frame.want_input_gradient(False)
        with frame.opened(plan):
            frame.all.begin_cycle()
            _, loss, _, _ = self._forward(frame, batch, iteration, training)
            frame.all.end_cycle()
            return loss / len(batch.features) + self._regularization(frame)

    def score_examples(
        self, frame: Frame, plan: MemoryPlan, batch: Batch, iteration: int, add_regularization: bool
    ) -> Array:
        """Return the loss of every example of a batch, (batch,), each with the regularisation if asked for."""
        scores = np.empty(len(batch.features), frame.model.dtype)
        with frame.opened(plan):
            frame.all.begin_cycle()
            _, _, labels, mask = self._forward(frame, batch, iteration, training=False)
            frame.score_examples(labels, mask, scores)
            frame.all.end_cycle()
            if add_regularization:
                scores += self._regularization(frame)
        return scores

    def update(self, frame: Frame, plan: MemoryPlan, batch_size: int, clock: Clock) -> None:
        """Turn the gradient into the step, in its place, and subtract it from the parameters."""
        divisor = batch_size if self._mini_batch else 1
        with frame.opened(plan):
            normalized = self._normalize(divisor)
            for block in self._parameters.updater_blocks:
                frame.all.begin_cycle()
                scratch = self._scratch(frame, block)
                for chunk in block.chunks:
                    divides = chunk.rules.trainable and chunk.layer not in normalized
                    _update(frame, block, chunk, scratch, divisor if divides else 1, clock)
                frame.all.end_cycle()

    def constrain(self, frame: Frame, plan: MemoryPlan) -> None:
        """Bring the parameters into what their constraints allow."""
        if not self._parameters.constrained:
            return
        with frame.opened(plan):
            for parameter, constraint in self._parameters.constrained:
                frame.all.begin_cycle()
                if is_user_code(type(constraint)):
                    with frame.working:
                        constraint.apply(frame.attached(parameter), empty=frame.attached_memory)
                else:
                    constraint.apply(parameter, empty=frame.memory_of(frame.all))
                frame.all.end_cycle()

    def check_rates(self, clock: Clock) -> None:
        """Raise ConfigurationError where a schedule gives an impossible value now, before a step writes anything."""
        for block in self._parameters.updater_blocks:
            block.updater.check_now(*clock)

    def _diagnosis(self, frame: Frame, score: float, loss: float, culprit: int | None, clock: Clock) -> str:
        """Return what a score that is not finite comes from."""
        label, last = frame.model.label, len(self._layers) - 1
        largest = [max((float(np.abs(view).max()) for view in views.values()), default=0.0) for views in self._views]
        broken = [index for index, size in enumerate(largest) if not math.isfinite(size)]
        if culprit is not None:
            reason = f"{label(culprit)} gave the first activations that are not finite"
            reason += ", and has parameters that are not" if culprit in broken else ", from parameters that are"
        elif broken:
            reason = f"{label(broken[0])} has parameters that are not finite"
        elif not math.isfinite(loss):
            reason = f"all activations are finite, but the loss of {label(last)} is not"
        else:
            index = int(np.argmax(largest))
            reason = (
                "the loss is finite, but the penalty of the parameters is not, of which "
                f"{label(index)} has the largest, {largest[index]:.3g}"
            )
        return (
            f"the score is {score} in iteration {clock.iteration} (epoch {clock.epoch}): {reason}. No update was made "
            "with it, but the parameters may have gone wrong before. Lower the learning rate, clip the gradients "
            "(gradient_normalization='ClipL2PerLayer'), or look for extreme values in the data."
        )

    def _forward(
        self, frame: Frame, batch: Batch, iteration: int, training: bool
    ) -> tuple[Array, float, Array, Array | None]:
        """Return the output, the sum of the losses, and the labels and their mask as backprop takes them.

        WS_ALL_LAYERS_ACT is open. Raises DataError for features, labels or a mask that cannot be.
        """
        dtype, memory = frame.model.dtype, frame.memory_of(frame.all)
        features_mask = placed_mask(batch.features_mask, dtype, memory)
        batch = batch if features_mask is batch.features_mask else batch._replace(features_mask=features_mask)
        output, seen = frame.training_forward(batch.features, features_mask, iteration, training)
        labels, mask = placed(batch, dtype, memory)
        mask = mask_of_loss(mask, seen, labels)
        check_values(batch, frame.first_input, labels, mask, self._label_kind, memory)
        mask = weighted_mask(labels, mask, batch.class_weights, memory)
        loss = frame.score(labels, mask)
        if not math.isfinite(loss):
            check_finite("labels", labels)
        return output, loss, labels, mask

    def _regularization(self, frame: Frame) -> float:
        """Return sum of l2/2 |w|^2 + l1 |w| + weight decay/2 |w|^2 over the parameters."""
        total = 0.0
        for block in self._parameters.updater_blocks:
            if not any(chunk.rules.l1 or chunk.rules.l2 or chunk.rules.weight_decay for chunk in block.chunks):
                continue
            frame.all.begin_cycle()
            scratch = self._scratch(frame, block)
            for chunk in block.chunks:
                w, rules = chunk.parameters, chunk.rules
                if rules.l2 or rules.weight_decay:
                    total += 0.5 * (rules.l2 + rules.weight_decay) * float(np.dot(w, w))
                if rules.l1:
                    total += rules.l1 * float(np.add.reduce(np.abs(w, out=scratch[0][: len(w)])))
            frame.all.end_cycle()
        return total

    def _scratch(self, frame: Frame, block: UpdaterBlock) -> tuple[Array, ...]:
        empty = frame.memory_of(frame.all)
        count = self._parameters.scratch_arrays(block)
        return tuple([empty(block.scratch_shape, self._parameters.flat.dtype) for _ in range(count)])

    def _normalize(self, divisor: int) -> set[int]:
        """Divide and normalise the gradients of the layers that ask for it, and return those layers."""
        normalized = set()
        for index, layer in enumerate(self._layers):
            kind = layer.gradient_normalization
            if kind is None or kind is GradientNormalization.NONE:
                continue
            parts = self._parameters.layer_parts(index, self._parameters.gradient)
            if not parts:
                continue
            for part in parts:
                np.divide(part, divisor, out=part)
            threshold = layer.gradient_normalization_threshold
            normalize_gradients(kind, 1.0 if threshold is None else threshold, parts)
            normalized.add(index)
        return normalized


def evaluate_batch(
    frame: Frame,
    plan: MemoryPlan,
    batch: Batch,
    evaluations: Sequence[BaseEvaluation],
    carried: Carried | None = None,
) -> None:
    """Add the output for a batch to the evaluations, which read it in its workspace.

    With ``carried`` the batch is a piece of series.
    """
    with frame.opened(plan, carried):
        frame.output.begin_cycle()
        dtype, memory = frame.model.dtype, frame.memory_of(frame.output)
        mask = placed_mask(batch.features_mask, dtype, memory)
        output, seen = frame.inference(batch.features, mask, Place.OUTPUT)
        predictions = output.view(np.ndarray)
        predictions = classes_first(predictions) if frame.model.classes_are_last else predictions
        labels, mask = placed(batch, dtype, memory)
        mask = mask_of_loss(mask, seen, labels)
        given = []
        for evaluation in evaluations:
            arrays = [for_axis(array, evaluation.axis, predictions.shape) for array in (labels, predictions, mask)]
            if is_user_code(type(evaluation)):
                arrays = [None if array is None else frame.attached(array) for array in arrays]
            given.append((evaluation, arrays))
        eval_together(given)


def for_axis(array: Any, axis: int, output_shape: tuple[int, ...]) -> Any:
    """Return labels, predictions or a mask of outputs, (batch, n, ...), with the axis of n where an evaluation has it.

    Class indices and other masks have no such axis. One that this output has not is left to ``eval`` to refuse.
    """
    if axis == 1 or array is None or array.shape != output_shape or not -array.ndim <= axis < array.ndim:
        return array
    return np.moveaxis(array, 1, axis)


def _update(
    frame: Frame, block: UpdaterBlock, chunk: Chunk, scratch: tuple[Array, ...], divisor: int, clock: Clock
) -> None:
    gradient, w, rules = chunk.gradient, chunk.parameters, chunk.rules
    size = len(gradient)
    if size != block.scratch_shape[0]:
        scratch = tuple([array[:size] for array in scratch])
    if divisor != 1:
        np.divide(gradient, divisor, out=gradient)
    if rules.l2:
        np.multiply(w, rules.l2, out=scratch[0])
        np.add(gradient, scratch[0], out=gradient)
    if rules.l1:
        np.sign(w, out=scratch[0])
        np.multiply(scratch[0], rules.l1, out=scratch[0])
        np.add(gradient, scratch[0], out=gradient)
    updater, (iteration, epoch) = block.updater, clock
    temporaries = scratch[: updater.scratch_arrays]
    if block.of_user:
        with frame.working:
            state, temporaries = (tuple(map(frame.attached, arrays)) for arrays in (chunk.state, temporaries))
            updater.step(frame.attached(gradient), state, temporaries, iteration, epoch)
    else:
        updater.step(gradient, chunk.state, temporaries, iteration, epoch)
    if rules.decay or rules.decay_by_rate:
        rate = updater.rate(iteration, epoch)
        np.multiply(w, rules.decay + rules.decay_by_rate * rate, out=scratch[0])
        np.add(gradient, scratch[0], out=gradient)
    np.subtract(w, gradient, out=w)
