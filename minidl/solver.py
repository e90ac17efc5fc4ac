"""One batch: a training step, gradient and score, then the update, in DL4J's order; or its evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .batches import Batch, check_finite_labels, placed, placed_mask
from .eval import BaseEvaluation
from .layers import Layer, is_user_code
from .parameters import Chunk, Parameters, UpdaterBlock
from .passes import Frame
from .placement import Place
from .plan import MemoryPlan
from .training import GradientNormalization, normalize_gradients

__all__ = ["Solver", "evaluate_batch"]

Array = npt.NDArray[Any]


class Solver:
    """Trains the parameters of a network.

    Order of a step: forward, score, backward; divide by the batch size; normalise the gradient per layer; per block of
    the updater: l1 and l2, updater, weight decay, subtract. Source: DL4J ``BaseOptimizer``, ``BaseMultiLayerUpdater``.
    """

    def __init__(self, layers: Sequence[Layer], parameters: Parameters, mini_batch: bool) -> None:
        self._layers = layers
        self._parameters = parameters
        self._mini_batch = mini_batch

    def gradient_and_score(self, frame: Frame, plan: MemoryPlan, batch: Batch, iteration: int) -> float:
        """Write the gradient, summed over the batch, and return the score: loss / batch size + regularisation.

        Raises DataError for labels or a labels mask that are not finite, before anything is written.
        """
        with frame.opened(plan):
            frame.all.begin_cycle()
            loss, labels, mask = _forward(frame, batch, iteration, training=True)
            frame.backward(labels, mask)
            frame.all.end_cycle()
            return loss / len(batch.features) + self._regularization(frame)

    def score(self, frame: Frame, plan: MemoryPlan, batch: Batch, iteration: int, training: bool) -> float:
        """Return the score of a batch without touching the gradient; ``training`` applies dropout."""
        with frame.opened(plan):
            frame.all.begin_cycle()
            loss, _, _ = _forward(frame, batch, iteration, training)
            frame.all.end_cycle()
            return loss / len(batch.features) + self._regularization(frame)

    def update(self, frame: Frame, plan: MemoryPlan, batch_size: int, iteration: int) -> None:
        """Turn the gradient into the step, in its place, and subtract it from the parameters."""
        divisor = batch_size if self._mini_batch else 1
        with frame.opened(plan):
            normalized = self._normalize(divisor)
            for block in self._parameters.updater_blocks:
                frame.all.begin_cycle()
                scratch = self._scratch(frame, block)
                for chunk in block.chunks:
                    divides = chunk.rules.trainable and chunk.layer not in normalized
                    _update(block, chunk, scratch, divisor if divides else 1, iteration)
                frame.all.end_cycle()

    def _regularization(self, frame: Frame) -> float:
        """Return sum of l2/2 |w|^2 + l1 |w| + weight decay/2 |w|^2 over the parameters."""
        total = 0.0
        for block in self._parameters.updater_blocks:
            if not any(rules.l1 or rules.l2 or rules.weight_decay for *_, rules, _ in block.chunks):
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


def _forward(frame: Frame, batch: Batch, iteration: int, training: bool) -> tuple[float, Array, Array | None]:
    """Return the sum of the losses, and the labels and their mask as backprop takes them; WS_ALL_LAYERS_ACT is open.

    Raises DataError for labels or a labels mask that are not finite.
    """
    dtype, memory = frame.model.dtype, frame.memory_of(frame.all)
    mask = placed_mask(batch.features_mask, dtype, memory)
    frame.training_forward(batch.features, mask, iteration, training)
    labels, mask = placed(batch, dtype, memory)
    loss = frame.score(labels, mask)
    if not math.isfinite(loss):
        check_finite_labels(batch)
    return loss, labels, mask


def evaluate_batch(frame: Frame, plan: MemoryPlan, batch: Batch, evaluations: Sequence[BaseEvaluation]) -> None:
    """Add the output for a batch to the evaluations, which read it in its workspace."""
    with frame.opened(plan):
        frame.output.begin_cycle()
        dtype, memory = frame.model.dtype, frame.memory_of(frame.output)
        mask = placed_mask(batch.features_mask, dtype, memory)
        predictions = frame.inference(batch.features, mask, Place.OUTPUT).view(np.ndarray)
        labels, mask = placed(batch, dtype, memory)
        for evaluation in evaluations:
            if is_user_code(type(evaluation)):
                given = None if mask is None else frame.attached(mask)
                evaluation.eval(frame.attached(labels), frame.attached(predictions), given)
            else:
                evaluation.eval(labels, predictions, mask)


def _update(block: UpdaterBlock, chunk: Chunk, scratch: tuple[Array, ...], divisor: int, iteration: int) -> None:
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
    block.updater.step(gradient, chunk.state, scratch[: block.updater.scratch_arrays], iteration)
    if rules.weight_decay:
        np.multiply(w, rules.weight_decay * block.updater.rate(iteration), out=scratch[0])
        np.add(gradient, scratch[0], out=gradient)
    np.subtract(w, gradient, out=w)
