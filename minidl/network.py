"""The network: what the user sees."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .batches import (
    Batch,
    check_out,
    checked_batch,
    checked_features,
    checked_vector,
    write_classes,
)
from .configuration import MultiLayerConfiguration
from .data import DataSet
from .errors import ConfigurationError, NotInitializedError
from .eval import BaseEvaluation, Evaluation, check_evaluations
from .feeding import (
    check_repeatable,
    checked_count,
    class_names,
    is_arrays,
    one_batch,
    one_pass,
    sized,
    training_source,
)
from .frames import Frames, exclusively, output_workspace
from .layers import Layer
from .layers.base import independent_copy
from .memory_report import MemoryReport, make_report
from .parameters import Parameters
from .passes import Model
from .placement import Place
from .solver import Solver, evaluate_batch
from .summary import summary_table
from .workspaces import Workspace, memory_manager

__all__ = ["MultiLayerNetwork"]

Array = npt.NDArray[Any]
# reading a member of an enum takes a tenth of a microsecond, every time
TO_ACT, TO_HEAP = Place.ACT, Place.DETACHED


class MultiLayerNetwork:
    """A chain of layers that trains, predicts and is evaluated in memory that is planned once and then reused.

    ::

        network = MultiLayerNetwork(configuration).init()
        network.fit(iterator, epochs=3)
        print(network.evaluate(test_iterator).stats())

    Arrays: features (batch, ...) as the input type says, labels (batch, n_out) or integer class indices (batch,).
    ``output`` and the other methods that only read may run in several threads at once. Source: DL4J
    ``MultiLayerNetwork``.
    """

    def __init__(self, configuration: MultiLayerConfiguration, params: npt.ArrayLike | None = None) -> None:
        if not isinstance(configuration, MultiLayerConfiguration):
            raise ConfigurationError(
                f"a network is made from a MultiLayerConfiguration, got {type(configuration).__name__}. Call "
                "NeuralNetConfiguration(...).list(layers...) first."
            )
        self.conf = configuration
        self.layers: tuple[Layer, ...] = tuple(independent_copy(layer) for layer in configuration.layers)
        self.iteration_count = self.epoch_count = 0
        self._input_types = configuration.input_types()
        self._dtype = np.dtype(configuration.dtype)
        self._start = params
        self._parameters: Parameters | None = None
        self._score: float | None = None
        self._training = threading.Lock()

    def init(self, params: npt.ArrayLike | None = None) -> Self:
        """Make the parameters, drawn from the seed or copied from ``params`` (n,), and return the network."""
        start = self._start if params is None else params
        with exclusively(self._training, "init"):
            parameters = Parameters(self.layers, self._input_types, self._dtype)
            initialization, shuffling = np.random.SeedSequence(self.conf.seed).spawn(2)
            self._shuffling_seed = int(shuffling.generate_state(1)[0])
            parameters.initialize(np.random.default_rng(initialization))
            if start is not None:
                np.copyto(parameters.flat, checked_vector(start, len(parameters)), casting="unsafe")
            parameters.attach_to(self.layers)
            self.iteration_count = self.epoch_count = 0
            self._score = None
            self._parameters = parameters
            self._model = Model(self.layers, self._input_types, self.conf)
            self._frames = Frames(self._model, parameters, self.conf)
            self._solver = Solver(self.layers, parameters, self.conf.mini_batch)
        return self

    # Parameters

    @property
    def is_init_called(self) -> bool:
        """Whether the parameters exist."""
        return self._parameters is not None

    @property
    def params(self) -> Array:
        """The flat parameter vector (n,), live: what is written into it holds at once."""
        return self._initialized().flat

    @property
    def gradient(self) -> Array:
        """The flat gradient (n,) of the last ``compute_gradient_and_score``, live; after ``fit`` the last step."""
        return self._initialized().gradient

    def num_params(self) -> int:
        """Return the number of parameters."""
        return len(self._initialized())

    def param_table(self) -> dict[str, Array]:
        """Return views of all parameters by name, such as "0_W"."""
        views = self._initialized().views
        return {f"{index}_{name}": view for index, table in enumerate(views) for name, view in table.items()}

    def set_params(self, values: npt.ArrayLike) -> None:
        """Copy all parameters from a vector (n,) in the order of ``params``. Raises ShapeError."""
        parameters = self._initialized()
        vector = checked_vector(values, len(parameters))
        with exclusively(self._training, "set_params"):
            np.copyto(parameters.flat, vector, casting="unsafe")

    # Training

    def fit(
        self,
        data: Any,
        labels: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | None = None,
        features_mask: Any = None,
        labels_mask: Any = None,
        progress: bool | None = None,
    ) -> Self:
        """Train, and return the network.

        ``data`` is an iterator over batches; or one minibatch, as (x, y) or a DataSet, which ``batch_size`` cuts into
        shuffled ones, and must from 1025 examples on. Only passes over minibatches count as epochs. ``progress`` None
        shows a bar for them in a terminal. A warm pass over an iterator with ``recycled`` allocates no array memory.
        Raises DataError, ShapeError and DtypeError before the batch concerned is trained on, ConcurrentUseError when
        another thread is training.
        """
        self._check_trainable()
        epochs = checked_count(epochs, "epochs")
        with exclusively(self._training, "fit"), memory_manager.training_loop():
            seed = self._shuffling_seed + self.epoch_count
            source = training_source(data, labels, (features_mask, labels_mask), batch_size, seed)
            many = not is_arrays(data, labels) or batch_size is not None
            self._train(source, epochs, counts_epochs=many, progress=progress)
        return self

    def _train(self, source: Iterable[Any], epochs: int, *, counts_epochs: bool, progress: bool | None) -> None:
        from .listeners import ProgressBar

        check_repeatable(source, epochs)
        with ProgressBar(epochs, sized(source), progress, otherwise=counts_epochs) as bar:
            for _ in range(epochs):
                with one_pass(source) as batches:
                    for dataset in batches:
                        self._train_on(dataset)
                        bar.iteration_done(self)
                        memory_manager.invoke_gc_occasionally()
                if counts_epochs:
                    self.epoch_count += 1

    def _train_on(self, dataset: DataSet) -> None:
        batch = self._checked_batch(dataset)
        frame, plan = self._frames.training(batch)
        self._score = self._solver.gradient_and_score(frame, plan, batch, self.iteration_count)
        self._solver.update(frame, plan, len(batch.features), self.iteration_count)
        self.iteration_count += 1

    def compute_gradient_and_score(self, data: Any, labels: Any = None) -> float:
        """Write ``gradient``, summed over the batch and not regularised, and return the score; parameters stay."""
        self._check_trainable()
        batch = self._checked_batch(one_batch(data, labels))
        with exclusively(self._training, "compute_gradient_and_score"):
            frame, plan = self._frames.training(batch)
            self._score = self._solver.gradient_and_score(frame, plan, batch, self.iteration_count)
        return self._score

    def score(self, data: Any = None, labels: Any = None, *, training: bool = False) -> float:
        """Return the score of the last training step, or of ``data``: loss / batch size + regularisation.

        ``training`` True applies dropout. Raises NotInitializedError when there was no step yet.
        """
        if data is None:
            if self._score is None:
                raise NotInitializedError("there is no score yet. Call fit() first, or pass data: score(dataset).")
            return self._score
        self._check_trainable()
        if is_arrays(data, labels):
            return self._score_of(one_batch(data, labels), training)
        total, examples = 0.0, 0
        with one_pass(data) as batches:
            for dataset in batches:
                total += self._score_of(dataset, training) * len(dataset)
                examples += len(dataset)
        return total / examples

    def _score_of(self, dataset: DataSet, training: bool) -> float:
        batch = self._checked_batch(dataset)
        return self._solver.score(*self._frames.training(batch), batch, self.iteration_count, training)

    # Inference

    def output(
        self,
        x: npt.ArrayLike,
        *,
        out: Array | None = None,
        workspace: Workspace | str | None = None,
        train: bool = False,
    ) -> Array:
        """Return the activations of the last layer, (batch, n_out).

        A new, detached array; with ``out`` they are copied there, and nothing is allocated; with ``workspace``, an open
        one or its id, the result is attached to it. ``train`` applies dropout, with another mask in every call.
        Raises ShapeError, DtypeError and DataError for input or ``out`` that do not fit, WorkspaceError (E23, E24).
        """
        self._initialized()
        x = checked_features(x, self._input_types[0])
        frame, plan = self._frames.inference(x, train)
        if out is not None:
            check_out(out, self._model.output_shape(x), self._dtype, x)
        target = None if workspace is None else output_workspace(workspace, self.conf.inference_workspace_mode, out)
        place = TO_HEAP if out is None and target is None else TO_ACT
        iteration = self._frames.next_random_call() if train else None
        with frame.opened(plan):
            y = frame.inference(x, None, place, iteration).view(np.ndarray)
            if target is not None:
                out = target.allocate(y.shape, y.dtype)
            if out is not None:
                np.copyto(out, y)
            else:
                y = frame.independent(y, len(self.layers) - 1, x)
        return y if out is None else out

    def predict(self, x: npt.ArrayLike, *, out: Array | None = None) -> Array:
        """Return the class of every example, (batch,): the largest output, or output > 0.5 where there is one.

        With ``out`` (batch,) of type np.intp the classes are written there, and nothing is allocated.
        """
        self._initialized()
        x = checked_features(x, self._input_types[0])
        frame, plan = self._frames.inference(x)
        if out is not None:
            check_out(out, (len(x),), np.dtype(np.intp), x)
        out = np.empty(len(x), np.intp) if out is None else out
        with frame.opened(plan):
            write_classes(frame.inference(x, None, TO_ACT).view(np.ndarray), out)
        return out

    def feed_forward(self, x: npt.ArrayLike, *, train: bool = False) -> list[Array]:
        """Return the input and the activations of every layer, all detached."""
        return self.feed_forward_to_layer(len(self.layers) - 1, x, train=train)

    def feed_forward_to_layer(self, layer: int, x: npt.ArrayLike, *, train: bool = False) -> list[Array]:
        """Return the input and the activations of the layers 0 to ``layer``, all detached."""
        if layer not in range(len(self.layers)):
            raise ConfigurationError(
                f"there is no layer {layer!r}: the network has layers 0 to {len(self.layers) - 1}."
            )
        self._initialized()
        x = checked_features(x, self._input_types[0])
        frame, plan = self._frames.inference(x, train)
        with frame.opened(plan):
            return frame.all_activations(x, layer + 1, self._frames.next_random_call() if train else None)

    # Evaluation

    def evaluate(self, data: Any, labels: Any = None) -> Evaluation:
        """Return the Evaluation of an iterator, whose ``labels`` name the classes, of a DataSet or of (x, y)."""
        evaluation = Evaluation(labels=class_names(data, labels))
        self.do_evaluation(data if labels is None else (data, labels), evaluation)
        return evaluation

    def do_evaluation(self, data: Any, *evaluations: BaseEvaluation) -> tuple[BaseEvaluation, ...]:
        """Add an iterator, a DataSet or a tuple (x, y) to the evaluations, and return them.

        They read the output in its workspace: a warm loop allocates no array memory.
        """
        self._initialized()
        check_evaluations(evaluations)
        source = [one_batch(data)] if is_arrays(data, None) else data
        with one_pass(source) as batches:
            for dataset in batches:
                batch = self._checked_batch(dataset)
                evaluate_batch(*self._frames.evaluation(batch), batch, evaluations)
        return evaluations

    # Reports

    @property
    def copied_in(self) -> int:
        """Results that custom layers left on the heap and that were copied into workspaces, in this thread so far."""
        return self._frames.copied_in if self.is_init_called else 0

    def summary(self) -> str:
        """Return a table of the layers: types, shapes, numbers of parameters."""
        return summary_table(self.layers, self._input_types)

    def memory_report(self, batch_size: int = 32, *, training: bool = True) -> MemoryReport:
        """Return what memory batches of this size will need, before anything runs.

        For training it covers inference and evaluation as well, as the workspaces do from the first step on. Features
        and labels are taken to be of the network's type; other ones are converted, in memory that comes on top.
        """
        batch_size = checked_count(batch_size, "batch_size")
        parameters = self._initialized()
        return make_report(self._model, parameters, self._frames.planner, batch_size, training, self.conf)

    # Inside

    def _initialized(self) -> Parameters:
        if self._parameters is None:
            raise NotInitializedError("the network has no parameters yet. Call init() first.")
        return self._parameters

    def _check_trainable(self) -> None:
        self._initialized()
        last = self.layers[-1]
        if not last.is_output_layer:
            raise ConfigurationError(
                f"the last layer ({type(last).__name__}) has no loss. End with an OutputLayer or a LossLayer to train."
            )

    def _checked_batch(self, dataset: DataSet) -> Batch:
        loss = getattr(self.layers[-1], "loss", None)
        return checked_batch(dataset, self._input_types[0], self._input_types[-1], self._dtype, loss)
