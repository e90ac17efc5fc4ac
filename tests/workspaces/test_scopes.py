"""Scopes: entering, borrowing, scoping out, and that every way out of them restores what was before."""

# ruff: noqa: N802  (rows carry the names of their tests upstream)

import asyncio
import itertools
import re
import threading
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import WorkspaceError
from minidl.workspaces import Workspace, WorkspaceConfiguration, workspace_manager
from minidl.workspaces.manager import ScopedOut
from minidl.workspaces.thread_state import ScopeKind, open_workspace_ids, state, unwind_scopes

F8 = np.float64
CONFIGURATION = WorkspaceConfiguration(initial_size=1 << 16, policy_allocation="STRICT", policy_learning="NONE")
NOT_CURRENT = re.escape("is open but not the current workspace: entering it again would overwrite its arrays.")
NOT_INNERMOST = re.escape("cannot be closed: it is not the current workspace in this thread (scopes from the outermost")
SCOPE_OUT_NOT_INNERMOST = re.escape(
    "a scope-out cannot be closed: it is not the innermost scope in this thread. Close scopes in the reverse order of "
    "opening; a scope must not stay open across a generator's or a task's switch."
)


def got(id, configuration=CONFIGURATION):
    return workspace_manager.get_workspace_for_current_thread(configuration, id)


def current():
    return workspace_manager.current_workspace


@pytest.fixture
def outer():
    return got("OUTER")


@pytest.fixture
def inner():
    return got("INNER")


# Conformance


def test_row_39_testNestedWorkspacesOverlap2():
    assert not workspace_manager.check_if_workspace_exists("WS1")
    with workspace_manager.get_and_activate_workspace(CONFIGURATION, "WS1") as first:
        first.create(5, F8)
        with workspace_manager.get_and_activate_workspace(CONFIGURATION, "WS2") as second:
            second.create(5, F8)
            with got("WS1").notify_scope_borrowed() as borrowed:
                assert borrowed is first is current()
                current().create(5, F8)
            assert (first.offset, second.offset) == (80, 40)
            assert current() is second
        assert current() is first
    assert current() is None


def test_row_40_testNestedWorkspacesOverlap1():
    with got("WS1") as first:
        first.create(5)
        assert first.offset == 24
        with got("WS2") as second:
            second.create(5)
            with first.notify_scope_borrowed():
                current().create(5)
            assert (first.offset, second.offset) == (48, 24)


def test_row_57_testNestedWorkspaces1_4(outer, inner):
    with outer:
        outer.create(100, F8)
        with inner:
            assert inner.parent_workspace is outer
            inner.create(10, F8)
            assert (outer.offset, inner.offset) == (800, 80)
        assert current() is outer
        outer.create(100, F8)
        assert outer.offset == 1600
    assert (outer.offset, inner.offset) == (0, 0)


def test_row_58_testNestedWorkspaces5(outer):
    with outer:
        outer.create(100, F8)
        with outer:
            outer.create(100, F8)
            assert outer.offset == 1600
        outer.create(100, F8)
        assert (outer.offset, outer.generation_id) == (2400, 1)
    assert (outer.offset, outer.cycles_count) == (0, 1)


def test_row_59_testNestedWorkspaces6_7(outer, inner):
    with outer, inner, outer.notify_scope_borrowed() as borrowed:
        borrowed.create(5, F8)
        with workspace_manager.scope_out_of_workspaces():
            assert current() is None
        assert current() is outer
        borrowed.create(5, F8)
        assert (outer.offset, inner.offset) == (80, 0)
        assert outer.parent_workspace is None
        assert inner.parent_workspace is outer


def test_row_62_testNestedWorkspaces10(outer):
    for number in range(1, 10):
        with outer:
            outer.create(10 * number, F8)
            with outer, outer.notify_scope_borrowed():
                outer.create(10 * number, F8)
            assert outer.offset == 160 * number
        assert (outer.generation_id, outer.cycles_count, current()) == (number, number, None)


