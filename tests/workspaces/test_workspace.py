"""One workspace: where arrays go, what is counted, how the size is learned. Rows are those of workspaces.md."""

# ruff: noqa: N802  (rows carry the names of their tests upstream)

import logging
import re

import numpy as np
import pytest

from minidl.errors import DtypeError, ShapeError, WorkspaceError, WorkspaceFullError
from minidl.workspaces import Workspace, WorkspaceArray, WorkspaceConfiguration, workspace_manager
from minidl.workspaces.arena import Arena

F8 = np.float64
MIB = 1 << 20


def made(**options):
    """Return a workspace; exact sizes unless asked otherwise."""
    return Workspace(WorkspaceConfiguration(**{"policy_allocation": "STRICT", **options}), "A")


def cycle(workspace, *lengths):
    """Run one cycle that asks for arrays of so many doubles."""
    with workspace:
        for length in lengths:
            workspace.create(length, F8)


@pytest.fixture
def poisoned(monkeypatch):
    monkeypatch.setattr(Workspace, "poison_recycled_memory", True)


# Conformance


def test_row_2_testMinSize1():
    workspace = made(min_size=10 * MIB, overallocation_limit=1.0, policy_allocation="OVERALLOCATE")
    sizes = []
    for _ in range(2):
        with workspace:
            workspace.create(100, F8)
            sizes.append(workspace.current_size)
    assert sizes == [0, 10485760]


def test_row_4_testBreakout2():
    with pytest.raises(ZeroDivisionError, match="in the scope"), made(initial_size=80) as workspace:
        raise ZeroDivisionError("in the scope")
    assert not workspace.is_scope_active
    assert workspace_manager.current_workspace is None


def test_row_15_testScope2():
    workspace = Workspace(WorkspaceConfiguration())
    with workspace:
        workspace.create(100, F8)
        assert workspace.current_size == 0
    with workspace:
        workspace.create(100, F8)
        assert workspace.offset == 800


def test_row_17_testOverallocation1():
    options = {"policy_allocation": "OVERALLOCATE", "policy_learning": "NONE"}
    assert made(initial_size=1024, overallocation_limit=1.0, **options).current_size == 2048


def test_row_18_testOverallocation2():
    workspace = made(max_size=10 * MIB, overallocation_limit=1.0, policy_allocation="OVERALLOCATE")
    assert workspace.current_size == 0
    cycle(workspace, 100)
    assert workspace.current_size == 1600


def test_row_19_testOverallocation3():
    workspace = made(overallocation_limit=1.0, policy_allocation="OVERALLOCATE", policy_learning="OVER_TIME")
    for length in range(10, 101, 10):
        cycle(workspace, length)
        assert workspace.current_size == 0
    workspace.initialize_workspace()
    assert workspace.current_size == 1600


def test_row_21_testLoop4():
    workspace = made()
    cycle(workspace, 100, 100)
    assert workspace.current_size == 1600
    with workspace:
        workspace.create(100, F8)
        assert workspace.offset == 800
    assert workspace.offset == 0


def test_row_22_testLoops3():
    workspace = made()
    assert workspace.offset == 0
    cycle(workspace, 100, 10)
    assert (workspace.current_size, workspace.offset) == (880, 0)


def test_row_23_testLoops2():
    workspace = made(policy_learning="OVER_TIME")
    for length in range(1, 101):
        cycle(workspace, length)
        assert (workspace.current_size, workspace.offset) == (0, 0)
    workspace.initialize_workspace()
    assert workspace.current_size == 800
    with workspace:
        workspace.create(10, F8)
        assert workspace.offset == 80


def test_row_24_testAllocation1_3():
    with made(initial_size=10 * MIB, max_size=10 * MIB) as workspace:
        array = workspace.create(5, F8)
        assert workspace.offset == 40
        array[:] = [1, 2, 3, 4, 5]
        assert array.sum() == 15
        array += [3, 3, 3, 3, 3]
        assert array.sum() == 30


def test_row_25_testAllocation4():
    with made(initial_size=MIB, policy_spill="FAIL") as workspace:
        workspace.create(5, F8)
        message = (
            "Can't allocate memory: Workspace is full. Workspace [A] was asked for 80000000 bytes (shape (10000000,), "
            "float64) and has 1048536 of 1048576 left. Give it a larger initial_size, or policy_spill EXTERNAL or "
            "REALLOCATE."
        )
        with pytest.raises(WorkspaceFullError, match=re.escape(message)) as caught:
            workspace.create(10_000_000, F8)
        assert caught.value.code == "E5"
        assert workspace.offset == workspace.this_cycle_allocations == 40
        assert (workspace.spilled_size, workspace.spilled_count) == (0, 0)
        workspace.create(5, F8)
        assert workspace.offset == 80


