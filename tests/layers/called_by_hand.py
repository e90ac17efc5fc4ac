"""One layer, called by hand: without a network, in memory that holds NaN until the layer writes it."""

from dataclasses import dataclass

import numpy as np

from minidl import LayerWorkspaceMgr, NeuralNetConfiguration
from minidl.layers import is_user_code
from minidl.workspaces import CarriedState, LayerCall

__all__ = ["Call", "call_by_hand", "completed", "random_params"]


@dataclass(frozen=True)
class Call:
    """What a layer gave: its output, dL/dx (None if it gave none), and the gradients of its parameters.

    ``mask`` is that of the output, ``state`` what the layer carries on; both are for calls that had one.
    """

    output: np.ndarray
    d_x: np.ndarray | None
    gradients: dict[str, np.ndarray]
    mask: np.ndarray | None
    state: dict[str, np.ndarray]


def call_by_hand(  # noqa: PLR0913  # all that belongs to a call
    layer,
    input_type,
    params,
    x,
    epsilon,
    *,
    mask=None,
    wants_input_gradient=True,
    training=True,
    state=None,
    backward_steps=None,
):
    """Return the Call of ``layer`` with these parameters for x (batch, ...), and epsilon = dL/doutput.

    ``layer`` is as a user writes it; what it leaves open is filled in for an input of this type. All is computed in the
    type of x, which keeps its strides and must not be written to, nor may the mask and the parameters. ``epsilon`` is
    an array, of any strides, or a function that makes it from the output; what a layer may overwrite is a copy. None is
    for a call at inference, which keeps nothing and has no gradients. With a ``state``, {name: array}, the layer
    carries one; {} is zeros. ``backward_steps`` cuts backpropagation through time.
    """
    layer = completed(layer, input_type, x.dtype)
    specs = {spec.name: spec for spec in layer.param_specs(input_type)}
    assert set(params) == set(specs), f"parameters {sorted(params)} were given, expected {sorted(specs)}"
    for name, spec in specs.items():
        assert np.shape(params[name]) == spec.shape, f"{name} has the shape {np.shape(params[name])}, not {spec.shape}"
    layer.attach_params(
        {name: read_only(np.array(params[name], x.dtype, order=spec.order)) for name, spec in specs.items()}
    )
    gradients = {name: np.full(spec.shape, np.nan, x.dtype, spec.order) for name, spec in specs.items()}
    manager = PoisonedMgr.no_workspaces(x.dtype)
    manager.call = LayerCall(gradients=gradients, user_code=is_user_code(type(layer)))
    manager.call.wants_input_gradient = wants_input_gradient
    states = None if state is None else carried(state, x.dtype)
    mask = None if mask is None else read_only(mask)
    manager.call.begin(x, keeps=epsilon is not None, mask=mask, states=states, backward_steps=backward_steps)
    output = layer.activate(manager.handed(read_only(x)), training=training, workspace_mgr=manager)
    kept = np.array(output)
    if mask is not None or layer.makes_mask:
        mask = layer.propagate_mask(manager.mask, workspace_mgr=manager)
        mask = None if mask is None else np.array(mask)
    if states is not None:
        states.commit()
    left = {} if states is None else states.of_layer(0)
    if epsilon is None:
        return Call(kept, None, {}, mask, left)
    epsilon = epsilon(kept) if callable(epsilon) else epsilon
    assert epsilon.shape == kept.shape, f"epsilon has the shape {epsilon.shape}, the output {kept.shape}"
    d_x = layer.backprop(manager.handed(same_strides(epsilon, x.dtype)), workspace_mgr=manager)
    return Call(kept, None if d_x is None else np.array(d_x), gradients, mask, left)


def completed(layer, input_type, dtype="float64"):
    """Return a copy of a layer with what it leaves open filled in, as in a network of this layer alone."""
    configuration = NeuralNetConfiguration(seed=1, dtype=np.dtype(dtype).name)
    of_one = configuration.list(layer, input_type=input_type, validate_output_layer_config=False)
    return of_one.layers[0]


def random_params(layer, input_type, rng):
    """Return normally distributed numbers for every parameter of a layer."""
    # a cap on the windows counts bytes, and the numbers may be meant for half as many
    specs = completed(layer, input_type, "float32").param_specs(input_type)
    return {spec.name: rng.standard_normal(spec.shape) for spec in specs}


class PoisonedMgr(LayerWorkspaceMgr):
    """Hands out memory full of NaN, or of the largest number, so that an element that is read unwritten shows."""

    def create_uninitialized(self, array_type, shape, dtype=None, order="C"):
        array = super().create_uninitialized(array_type, shape, dtype, order)
        if array.dtype.kind in "iu":
            array.fill(np.iinfo(array.dtype).max)
        else:
            array.fill(True if array.dtype.kind == "b" else np.nan)
        return array


class PoisonedState(CarriedState):
    """Hands out the state before to be read, and NaN for the one after."""

    def pair(self, key, shape, dtype):
        before, after = super().pair(key, shape, dtype)
        after.fill(np.nan)
        return read_only(before), after


def carried(state, dtype):
    """Return what holds the state of a layer from one call to the next."""
    states = PoisonedState()
    states.set_layer(0, {name: np.array(array, dtype) for name, array in state.items()})
    return states


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


def same_strides(array, dtype):
    """Return a copy whose axes have the same order and gaps in memory, so that a layer may overwrite it."""
    low, high = np.lib.array_utils.byte_bounds(array)
    memory = np.full((high - low) // array.itemsize, np.nan, dtype)
    steps = [step // array.itemsize * memory.itemsize for step in array.strides]
    first = sum(-step * (extent - 1) for step, extent in zip(steps, array.shape, strict=True) if step < 0)
    copy = np.ndarray(array.shape, dtype, memory, first, steps)
    copy[...] = array
    return copy