def test_row_65_testWorkspaceOrder_1(outer, inner):
    seen = []
    with outer:
        with inner:
            with outer.notify_scope_borrowed():
                seen.append(current())
                with workspace_manager.scope_out_of_workspaces():
                    seen.append(current())
                seen.append(current())
            seen.append(current())
        seen.append(current())
    seen.append(current())
    assert seen == [outer, None, outer, inner, outer, None]


# What is refused


def test_entering_an_open_workspace_that_is_not_current_raises(outer, inner):
    with outer, inner:
        with pytest.raises(
            WorkspaceError,
            match=NOT_CURRENT
            + re.escape(" Open workspaces: ['OUTER', 'INNER']. Use notify_scope_borrowed() to allocate in it."),
        ):
            outer.notify_scope_entered()
        assert current() is inner
        assert outer.generation_id == 1


def test_entering_again_while_scoped_out_raises(outer):
    with outer, workspace_manager.scope_out_of_workspaces():
        with pytest.raises(WorkspaceError, match=NOT_CURRENT), outer:
            pass
        assert current() is None


def test_stale_activation_does_not_hide_that_another_workspace_is_current(outer, inner):
    outer.notify_scope_entered()
    with inner, pytest.raises(WorkspaceError, match=NOT_CURRENT), outer:
        pass
    outer.close()
    assert not state.scopes


def test_borrowing_twice_raises(outer):
    message = "Workspace [OUTER]: Can't borrow from borrowed workspace. Close the first borrow before the next."
    with outer:
        with outer.notify_scope_borrowed(), pytest.raises(WorkspaceError, match=re.escape(message)) as caught:
            outer.notify_scope_borrowed()
        assert caught.value.code == "E6"
        with outer.notify_scope_borrowed():
            pass


def test_borrowing_a_closed_workspace_raises(outer):
    message = "Workspace [OUTER] is not open. Enter it first: `with workspace: ...`. Open workspaces: []."
    with pytest.raises(WorkspaceError, match=re.escape(message)) as caught:
        outer.notify_scope_borrowed()
    assert caught.value.code == "E15"
    assert not state.scopes


def test_closing_another_scope_than_the_innermost_changes_nothing(outer, inner):
    message = NOT_INNERMOST + re.escape(
        ": ['OUTER', None, 'INNER']). Close scopes in the reverse order of opening; a scope must not stay open across "
        "a generator's or a task's switch."
    )
    with outer, workspace_manager.scope_out_of_workspaces() as scoped_out, inner:
        with pytest.raises(WorkspaceError, match=message):
            outer.close()
        with pytest.raises(WorkspaceError, match=SCOPE_OUT_NOT_INNERMOST):
            scoped_out.close()
        assert current() is inner
        assert outer.is_scope_active
        assert inner.is_scope_active


def test_closing_what_was_not_opened_raises(outer):
    with pytest.raises(WorkspaceError, match=NOT_INNERMOST + re.escape(": []). Close")):
        outer.close()
    with workspace_manager.scope_out_of_workspaces() as scoped_out:
        pass
    with (
        workspace_manager.scope_out_of_workspaces(),
        pytest.raises(WorkspaceError, match=SCOPE_OUT_NOT_INNERMOST),
    ):
        scoped_out.close()


def test_scope_of_one_thread_is_not_one_of_another(outer):
    seen = []

    def other():
        seen.append(current())
        for enter_or_leave in (outer.notify_scope_entered, outer.close):
            try:
                enter_or_leave()
            except WorkspaceError as error:
                seen.append(str(error))

    with outer:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert current() is outer
        assert outer.generation_id == 1
    assert seen[0] is None
    assert re.search(NOT_CURRENT, seen[1])
    assert re.search(NOT_INNERMOST, seen[2])


# Ways in and out


def test_activated_workspace_is_not_entered_twice_by_with(outer):
    with outer.notify_scope_entered():
        assert [kind for _, kind in state.scopes] == [ScopeKind.ENTERED]
        with outer.notify_scope_entered(), outer:
            assert len(state.scopes) == 3
    assert not state.scopes


