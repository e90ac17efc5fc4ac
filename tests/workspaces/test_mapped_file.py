"""Workspaces in a file: what stays, what grows, and what becomes of a file that cannot be used."""

# ruff: noqa: N802  (rows carry the names of their tests upstream)

import errno
import gc
import os
import re
import sys

import numpy as np
import psutil
import pytest

from minidl.errors import ConfigurationError, WorkspaceError, WorkspaceFullError
from minidl.workspaces import Workspace, WorkspaceConfiguration, mapped_file, workspace_manager
from minidl.workspaces.mapped_file import MappedFile

F8 = np.float64
MIB = 1 << 20
HINT = "Name a writable file in an existing folder, or none, and minidl makes a temporary one."


def made(path=None, **options):
    return Workspace(configured(path, **options), "A")


def configured(path=None, **options):
    return WorkspaceConfiguration(policy_location="MMAP", policy_learning="NONE", temp_file_path=path, **options)


@pytest.fixture(params=["reserved", "written"])
def way_to_grow(request, monkeypatch):
    """Grow files as Linux does, and as systems without posix_fallocate."""
    if request.param == "written":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)


# Conformance


@pytest.mark.parametrize("named", [True, False])
def test_row_28_testMmap1(tmp_path, named):
    workspace = made(tmp_path / "buffer" if named else None, initial_size=MIB)
    with workspace:
        workspace.create_uninitialized(100, F8)[:] = 10.0
    with workspace:
        assert workspace.create_uninitialized(100, F8).sum() == 1000


def test_row_68_testMmapedWorkspaceLimits_1():
    with made(initial_size=200 * MIB) as workspace:
        workspace.create_uninitialized(200 * MIB, np.uint8)
        beyond = workspace.create(500, F8)
        assert (workspace.current_size, workspace.spilled_size, beyond.sum()) == (200 * MIB, 4000, 0)
        assert beyond.is_attached


def test_row_69_testMmapedWorkspace_Path_Limits_1(tmp_path):
    path = tmp_path / ("x" * 120)
    with made(path, initial_size=8000) as workspace:
        assert workspace.create(1000, F8).is_attached
    assert path.stat().st_size == 8000


@pytest.mark.skipif(sys.platform != "linux", reason="lists the mappings of the process")
def test_row_69_testDeleteMappedFile_1(tmp_path):
    def mapped():
        return any(mapping.path == str(path) for mapping in psutil.Process().memory_maps(grouped=False))

    path = tmp_path / "buffer"
    with workspace_manager.get_and_activate_workspace(configured(path, initial_size=8000), "A") as workspace:
        workspace.create(10)
    assert mapped()
    workspace_manager.destroy_all_workspaces_for_current_thread()
    assert not mapped()
    assert path.exists()


def test_row_70_testDeleteMappedFile_2():
    message = "policy_learning=FIRST_LOOP: a memory-mapped workspace (MMAP) can't have LearningPolicy defined"
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        WorkspaceConfiguration(policy_location="MMAP", initial_size=80)


# The file


@pytest.mark.usefixtures("way_to_grow")
def test_a_shorter_file_grows_by_zeros(tmp_path):
    path = tmp_path / "buffer"
    path.write_bytes(b"\x07" * 100)
    workspace = made(path, initial_size=50_000)
    assert workspace.current_size == path.stat().st_size == 50_000
    assert path.read_bytes() == b"\x07" * 100 + bytes(49_900)


def test_a_longer_file_is_mapped_whole(tmp_path):
    path = tmp_path / "buffer"
    np.arange(100.0).tofile(path)
    for size in (0, 80):
        with made(path, initial_size=size) as workspace:
            assert workspace.current_size == 800
            assert workspace.create_uninitialized(100, F8).tolist() == list(range(100))


@pytest.mark.parametrize("limit", ["max_size", "max_bytes"])
def test_no_more_than_the_limit_is_mapped(tmp_path, limit):
    path = tmp_path / "buffer"
    path.write_bytes(bytes(800))
    assert made(path, **{limit: 400}).current_size == 400
    assert path.stat().st_size == 800


def test_what_is_written_is_in_the_file(tmp_path):
    path = tmp_path / "buffer"
    with made(path, initial_size=80) as workspace:
        workspace.create(10, F8)[:] = 3.0
    workspace.destroy()
    assert np.fromfile(path).tolist() == [3.0] * 10


def test_a_file_gets_no_margin():
    assert made(initial_size=1000, overallocation_limit=1.0).current_size == 1000


def test_temporary_file_is_no_file_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped_file.tempfile, "tempdir", str(tmp_path))
    workspace = made(initial_size=80)
    assert workspace.current_size == 80
    assert sys.platform == "win32" or list(tmp_path.iterdir()) == []


def test_debug_switch_leaves_the_content(tmp_path, monkeypatch):
    monkeypatch.setattr(Workspace, "poison_recycled_memory", True)
    path = tmp_path / "buffer"
    np.ones(10).tofile(path)
    for _ in range(2):
        with made(path) as workspace:
            assert workspace.create_uninitialized(10, F8).sum() == 10


def test_circular_workspace_in_a_file():
    workspace = made(initial_size=160, policy_reset="ENDOFBUFFER_REACHED", policy_allocation="STRICT")
    arrays = []
    for value in range(3):
        with workspace:
            arrays.append(workspace.create(10, F8))
            arrays[-1][:] = value
    assert [array.base._alive for array in arrays] == [False, True, True]
    assert [array.sum() for array in arrays[1:]] == [10, 20]


