"""Forward and backward over the layers of a network: the one place that opens the scopes of its workspaces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from .batches import is_native
from .errors import ShapeError
from .inputs import InputType, Recurrent
from .layers.base import Array, Layer
from .managers import FrameManagers
from .model import Model
from .perturbation import NoisyLayers, dropped, undropped
from .placement import Kind, NetworkWorkspaces, Place, Plan
from .preprocessing import before_preprocessor, preprocessed
from .workspaces import ArrayType, Carried, CarriedState, DummyWorkspace, LayerWorkspaceMgr
from .workspaces.thread_state import ScopeKind, push_scope, state, unwind_scopes

__all__ = ["Frame"]

# reading a member of an enum takes a tenth of a microsecond, every time
ACTIVATIONS, ACTIVATION_GRAD = ArrayType.ACTIVATIONS, ArrayType.ACTIVATION_GRAD


class Frame:
    """One thread's means to run one network at one depth: managers for every layer, and the scopes they need.

    ``with frame.opened(plan):`` is how every public method of a network enters workspaces, and how it leaves them:
    whatever happens inside, afterwards no scope is open that was not open before. Without ``workspaces`` (mode NONE)
    the scopes do nothing and every array is detached.
    """

    def __init__(
        self,
        model: Model,
        gradients: Sequence[dict[str, Array]],
        workspaces: NetworkWorkspaces | None,
        manager_class: Callable[..., LayerWorkspaceMgr] = LayerWorkspaceMgr,
    ) -> None:
        self.model = model
        self.workspaces = workspaces
        nothing = DummyWorkspace()
        self.working: Any = workspaces.working if workspaces else nothing
        self.all: Any = workspaces.all if workspaces else nothing
        self.act: Sequence[Any] = workspaces.act if workspaces else (nothing, nothing)
        self.output: Any = workspaces.output if workspaces else nothing
        self._plan: Plan | None = None
        self._states: CarriedState | None = None
        self._backward_steps: int | None = None
        self._examples = 0
        self._scopes_before = 0
        self._in_use: Sequence[LayerWorkspaceMgr] = ()
        self._noisy = NoisyLayers(model.layers, model.layer_inputs)
        managers = FrameManagers(model, gradients, workspaces, manager_class)
        self.training, self._backward = managers.training, managers.backward
        self._inference, self._all_activations = managers.inference, managers.all_activations
        self._last = managers.last

    # Scopes

    def opened(self, plan: Plan | None, carried: Carried | None = None) -> Frame:
        """Return this frame, to be entered with ``with``; the workspaces will hold what ``plan`` says.

        Recurrent layers go on from the states that are carried, and leave theirs there if nothing is raised inside.
        """
        self._plan = plan
        self._states, self._backward_steps = carried or (None, None)
        return self

    def __enter__(self) -> Frame:
        here = state
        self._scopes_before = len(here.scopes)
        if self.workspaces is not None and self._plan is not None:
            self.workspaces.prepare(self._plan)
        if here.current is not None:
            push_scope(None, ScopeKind.SCOPED_OUT)  # a user's own workspace is none of the network's business
        here.network_depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here = state
        here.network_depth -= 1
        for manager in self._in_use:
            manager.call.end()  # or a caller's arrays would live on
        self._in_use = ()
        self._noisy.forget()
        if self._states is not None:
            if error is None:
                self._states.commit()
            else:
                self._states.roll_back()
            self._states = None
        if len(here.scopes) != self._scopes_before:
            unwind_scopes(self._scopes_before)
        if self.workspaces is None:
            return
        unforeseen = False
        for workspace in self.workspaces.members:
            if workspace.is_scope_active:
                workspace.end_cycle()
            unforeseen |= workspace.max_cycle_allocations > workspace.current_size
        if unforeseen and self._plan is not None:
            self.workspaces.learn(self._plan)

    @property
    def copied_in(self) -> int:
        """Results that were copied in from the heap so far."""
        managers = (*self.training, *self._inference)
        return sum(call.copied_in for manager in managers for call in manager.call.with_children())

    def attached(self, array: Array) -> Array:
        """Return ``array`` as user code is handed it."""
        return self._inference[-1].attached(array)

    def attached_memory(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return uninitialised memory in WS_ALL_LAYERS_ACT, which must be open, as user code is handed it."""
        return self.attached(self.memory_of(self.all)(shape, dtype))

    def memory_of(self, workspace: Any) -> Callable[..., Array]:
        """Return what makes uninitialised arrays in an open workspace of this frame, or on the heap in mode NONE."""
        if self.workspaces is None:
            return np.empty
        return lambda shape, dtype: workspace.allocate_plain(shape, np.dtype(dtype))

    # Passes

    def want_input_gradient(self, wanted: bool) -> None:
        """Say whether the next passes must make the gradient by the features possible, and give it."""
        self.training[0].call.wants_input_gradient = wanted

    def training_forward(
        self, x: Array, mask: Array | None, iteration: int, training: bool = True
    ) -> tuple[Array, Array | None]:
        """Return the output for a batch and its mask, keeping what backprop needs. WS_ALL_LAYERS_ACT must be open."""
        for index in range(len(self.training)):
            x, mask = self.training_forward_one(index, x, mask, iteration, training)
        return x, mask

    def training_forward_one(
        self, index: int, x: Array, mask: Array | None, iteration: int, training: bool = True
    ) -> tuple[Array, Array | None]:
        """Return the output of one layer and its mask."""
        self._in_use = self.training
        self._examples = len(x) if index == 0 else self._examples
        manager = self.training[index]
        self._begin(manager, x, mask, iteration, keeps=True)
        return self._forward(manager, index, x, mask, training)

    def _begin(self, manager: LayerWorkspaceMgr, x: Array, mask: Array | None, iteration: int, *, keeps: bool) -> None:
        manager.call.begin(
            x,
            keeps=keeps,
            mask=mask,
            iteration=iteration,
            examples=self._examples,
            states=self._states,
            backward_steps=self._backward_steps,
        )

    def score(self, labels: Array, mask: Array | None) -> float:
        """Return the sum of the losses of the batch of the last forward pass that kept its arrays."""
        manager, layer = self.training[-1], self._last_layer()
        with self.working, _noting(self.model, len(self.training) - 1, "score"):
            labels, mask = self._handed_labels(manager, labels, mask)
            return layer.score(labels, mask=mask, workspace_mgr=manager)

    def score_examples(self, labels: Array, mask: Array | None, out: Array) -> None:
        """Write the loss of every example of that batch into ``out`` (batch,)."""
        manager, layer = self.training[-1], self._last_layer()
        with self.working, _noting(self.model, len(self.training) - 1, "score_examples"):
            labels, mask = self._handed_labels(manager, labels, mask)
            np.copyto(out, layer.score_examples(labels, mask=mask, workspace_mgr=manager).view(np.ndarray))

    def _last_layer(self) -> Layer:
        last = len(self.training) - 1
        return self._noisy.backward(last, self.model.layers[last], self.training[last].call)

    def noisy_parameters(self, index: int) -> Iterable[Array]:
        """Return the parameters of a layer with weight noise, as the last pass in training had them."""
        return self._noisy.parameters(index)

    @property
    def first_input(self) -> Array:
        """The features of the pass, as the first layer was given them."""
        return self.training[0].call.input  # type: ignore[return-value]  # in a pass it is there

    def first_not_finite(self, output: Array) -> int | None:
        """Return the first layer of that pass whose activations are not finite, None if all are."""
        activations = [manager.call.input for manager in self.training[1:]] + [output]
        for index, array in enumerate(activations):
            if array is not None and not np.isfinite(array.view(np.ndarray)).all():
                return index
        return None

    def backward(self, labels: Array, mask: Array | None, input_gradient: Array | None = None) -> None:
        """Write the gradients of all parameters, from the last layer to the first.

        With ``input_gradient``, an array like the features, dL/dfeatures is written there; the forward pass must have
        been told by ``want_input_gradient``.
        """
        last = len(self._backward) - 1
        epsilon: Array | None = None
        for index in range(last, -1, -1):
            self.act[index & 1].begin_cycle()
            with self.working, _noting(self.model, index, Kind.TRAINING_BACKWARD.value):
                epsilon = self._backward_one(index, epsilon, labels, mask)
            if index < last:
                self.act[(index + 1) & 1].end_cycle()
        if input_gradient is not None:
            np.copyto(input_gradient, epsilon.view(np.ndarray))  # type: ignore[union-attr]  # it was asked for
        self.act[0].end_cycle()

    def _backward_one(self, index: int, epsilon: Array | None, labels: Array, mask: Array | None) -> Array | None:
        manager = self._backward[index]
        call = manager.call
        layer = self._noisy.backward(index, self.model.layers[index], call)
        if epsilon is None:
            labels, mask = self._handed_labels(manager, labels, mask)
            epsilon = layer.backprop_labels(labels, mask=mask, workspace_mgr=manager)
        else:
            epsilon = layer.backprop(manager.handed(epsilon), workspace_mgr=manager)
        self._noisy.finish_gradients(index, manager)
        if not call.wants_input_gradient:
            return None
        gradient = manager.settle(ACTIVATION_GRAD, epsilon)
        if call.input is not None and gradient.shape != call.input.shape:
            raise ShapeError(
                f"{call.label} returned a gradient of shape {gradient.shape} from backprop, expected the shape of its "
                f"input, {call.input.shape}. Return dL/dx."
            )
        return before_preprocessor(self.model, index, manager, undropped(layer, gradient, manager))

    def inference(
        self, x: Array, mask: Array | None, to: Place, iteration: int | None = None
    ) -> tuple[Array, Array | None]:
        """Return the output for a batch and its mask, valid until the frame closes.

        ``to`` says where it lives: Place.ACT like every other layer's, Place.OUTPUT, or Place.DETACHED. With an
        ``iteration`` the layers act as in training, and dropout draws the mask of that iteration.
        """
        self._in_use, self._examples = self._inference, len(x)
        last = len(self._inference) - 1
        for index, manager in enumerate(self._inference):
            if index == last:
                manager = self._last[to]
            self.act[index & 1].begin_cycle()
            self._begin(manager, x, mask, iteration or 0, keeps=False)
            x, mask = self._forward(manager, index, x, mask, iteration is not None)
            if index:
                self.act[(index - 1) & 1].end_cycle()
        return x, mask

    def all_activations(self, x: Array, mask: Array | None, layers: int, iteration: int | None = None) -> list[Array]:
        """Return the input and the output of every layer up to ``layers``, all detached."""
        self._in_use, self._examples = self._all_activations, len(x)
        outputs = [x.astype(self.model.dtype, order="C")]
        for index, manager in enumerate(self._all_activations[:layers]):
            self._begin(manager, x, mask, iteration or 0, keeps=False)
            x, mask = self._forward(manager, index, x, mask, iteration is not None)
            outputs.append(self.independent(x, index, outputs[-1]))
        return outputs

    def independent(self, y: Array, index: int, layer_input: Array) -> Array:
        """Return the detached output of a layer as a plain C-contiguous array that nobody else holds."""
        y = y.view(np.ndarray)
        if self.model.user_code[index] or not y.flags.c_contiguous or np.may_share_memory(y, layer_input):
            return y.copy()
        return y

    def _forward(
        self, manager: LayerWorkspaceMgr, index: int, x: Array, mask: Array | None, training: bool
    ) -> tuple[Array, Array | None]:
        layer = self.model.layers[index]
        try:
            with self.working:
                if index == 0 and not is_native(x, self.model.dtype):
                    x = manager.call.input = _converted(manager, x)
                x, mask = preprocessed(self.model, index, manager, x, mask)
                if training:
                    x = dropped(layer, x, self.model.channel_axes[index], manager)
                    layer = self._noisy.forward(index, layer, manager)
                y = layer.activate(manager.handed_input(x), training=training, workspace_mgr=manager)
                y = manager.settle(ACTIVATIONS, y)
                if manager.call.user_code:
                    self._check_shape(index, len(x), y)
                if mask is None and not layer.makes_mask:
                    return y, None
                return y, self._next_mask(manager, layer, mask)
        except Exception as error:
            error.add_note(f"in the forward pass, {self.model.label(index)}")
            raise

    def _next_mask(self, manager: LayerWorkspaceMgr, layer: Layer, mask: Array | None) -> Array | None:
        """Return the mask of a layer's output, which must live as long as that."""
        handed = None if mask is None else manager.handed(mask)
        result = layer.propagate_mask(handed, workspace_mgr=manager)
        if result is None:
            return None
        if mask is not None and result is handed and not any(act.owns(mask) for act in self.act):
            return mask
        return manager.settle(ACTIVATIONS, result)

    @staticmethod
    def _handed_labels(manager: LayerWorkspaceMgr, labels: Array, mask: Array | None) -> tuple[Array, Array | None]:
        return manager.handed(labels), None if mask is None else manager.handed(mask)

    def _check_shape(self, index: int, batch: int, y: Array) -> None:
        kind = self.model.input_types[index + 1]
        if self._states is not None and isinstance(kind, Recurrent):
            kind = InputType.recurrent(kind.size, None, kind.format)  # a piece may be shorter
        expected = (batch, *kind.example_shape())
        if len(expected) != y.ndim or any(e not in (None, n) for e, n in zip(expected, y.shape, strict=True)):
            raise ShapeError(
                f"{self.model.label(index)} returned activations of shape {y.shape}, expected {expected} from its "
                "output_type(). Return that shape, or change output_type()."
            )


@contextlib.contextmanager
def _noting(model: Model, index: int, what: str) -> Iterator[None]:
    """Note on whatever is raised inside which layer it came from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the {what}, {model.label(index)}")
        raise


def _converted(manager: LayerWorkspaceMgr, x: Array) -> Array:
    """Return the caller's array in the network's type, in an order that BLAS takes without a copy."""
    copy = manager.create_uninitialized(ArrayType.INPUT, x.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # training looks at what came out of it
        np.copyto(copy, x, casting="unsafe")
    return copy
