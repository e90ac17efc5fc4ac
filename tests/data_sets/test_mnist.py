"""MNIST: its files, what is wrong with them, and their download from a server of the test."""

import errno
import gzip
import hashlib
import http.server
import io
import os
import re
import socket
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from minidl.data import MnistDataSetIterator, download, idx, mnist
from minidl.errors import ConfigurationError, DataError

RECORDED = Path(__file__).parents[1] / "data" / "MLPMnist.npz"
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
REPLACE = "The file is damaged or not the right one: replace it."


def exactly(message):
    return f"^{re.escape(message)}$"


def idx_bytes(array, kind=0x08):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def header(*extents):
    return bytes([0, 0, 8, len(extents)]) + struct.pack(f">{len(extents)}I", *extents)


def images(n=5):
    return np.random.default_rng(n).integers(0, 256, (n, 28, 28), dtype=np.uint8)


def digits(n=5):
    return (np.arange(n, dtype=np.uint8) * 3) % 10


def files(n_train=5, n_test=3):
    """Return the bytes of MNIST's four files by their names."""
    return {
        IMAGES: idx_bytes(images(n_train)),
        LABELS: idx_bytes(digits(n_train)),
        "t10k-images-idx3-ubyte": idx_bytes(images(n_test)),
        "t10k-labels-idx1-ubyte": idx_bytes(digits(n_test)),
    }


def write(folder, contents, spelled="{}"):
    for name, content in contents.items():
        path = folder / spelled.format(name)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return folder


def in_order(folder, **options):
    (batch,) = MnistDataSetIterator(1000, shuffle=False, folder=folder, **options)
    return batch


# ---- the data