@pytest.mark.parametrize("method", ["resize", "shrink"])
def test_size_is_that_of_the_file(method):
    workspace = made(initial_size=800)
    message = "Workspace [A] is memory-mapped: its size is that of its file. Make a new one."
    with workspace:
        workspace.create(1)
    with pytest.raises(WorkspaceError, match=re.escape(message)):
        getattr(workspace, method)(80)
    workspace.initialize_workspace()
    workspace.reset_learning()
    assert workspace.current_size == 800


def test_array_of_a_destroyed_workspace_stays_readable_memory(tmp_path):
    with made(tmp_path / "buffer", initial_size=800) as workspace:
        alias = np.asarray(workspace.create(100, F8))
        alias[:] = 7.0
    workspace.destroy()
    gc.collect()
    assert alias.sum() == 700


# Files that cannot be used


@pytest.mark.parametrize("where", ["", "missing/buffer"])
def test_path_that_cannot_be_opened(tmp_path, where):
    path = os.fspath(tmp_path / where)
    message = f"temp_file_path: {path!r} cannot be opened for writing ("
    with pytest.raises(ConfigurationError, match=re.escape(message) + ".*" + re.escape(HINT)):
        made(path, initial_size=80)
    assert list(tmp_path.iterdir()) == []


def test_file_that_may_only_be_read(tmp_path, monkeypatch):
    def refuse(path, mode, **options):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    path = tmp_path / "buffer"
    path.write_bytes(b"abc")
    monkeypatch.setattr(mapped_file, "open", refuse, raising=False)  # root may write anywhere
    message = f"temp_file_path: {os.fspath(path)!r} cannot be opened for writing ([Errno {errno.EACCES}] Permission"
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        made(path, initial_size=80)
    assert path.read_bytes() == b"abc"


def test_path_with_a_null_character():
    with pytest.raises(ConfigurationError, match=re.escape("cannot be opened for writing (embedded null")):
        made("a\0b", initial_size=80)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs os.mkfifo")
def test_what_is_no_regular_file(tmp_path):
    path = os.fspath(tmp_path / "pipe")
    os.mkfifo(path)
    message = f"temp_file_path: {path!r} is not a regular file and cannot be mapped. {HINT}"
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        made(path, initial_size=80)


@pytest.mark.parametrize("exists", [True, False])
def test_empty_file_without_a_size(tmp_path, exists):
    path = tmp_path / "buffer"
    if exists:
        path.touch()
    message = f"{os.fspath(path)!r}: the file should have positive length, as initial_size is 0. Set initial_size."
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        made(path)
    assert path.exists() is exists


def full_disk(monkeypatch, way):
    """Let every way of growing a file fail as on a full disk; return the error's text."""
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refuse(*arguments):
        raise error

    if way == "posix_fallocate":
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    else:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        usage = mapped_file.shutil.disk_usage("/")._replace(free=1000)
        monkeypatch.setattr(mapped_file.shutil, "disk_usage", lambda path: usage)
    return str(error)


@pytest.mark.parametrize("way", ["posix_fallocate", "disk_usage"])
@pytest.mark.parametrize("content", [None, b"abc"])
def test_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch, way, content):
    path = tmp_path / "buffer"
    if content is not None:
        path.write_bytes(content)
    message = (
        f"Can't allocate memory: {os.fspath(path)!r} cannot be mapped with 8000 bytes ({full_disk(monkeypatch, way)}). "
        "Free room on the disk, lower initial_size, or set temp_file_path to a file on another disk."
    )
    with pytest.raises(WorkspaceFullError, match=re.escape(message)):
        made(path, initial_size=8000)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if content is None else [content])


def test_disk_that_fills_up_while_the_file_grows(tmp_path, monkeypatch):
    class Filling:
        """A file whose third write meets a full disk."""

        def __init__(self, file):
            self.file, self.writes = file, 0

        def write(self, data):
            self.writes += 1
            if self.writes == 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

    path = tmp_path / "buffer"
    path.write_bytes(b"abc")
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    opened = []

    def opening(*arguments, **options):
        opened.append(Filling(open(*arguments, **options)))  # noqa: SIM115 - MappedFile closes it
        return opened[0]

    monkeypatch.setattr(mapped_file, "open", opening, raising=False)
    with pytest.raises(WorkspaceFullError, match=re.escape("cannot be mapped with 80000 bytes")):
        made(path, initial_size=80_000)
    assert path.read_bytes() == b"abc"
    assert opened[0].file.closed


@pytest.mark.parametrize("size", [1 << 62, 1 << 70])
@pytest.mark.usefixtures("way_to_grow")
def test_file_larger_than_any_disk(tmp_path, size):
    message = f"cannot be mapped with {size} bytes ("
    for path in (tmp_path / "buffer", None):
        with pytest.raises(WorkspaceFullError, match=re.escape(message)):
            made(path, initial_size=size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENODEV, "No such device"), ValueError("no")])
def test_file_that_cannot_be_mapped(tmp_path, monkeypatch, error):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(mapped_file.mmap, "mmap", refuse)
    path = tmp_path / "buffer"
    with pytest.raises(WorkspaceFullError, match=re.escape(f"cannot be mapped with 80 bytes ({error})")):
        MappedFile(os.fspath(path), 80)
    assert not path.exists()


def test_file_system_without_reservation(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    assert made(tmp_path / "buffer", initial_size=40_000).current_size == 40_000


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files")
def test_nothing_is_left_open(tmp_path):
    def open_files():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    (tmp_path / "empty").touch()
    before = open_files()
    for path, size in ((tmp_path, 80), (tmp_path / "empty", 0), (tmp_path / "large", 1 << 62)):
        with pytest.raises((ConfigurationError, WorkspaceFullError), match=r"temp_file_path|Set initial_size"):
            made(path, initial_size=size)
    workspace = made(tmp_path / "buffer", initial_size=80)
    assert open_files() <= before + 1
    workspace.destroy()
    assert open_files() == before
