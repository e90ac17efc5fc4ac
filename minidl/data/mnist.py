"""MNIST: 28 x 28 handwritten digits, from files of the user or downloaded once into a cache."""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import ConfigurationError, DataError
from .idx import read_idx
from .iterators import ArrayDataSetIterator

__all__ = ["MnistDataSetIterator"]

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
NAMES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
IMAGE = (28, 28)
CLASSES = 10
INK = 30  # of 255: darker pixels are 1 in DL4J's binarized images


class MnistDataSetIterator(ArrayDataSetIterator):
    """28 x 28 handwritten digits: 60000 to train with, 10000 to test with (LeCun, Cortes and Burges, 1998).

    Features are (batch, 784) float32, the ink of each pixel in [0, 1], row by row, for
    ``InputType.convolutional_flat(28, 28, 1)`` or ``InputType.feed_forward(784)``; labels are (batch, 10) float32,
    one-hot. The seed drives the order only. Arrays are shared by all iterators, and read-only.

    Parameters
    ----------
    batch_size, shuffle, seed : as in ArrayDataSetIterator
    train : the training set, or the test set
    folder : a directory with the two IDX files of that set, such as train-images-idx3-ubyte and
        train-labels-idx1-ubyte, also as .gz; nothing is downloaded then. Fashion-MNIST has the same files. With None
        they are in $MINIDL_DATA, $XDG_CACHE_HOME/minidl/mnist or ~/.cache/minidl/mnist, the first that is set, and
        what is missing there is downloaded (11 MB to train with, 2 MB to test with) and its checksum compared
    binarize : pixels are 1 above 30/255 and else 0, as in DL4J

    Raises
    ------
    DataError : files are missing, damaged or not MNIST's, or a download fails; the message says what to do
    ConfigurationError : ``train``, ``folder`` or ``binarize`` is something else, or as in ArrayDataSetIterator

    Source: DL4J ``MnistDataSetIterator``.
    """

    def __init__(
        self,
        batch_size: int = 64,
        train: bool = True,
        shuffle: bool = True,
        seed: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        binarize: bool = False,
    ) -> None:
        _check_flag("train", train)
        _check_flag("binarize", binarize)
        images, labels = _files(NAMES[train], folder)
        features, one_hot = _loaded((images, _version(images)), (labels, _version(labels)), binarize)
        super().__init__(features, one_hot, batch_size, shuffle, seed)
        self.labels = [str(digit) for digit in range(CLASSES)]


def _files(names: tuple[str, str], folder: str | os.PathLike[str] | None) -> list[Path]:
    """Return where the images and the labels are, downloaded if need be."""
    if folder is None:
        directory = _cache_directory()
        return [_found(directory, name) or _downloaded(directory, name) for name in names]
    directory = _checked_folder(folder)
    found = [_found(directory, name) for name in names]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise DataError(
            f"{directory} has no {' and no '.join(missing)}, plain or with .gz. They can be had from "
            f"{' or '.join(MIRRORS)}; without folder= minidl downloads them."
        )
    return [path for path in found if path is not None]


def _found(directory: Path, name: str) -> Path | None:
    with_dot = name.replace("-idx", ".idx")  # so some archives call it
    paths = [directory / f"{stem}{suffix}" for stem in (name, with_dot) for suffix in ("", ".gz")]
    with _readable(directory):
        return next((path for path in paths if path.is_file()), None)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise DataError for a place that the system does not let look at."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}. Give folder=, or in MINIDL_DATA, a directory that you "
            "may read."
        ) from error


def _downloaded(directory: Path, name: str) -> Path:
    from .download import download

    file_name = f"{name}.gz"
    download([mirror + file_name for mirror in MIRRORS], directory / file_name, SHA256[file_name])
    return directory / file_name


def _cache_directory() -> Path:
    chosen = os.environ.get("MINIDL_DATA")
    if chosen:
        return _expanded(chosen)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # its standard says that a relative path is to be ignored
    return (Path(cache) if os.path.isabs(cache) else _expanded("~/.cache")) / "minidl" / "mnist"


def _checked_folder(folder: str | os.PathLike[str]) -> Path:
    if not isinstance(folder, str | os.PathLike) or not isinstance(os.fspath(folder), str):
        raise ConfigurationError(
            f"folder={folder!r} is not a path. Give the directory that holds MNIST's files, or None to download them."
        )
    directory = _expanded(folder)
    with _readable(directory):
        is_directory = directory.is_dir()
    if not is_directory:
        raise DataError(
            f"folder={str(folder)!r} is not a directory. Give the one that holds MNIST's files, or None to download "
            "them."
        )
    return directory


def _expanded(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path, so that one file is loaded once, and not again after a change of directory."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise DataError(
            f"The home directory in {os.fspath(path)!r} is not known: {error} Set MINIDL_DATA to a directory for "
            "MNIST's files, or pass folder=."
        ) from error


def _version(path: Path) -> tuple[int, int]:
    """Return what changes when the file at ``path`` does."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=4)  # both parts of two data sets; those of MNIST take 220 MB
def _loaded(
    images: tuple[Path, tuple[int, int]], labels: tuple[Path, tuple[int, int]], binarize: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return read-only features and one-hot labels of the files, each given as (path, version)."""
    (images_path, _), (labels_path, _) = images, labels
    classes = read_idx(labels_path, ())  # small, and so refused early
    _check_classes(classes, labels_path)
    pixels = read_idx(images_path, IMAGE).reshape(-1, IMAGE[0] * IMAGE[1])
    if len(pixels) != len(classes):
        raise DataError(
            f"{images_path} has {len(pixels)} images, but {labels_path} has {len(classes)} labels. Each image needs "
            "one label: take both files from the same data set."
        )
    features = (pixels > INK).astype(np.float32) if binarize else np.divide(pixels, 255, dtype=np.float32)
    part = features, np.eye(CLASSES, dtype=np.float32)[classes]
    for array in part:
        array.flags.writeable = False  # all iterators of the process share it
    return part


def _check_classes(classes: np.ndarray, path: Path) -> None:
    if classes.max() >= CLASSES:
        example = int(classes.argmax())
        raise DataError(
            f"{path} has the label {classes[example]} for example {example}. Expected digits from 0 to 9: give the "
            "labels of MNIST, or of a data set with the same classes."
        )


def _check_flag(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}={value!r} is not known. Choose True or False.")