def test_row_26_testAllocation5():
    with made(initial_size=MIB) as workspace:
        array = workspace.create(5, F8)
        copy = array + 0.0
        assert workspace.offset >= 80
        assert workspace.owns(copy)


def test_row_27_testAllocation6(rng):
    with made(initial_size=MIB) as workspace:
        array = workspace.create_uninitialized((100, 10), F8)
        array[:] = rng.random((100, 10))
        assert workspace.offset == 8000
        array + 0.0
        assert workspace.offset == 16000


def test_row_53_testReallocate1():
    workspace = made(policy_learning="OVER_TIME", policy_spill="REALLOCATE")
    cycle(workspace, 100)
    workspace.initialize_workspace()
    assert workspace.current_size == 800
    cycle(workspace, 1000)
    assert (workspace.max_cycle_allocations, workspace.current_size) == (8000, 8000)
    cycle(workspace, 500)
    assert (workspace.last_cycle_allocations, workspace.current_size) == (4000, 8000)


def test_row_54_testReallocate2():
    workspace = made(policy_learning="OVER_TIME", cycles_before_initialization=3, policy_spill="REALLOCATE")
    sizes = []
    for number in range(1, 11):
        cycle(workspace, 100 * number)
        sizes.append(workspace.current_size)
    assert sizes == [0, 0, 2400, 3200, 4000, 4800, 5600, 6400, 7200, 8000]


def test_row_55_testReallocate3():
    workspace = made(
        policy_allocation="OVERALLOCATE",
        overallocation_limit=0.0,
        policy_learning="OVER_TIME",
        policy_spill="REALLOCATE",
    )
    for number in range(1, 11):
        cycle(workspace, 100 * number)
        if number == 3:
            workspace.initialize_workspace()
            assert workspace.current_size == 2400
    assert workspace.current_size == 8000


def test_row_60_testNestedWorkspaces8():
    workspace = made(policy_learning="OVER_TIME", policy_spill="EXTERNAL")
    cycle(workspace, 100)
    workspace.initialize_workspace()
    cycle(workspace, 1000)
    workspace.initialize_workspace()
    assert workspace.current_size == 800


def test_row_61_testNestedWorkspaces9():
    workspace = made(policy_learning="OVER_TIME", cycles_before_initialization=3, policy_spill="EXTERNAL")
    sizes = []
    for number in range(1, 10):
        cycle(workspace, 100 * number)
        sizes.append(workspace.current_size)
    assert sizes == [0, 0] + 7 * [2400]
    assert workspace.max_cycle_allocations == 7200


def test_row_63_testNestedWorkspaces2():
    workspace = made(policy_learning="OVER_TIME")
    for length in range(1, 101):
        cycle(workspace, length)
        assert workspace.last_cycle_allocations == 8 * length
    workspace.initialize_workspace()
    assert workspace.current_size == 800


def test_row_67_testAlignment_1():
    workspace = made(initial_size=MIB)
    for _ in range(100):
        with workspace:
            expected = [(i % 2 == 0, np.full(i + 1, i, F8 if i % 2 else bool)) for i in range(10)]
            arrays = [workspace.create_uninitialized(len(values), values.dtype) for _, values in expected]
            for array, (_, values) in zip(arrays, expected, strict=True):
                array[:] = values
            for array, (_, values) in zip(arrays, expected, strict=True):
                np.testing.assert_array_equal(np.asarray(array), values)
    assert workspace.spilled_count == 0


# Learning


def test_only_the_first_learned_size_gets_the_margin():
    workspace = made(policy_allocation="OVERALLOCATE", overallocation_limit=0.05, policy_spill="REALLOCATE")
    cycle(workspace, 125)
    assert workspace.current_size == 1050
    cycle(workspace, 250)
    assert workspace.current_size == 2000


def test_demand_above_max_size_spills_in_every_cycle():
    workspace = made(max_size=800, policy_spill="REALLOCATE")
    for _ in range(3):
        cycle(workspace, 60, 60)
        assert workspace.current_size == 800
    with workspace:
        workspace.create(60, F8)
        workspace.create(60, F8)
        assert (workspace.offset, workspace.spilled_size) == (480, 480)


def test_initializing_before_anything_was_learned():
    workspace = made(policy_learning="OVER_TIME")
    workspace.initialize_workspace()
    assert workspace.current_size == 0
    at_least = made(policy_learning="OVER_TIME", min_size=4096)
    at_least.initialize_workspace()
    assert at_least.current_size == 4096