def test_close_and_notify_scope_left_leave_without_with(outer):
    outer.notify_scope_entered()
    outer.notify_scope_entered()
    outer.notify_scope_left()
    assert outer.is_scope_active
    outer.close()
    assert (outer.is_scope_active, outer.cycles_count, current()) == (False, 1, None)


def test_parent_is_the_workspace_that_was_current(outer, inner):
    assert inner.parent_workspace is None
    with outer:
        with inner, inner, outer.notify_scope_borrowed():
            assert inner.parent_workspace is outer
        with workspace_manager.scope_out_of_workspaces(), inner:
            assert inner.parent_workspace is None
    assert inner.parent_workspace is None


def test_cycles_of_an_owner_leave_the_current_workspace_alone(outer, inner):
    with outer:
        inner.begin_cycle()
        assert (inner.is_scope_active, current()) == (True, outer)
        with inner.notify_scope_borrowed():
            assert current() is inner
        inner.end_cycle()
        assert (inner.is_scope_active, inner.cycles_count, current()) == (False, 1, outer)


def test_open_ids_are_in_the_order_of_entering_and_named_once(outer, inner):
    unknown = Workspace(CONFIGURATION, "UNKNOWN")
    workspace_manager.set_workspace_for_current_thread(outer, "OTHER NAME")
    with inner, unknown, inner.notify_scope_borrowed(), outer, outer:
        assert open_workspace_ids() == ["INNER", "UNKNOWN", "OUTER"]


# Exceptions


def open_scope(kind, stack):
    """Open a scope of ``kind`` on ``stack`` if that is legal now."""
    outer = got("OUTER")
    if kind == "out":
        stack.enter_context(workspace_manager.scope_out_of_workspaces())
    elif kind == "borrow" and outer.is_scope_active and not outer._borrowed:
        stack.enter_context(outer.notify_scope_borrowed())
    elif kind == "enter" and (current() is outer or not outer.is_scope_active):
        stack.enter_context(outer)
    elif kind == "inner" and (current() is got("INNER") or not got("INNER").is_scope_active):
        stack.enter_context(got("INNER"))


def fail_inside(kinds):
    with ExitStack() as stack:
        for kind in kinds:
            open_scope(kind, stack)
        raise ZeroDivisionError("inside")


@pytest.mark.parametrize("kinds", list(itertools.product(["enter", "inner", "borrow", "out"], repeat=4)), ids=" ".join)
def test_exception_inside_nested_scopes_restores_everything(kinds):
    with pytest.raises(ZeroDivisionError, match="inside"):
        fail_inside(kinds)
    assert (state.scopes, current(), open_workspace_ids()) == ([], None, [])
    with got("OUTER") as outer, outer.notify_scope_borrowed(), got("INNER"):
        pass


@pytest.mark.parametrize("depth", range(5))
def test_unwinding_closes_the_scopes_above_a_depth(outer, inner, depth):
    outer.notify_scope_entered()
    inner.notify_scope_entered()
    outer.notify_scope_borrowed()
    ScopedOut()
    before = [None, outer, inner, outer, None][depth]
    unwind_scopes(depth)
    assert (len(state.scopes), current()) == (depth, before)
    unwind_scopes(0)
    assert (outer.cycles_count, inner.cycles_count, outer._borrowed) == (1, 1, False)


def test_unwinding_goes_on_when_closing_a_scope_raises(outer, inner, monkeypatch):
    def failing(self):
        self.is_scope_active = False
        raise ZeroDivisionError("while closing")

    outer.notify_scope_entered()
    inner.notify_scope_entered()
    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "end_cycle", failing)
        with pytest.raises(ZeroDivisionError, match="while closing"):
            unwind_scopes(0)
    assert (state.scopes, current(), outer.is_scope_active) == ([], None, False)


# Trap 13: generators and tasks


def test_scope_in_a_generator_closed_after_another_was_opened_raises(outer, inner):
    def rows():
        with outer:
            yield

    generator = rows()
    next(generator)
    with inner:
        with pytest.raises(WorkspaceError, match=NOT_INNERMOST):
            generator.close()
        assert current() is inner
        inner.create(5, F8)
    assert current() is outer
    outer.close()
    assert not state.scopes


