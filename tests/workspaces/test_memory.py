"""The memory behind a workspace: whose it is, and when it is given back."""

import gc
import os
import re
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

from minidl.errors import WorkspaceFullError
from minidl.workspaces import Workspace, WorkspaceConfiguration, workspace_manager
from minidl.workspaces import memory as memory_module
from minidl.workspaces.memory import Block

MIB = 1 << 20
F8 = np.dtype(np.float64)
PREAMBLE = """
import os, sys
import numpy as np
from minidl.workspaces import *
configuration = WorkspaceConfiguration(initial_size=1 << 20, policy_learning="NONE")
"""


def run(script):
    """Run a script in an interpreter of its own, and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
with_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture(params=[True, False], ids=["mapping", "heap"])
def block(request, monkeypatch):
    """Return a block of the private mapping, and of what stands in where there is none."""
    if not request.param:
        monkeypatch.setattr(memory_module, "_PRIVATE", False)
    return Block(1000)


def test_block_is_zeroed_writable_bytes(block):
    assert (block.size, block.bytes.shape, block.bytes.dtype) == (1000, (1000,), np.uint8)
    assert not block.bytes.any()
    block.bytes[:] = 7
    assert (block.bytes == 7).all()


def test_released_block_is_empty_and_its_arrays_stay_readable(block):
    view = block.bytes[10:20]
    block.release()
    assert (block.size, block.bytes.shape) == (0, (0,))
    assert view.shape == view.copy().shape == (10,)
    view[:] = 3
    assert (view == 3).all()


def test_empty_block():
    block = Block(0)
    assert block.bytes.shape == (0,)
    block.release()


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("size", [1 << 62, 1 << 70])
def test_more_memory_than_there_is(size, private, monkeypatch):
    monkeypatch.setattr(memory_module, "_PRIVATE", private and memory_module._PRIVATE)
    message = f"Can't allocate memory: a buffer of {size} bytes is more than the system gives ("
    with pytest.raises(WorkspaceFullError, match=re.escape(message)):
        Workspace(WorkspaceConfiguration(initial_size=size, policy_allocation="STRICT"))


def test_kernel_that_refuses_advice_is_no_obstacle(monkeypatch):
    monkeypatch.setattr(memory_module.mmap, "MADV_HUGEPAGE", 12345, raising=False)
    assert Block(8 * MIB).bytes.shape == (8 * MIB,)


def test_arrays_hold_their_memory():
    workspace = Workspace(WorkspaceConfiguration(initial_size=800, policy_learning="NONE"))
    with workspace:
        plain = workspace.allocate_plain((100,), F8)
        plain[:] = 7.0
    del workspace
    gc.collect()
    assert (plain == 7.0).all()


@with_fork
def test_trap_9_writes_of_a_forked_child_do_not_reach_the_parent():
    script = """
with Workspace(configuration) as workspace:
    array = workspace.create(10)
    child = os.fork()
    array[:] = 99.0 if child == 0 else 1.0
    if child == 0:
        os._exit(0 if array.sum() == 990.0 else 1)
    _, status = os.waitpid(child, 0)
    print(status, array.sum())
"""
    assert run(script) == "0 10.0\n"


@linux
@pytest.mark.parametrize("way", ["destroy", "resize"])
def test_trap_10_memory_goes_back_while_an_array_looks_at_it(way):
    workspace = Workspace(WorkspaceConfiguration(initial_size=64 * MIB, policy_learning="NONE"))
    with workspace:
        stale = workspace.allocate_plain((8 * MIB,), F8)
        stale.fill(7.0)
    before = resident_bytes()
    workspace.destroy() if way == "destroy" else workspace.resize(8)
    assert before - resident_bytes() > 48 * MIB
    assert stale.sum() == 0.0


@pytest.mark.parametrize(
    "options", [{"initial_size": MIB}, {"policy_learning": "NONE"}, {"policy_spill": "REALLOCATE"}]
)
def test_trap_11_workspaces_of_a_dead_thread_go_at_once(options):
    gone = []

    def work():
        outer = workspace_manager.get_workspace_for_current_thread(WorkspaceConfiguration(**options), "OUTER")
        inner = workspace_manager.get_workspace_for_current_thread(WorkspaceConfiguration(**options), "INNER")
        for first, second in ((outer, inner), (inner, outer)):
            with first, second, workspace_manager.scope_out_of_workspaces():
                first.create(100)
                second.allocate_plain((1000,), F8)
        gone.extend([weakref.ref(outer), weakref.ref(inner)])

    gc.disable()
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        del thread
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


@linux
def test_memory_of_dead_threads_does_not_pile_up():
    configuration = WorkspaceConfiguration(initial_size=16 * MIB, policy_learning="NONE", policy_allocation="STRICT")

    def work():
        with workspace_manager.get_and_activate_workspace(configuration, "A") as workspace:
            workspace.allocate_plain((2 * MIB,), F8).fill(1.0)

    def run_threads(count):
        for _ in range(count):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        return resident_bytes()

    before = run_threads(2)
    assert run_threads(10) - before < 16 * MIB


def test_array_that_outlives_its_thread_keeps_its_memory():
    kept = []

    def work():
        with workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(initial_size=MIB), "A") as workspace:
            kept.append(workspace.allocate_plain((100,), F8))
            kept[0][:] = 7.0

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    gc.collect()
    assert (kept[0] == 7.0).all()


def test_trap_12_thread_of_a_recycled_ident_finds_nothing():
    found = []

    def work():
        found.append(workspace_manager.get_all_workspaces_ids_for_current_thread())
        workspace_manager.get_workspace_for_current_thread(id="A")

    for _ in range(20):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == [[]] * 20


@pytest.mark.parametrize("size", ["1 << 20", "0"])
def test_trap_19_reading_a_stale_array_of_a_destroyed_workspace(size):
    script = f"""
from minidl.errors import StaleArrayError
workspace = Workspace(WorkspaceConfiguration(initial_size={size}, policy_learning="NONE"))
with workspace:
    array = workspace.create(100_000)
    array[:] = 7.0
    alias = np.asarray(array)
workspace.destroy()
del workspace
try:
    array.sum()
except StaleArrayError as error:
    print(error.code)
alias.sum()
alias[:] = 1.0
print(alias.sum())
"""
    assert run(script) == "E1\n100000.0\n"


def test_warm_cycles_map_and_allocate_nothing(monkeypatch):
    workspace = Workspace(WorkspaceConfiguration(policy_spill="REALLOCATE"))

    def cycle():
        with workspace:
            workspace.create((10, 10))
            workspace.allocate_plain((100,), F8)

    cycle()
    monkeypatch.setattr(memory_module.mmap, "mmap", None)
    monkeypatch.setattr(memory_module.np, "empty", None)
    for _ in range(3):
        cycle()
    assert (workspace.spilled_size, workspace.cycles_count) == (0, 4)
