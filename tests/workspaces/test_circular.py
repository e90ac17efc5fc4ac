"""Circular workspaces: where the blocks lie, what is pinned, and until when a batch is valid. Rows: workspaces.md."""

# ruff: noqa: N802  (rows carry the names of their tests upstream)

import gc
import queue
import re
import threading
import weakref

import numpy as np
import pytest

from minidl.errors import StaleArrayError, WorkspaceError, WorkspaceFullError
from minidl.workspaces import CircularWorkspace, DebugMode, Workspace, WorkspaceConfiguration, workspace_manager

F8 = np.dtype(np.float64)
MIB = 1 << 20


def made(**options):
    """Return a circular workspace; exact sizes unless asked otherwise."""
    options = {"policy_reset": "ENDOFBUFFER_REACHED", "policy_allocation": "STRICT", **options}
    return Workspace(WorkspaceConfiguration(**options), "A")


def blocks(count, **options):
    """Return a circular workspace that will have ``count`` blocks."""
    return made(policy_allocation="OVERALLOCATE", overallocation_limit=count - 1, **options)


def fixed(size, **options):
    return made(initial_size=size, policy_learning="NONE", **options)


def cycle(workspace, *sizes):
    """Run one cycle that asks for arrays of so many bytes, and return these."""
    with workspace:
        return [workspace.create(size, np.uint8) for size in sizes]


def state_of(workspace):
    return workspace.pinned_count, workspace.offset, workspace.cycles_count, workspace.step_number


# Conformance


def test_row_36_testUnboundedLoop1():
    workspace = made(initial_size=80_000)
    for number in range(1, 101):
        cycle(workspace, 800)
        assert workspace.offset == 800 * number
    cycle(workspace, 800)
    assert (workspace.offset, workspace.current_size, workspace.spilled_count) == (800, 80_000, 0)


def test_row_37_testUnboundedLoop2():
    workspace = blocks(5, policy_learning="OVER_TIME", cycles_before_initialization=5)
    sizes = []
    for _ in range(100):
        cycle(workspace, 800)
        sizes.append(workspace.current_size)
    assert sizes == [0] * 4 + [5240] * 96
    assert workspace.initial_block_size == 1048


def test_row_42_testCircularBufferReset1():
    workspace = made(min_size=10 * MIB)
    with workspace:
        workspace.create(10_000, F8)
        assert (workspace.current_size, workspace.spilled_count) == (0, 1)
    assert (workspace.current_size, workspace.offset, workspace.spilled_count) == (10_485_760, 0, 1)
    counts = []
    for _ in range(102):
        cycle(workspace, 80_000)
        counts.append(workspace.spilled_count)
    assert counts == [1] * 101 + [0]


def test_row_43_to_47_testVariableInput1():
    workspace = blocks(4, policy_spill="REALLOCATE")
    cycle(workspace, 819_200)
    assert (workspace.initial_block_size, workspace.current_size) == (1_064_968, 4_259_872)
    assert state_of(workspace) == (0, 0, 1, 0)
    cycle(workspace, 819_200)
    assert state_of(workspace) == (0, 1_064_968, 2, 0)
    cycle(workspace, 1_638_400)
    assert state_of(workspace) == (1, 1_064_968, 3, 0)
    cycle(workspace, 819_200)
    assert state_of(workspace) == (2, 1_064_968, 4, 0)
    cycle(workspace, 819_200)
    assert state_of(workspace) == (3, 1_064_968, 5, 1)
    sizes = []
    for _ in range(12):
        cycle(workspace, 819_200)
        sizes.append((workspace.cycles_count, workspace.initial_block_size, workspace.current_size))
    assert sizes[6:8] == [(12, 1_064_968, 4_259_872), (13, 2_129_928, 8_519_712)]
    assert workspace.step_number == 4
    assert workspace.offset == workspace.current_size == 8_519_712


def variable_series(**options):
    """Return a workspace after the first two cycles of testVariableTimeSeries1."""
    workspace = blocks(4, **options)
    cycle(workspace, 4000, 4000)
    assert (workspace.spilled_size, workspace.initial_block_size, workspace.current_size) == (8000, 10_408, 41_632)
    cycle(workspace, 16_000)
    assert (workspace.pinned_size, workspace.pinned_count, workspace.spilled_size) == (16_000, 1, 8000)
    assert (workspace.offset, workspace.this_cycle_allocations, workspace.step_number) == (0, 0, 0)
    return workspace