def test_without_learning_the_size_stays():
    workspace = made(initial_size=80, policy_learning="NONE", policy_spill="REALLOCATE")
    cycle(workspace, 100)
    workspace.initialize_workspace()
    assert workspace.current_size == 80


@pytest.mark.parametrize(("options", "records"), [({}, 1), ({"cycles_before_initialization": 2}, 0)])
def test_workspace_that_never_learns_is_logged_once(options, records, caplog):
    with caplog.at_level(logging.WARNING):
        workspace = made(policy_learning="OVER_TIME", **options)
        cycle(workspace, 1)
    assert len(caplog.records) == records
    assert all("workspace [A] never learns its size" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("method", ["initialize_workspace", "destroy"])
def test_open_workspace_keeps_its_buffer(method):
    message = (
        "Workspace [A] is open: its buffer cannot be replaced or destroyed under its arrays. Close its scope first."
    )
    with made(initial_size=80) as workspace:
        with pytest.raises(WorkspaceError, match=re.escape(message)):
            getattr(workspace, method)()
        assert workspace.current_size == 80


def test_failing_to_grow_leaves_an_empty_workspace_that_works(monkeypatch):
    def no_memory(size):
        raise WorkspaceFullError("no memory")

    workspace = made(policy_spill="REALLOCATE")
    cycle(workspace, 10)
    with monkeypatch.context() as patched:
        patched.setattr("minidl.workspaces.buffer.Block", no_memory)
        with pytest.raises(WorkspaceFullError, match=re.escape("no memory")):
            cycle(workspace, 20)
    assert workspace_manager.current_workspace is None
    assert (workspace.is_scope_active, workspace.current_size, workspace.last_cycle_allocations) == (False, 0, 160)
    cycle(workspace, 10)
    assert workspace.current_size == 160


# Counters


def test_counters_of_a_workspace_that_spills():
    workspace = made(initial_size=80, policy_learning="NONE")
    with workspace:
        workspace.create(8, F8)
        workspace.create(8, F8)
        workspace.create(2, F8)
        assert (workspace.offset, workspace.spilled_size, workspace.spilled_count) == (80, 64, 1)
        assert workspace.this_cycle_allocations == 144
    assert (workspace.offset, workspace.this_cycle_allocations, workspace.pinned_size) == (0, 0, 0)
    assert workspace.last_cycle_allocations == workspace.max_cycle_allocations == 144


def test_without_learning_spilled_counts_stay_until_the_next_cycle():
    workspace = made(initial_size=80, policy_learning="NONE")
    cycle(workspace, 20)
    assert (workspace.spilled_size, workspace.spilled_count) == (160, 1)
    with workspace:
        assert (workspace.spilled_size, workspace.spilled_count) == (0, 0)


def test_with_learning_spilled_counts_end_with_the_cycle():
    workspace = made()
    cycle(workspace, 20)
    assert (workspace.spilled_size, workspace.spilled_count) == (0, 0)


def test_cycles_steps_and_generations():
    workspace = made(initial_size=80)
    assert (workspace.cycles_count, workspace.step_number, workspace.generation_id) == (0, 0, 0)
    for number in range(1, 4):
        cycle(workspace, number)
        assert (workspace.cycles_count, workspace.step_number, workspace.generation_id) == (number, number - 1, number)
    assert (workspace.last_cycle_allocations, workspace.max_cycle_allocations) == (24, 24)


def test_initial_block_size_is_what_was_learned():
    workspace = made(initial_size=800)
    assert workspace.initial_block_size == 0
    learning = made(min_size=4096)
    cycle(learning, 10)
    assert (learning.initial_block_size, learning.current_size) == (80, 4096)


def test_text_form_shows_id_and_size():
    assert repr(made(initial_size=80)) == "Workspace('A', 80 bytes)"


# Arrays


@pytest.mark.parametrize("size", [1 << 12, 0])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), 3, np.int64(3), (2, 3), [2, 3], (0, 4)])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", "?", "i2", "M8[s]", "S3", "U2", "V5", [("a", "f4"), ("b", "S3")]])
def test_created_arrays_are_like_those_of_numpy(dtype, shape, order, size, poisoned):
    with made(initial_size=size) as workspace:
        array = workspace.create(shape, dtype, order)
        expected = np.zeros(shape, dtype, order)
        assert isinstance(array, WorkspaceArray)
        assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
        assert array.strides == expected.strides or array.size == 0
        assert np.asarray(array).tobytes() == expected.tobytes()


