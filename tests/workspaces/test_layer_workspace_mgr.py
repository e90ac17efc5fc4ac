"""LayerWorkspaceMgr: what belongs to one layer call."""

import re

import numpy as np
import pytest

from minidl.errors import LayerError, PlacementWarning, WorkspaceError
from minidl.workspaces import (
    ArrayType,
    LayerCall,
    LayerWorkspaceMgr,
    WorkspaceArray,
    WorkspaceConfiguration,
    workspace_manager,
)

CONFIGURATION = WorkspaceConfiguration(initial_size=100_000, policy_learning="NONE")
ACTIVATIONS, WORKING = ArrayType.ACTIVATIONS, ArrayType.FF_WORKING_MEM


def make(**call):
    """Return a manager with ACTIVATIONS in A and working memory in W, both fixed beforehand."""
    workspaces = {id: workspace_manager.create_new_workspace(CONFIGURATION, id) for id in "AW"}
    return LayerWorkspaceMgr(
        {ACTIVATIONS: ("A", CONFIGURATION), WORKING: ("W", CONFIGURATION)},
        scoped_out=[ArrayType.ACTIVATION_GRAD],
        call=LayerCall(**call),
        workspaces=workspaces,
    )


@pytest.fixture
def opened():
    """A manager for a user's layer whose workspaces are open, W being current."""
    mgr = make(label="layer 3 (Mine)", gradients={"W": np.zeros((2, 2))})
    with mgr.notify_scope_entered(ACTIVATIONS), mgr.notify_scope_entered(WORKING):
        yield mgr


def test_user_code_is_handed_workspace_arrays_built_in_code_plain_ones():
    for user_code, expected in ((True, WorkspaceArray), (False, np.ndarray)):
        mgr = make(user_code=user_code)
        with mgr.notify_scope_entered(ACTIVATIONS):
            array = mgr.create(ACTIVATIONS, (2, 3))
            assert type(array) is expected
            assert type(mgr.handed(array)) is expected
            assert type(mgr.handed(array.view(WorkspaceArray))) is expected
            assert workspace_manager.current_workspace.owns(array)


def test_no_workspaces_is_for_trying_a_layer_by_hand():
    mgr = LayerWorkspaceMgr.no_workspaces()
    assert mgr.create(ACTIVATIONS, (2,)).tolist() == [0, 0]
    mgr.save_for_backprop(1, 2)
    assert mgr.saved() == (1, 2)


def test_saved_arrays_are_moved_out_of_working_memory_once(opened):
    result = opened.create(WORKING, (2, 2)) + 1
    opened.save_for_backprop(result, 7)
    saved, number = opened.saved()
    activations = workspace_manager.get_workspace_for_current_thread(CONFIGURATION, "A")
    assert activations.owns(saved)
    assert number == 7
    offset = activations.offset
    assert opened.settle(ACTIVATIONS, result) is saved
    assert activations.offset == offset


def test_saving_twice_is_refused(opened):
    opened.save_for_backprop(1)
    message = "layer 3 (Mine) called save_for_backprop twice in one forward pass. Save everything in one call."
    with pytest.raises(LayerError, match=re.escape(message)):
        opened.save_for_backprop(2)


def test_saving_at_inference_does_nothing(opened):
    opened.call.begin(None, keeps=False)
    opened.save_for_backprop(1)
    message = (
        "layer 3 (Mine) asked for saved() but saved nothing in its forward pass. Call "
        "workspace_mgr.save_for_backprop(...) in activate()."
    )
    with pytest.raises(LayerError, match=re.escape(message)):
        opened.saved()


def test_gradients_are_views_and_unknown_names_are_refused(opened):
    opened.gradient("W")[...] = 3
    assert opened.call.gradients["W"].sum() == 12
    message = (
        "layer 3 (Mine) asked for the gradient of 'b', but declares the parameters ['W']. Declare it in param_specs()."
    )
    with pytest.raises(LayerError, match=re.escape(message)):
        opened.gradient("b")


def test_the_generator_is_a_function_of_seed_iteration_layer_and_shard():
    def draw(seed=1, index=2, iteration=3, shard=0):
        mgr = make(seed=seed, index=index)
        mgr.call.begin(None, keeps=True, iteration=iteration, shard=shard)
        return mgr.rng.random(4).tolist()

    same = draw()
    assert draw() == same
    others = [draw(seed=2), draw(index=3), draw(iteration=4), draw(shard=1)]
    assert all(other != same for other in others)
    assert len({tuple(other) for other in others}) == 4


def test_a_result_in_place_is_taken_as_it_is(opened):
    array = opened.create(ACTIVATIONS, (2, 2))
    assert opened.settle(ACTIVATIONS, array) is array
    assert opened.settle(ACTIVATIONS, array[:1]).base is array.base


def test_a_result_in_working_memory_or_of_the_input_is_copied_silently(opened):
    opened.call.begin(x := np.ones((2, 2), np.float32), keeps=True)
    for result in (opened.create(WORKING, (2, 2)) + 1, x):
        settled = opened.settle(ACTIVATIONS, result)
        np.testing.assert_array_equal(np.asarray(settled), np.ones((2, 2)))
        assert workspace_manager.get_workspace_for_current_thread(CONFIGURATION, "A").owns(settled)
    assert opened.call.copied_in == 0


def test_a_heap_array_is_copied_in_counted_and_warned_about_once(opened):
    message = (
        'layer 3 (Mine): array (ACTIVATIONS) workspace validation failed: it should be in workspace "A" but is detached'
    )
    with pytest.warns(PlacementWarning, match=re.escape(message)):
        opened.settle(ACTIVATIONS, np.ones(2))
    assert opened.settle(ACTIVATIONS, np.ones(2)).tolist() == [1, 1]  # as float32, and without a warning
    assert opened.call.copied_in == 2


def test_a_heap_array_under_strict_is_an_error():
    mgr = make(strict=True)
    message = "Compute it from the arrays that the layer is handed, or create it with workspace_mgr.create"
    with mgr.notify_scope_entered(ACTIVATIONS), pytest.raises(WorkspaceError, match=re.escape(message)) as caught:
        mgr.settle(ACTIVATIONS, np.ones(2))
    assert caught.value.code == "E20"


def test_a_result_of_another_type_is_cast(opened):
    settled = opened.settle(ACTIVATIONS, opened.create(WORKING, (2,), np.float64) + 0.5)
    assert settled.dtype == np.float32
    assert settled.tolist() == [0.5, 0.5]


def test_a_detached_type_takes_heap_arrays_of_built_in_code_and_detaches_others(opened):
    plain = np.ones(2, np.float32)
    assert make(user_code=False).settle(ArrayType.ACTIVATION_GRAD, plain) is plain
    detached = opened.settle(ArrayType.ACTIVATION_GRAD, opened.create(WORKING, (2,)))
    assert type(detached) is np.ndarray
    assert detached.base is None


@pytest.mark.parametrize("shape", [(2,), (3, 2)])
def test_a_gradient_of_user_code_that_cannot_be_written_to_is_copied(opened, shape):
    kept = np.ones(2, np.float32)
    settled = opened.settle(ArrayType.ACTIVATION_GRAD, np.broadcast_to(kept, shape))
    settled += 1
    assert kept.tolist() == [1, 1]
    assert settled.tolist() == np.full(shape, 2.0).tolist()


def test_what_is_no_array_is_refused(opened):
    message = (
        "layer 3 (Mine) returned NoneType instead of an array. Return the activations from activate(), and dL/dinput "
        "from backprop()."
    )
    with pytest.raises(LayerError, match=re.escape(message)):
        opened.settle(ACTIVATIONS, None)
