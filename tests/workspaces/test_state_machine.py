"""Any sequence of scopes, allocations and moves over several workspaces, against a model that knows sizes only.

The model is written from the documentation of the workspaces and shares no code with them. Another kind of workspace
joins with a row in POLICIES and a subclass of ScopedModel.
"""

import contextlib
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from minidl import nd
from minidl.errors import StaleArrayError, WorkspaceError, WorkspaceFullError
from minidl.workspaces import Workspace, WorkspaceArray, WorkspaceConfiguration, workspace_manager
from minidl.workspaces.thread_state import state, unwind_scopes

DEFAULTS = {
    "initial_size": 0,
    "min_size": 0,
    "max_size": 0,
    "policy_allocation": "OVERALLOCATE",
    "overallocation_limit": 0.3,
    "policy_learning": "FIRST_LOOP",
    "cycles_before_initialization": 0,
    "policy_spill": "EXTERNAL",
}
REFUSED = ""  # the code of errors that have no number


class FullError(Exception):
    """A request does not fit, and the policy is to fail."""


class ScopedModel:
    """One workspace as bare numbers: what its options and the sizes asked for make of it."""

    def __init__(self, options):
        self.options = SimpleNamespace(**{**DEFAULTS, **options})
        self.size = self.clipped(self.with_margin(self.options.initial_size))
        self.has_margin = self.options.initial_size > 0
        self.is_open = False
        self.parent = None
        self.offset = self.this_cycle = self.last_cycle = self.max_cycle = 0
        self.cycles = self.generation = self.block = self.total_spilled = 0
        self.spilled = []

    def numbers(self):
        """Return what can be read, by the names of the workspace's attributes."""
        return {
            "is_scope_active": self.is_open,
            "current_size": self.size,
            "offset": self.offset,
            "this_cycle_allocations": self.this_cycle,
            "last_cycle_allocations": self.last_cycle,
            "max_cycle_allocations": self.max_cycle,
            "cycles_count": self.cycles,
            "step_number": max(self.cycles - 1, 0),
            "generation_id": self.generation,
            "initial_block_size": self.block,
            "spilled_count": len(self.spilled),
            "spilled_size": sum(self.spilled),
            "total_spilled_size": self.total_spilled,
            "pinned_size": 0,
        }

    def enter(self):
        self.is_open = True
        self.generation += 1
        self.offset = self.this_cycle = 0
        self.spilled = []

    def leave(self):
        self.is_open = False
        self.parent = None
        self.cycles += 1
        self.max_cycle = max(self.max_cycle, self.this_cycle)
        self.last_cycle, self.this_cycle, self.offset = self.this_cycle, 0, 0
        if self.options.policy_learning == "NONE" or self.max_cycle == 0:
            return
        self.spilled = []
        first = self.options.policy_learning == "FIRST_LOOP"
        if self.size > 0 or first or self.cycles == self.options.cycles_before_initialization:
            self.learn()

    def learn(self):
        """Make a buffer if there is none, or a larger one if it may grow."""
        options = self.options
        if options.policy_learning == "NONE":
            return
        may_grow = options.policy_spill == "REALLOCATE" and (options.max_size == 0 or self.max_cycle < options.max_size)
        if self.size > 0 and not (may_grow and self.size < self.max_cycle):
            return
        if not self.max_cycle and not options.min_size:
            return
        self.block = self.clipped(self.max_cycle)
        size = self.block if self.has_margin else self.with_margin(self.block)
        self.size = self.clipped(max(size, options.min_size))
        self.has_margin = True

    def clipped(self, size):
        return min(size, self.options.max_size) if self.options.max_size else size

    def with_margin(self, size):
        if self.options.policy_allocation == "STRICT":
            return size
        return size + int(size * self.options.overallocation_limit)

    def allocate(self, size):
        """Take ``size`` bytes, and return what ``is_readable`` wants to know of the array."""
        size = -(-size // 8) * 8
        if self.offset + size <= self.size:
            self.offset += size
        elif self.options.policy_spill == "FAIL":
            raise FullError
        else:
            self.spilled.append(size)
            self.total_spilled += size
        self.this_cycle += size
        return self.generation

    def is_readable(self, stamp):
        return self.is_open and stamp == self.generation

    def is_outdated(self, stamp):
        """Tell whether an array that cannot be read is one of an earlier cycle of an open workspace."""
        return self.is_open and stamp != self.generation


FIXED = {"policy_allocation": "STRICT", "policy_learning": "NONE"}
POLICIES = {
    "fixed": (ScopedModel, {**FIXED, "initial_size": 400}),
    "failing": (ScopedModel, {**FIXED, "initial_size": 200, "policy_spill": "FAIL"}),
    "without memory": (ScopedModel, FIXED),
    "default": (ScopedModel, {}),
    "growing": (
        ScopedModel,
        {"policy_learning": "OVER_TIME", "cycles_before_initialization": 2, "policy_spill": "REALLOCATE"},
    ),
    "bounded": (
        ScopedModel,
        {"min_size": 64, "max_size": 320, "policy_spill": "REALLOCATE", "overallocation_limit": 0.5},
    ),
    "by hand": (ScopedModel, {"policy_learning": "OVER_TIME", "policy_spill": "REALLOCATE"}),
}


class Entry:
    """An array, what it should hold, and whose memory that is; ``owner`` None is the heap."""

    def __init__(self, array, expected, owner=None, stamp=None):
        self.array, self.expected, self.owner, self.stamp = array, expected, owner, stamp

    @property
    def is_stale(self):
        return self.owner is not None and not self.owner.is_readable(self.stamp)

    def code(self, moved=False):
        """Return the code of the error that using, or moving, the array raises; None if that is legal."""
        if not self.is_stale:
            return None
        return ("E3" if moved else "E1", "E4" if moved else "E2")[self.owner.is_outdated(self.stamp)]


INDICES = st.integers(0, 2)
PICKS = st.integers(0, 11)
LENGTHS = st.sampled_from([0, 1, 3, 10, 30])
DTYPES = st.sampled_from(["i1", "f4", "f8"])
VALUES = st.integers(-100, 100)
MOST_ENTRIES = 12
STALE_TOO = 9  # picks from here on take any array, those below an attached one that can be read
with_arrays = precondition(lambda machine: machine.entries)
with_scopes = precondition(lambda machine: machine.scopes)


class Workspaces(RuleBasedStateMachine):
    """Three workspaces of one thread, its stack of scopes, and arrays here and there."""

    @initialize(policies=st.lists(st.sampled_from(sorted(POLICIES)), min_size=3, max_size=3), poison=st.booleans())
    def start(self, policies, poison):
        Workspace.poison_recycled_memory = poison
        self.policies = [POLICIES[name] for name in policies]
        self.models = [None] * 3  # None: there is no such workspace now
        self.workspaces = [None] * 3
        self.scopes = []  # of (index or None, kind, what closes it)
        self.entries = []
        for index in range(3):
            self.make(index)

    def teardown(self):
        unwind_scopes(0)
        Workspace.poison_recycled_memory = False
        assert not any(workspace.is_scope_active for workspace in state.workspaces.values())
        for workspace in list(state.workspaces.values()):
            workspace_manager.destroy_workspace(workspace)

    # What the rules are made of

    def make(self, index):
        kind, options = self.policies[index]
        self.models[index] = kind(options)
        self.workspaces[index] = workspace_manager.create_new_workspace(WorkspaceConfiguration(**options), str(index))

    def current(self):
        return self.scopes[-1][0] if self.scopes else None

    def kept(self, array, expected, owner=None, stamp=None):
        self.entries = [*self.entries, Entry(array, expected, owner, stamp)][-MOST_ENTRIES:]

    def picked(self, pick):
        entries = self.entries
        if pick < STALE_TOO:
            entries = [entry for entry in entries if entry.owner is not None and not entry.is_stale] or entries
        return entries[pick % len(entries)]

    @staticmethod
    def attempt(action, code, error=WorkspaceError):
        """Do something that raises an error of this code, nothing if it is None, and return the result."""
        result, raised = None, None
        try:
            result = action()
        except WorkspaceError as caught:
            raised = caught
        assert (None if raised is None else raised.code) == code, raised
        assert raised is None or isinstance(raised, error)
        return result

    def placed(self, index, action, expected):
        """Do what makes an array in a workspace, or on the heap, and note what came of it."""
        if index is None:
            array = action()
            assert type(array) is np.ndarray
            self.kept(array, expected)
            return
        model = self.models[index]
        try:
            stamp = model.allocate(expected.nbytes)
        except FullError:
            self.attempt(action, "E5", WorkspaceFullError)
            return
        array = action()
        assert type(array) is WorkspaceArray
        self.kept(array, expected, model, stamp)

    # Scopes

    @rule(index=INDICES, way=st.sampled_from(["with", "notify"]))
    def enter(self, index, way):
        if self.models[index] is None:
            self.make(index)
        model, workspace = self.models[index], self.workspaces[index]
        if model.is_open and self.current() != index:
            self.attempt(workspace.notify_scope_entered, REFUSED)
            return
        workspace = workspace_manager.get_and_activate_workspace(str(index))
        if way == "with":
            workspace.__enter__()
        kind = "again"
        if not model.is_open:
            model.parent, kind = self.current(), "enter"
            model.enter()
        self.scopes.append((index, kind, workspace))

    @rule(index=INDICES, lengths=st.lists(LENGTHS, min_size=1, max_size=4))
    def run_a_cycle(self, index, lengths):
        if self.models[index] is None or not self.models[index].is_open:
            self.enter(index, "with")
            for value, length in enumerate(lengths, 1):
                self.create(index, length, "f8", value)
            self.leave()

    @rule(index=INDICES)
    def borrow(self, index):
        model, workspace = self.models[index], self.workspaces[index]
        if model is None:
            return
        is_borrowed = any(scope[:2] == (index, "borrow") for scope in self.scopes)
        code = "E6" if is_borrowed else None if model.is_open else "E15"
        if self.attempt(workspace.notify_scope_borrowed, code) is not None:
            self.scopes.append((index, "borrow", workspace))

    @rule()
    def scope_out(self):
        self.scopes.append((None, "out", workspace_manager.scope_out_of_workspaces()))

    @with_scopes
    @rule()
    def leave(self):
        self.scopes[-1][2].close()
        self.left()

    def left(self):
        index, kind, _ = self.scopes.pop()
        if kind == "enter":
            self.models[index].leave()

    @with_scopes
    @rule(depth=st.integers(1, 4))
    def an_exception_leaves_several(self, depth):
        handles = [scope[2] for scope in self.scopes[-depth:]]
        with contextlib.suppress(ZeroDivisionError), contextlib.ExitStack() as stack:
            for handle in handles:
                stack.push(handle)
            _ = 1 / 0
        for _ in handles:
            self.left()

    @rule(pick=PICKS)
    def close_another_than_the_innermost(self, pick):
        others = [scope[2] for scope in self.scopes[:-1] if scope[2] is not self.scopes[-1][2]]
        if others:
            self.attempt(others[pick % len(others)].close, REFUSED)

    # Workspaces

    @rule(index=INDICES, destroy=st.booleans())
    def replace_the_buffer(self, index, destroy):
        model, workspace = self.models[index], self.workspaces[index]
        if model is None:
            return
        code = REFUSED if model.is_open else None
        if not destroy:
            self.attempt(workspace.initialize_workspace, code)
        else:
            self.attempt(lambda: workspace_manager.destroy_workspace(workspace), code)
        if model.is_open:
            return
        if destroy:
            self.models[index] = self.workspaces[index] = None
        else:
            model.learn()

    # Arrays

    @rule(index=INDICES, length=LENGTHS, dtype=DTYPES, value=VALUES)
    def create(self, index, length, dtype, value):
        model, workspace = self.models[index], self.workspaces[index]
        if model is None:
            return
        if not model.is_open:
            self.attempt(lambda: workspace.create(length, dtype), "E15")
            return

        def create():
            array = workspace.create_uninitialized(length, dtype) if value else workspace.create(length, dtype)
            if value:
                array.fill(value)
            return array

        self.placed(index, create, np.full(length, value, dtype))

    @rule(length=LENGTHS, dtype=DTYPES, value=VALUES)
    def create_in_the_current(self, length, dtype, value):
        self.placed(self.current(), lambda: nd.full(length, value, dtype), np.full(length, value, dtype))

    @with_arrays
    @rule(pick=PICKS)
    def view(self, pick):
        entry = self.picked(pick)
        view = self.attempt(lambda: entry.array[1::2], entry.code(), StaleArrayError)
        if view is not None:
            self.kept(view, entry.expected[1::2], entry.owner, entry.stamp)

    @with_arrays
    @rule(pick=PICKS, value=VALUES)
    def fill(self, pick, value):
        entry = self.picked(pick)
        self.attempt(lambda: entry.array.fill(value), entry.code(), StaleArrayError)
        if not entry.is_stale:
            entry.expected.fill(value)

    @with_arrays
    @rule(pick=PICKS)
    def compute(self, pick):
        entry = self.picked(pick)
        if entry.is_stale:
            self.attempt(lambda: np.negative(entry.array), entry.code(), StaleArrayError)
            return
        index = None if entry.owner is None else self.current()  # what is plain stays plain
        self.placed(index, lambda: np.negative(entry.array), np.negative(entry.expected))

    @with_arrays
    @rule(picks=st.tuples(PICKS, PICKS))
    def compute_in_place(self, picks):
        source, target = map(self.picked, picks)
        if source.expected.shape != target.expected.shape or source.expected.dtype != target.expected.dtype:
            return
        code = source.code() or target.code()
        self.attempt(lambda: np.negative(source.array, out=target.array), code, StaleArrayError)
        if code is None:
            np.negative(source.expected, out=target.expected)

    # Moving arrays

    def moved(self, entry, move, *, legal, to):
        """Move an array: to an index, to the heap (None), or nowhere ("self")."""
        if not legal:
            self.attempt(move, entry.code(moved=True), StaleArrayError)
        elif to == "self":
            assert move() is entry.array
        else:
            self.placed(to, move, entry.expected.copy())

    @with_arrays
    @rule(pick=PICKS)
    def detach(self, pick):
        entry = self.picked(pick)
        to = "self" if entry.owner is None else None
        self.moved(entry, lambda: nd.detach(entry.array), legal=not entry.is_stale, to=to)

    @with_arrays
    @rule(pick=PICKS)
    def leverage(self, pick):
        entry, to = self.picked(pick), None
        if self.current() is not None:
            to = self.models[self.current()].parent
        if entry.owner is None or (to is not None and entry.owner is self.models[to]):
            to = "self"
        self.moved(entry, lambda: nd.leverage(entry.array), legal=not entry.is_stale, to=to)

    @with_arrays
    @rule(pick=PICKS, index=INDICES, enforce=st.booleans())
    def leverage_to(self, pick, index, enforce):
        entry, model = self.picked(pick), self.models[index]
        stays = entry.owner is None or model is None or entry.owner is model

        def move():
            return nd.leverage_to(entry.array, str(index), enforce)

        if enforce and model is None and entry.owner is not None and not entry.is_stale:
            self.attempt(move, "E10")
        else:
            self.moved(entry, move, legal=not entry.is_stale, to="self" if stays else index)

    @with_arrays
    @rule(pick=PICKS, index=INDICES)
    def leverage_or_detach(self, pick, index):
        entry, model = self.picked(pick), self.models[index]
        to = index if model is not None and model.is_open else None
        if entry.owner is None or (to is not None and entry.owner is model):
            to = "self"
        self.moved(entry, lambda: nd.leverage_or_detach(entry.array, str(index)), legal=not entry.is_stale, to=to)

    @with_arrays
    @rule(pick=PICKS, detach=st.booleans())
    def migrate(self, pick, detach):
        entry, to = self.picked(pick), self.current()
        if to is None:
            to = None if detach and entry.owner is not None else "self"
        self.moved(entry, lambda: nd.migrate(entry.array, detach), legal=not entry.is_stale, to=to)

    # What holds after every step

    @invariant()
    def the_current_workspace_is_that_of_the_innermost_scope(self):
        current = self.current()
        assert workspace_manager.current_workspace is (None if current is None else self.workspaces[current])

    @invariant()
    def all_numbers_agree(self):
        for model, workspace in zip(self.models, self.workspaces, strict=True):
            if model is not None:
                numbers = model.numbers()
                assert {name: getattr(workspace, name) for name in numbers} == numbers
                assert workspace.parent_workspace is (None if model.parent is None else self.workspaces[model.parent])

    @invariant()
    def arrays_are_where_they_should_be(self):
        for entry in self.entries:
            assert nd.is_attached(entry.array) is (entry.owner is not None)
            assert nd.in_scope(entry.array) is (entry.owner is None or entry.owner.is_open)

    @invariant()
    def arrays_hold_their_values_or_cannot_be_read(self):
        for entry in self.entries:
            values = self.attempt(entry.array.tolist, entry.code(), StaleArrayError)
            assert values == (None if entry.is_stale else entry.expected.tolist())


def test_any_sequence_agrees_with_the_model():
    run_state_machine_as_test(Workspaces, settings=settings(max_examples=200, stateful_step_count=100, deadline=None))