@pytest.mark.parametrize("compressed", [False, True])
def test_recorded_images_of_mnist_come_back(tmp_path, compressed):
    with np.load(RECORDED) as recorded:
        pixels, classes = recorded["train_images"], recorded["train_labels"]
    contents = {IMAGES: idx_bytes(pixels.astype(np.uint8)), LABELS: idx_bytes(classes.astype(np.uint8))}
    batch = in_order(write(tmp_path, contents, "{}.gz" if compressed else "{}"))
    assert batch.features.dtype == batch.labels.dtype == np.float32
    np.testing.assert_array_equal(batch.features, pixels.reshape(512, 784).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(batch.labels, np.eye(10)[classes])


@pytest.mark.parametrize("spelled", ["{}", "{}.gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_all_spellings_of_a_name_are_found(tmp_path, spelled, dotted):
    contents = {name.replace("-idx", ".idx") if dotted else name: content for name, content in files().items()}
    write(tmp_path, contents, spelled)
    assert [len(in_order(tmp_path, train=train)) for train in (True, False)] == [5, 3]


def test_batches_labels_and_seed(tmp_path):
    write(tmp_path, files(n_train=50))
    one, again, other = (MnistDataSetIterator(16, seed=seed, folder=str(tmp_path)) for seed in (1, 1, 2))
    orders = [np.vstack([batch.features for batch in iterator]) for iterator in (one, again, other)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    np.testing.assert_array_equal(np.unique(orders[0], axis=0), np.unique(orders[2], axis=0))
    assert (len(one), one.total_examples(), one.labels) == (4, 50, list("0123456789"))


def test_binarized_pixels_are_one_above_30(tmp_path):
    pixels = np.zeros((1, 28, 28), np.uint8)
    pixels[0, 0, :4] = [29, 30, 31, 255]
    write(tmp_path, {IMAGES: idx_bytes(pixels), LABELS: idx_bytes(digits(1))})
    features = in_order(tmp_path, binarize=True).features
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features[0, :5], [0, 0, 1, 1, 0])


def test_the_data_is_shared_and_cannot_be_changed(tmp_path):
    write(tmp_path, files())
    first, second = (in_order(tmp_path) for _ in range(2))
    assert np.shares_memory(first.features, second.features)
    for array in (first.features, first.labels):
        with pytest.raises(ValueError, match=r"^assignment destination is read-only$"):
            array[0] = 0


def test_a_replaced_file_is_read_again(tmp_path):
    in_order(write(tmp_path, files()))
    assert len(in_order(write(tmp_path, files(n_train=7)))) == 7


def test_only_the_files_of_the_chosen_part_are_needed(tmp_path):
    write(tmp_path, {IMAGES: files()[IMAGES], LABELS: files()[LABELS]})
    assert len(in_order(tmp_path)) == 5
    with pytest.raises(DataError, match=exactly(missing(tmp_path, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"))):
        in_order(tmp_path, train=False)


def missing(folder, *names):
    return (
        f"{folder} has no {' and no '.join(names)}, plain or with .gz. They can be had from "
        "https://storage.googleapis.com/cvdf-datasets/mnist/ or https://ossci-datasets.s3.amazonaws.com/mnist/; "
        "without folder= minidl downloads them."
    )


def test_what_is_missing_is_said_and_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(download.urllib.request, "urlopen", lambda *_: pytest.fail("network access"))
    (tmp_path / IMAGES).mkdir()  # no file
    with pytest.raises(DataError, match=exactly(missing(tmp_path, IMAGES, LABELS))):
        in_order(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path):
    expected = (
        f"folder={str(tmp_path / 'none')!r} is not a directory. Give the one that holds MNIST's files, or None to "
        "download them."
    )
    with pytest.raises(DataError, match=exactly(expected)):
        MnistDataSetIterator(folder=tmp_path / "none")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("train", None, "train=None is not known. Choose True or False."),
        ("binarize", "yes", "binarize='yes' is not known. Choose True or False."),
        (
            "folder",
            5,
            "folder=5 is not a path. Give the directory that holds MNIST's files, or None to download them.",
        ),
        (
            "folder",
            b"mnist",
            "folder=b'mnist' is not a path. Give the directory that holds MNIST's files, or None to download them.",
        ),
    ],
)
def test_a_wrong_option_is_refused(option, value, message):
    with pytest.raises(ConfigurationError, match=exactly(message)):
        MnistDataSetIterator(**{option: value})


# ---- files that are not what they should be

BAD_FILES = {
    "empty": (b"", "no bytes. Expected 00 00 08 03, with which an IDX file of bytes begins."),
    "text": (
        b"<!DOCTYPE",
        "the first bytes 3c 21 44 4f. Expected 00 00 08 03, with which an IDX file of bytes begins.",
    ),
    "short magic": (
        b"\0\0\x08",
        "the first bytes 00 00 08. Expected 00 00 08 03, with which an IDX file of bytes begins.",
    ),
    "unknown type": (
        b"\0\0\x0a\x03" + header(5, 28, 28)[4:],
        "the first bytes 00 00 0a 03. Expected 00 00 08 03, with which an IDX file of bytes begins.",
    ),
    "floats": (idx_bytes(np.zeros((1, 28, 28), np.float32), 0x0D), "items of type float32. Expected uint8."),
    "labels": (idx_bytes(digits(20)), "1 axes. Expected 3; images have 3 and labels 1."),
    "short header": (header(5, 28, 28)[:11], "11 bytes. Expected a header of 16 bytes."),
    "other size": (idx_bytes(np.zeros((2, 32, 30), np.uint8)), "images of 32 x 30 pixels. Expected 28 x 28."),
    "none": (header(0, 28, 28), "no examples. Expected at least one."),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("content", "problem"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_of_another_kind_is_refused(tmp_path, content, problem, suffix):
    write(tmp_path, {**files(), IMAGES: content}, "{}" + suffix)
    with pytest.raises(DataError, match=exactly(f"{tmp_path / IMAGES}{suffix} has {problem} {REPLACE}")):
        in_order(tmp_path)


ANNOUNCED = "a header that announces 3920 bytes of data"


@pytest.mark.parametrize(
    ("content", "suffix", "problem"),
    [
        (header(5, 28, 28) + bytes(3919), "", f"{ANNOUNCED}. Expected at most 3919, from a file of this size."),
        (header(5, 28, 28) + bytes(3900), "", f"{ANNOUNCED}. Expected at most 3900, from a file of this size."),
        (header(5, 28, 28) + bytes(3921), "", f"{ANNOUNCED}, and more bytes. Expected as many as announced."),
        (header(5, 28, 28) + bytes(3919), ".gz", f"{ANNOUNCED}, and 3919 bytes. Expected as many as announced."),
        (header(5, 28, 28) + bytes(3921), ".gz", f"{ANNOUNCED}, and more bytes. Expected as many as announced."),
    ],
)
def test_a_file_with_more_or_less_than_announced_is_refused(tmp_path, content, suffix, problem):
    write(tmp_path, {**files(), IMAGES: content}, "{}" + suffix)
    with pytest.raises(DataError, match=exactly(f"{tmp_path / IMAGES}{suffix} has {problem} {REPLACE}")):
        in_order(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_huge_extents_are_refused_before_memory_is_asked_for(tmp_path, suffix, monkeypatch):
    write(tmp_path, {**files(), IMAGES: header(2**32 - 1, 28, 28) + bytes(10)}, "{}" + suffix)
    monkeypatch.setattr(
        idx.np, "empty", lambda shape, dtype: np.zeros(shape, dtype) if shape == (5,) else pytest.fail("memory")
    )
    announced = (2**32 - 1) * 784
    with pytest.raises(
        DataError, match=rf"^.* announces {announced} bytes of data\. Expected at most \d+, from a file"
    ):
        in_order(tmp_path)


def test_a_large_file_is_refused_even_if_it_could_hold_what_it_announces(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "MAX_BYTES", 3919)
    with pytest.raises(
        DataError, match=r"^.* announces 3920 bytes of data\. Expected at most 3919, from a file of this"
    ):
        in_order(write(tmp_path, files()))


def test_a_bomb_is_unpacked_no_further_than_announced(tmp_path, monkeypatch):
    write(tmp_path, {**files(), IMAGES: header(5, 28, 28) + bytes(50_000_000)}, "{}.gz")
    asked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: (asked.append(size), read(self, size))[1])
    with pytest.raises(
        DataError,
        match=exactly(
            f"{tmp_path / IMAGES}.gz has {ANNOUNCED}, and more bytes. Expected as many as announced. {REPLACE}"
        ),
    ):
        in_order(tmp_path)
    assert asked[-3:] == [16, 3920, 1]


@pytest.mark.parametrize("damage", ["cut", "changed", "checksum"])
def test_broken_gzip_data_is_refused(tmp_path, damage):
    path = write(tmp_path, files(), "{}.gz") / f"{IMAGES}.gz"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "cut": content[:middle],
            "changed": content[:12] + b"\xff" * 40 + content[52:],
            "checksum": content[:-8] + bytes(4) + content[-4:],
        }[damage]
    )
    message = rf"^{re.escape(str(path))} has broken gzip data \(.+\)\. Expected a whole file\. {re.escape(REPLACE)}$"
    with pytest.raises(DataError, match=message):
        in_order(tmp_path)


def test_a_file_that_cannot_be_read_is_an_error_of_data(tmp_path, monkeypatch):
    write(tmp_path, files())

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    expected = f"{tmp_path / LABELS} cannot be read: Permission denied. Make it readable, or give another folder."
    with pytest.raises(DataError, match=exactly(expected)):
        in_order(tmp_path)


def test_a_folder_that_may_not_be_looked_at_is_an_error_of_data(tmp_path, monkeypatch):
    def refuse(self, **_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    message = (
        f"{tmp_path} cannot be read: Permission denied. Give folder=, or in MINIDL_DATA, a directory that you may "
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}read\\.$"):
        MnistDataSetIterator(folder=tmp_path)


def test_a_label_that_is_no_digit_is_refused(tmp_path):
    write(tmp_path, {**files(), LABELS: idx_bytes(np.array([1, 2, 10, 3, 9], np.uint8))})
    expected = (
        f"{tmp_path / LABELS} has the label 10 for example 2. Expected digits from 0 to 9: give the labels of MNIST, "
        "or of a data set with the same classes."
    )
    with pytest.raises(DataError, match=exactly(expected)):
        in_order(tmp_path)


def test_different_counts_are_refused(tmp_path):
    write(tmp_path, {**files(), LABELS: idx_bytes(digits(4))})
    expected = (
        f"{tmp_path / IMAGES} has 5 images, but {tmp_path / LABELS} has 4 labels. Each image needs one label: take "
        "both files from the same data set."
    )
    with pytest.raises(DataError, match=exactly(expected)):
        in_order(tmp_path)


# ---- the download


class Server(http.server.ThreadingHTTPServer):
    """Answers from ``answers``: path to (status, body, announced length); keeps the paths that were asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {}
        self.asked = []
        self.stop_stalling = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def offer(self, directory="", **changed):
        for name, content in files().items():
            body = gzip.compress(content, mtime=0)
            self.answers[f"/{directory}{name}.gz"] = {"status": 200, "body": body, "length": len(body), **changed}

    def handle_error(self, request, client_address):
        """Say nothing where a client went away."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, {"status": 404, "body": b"", "length": 0})
        self.send_response(answer["status"])
        if answer["length"] is not None:
            self.send_header("Content-Length", str(answer["length"]))
        self.end_headers()
        self.wfile.write(answer["body"])
        if answer.get("stalls"):
            self.wfile.flush()
            self.server.stop_stalling.wait()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server(monkeypatch):
    """Return a running server that stands for all mirrors, with the checksums of its files."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setattr(mnist, "MIRRORS", (server.url,))
        sums = {
            f"{name}.gz": hashlib.sha256(gzip.compress(content, mtime=0)).hexdigest()
            for name, content in files().items()
        }
        monkeypatch.setattr(mnist, "SHA256", sums)
        yield server
        server.stop_stalling.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Return the directory of the cache, which does not exist yet."""
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path / "a" / "cache"))
    return tmp_path / "a" / "cache"


def failed(*reasons):
    return exactly(
        f"{IMAGES}.gz could not be downloaded: {'; '.join(reasons)}. Try again later, or get the file elsewhere and "
        "pass folder= with the directory that holds it."
    )


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_files_are_downloaded_once(server, cache):
    server.offer()
    for _ in range(2):
        mnist._loaded.cache_clear()
        np.testing.assert_array_equal(in_order(None).features * 255, images().reshape(5, 784))
        assert server.asked == [f"/{IMAGES}.gz", f"/{LABELS}.gz"]
    assert names(cache) == [f"{IMAGES}.gz", f"{LABELS}.gz"]
    assert len(in_order(None, train=False)) == 3
    assert len(server.asked) == 4


def test_only_what_is_missing_is_downloaded(server, cache):
    server.offer()
    cache.mkdir(parents=True)
    write(cache, {LABELS: files()[LABELS]})
    in_order(None)
    assert server.asked == [f"/{IMAGES}.gz"]


def test_threads_may_download_at_once(server, cache):
    server.offer()
    threads = [threading.Thread(target=in_order, args=(None,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(cache) == [f"{IMAGES}.gz", f"{LABELS}.gz"]


def test_another_mirror_helps_out(server, cache, monkeypatch):
    server.offer("second/")
    monkeypatch.setattr(mnist, "MIRRORS", (server.url, f"{server.url}second/"))
    assert len(in_order(None)) == 5
    assert server.asked == [f"/{prefix}{name}.gz" for name in (IMAGES, LABELS) for prefix in ("", "second/")]
    assert names(cache) == [f"{IMAGES}.gz", f"{LABELS}.gz"]


def test_all_mirrors_are_named_when_none_helps(server, cache, monkeypatch):
    server.offer("second/", status=503)
    monkeypatch.setattr(mnist, "MIRRORS", (server.url, f"{server.url}second/"))
    reasons = [
        f"{server.url}{IMAGES}.gz: the server answered 404 (Not Found)",
        f"{server.url}second/{IMAGES}.gz: the server answered 503 (Service Unavailable)",
    ]
    with pytest.raises(DataError, match=failed(*reasons)):
        in_order(None)
    assert names(cache) == []


def test_a_wrong_checksum_leaves_nothing(server, cache):
    server.offer(body=b"<html>log in first</html>", length=25)
    came, expected = hashlib.sha256(b"<html>log in first</html>").hexdigest(), mnist.SHA256[f"{IMAGES}.gz"]
    reason = f"{server.url}{IMAGES}.gz: the SHA-256 checksum is {came}, expected {expected}"
    with pytest.raises(DataError, match=failed(reason)):
        in_order(None)
    assert names(cache) == []


def test_a_body_that_is_cut_leaves_nothing(server, cache):
    server.offer(body=b"x" * 100, length=3000)
    reason = f"{server.url}{IMAGES}.gz: the connection ended after 100 of 3000 bytes"
    with pytest.raises(DataError, match=failed(reason)):
        in_order(None)
    assert names(cache) == []


def test_a_body_without_end_leaves_nothing(server, cache, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    server.offer(body=b"x" * 5000, length=None)
    with pytest.raises(DataError, match=failed(f"{server.url}{IMAGES}.gz: more than 1000 bytes came")):
        in_order(None)
    assert names(cache) == []


def test_a_server_that_falls_silent_is_given_up(server, cache, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server.offer(length=100_000, stalls=True)
    with pytest.raises(DataError, match=failed(f"{server.url}{IMAGES}.gz: nothing came for 0.2 seconds")):
        in_order(None)
    assert names(cache) == []


def test_a_refused_connection_leaves_nothing(server, cache, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    monkeypatch.setattr(mnist, "MIRRORS", (url,))
    message = (
        rf"^{IMAGES}\.gz could not be downloaded: {re.escape(url)}{IMAGES}\.gz: no connection \(.+\)\. Try again later"
    )
    with pytest.raises(DataError, match=message):
        in_order(None)
    assert names(cache) == []


def test_nonsense_in_place_of_http_leaves_nothing(cache, server, monkeypatch):
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.wfile.write(b"220 ready\r\n"))
    reason = f"{server.url}{IMAGES}.gz: the connection broke (220 ready\r\n)"
    with pytest.raises(DataError, match=failed(reason)):
        in_order(None)
    assert names(cache) == []


def not_stored(path, reason):
    return exactly(
        f"{path} could not be stored: {reason}. Make room for it there, set MINIDL_DATA to another directory, or pass "
        "folder= with files that you have."
    )


class FullDisk(io.FileIO):
    def write(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_on_full_disk(path, mode):
    return FullDisk(path, mode)


def test_a_full_disk_is_said_and_no_other_mirror_asked(server, cache, monkeypatch):
    server.offer()
    monkeypatch.setattr(mnist, "MIRRORS", (server.url, server.url))
    monkeypatch.setattr(Path, "open", open_on_full_disk)
    with pytest.raises(DataError, match=not_stored(cache / f"{IMAGES}.gz", os.strerror(errno.ENOSPC))):
        in_order(None)
    assert names(cache) == []
    assert server.asked == [f"/{IMAGES}.gz"]


def test_a_cache_that_is_a_file_is_said(server, cache):
    cache.parent.mkdir()
    cache.write_bytes(b"")
    with pytest.raises(DataError, match=not_stored(cache / f"{IMAGES}.gz", "File exists")):
        in_order(None)


def test_an_interrupt_leaves_nothing(server, cache, monkeypatch):
    server.offer()

    def interrupt(*_):
        raise KeyboardInterrupt("by the user")

    monkeypatch.setattr(download.tqdm, "update", interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"^by the user$"):
        in_order(None)
    assert names(cache) == []


@pytest.mark.parametrize(
    ("variables", "directory"),
    [
        ({"MINIDL_DATA": "/data", "XDG_CACHE_HOME": "/cache"}, "/data"),
        ({"MINIDL_DATA": "~/data"}, "/home/user/data"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/minidl/mnist"),
        ({"MINIDL_DATA": "", "XDG_CACHE_HOME": "relative"}, "/home/user/.cache/minidl/mnist"),
        ({}, "/home/user/.cache/minidl/mnist"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="paths of POSIX")
def test_where_the_cache_is(variables, directory, monkeypatch):
    for name in ("MINIDL_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/user")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert mnist._cache_directory() == Path(directory)


def test_a_home_that_is_not_known_is_said(monkeypatch):
    monkeypatch.setenv("MINIDL_DATA", "~nobody-of-this-name/data")
    expected = (
        "The home directory in '~nobody-of-this-name/data' is not known: Could not determine home directory. "
        "Set MINIDL_DATA to a directory for MNIST's files, or pass folder=."
    )
    with pytest.raises(DataError, match=exactly(expected)):
        MnistDataSetIterator()