def test_row_48_to_50_testVariableTimeSeries1():
    workspace = variable_series()
    for repetition in range(4):
        for number in range(4):
            cycle(workspace, 4000, 4000)
            assert workspace.offset == (number + 1) * 10_408
        assert workspace.pinned_count == (1 if repetition < 2 else 0)
    assert (workspace.spilled_size, workspace.pinned_size) == (0, 0)


def test_row_51_testVariableTimeSeries1():
    workspace = variable_series()
    for _ in range(100):
        with workspace:
            for _ in range(3):
                workspace.create(4000, np.uint8)
            assert workspace.this_cycle_allocations == 12_000
        assert workspace.pinned_size > 0
    assert workspace.pinned_size == workspace.pinned_count * 4000
    for _ in range(100):
        cycle(workspace, 4000, 4000)
    assert (workspace.pinned_count, workspace.pinned_size) == (0, 0)


def test_row_52_testVariableTimeSeries2():
    workspace = variable_series(policy_spill="REALLOCATE")
    for _ in range(100):
        cycle(workspace, 4000, 4000, 4000)
    for _ in range(100):
        cycle(workspace, 4000, 4000)
    assert workspace.current_size == 4 * workspace.initial_block_size
    assert (workspace.pinned_size, workspace.spilled_size, workspace.spilled_count) == (0, 0, 0)


def test_row_52_sizes_without_the_long_cycle():
    workspace = blocks(4, policy_spill="REALLOCATE")
    for _ in range(100):
        cycle(workspace, 4000, 4000, 4000)
    assert (workspace.initial_block_size, workspace.current_size) == (15_608, 62_432)


def test_row_56_testCircularLearning1():
    workspace = made(min_size=10 * MIB)
    cycle(workspace, 40)
    assert (workspace.current_size, workspace.offset) == (10_485_760, 0)
    cycle(workspace, 40)
    assert workspace.offset == workspace.initial_block_size == 56


def test_row_72_CyclicWorkspaceTests_testBasicMechanics_1():
    workspace = blocks(26, min_size=10 * MIB)
    for number in range(100):
        with workspace:
            images, labels = workspace.create((128, 784)), workspace.create((128, 10))
            images += number
            assert images.mean() == number
            assert labels.sum() == 0
    assert (workspace.initial_block_size, workspace.current_size) == (528_488, 13_740_688)


# Until when a batch is valid


def test_batches_stay_valid_until_the_write_position_enters_their_block():
    workspace = blocks(3)
    cycle(workspace, 800)
    batches = [cycle(workspace, 800)[0] for _ in range(3)]
    for number, batch in enumerate(batches):
        batch[:] = number
    for number in range(3):
        assert [batch.base._alive for batch in batches] == [False] * number + [True] * (3 - number)
        assert all((batch == index).all() for index, batch in enumerate(batches) if index >= number)
        with workspace:
            assert batches[number].base._alive
            workspace.create(8, np.uint8)  # one byte of the block is enough
            assert not batches[number].base._alive


def test_spilled_first_batch_stays_valid_until_the_first_wrap():
    workspace = blocks(3)
    (first,) = cycle(workspace, 800)
    first[:] = 7
    for _ in range(3):
        cycle(workspace, 800)
        assert (first == 7).all()
    cycle(workspace, 800)
    assert not first.base._alive


def test_pinned_batch_lives_for_three_steps():
    workspace = blocks(2)
    cycle(workspace, 800)
    (pinned,) = cycle(workspace, 8000)
    assert workspace.pinned_count == 1
    step, steps_alive = workspace.step_number, set()
    while pinned.base._alive:
        steps_alive.add(workspace.step_number)
        cycle(workspace, 800)
    assert steps_alive == {step, step + 1, step + 2}
    assert workspace.pinned_count == 0


def test_touching_an_overwritten_batch_raises():
    workspace = made()
    cycle(workspace, 80)
    (batch,) = cycle(workspace, 80)
    cycle(workspace, 80)
    message = (
        "Op [add] X argument uses outdated workspace pointer from workspace [A]: the array of shape (80,) was made in "
        "a scope of it that was left, and the circular workspace has used its memory again, or freed it, since. Array "
        "WS iteration: 2, Workspace current iteration: 3. All open workspaces: []."
    )
    with pytest.raises(StaleArrayError, match=re.escape(message)) as caught:
        batch + 1
    assert caught.value.code == "E2"
    with pytest.raises(StaleArrayError, match=re.escape("Cannot detach INDArray: Array outdated workspace")) as caught:
        batch.detach()
    assert caught.value.code == "E4"


