"""Random circular workspaces against sections 4 to 9 of workspaces.md, written down as bare numbers."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from minidl.errors import WorkspaceFullError
from minidl.workspaces import Workspace, WorkspaceConfiguration


class Model:
    """A circular workspace as the document has it, step by step, without any memory."""

    def __init__(self, *, strict, limit, learning, before, spill, initial, minimum, maximum):
        self.strict, self.limit, self.learning, self.before, self.spill = strict, limit, learning, before, spill
        self.minimum, self.maximum = minimum, maximum
        self.size = self.clipped(self.with_margin(initial))
        self.steps = 1 if strict else int(limit + 1)
        self.offset = self.cycles = self.step = self.this = self.last = self.max = self.block = 0
        self.external, self.pinned, self.trimmed, self.wrapped = [], [], None, 0

    def clipped(self, size):
        return min(size, self.maximum) if self.maximum else size

    def with_margin(self, size):
        return size if self.strict else size + int(size * self.limit)

    def enter(self):
        self.external, self.wrapped = self.external[self.wrapped :], 0
        self.this = 0

    def allocate(self, size):
        size = (size + 7) // 8 * 8
        trimmer = (self.block > 0 and self.this + size > self.block) or self.trimmed is not None
        if not trimmer and size <= self.size:
            if self.offset + size > self.size:
                self.offset, self.wrapped = 0, len(self.external)
            self.offset += size
        elif self.spill == "FAIL":
            raise WorkspaceFullError("full")
        else:
            if trimmer and self.spill == "REALLOCATE" and self.trimmed is None:
                self.trimmed = self.step
            (self.pinned if trimmer else self.external).append((size, self.step))
        self.this += size

    def close(self):
        self.cycles += 1
        if self.cycles > 1 and (self.cycles - 1) % self.steps == 0:
            self.step += 1
        self.max = max(self.max, self.this)
        self.free_old()
        if self.learning != "NONE" and self.max > 0:
            first = self.learning == "FIRST_LOOP" or self.before == self.cycles
            if self.size == 0 and first:
                self.learn()
        if self.trimmed is not None and self.trimmed + 2 < self.step:
            self.learn()
            self.trimmed, self.offset = None, 0
        self.last = self.this
        if self.size > 0 and self.block - self.this > 0 and self.trimmed is None and self.offset > 0:
            self.offset += self.block - self.this
        self.this = 0

    def free_old(self):
        if self.learning != "NONE":
            self.external, self.wrapped = self.external[self.wrapped :], 0
        over = [step + 2 < self.step for _, step in self.external]
        self.wrapped -= sum(over[: self.wrapped])
        self.external = [entry for entry, old in zip(self.external, over, strict=True) if not old]
        self.pinned = [(size, step) for size, step in self.pinned if not step + 2 < self.step]

    def learn(self):
        size = int(self.clipped(self.max) * 1.3)
        size += 8 - size % 8
        self.max = self.block = size
        self.size = self.clipped(max(self.with_margin(size), self.minimum))
        self.external = [(size, float("inf")) for size, _ in self.external]

    def numbers(self):
        sizes = [sum(size for size, _ in entries) for entries in (self.external, self.pinned)]
        counts = [len(self.external), len(self.pinned)]
        flow = [self.size, self.block, self.offset, self.cycles, self.step, self.this, self.last, self.max]
        return flow + sizes + counts


def numbers(workspace):
    return [
        workspace.current_size,
        workspace.initial_block_size,
        workspace.offset,
        workspace.cycles_count,
        workspace.step_number,
        workspace.this_cycle_allocations,
        workspace.last_cycle_allocations,
        workspace.max_cycle_allocations,
        workspace.spilled_size,
        workspace.pinned_size,
        workspace.spilled_count,
        workspace.pinned_count,
    ]


OPTIONS = st.fixed_dictionaries(
    {
        "strict": st.booleans(),
        "limit": st.sampled_from([1.0, 1.5, 3.0]),
        "learning": st.sampled_from(["NONE", "FIRST_LOOP", "OVER_TIME"]),
        "before": st.integers(1, 4),
        "spill": st.sampled_from(["EXTERNAL", "REALLOCATE", "FAIL"]),
        "initial": st.sampled_from([0, 0, 80, 400]),
        "minimum": st.sampled_from([0, 0, 1000]),
        "maximum": st.sampled_from([0, 0, 1200]),
    }
)
CYCLES = st.lists(st.lists(st.integers(1, 150), max_size=4), max_size=40)


@given(OPTIONS, CYCLES)
@settings(max_examples=400, deadline=None)
def test_numbers_are_those_of_the_document(options, cycles):
    model = Model(**options)
    workspace = Workspace(
        WorkspaceConfiguration(
            policy_reset="ENDOFBUFFER_REACHED",
            policy_allocation="STRICT" if options["strict"] else "OVERALLOCATE",
            overallocation_limit=options["limit"],
            policy_learning=options["learning"],
            cycles_before_initialization=options["before"],
            policy_spill=options["spill"],
            initial_size=options["initial"],
            min_size=options["minimum"],
            max_size=options["maximum"],
        )
    )
    kept = []
    for number, sizes in enumerate(cycles):
        model.enter()
        with workspace:
            for size in sizes:
                assert outcome(lambda: model.allocate(size)) == outcome(  # noqa: B023 - called at once
                    lambda: kept.append((number, filled(workspace, size, number)))  # noqa: B023
                )
                assert numbers(workspace) == model.numbers()
        model.close()
        assert numbers(workspace) == model.numbers()
        kept = [(value, array) for value, array in kept if array.base._alive]
        assert all((np.asarray(array) == value % 256).all() for value, array in kept)


def outcome(call):
    try:
        call()
    except WorkspaceFullError:
        return "full"
    return "done"


def filled(workspace, size, number):
    array = workspace.create_uninitialized(size, np.uint8)
    array[:] = number % 256
    return array