def test_float32_is_the_default():
    with made(initial_size=80) as workspace:
        assert workspace.create(1).dtype == workspace.create_uninitialized(1).dtype == np.float32


def test_memory_survives_the_cycle_and_create_clears_it():
    workspace = made(initial_size=80)
    with workspace:
        workspace.create(10, F8)[:] = 7.0
    with workspace:
        assert workspace.create_uninitialized(5, F8).tolist() == [7.0] * 5
        assert workspace.create(5, F8).tolist() == [0.0] * 5


def test_alignment_is_kept():
    with made(initial_size=1024, alignment=64) as workspace:
        offsets = []
        for _ in range(3):
            array = workspace.create(3, F8)
            offsets.append(workspace.offset)
            assert array.__array_interface__["data"][0] % 64 == 0
    assert offsets == [64, 128, 192]


def test_request_that_fits_exactly_and_one_byte_more():
    with made(initial_size=80, policy_spill="FAIL") as workspace:
        workspace.create(80, np.uint8)
        workspace.create(0, np.uint8)
        with pytest.raises(WorkspaceFullError, match=re.escape("Workspace [A] was asked for 8 bytes")):
            workspace.create(1, np.uint8)


@pytest.mark.parametrize("dtype", [object, [("a", "f4"), ("b", object)]])
def test_objects_are_refused(dtype):
    message = (
        "holds Python objects, which cannot live in recycled memory. Use a numeric type, or a detached array: "
        "np.empty(shape, dtype)."
    )
    with made(initial_size=80) as workspace, pytest.raises(DtypeError, match=re.escape(message)):
        workspace.create(1, dtype)


def test_closed_workspace_gives_no_arrays():
    message = "Workspace [A] is not open. Enter it first: `with workspace: ...`. Open workspaces: []."
    with pytest.raises(WorkspaceError, match=re.escape(message)) as caught:
        made(initial_size=80).create(1)
    assert caught.value.code == "E15"


@pytest.mark.parametrize("size", [80, 0])
@pytest.mark.parametrize("shape", [-1, (-1, 3), (-2, -3), (2.5,), "ab", (1 << 62, 4), None])
def test_what_is_no_shape_changes_nothing(shape, size):
    with made(initial_size=size) as workspace:
        workspace.create(1, F8)
        before = (workspace.offset, workspace.this_cycle_allocations, workspace.spilled_size, workspace.spilled_count)
        for dtype in (F8, np.uint8):
            with pytest.raises((ShapeError, MemoryError), match=r"does not make an array: .*\. Give whole|allocate"):
                workspace.create(shape, dtype)
        after = (workspace.offset, workspace.this_cycle_allocations, workspace.spilled_size, workspace.spilled_count)
    assert before == after


# Roots: which cycle an array is of


def test_arrays_of_one_cycle_share_a_root_that_dies_with_it():
    with made(initial_size=800) as workspace:
        first, second = workspace.create(5, F8), workspace.create(5, F8)
        root = first.base
        assert root is second.base is first[1:].base is first[1:].T.base
        assert (root._alive, root._workspace, root._generation) == (True, workspace, 1)
    assert not root._alive


def test_spilled_array_has_a_root_of_its_own_that_dies_with_the_cycle():
    with made(policy_learning="NONE") as workspace:
        first, second = workspace.create(5, F8), workspace.create(5, F8)
        assert first.base is not second.base
    assert not first.base._alive
    assert not second.base._alive


@pytest.mark.parametrize("size", [800, 0])
def test_array_made_while_closed_is_dead_and_not_in_the_way(size):
    workspace = made(initial_size=size, policy_learning="NONE")
    early = workspace.allocate((5,), np.dtype(F8))
    assert not early.base._alive
    with workspace:
        assert (workspace.this_cycle_allocations, workspace.spilled_count) == (0, 0)
        assert workspace.create(5, F8).base is not early.base
        assert not workspace.owns(early)
    assert workspace.last_cycle_allocations == 40


def test_trap_8_slice_of_an_old_cycle_stays_dead():
    workspace = made(initial_size=800)
    with workspace:
        rest = workspace.create(5, F8)[1:]
    with workspace:
        again = workspace.create(5, F8)
        assert not rest.base._alive
        assert again.base._alive


def test_trap_18_only_scopes_move_the_pointer():
    with made(initial_size=800) as workspace:
        with pytest.raises(AttributeError, match=re.escape("property 'offset' of 'Workspace' object has no setter")):
            workspace.offset = 0
        with pytest.raises(AttributeError, match=re.escape("'Workspace' object has no attribute 'ofset'")):
            workspace.ofset = 0