def test_batches_are_handed_from_thread_to_thread():
    handed, sums = queue.Queue(maxsize=1), []

    def produce():
        workspace = workspace_manager.get_workspace_for_current_thread(blocks(4).configuration, "RING")
        for number in range(50):
            with workspace:
                batch = workspace.create_uninitialized(100, F8)
                batch[:] = number
            handed.put(batch)
        handed.put(None)

    producer = threading.Thread(target=produce)
    producer.start()
    while (batch := handed.get()) is not None:
        sums.append(float(batch.sum()))
    producer.join()
    assert sums == [100.0 * number for number in range(50)]


def test_cycle_larger_than_the_buffer_loses_its_first_arrays_with_an_error():
    workspace = fixed(160)
    with workspace:
        first, second = workspace.create(80, np.uint8), workspace.create(80, np.uint8)
        third = workspace.create(80, np.uint8)
        assert (workspace.offset, workspace.this_cycle_allocations) == (80, 240)
        assert third.base._alive
        with pytest.raises(StaleArrayError, match=re.escape("has used its memory again, or freed it, since")):
            first.sum()
        with pytest.raises(StaleArrayError, match=re.escape("has used its memory again, or freed it, since")):
            second.sum()


def test_random_cycles_never_show_wrong_numbers(rng):
    """Every array that may be read holds what was written, whatever the sizes."""
    workspace, kept = blocks(3, policy_spill="REALLOCATE"), []
    stale = 0
    for number in range(300):
        with workspace:
            for _ in range(rng.integers(1, 5)):
                array = workspace.create_uninitialized(int(rng.integers(1, 60)), F8)
                array[:] = number
                kept.append((number, array))
        readable = [(value, array) for value, array in kept if array.base._alive]
        assert all((np.asarray(array) == value).all() for value, array in readable)
        stale += len(kept) - len(readable)
        kept = readable
    assert stale > 400
    assert workspace.current_size == 3 * workspace.initial_block_size


@pytest.mark.parametrize("size", [400, 1000])
def test_random_cycles_in_a_fixed_buffer_never_show_wrong_numbers(rng, size):
    workspace, kept = fixed(size), []
    for number in range(300):
        with workspace:
            for _ in range(rng.integers(1, 5)):
                array = workspace.create_uninitialized(int(rng.integers(0, 60)), F8)
                array[:] = number
                kept.append((number, array))
        kept = [(value, array) for value, array in kept if array.base._alive]
        assert all((np.asarray(array) == value).all() for value, array in kept)


# A request larger than the buffer


def test_request_larger_than_the_buffer_is_spilled_at_once():
    workspace = fixed(80)
    (kept,) = cycle(workspace, 40)
    with workspace:
        large = workspace.create(160, np.uint8)
        assert (workspace.offset, workspace.spilled_size, workspace.spilled_count) == (40, 160, 1)
        assert workspace.this_cycle_allocations == 160
    assert kept.base._alive
    assert large.base._alive


def test_request_larger_than_the_buffer_fails_if_spilling_is_forbidden():
    workspace = fixed(80, policy_spill="FAIL")
    message = (
        "Can't allocate memory: Workspace is full. Workspace [A] was asked for 160 bytes (shape (160,), uint8) and "
        "has 40 of 80 left."
    )
    with workspace:
        workspace.create(40, np.uint8)
        with pytest.raises(WorkspaceFullError, match=re.escape(message)):
            workspace.create(160, np.uint8)
        assert (workspace.offset, workspace.spilled_size) == (40, 0)


@pytest.mark.parametrize("size", [0, 80])
def test_workspace_that_always_spills_does_not_pile_up(size):
    workspace = fixed(size)
    for _ in range(20):
        cycle(workspace, 160)
        assert workspace.spilled_count <= 3


# Other rules


def test_configuration_decides_on_the_class():
    assert type(fixed(80)) is CircularWorkspace
    assert type(workspace_manager.create_new_workspace(fixed(80).configuration, "B")) is CircularWorkspace
    assert type(Workspace()) is Workspace


def test_spilling_everything_frees_by_the_rule_of_pinned_arrays(monkeypatch):
    monkeypatch.setattr(workspace_manager, "debug_mode", DebugMode.SPILL_EVERYTHING)
    workspace = fixed(8000)
    counts = []
    for _ in range(20):
        cycle(workspace, 80)
        counts.append(workspace.spilled_count)
        assert workspace.offset == 0
    assert counts == [1, 2, 3] + [2] * 17


