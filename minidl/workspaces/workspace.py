"""One workspace: memory that is planned or learned once and then reused, and the scopes that bound its cycles."""

from __future__ import annotations

import itertools
import logging
import operator
from collections.abc import Sequence
from threading import get_ident
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, DtypeError, ShapeError, WorkspaceError, WorkspaceFullError
from .arena import Arena, Order
from .array import WorkspaceArray
from .configuration import WorkspaceConfiguration
from .policies import ResetPolicy
from .registry import register
from .scratch import Scratch
from .thread_state import Scope, ScopeKind, open_workspace_ids, push_scope, state

__all__ = ["Order", "Workspace"]

FLOAT32 = np.dtype(np.float32)
ENTERED, BORROWED = ScopeKind.ENTERED, ScopeKind.BORROWED  # reading a member of an enum takes longer than a scope may
_fill, _view = np.ndarray.fill, np.ndarray.view  # without the checks that a fresh array does not need
_serial_numbers = itertools.count(1)
_log = logging.getLogger(__name__)


class Workspace(Arena):
    """Memory for cyclic work: arrays made in its scope share one block, which the next cycle uses again.

    ::

        with Workspace(WorkspaceConfiguration(initial_size=1 << 20), "LOOP") as workspace:
            x = workspace.create((128, 10))

    Requests take the next free bytes (bump allocation), rounded up to the alignment. When the scope closes, its
    arrays become invalid, and using one raises StaleArrayError. Readable state, in bytes unless said otherwise:
    ``current_size``, ``offset``, ``this_cycle_allocations``, ``last_cycle_allocations``,
    ``max_cycle_allocations``, ``initial_block_size``, ``spilled_size``, ``total_spilled_size`` (of all cycles),
    ``pinned_size``; counts: ``cycles_count``, ``step_number``, ``generation_id``, ``spilled_count``,
    ``pinned_count``. Raises ConfigurationError for a configuration of another
    type and for a file that cannot be used, WorkspaceFullError when the system has no memory for it. A configuration
    with ``policy_reset=ENDOFBUFFER_REACHED`` makes a CircularWorkspace. Source: ND4J ``Nd4jWorkspace``.
    """

    device_id: ClassVar[int] = 0
    _by_reset_policy: ClassVar[dict[ResetPolicy, type[Workspace]]] = {}

    __slots__ = ("_activated", "_borrowed", "_previous", "thread_id")

    def __init_subclass__(cls, policy_reset: ResetPolicy | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if policy_reset is not None:
            cls._by_reset_policy[policy_reset] = cls

    def __new__(cls, configuration: Any = None, *_: Any, **__: Any) -> Workspace:
        """Return an object of the class for the reset policy, to be initialised as any other."""
        policy_reset = getattr(configuration, "policy_reset", ResetPolicy.BLOCK_LEFT)
        return object.__new__(cls._by_reset_policy.get(policy_reset, cls) if cls is Workspace else cls)

    def __init__(self, configuration: WorkspaceConfiguration | None = None, id: str | None = None) -> None:
        if configuration is None:
            configuration = WorkspaceConfiguration()
        if not isinstance(configuration, WorkspaceConfiguration):
            raise ConfigurationError(
                f"a workspace is made from a WorkspaceConfiguration, got {configuration!r}. "
                "Pass Workspace(WorkspaceConfiguration(initial_size=...), id)."
            )
        if id is not None and (not isinstance(id, str) or not id):
            raise ConfigurationError(f'id={id!r} is not a name for a workspace. Use text, such as "LOOP".')
        super().__init__(configuration, f"Workspace_{next(_serial_numbers)}" if id is None else id)
        self.thread_id = get_ident()
        self._activated = self._borrowed = False
        self._previous: Workspace | None = None
        register(self)

    def __repr__(self) -> str:
        return f"Workspace({self.id!r}, {self.current_size} bytes)"

    # Scopes

    def __enter__(self) -> Workspace:
        here = state.__dict__  # one look-up of the thread; every attribute of `state` would be another
        kind = ENTERED
        if self.is_scope_active or self._destroyed:
            if self._activated and state.current is self:
                # `with manager.get_and_activate_workspace(...)` has entered already, as `with open(...)` has opened
                self._activated = False
                return self
            self._check_may_reenter()
            kind = ScopeKind.REENTERED
        else:
            self.begin_cycle()
        here["scopes"].append((self, kind))
        here["current"] = self
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here = state.__dict__
        scopes = here["scopes"]
        if not scopes or scopes[-1][0] is not self:
            raise self._not_innermost(scopes)
        kind = scopes.pop()[1]
        here["current"] = scopes[-1][0] if scopes else None
        self._activated = False
        if kind is ENTERED and error is None:
            self.end_cycle()
        elif kind is ENTERED:
            self._end_failed_cycle()
        elif kind is BORROWED:
            self._borrowed = False
        elif kind is ScopeKind.SCRATCH:
            self._end_scratch()
        elif kind is ScopeKind.REDIRECTED:
            previous, self._previous = self._previous, None
            if previous is None or previous.is_scope_active:
                here["current"] = previous
            self.end_cycle()

    def notify_scope_entered(self) -> Workspace:
        """Enter: become the current workspace and start a new cycle; entered again while current, only nest.

        Raises WorkspaceError when open but not current (entering would overwrite live arrays) or destroyed.
        """
        self._activated = False
        self.__enter__()
        self._activated = True
        return self

    def _check_may_reenter(self) -> None:
        self._check_not_destroyed()
        if state.current is not self:
            raise WorkspaceError(
                f"Workspace [{self.id}] is open but not the current workspace: entering it again would overwrite "
                f"its arrays. Open workspaces: {open_workspace_ids()}. Use notify_scope_borrowed() to allocate in it."
            )

    def notify_scope_borrowed(self) -> Workspace:
        """Make this open workspace current for a while, without a new cycle; ``close`` ends that.

        Raises WorkspaceError (E6) when it is borrowed already, (E15) when it is not open or is another thread's.
        """
        if self._borrowed:
            raise WorkspaceError(
                f"Workspace [{self.id}]: Can't borrow from borrowed workspace. Close the first borrow before the next.",
                "E6",
            )
        self.check_open()
        self.check_thread()
        self._borrowed = self._activated = True
        push_scope(self, BORROWED)
        return self

    def scratch(self) -> Scratch:
        """Return an inner scope that gives its bytes back: ``with workspace.scratch(): ...`` in a loop.

        What is made in it is stale afterwards; to keep a result, write it into an array made outside. The workspace
        must be open, and is the current one inside. Raises WorkspaceError (E15) on entering otherwise.
        """
        return Scratch(self)

    def tag_out_of_scope_use(self) -> Workspace:
        """Nest once more without any check but that the scope is open: the next ``close`` undoes only this."""
        self.check_open()
        push_scope(self, ScopeKind.REENTERED)
        return self

    def set_previous_workspace(self, workspace: Workspace | None) -> None:
        """Make ``workspace`` the current one when this scope closes, in place of the one that was at its entry.

        If it is closed by then, the scopes decide as ever. Raises WorkspaceError (E15) unless the scope is open in
        this thread.
        """
        scopes = state.scopes
        for position, (entered, kind) in enumerate(scopes):
            if entered is self and kind in (ENTERED, ScopeKind.REDIRECTED):
                scopes[position] = (self, ScopeKind.REDIRECTED)
                self._previous = workspace
                return
        raise self._not_open()

    def toggle_workspace_use(self, use: bool) -> None:
        """Switch off, and on again, that arrays go here: meanwhile they lie on the heap, attached, and count nowhere.

        Left off, it is switched on with a warning when the scope closes.
        """
        self._is_used = bool(use)
        self.update_limit()

    def close(self) -> None:
        """Leave the innermost scope, which must be one of this workspace; the outermost ends the cycle.

        Raises WorkspaceError when another scope is the innermost one, and leaves everything as it is.
        """
        self.__exit__(None, None, None)

    notify_scope_left = close

    def _not_innermost(self, scopes: list[Scope]) -> WorkspaceError:
        return WorkspaceError(
            f"Workspace [{self.id}] cannot be closed: it is not the current workspace in this thread "
            f"(scopes from the outermost: {[w.id if w else None for w, _ in scopes]}). Close scopes in the "
            "reverse order of opening; a scope must not stay open across a generator's or a task's switch."
        )

    @property
    def parent_workspace(self) -> Workspace | None:
        """The workspace that was current when this one was entered, None if none was or the scope is closed."""
        parent = None
        for workspace, kind in state.scopes:
            if workspace is self and kind is ENTERED:
                return parent
            if workspace is self and kind is ScopeKind.REDIRECTED:
                return self._previous
            parent = workspace
        return None

    def check_open(self) -> None:
        """Raise WorkspaceError (E15) unless the scope is open."""
        if not self.is_scope_active:
            raise self._not_open()

    def _not_open(self) -> WorkspaceError:
        return WorkspaceError(
            f"Workspace [{self.id}] is not open. Enter it first: `with workspace: ...`. "
            f"Open workspaces: {open_workspace_ids()}.",
            "E15",
        )

    def _end_failed_cycle(self) -> None:
        """End a cycle that an error left, and let that error be seen rather than one of learning the size."""
        try:
            self.end_cycle()
        except WorkspaceFullError as error:
            _log.warning("workspace [%s] could not learn its size: %s", self.id, error)

    def end_interrupted_cycle(self) -> None:
        """End the cycle of a scope that nothing will close any more, if there is one."""
        self._activated = self._borrowed = False
        self._previous = None
        while self._scratches:
            self._end_scratch()
        if self.is_scope_active:
            self._end_failed_cycle()

    def check_thread(self) -> None:
        """Raise WorkspaceError (E15) if only another thread is in a scope: both would be handed the same bytes."""
        if get_ident() != self.thread_id and not any(workspace is self for workspace, _ in state.scopes):
            raise WorkspaceError(
                f"Workspace [{self.id}] is open in another thread, and only that one may allocate in it. Enter a "
                "workspace in this thread: the same id is another workspace in each.",
                "E15",
            )

    # Arrays

    def create(self, shape: int | Sequence[int], dtype: npt.DTypeLike = FLOAT32, order: Order = "C") -> WorkspaceArray:
        """Return a zero-filled attached array. Raises as ``create_uninitialized`` does."""
        array = self.create_uninitialized(shape, dtype, order)
        if array.dtype.kind in "SUV":  # where 0 would be the text "0", or no value of the type
            _fill(_view(array, np.ndarray).ravel("K").view(np.uint8), 0)
        else:
            _fill(array, 0)
        return array

    def create_uninitialized(
        self, shape: int | Sequence[int], dtype: npt.DTypeLike = FLOAT32, order: Order = "C"
    ) -> WorkspaceArray:
        """Return an attached array that holds whatever the last cycle left there.

        Raises WorkspaceError (E15) when the scope is closed or is another thread's, WorkspaceFullError (E5) when the
        request does not fit under SpillPolicy.FAIL, DtypeError for types that hold Python objects, ShapeError for what
        is no shape.
        """
        if not self.is_scope_active:
            self.check_open()
        if get_ident() != self.thread_id:
            self.check_thread()
        dtype = np.dtype(dtype)
        if dtype.hasobject:
            raise DtypeError(
                f"dtype {dtype} holds Python objects, which cannot live in recycled memory. Use a numeric type, or "
                "a detached array: np.empty(shape, dtype)."
            )
        try:
            return self.allocate(shape if type(shape) is tuple else _as_shape(shape), dtype, order)
        except (TypeError, ValueError) as error:
            raise ShapeError(
                f"shape {shape!r} in order {order!r} does not make an array: {error}. Give whole numbers of at least 0."
            ) from error


def _as_shape(shape: Any) -> tuple[int, ...]:
    try:
        return (operator.index(shape),)
    except TypeError:
        return tuple([operator.index(extent) for extent in shape])