# Plain memory for code that keeps to the scopes by itself


def test_plain_views_are_made_once():
    workspace, f8 = made(initial_size=800), np.dtype(F8)
    rounds = []
    for _ in range(2):
        with workspace:
            rounds.append([workspace.allocate_plain((5,), f8), workspace.allocate_plain((2, 5), f8, "F")])
            assert workspace.offset == 120
    assert all(first is second for first, second in zip(*rounds, strict=True))
    assert type(rounds[0][0]) is np.ndarray
    assert rounds[0][1].flags.f_contiguous
    assert all(view.base is workspace.memory for view in rounds[0])


def test_plain_memory_spills_by_the_same_rules():
    with made(initial_size=40) as workspace:
        view = workspace.allocate_plain((6,), np.dtype(F8))
        assert (view.shape, type(view)) == ((6,), np.ndarray)
        assert (workspace.offset, workspace.spilled_size, workspace.views) == (0, 48, {})
        assert workspace.owns(view)


def test_new_buffer_forgets_the_views_of_the_old_one():
    workspace = made(initial_size=80)
    with workspace:
        old = workspace.allocate_plain((5,), np.dtype(F8))
    workspace.resize(160)
    with workspace:
        assert workspace.allocate_plain((5,), np.dtype(F8)) is not old
        assert not workspace.owns(old)


@pytest.mark.parametrize("size", [800, 0])
def test_owns_what_lies_in_this_cycle(size):
    workspace = made(initial_size=size, policy_learning="NONE")
    with workspace:
        array, plain = workspace.create((4, 5), F8), workspace.allocate_plain((4, 5), np.dtype(F8))
        for mine in (array, array.T[1:], np.asarray(array), np.asarray(array)[1:].T, plain, plain[1:].T):
            assert workspace.owns(mine)
        for other in (np.zeros(3), np.zeros(3)[1:], np.array(array), plain.copy()):
            assert not workspace.owns(other)
        with made(initial_size=800) as another:
            assert not another.owns(array)
        rest = array[1:]
    with workspace:
        assert not workspace.owns(array)
        assert not workspace.owns(rest)


@pytest.mark.parametrize("size", [800, 0])
def test_attached_view_of_plain_memory(size):
    with made(initial_size=size) as workspace:
        plain = workspace.allocate_plain((4, 5), np.dtype(F8))
        plain[...] = np.arange(20.0).reshape(4, 5)
        for view in (plain, plain.T, plain[1:, ::2], plain[::-1, ::-1], plain[:0], np.broadcast_to(plain[0], (200, 5))):
            array = workspace.attach(view)
            assert type(array) is WorkspaceArray
            assert array.base._alive
            np.testing.assert_array_equal(np.asarray(array), view)


def test_foreign_memory_is_not_attached():
    message = "the array does not lie in workspace [A]. Pass one for which owns() is true."
    with made(initial_size=80) as workspace, pytest.raises(WorkspaceError, match=re.escape(message)):
        workspace.attach(np.zeros(3))


def test_rolled_back_bytes_are_given_again_and_counted_once():
    with made(initial_size=800) as workspace:
        workspace.create(5, F8)
        for _ in range(3):
            before = workspace.offset
            workspace.create(10, F8)
            workspace.roll_back(before)
            assert workspace.offset == 40
        assert workspace.this_cycle_allocations == 120
    assert workspace.last_cycle_allocations == 120
    cycle(workspace, 1)
    assert workspace.last_cycle_allocations == 8


# Poison


def test_poison_shows_reads_of_recycled_memory(poisoned):
    workspace = made(initial_size=800)
    with workspace:
        assert np.isnan(workspace.create_uninitialized(10, F8)).all()
        plain = workspace.allocate_plain((10,), np.dtype(F8))
        plain[:] = 1.0
    assert np.isnan(plain).all()


def test_poison_reaches_spilled_memory_and_new_buffers(poisoned):
    workspace = made()
    with workspace:
        plain = workspace.allocate_plain((10,), np.dtype(F8))
        assert np.isnan(plain).all()
        plain[:] = 1.0
    assert np.isnan(plain).all()
    with workspace:
        assert np.isnan(workspace.allocate_plain((10,), np.dtype(F8))).all()


def test_without_poison_nothing_is_written():
    workspace = made(initial_size=80)
    with workspace:
        plain = workspace.allocate_plain((10,), np.dtype(F8))
        plain[:] = 1.0
    assert (plain == 1.0).all()


def test_workspace_is_an_arena():
    assert issubclass(Workspace, Arena)
    assert not hasattr(Workspace(), "__dict__")