def test_arrays_made_while_closed_are_part_of_the_circle():
    workspace = fixed(160)
    with Workspace(WorkspaceConfiguration(initial_size=80)) as other:
        workspace_manager.set_workspace_for_current_thread(workspace)
        moved = other.create(80, np.uint8).leverage_to("A")
    assert moved.sum() == 0
    cycle(workspace, 80)
    assert moved.base._alive
    cycle(workspace, 8)
    assert not moved.base._alive


def test_plain_memory_follows_the_same_rules():
    workspace = fixed(160)
    with workspace:
        plain = workspace.allocate_plain((10,), F8)
        assert type(plain) is np.ndarray
        assert workspace.owns(plain)
        assert workspace.attach(plain[2:]).shape == (8,)
    with workspace:
        assert not workspace.owns(plain)
        with pytest.raises(WorkspaceError, match=re.escape("the array does not lie in workspace [A].")):
            workspace.attach(np.zeros(3))


def test_spilled_and_pinned_arrays_are_owned():
    workspace = blocks(2)
    for size in (80, 8000):
        with workspace:
            array = workspace.create(size, np.uint8)
            assert workspace.owns(array[1:])
            assert workspace.attach(np.asarray(array)[1:]).nbytes == size - 1


@pytest.mark.parametrize("way", ["destroy", "shrink", "reset_learning"])
def test_what_replaces_the_buffer_ends_all_batches(way):
    workspace = blocks(4)
    cycle(workspace, 800)
    batches = [cycle(workspace, 800)[0], cycle(workspace, 8)[0]]
    getattr(workspace, way)()
    assert not any(batch.base._alive for batch in batches)
    expected = {"destroy": 0, "shrink": 4 * 16, "reset_learning": 0}
    assert workspace.current_size == expected[way]


@pytest.mark.parametrize("way", ["destroy", "reset_learning"])
def test_pinned_and_spilled_go_too(way):
    workspace = blocks(2)
    held = cycle(workspace, 80) + cycle(workspace, 8000)
    assert (workspace.spilled_count, workspace.pinned_count) == (1, 1)
    getattr(workspace, way)()
    assert (workspace.spilled_size, workspace.pinned_size, workspace.spilled_count, workspace.pinned_count) == (0,) * 4
    assert not any(array.base._alive for array in held)


def test_scratch_gives_back_what_it_took():
    workspace = fixed(800)
    with workspace:
        kept = workspace.create(80, np.uint8)
        for _ in range(20):
            with workspace.scratch():
                inside = [workspace.create(400, np.uint8), workspace.create(400, np.uint8)]
                assert (workspace.offset, workspace.spilled_count) == (480, 1)
            assert (workspace.offset, workspace.spilled_count) == (80, 0)
            assert not any(array.base._alive for array in inside)
        assert kept.base._alive
        assert workspace.this_cycle_allocations == 880
    assert kept.base._alive


def test_scratch_gives_pinned_memory_back():
    workspace = blocks(2)
    cycle(workspace, 80)
    with workspace:
        with workspace.scratch():
            workspace.create(800, np.uint8)
            assert workspace.pinned_count == 1
        assert (workspace.pinned_count, workspace.pinned_size) == (0, 0)


def test_poison_shows_reads_of_an_overwritten_block(monkeypatch):
    monkeypatch.setattr(Workspace, "poison_recycled_memory", True)
    workspace = blocks(2)
    first = np.asarray(cycle(workspace, 80)[0])
    second, third = (np.asarray(cycle(workspace, 80)[0]) for _ in range(2))
    assert not second.any()
    cycle(workspace, 8)
    assert (second[8:] == 0xFF).all()
    assert not third.any()
    assert (first == 0xFF).all()


def test_dead_thread_leaves_nothing():
    gone = []

    def work():
        workspace = workspace_manager.get_workspace_for_current_thread(blocks(3).configuration, "RING")
        for size in (80, 80, 8000, 80):
            cycle(workspace, size)
        gone.append(weakref.ref(workspace))

    gc.disable()
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        del thread
        assert gone[0]() is None
    finally:
        gc.enable()


def test_failing_to_learn_leaves_a_workspace_that_works(monkeypatch):
    def no_memory(size):
        raise WorkspaceFullError("no memory")

    workspace = blocks(2)
    with monkeypatch.context() as patched:
        patched.setattr("minidl.workspaces.buffer.Block", no_memory)
        with pytest.raises(WorkspaceFullError, match=re.escape("no memory")):
            cycle(workspace, 80)
    assert (workspace.is_scope_active, workspace.current_size, workspace.initial_block_size) == (False, 0, 0)
    cycle(workspace, 80)
    assert workspace.current_size == 2 * workspace.initial_block_size == 224