def test_scope_out_in_a_generator_closed_after_another_was_opened_raises(outer):
    def rows():
        with workspace_manager.scope_out_of_workspaces():
            yield

    generator = rows()
    next(generator)
    with outer, workspace_manager.scope_out_of_workspaces():
        with pytest.raises(WorkspaceError, match=SCOPE_OUT_NOT_INNERMOST):
            generator.close()
        assert current() is None
    unwind_scopes(0)


def test_scope_held_across_a_switch_of_tasks_raises():
    async def task(id):
        with got(id):
            await asyncio.sleep(0)

    async def both():
        return await asyncio.gather(task("T1"), task("T2"), return_exceptions=True)

    first, second = asyncio.run(both())
    assert isinstance(first, WorkspaceError)
    assert re.search(NOT_INNERMOST, str(first))
    assert second is None
    unwind_scopes(0)


# Against a model


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["enter", "borrow", "out", "close", "create"]), st.integers(0, 2)), max_size=40
)


class Model:
    """What scopes are, on lists: each is [index of workspace or None, kind], innermost last."""

    def __init__(self):
        self.scopes = []
        self.offsets = [0, 0, 0]
        self.generations = [0, 0, 0]

    def has(self, index, kind):
        return [index, kind] in self.scopes

    def current(self):
        return self.scopes[-1][0] if self.scopes else None

    def apply(self, operation, index):
        """Do one operation, and tell whether it is legal."""
        if operation == "enter":
            is_open = self.has(index, "enter")
            if is_open and self.current() != index:
                return False
            self.generations[index] += not is_open
            self.scopes.append([index, "again" if is_open else "enter"])
        elif operation == "borrow":
            if not self.has(index, "enter") or self.has(index, "borrow"):
                return False
            self.scopes.append([index, "borrow"])
        elif operation == "out":
            self.scopes.append([None, "out"])
        elif operation == "create":
            if not self.has(index, "enter"):
                return False
            self.offsets[index] += 40
        elif not self.scopes or self.scopes[-1][0] != index:
            return False
        elif self.scopes.pop()[1] == "enter":
            self.offsets[index] = 0
        return True


def apply(operation, workspace):
    actions = {
        "enter": workspace.notify_scope_entered,
        "borrow": workspace.notify_scope_borrowed,
        "out": workspace_manager.scope_out_of_workspaces,
        "close": workspace.close,
        "create": lambda: workspace.create(5, F8),
    }
    try:
        actions[operation]()
    except WorkspaceError:
        return False
    return True


@given(OPERATIONS)
def test_any_sequence_of_operations_agrees_with_the_model(operations):
    workspaces, model = [Workspace(CONFIGURATION, str(index)) for index in range(3)], Model()
    try:
        for operation, index in operations:
            assert apply(operation, workspaces[index]) == model.apply(operation, index)
            expected = model.current()
            assert current() is (None if expected is None else workspaces[expected])
            assert [workspace.offset for workspace in workspaces] == model.offsets
            assert [workspace.generation_id for workspace in workspaces] == model.generations
            assert [w.is_scope_active for w in workspaces] == [model.has(index, "enter") for index in range(3)]
    finally:
        unwind_scopes(0)
    assert not any(workspace.is_scope_active or workspace.offset for workspace in workspaces)


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from([1, 4, 8])), max_size=30))
def test_arrays_of_a_cycle_never_overlap(requests):
    with Workspace(WorkspaceConfiguration(initial_size=2048, policy_learning="NONE")) as workspace:
        arrays = [workspace.create(length, f"i{size}") for length, size in requests]
        for number, array in enumerate(arrays):
            array.fill(number)
        for number, array in enumerate(arrays):
            assert array.tolist() == [number] * len(array)
        needed = sum(-(-length * size // 8) * 8 for length, size in requests)
        assert workspace.this_cycle_allocations == needed
