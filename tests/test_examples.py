"""The examples run, and print what they promise."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from minidl import layers
from minidl.errors import ShapeError
from minidl.functions import ACTIVATIONS, LOSSES
from minidl.layers.unfolding import block_size
from minidl.layers.windows import ConvolutionMode, Window2D, slide
from minidl.training import DROPOUTS, SCHEDULES, UPDATERS, MaxNorm, MinMaxNorm, NonNegative, UnitNorm
from minidl.workspaces import workspace_manager

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
CONSTRAINTS = {cls.__name__: cls for cls in (MaxNorm, MinMaxNorm, NonNegative, UnitNorm)}
PAGES = sorted((ROOT / "docs").glob("*.md"))
IMAGES_PAGE = ROOT / "docs/images.md"
LENET = ROOT / "examples/lenet.py"


def ran(path, *arguments):
    command = [sys.executable, str(path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)


def printed(path, *arguments):
    run = ran(path, *arguments)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout


def text_of(picture):
    parsed = ElementTree.parse(ROOT / "docs" / picture)
    return " ".join("".join(element.itertext()) for element in parsed.iter())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_described(path):
    text = path.read_text(encoding="utf-8")
    assert 40 <= len(text.splitlines()) <= 120
    assert text.startswith('"""')


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_code_of_the_documentation_runs(path):
    names = {}
    try:
        for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            exec(compile(block, path.name, "exec"), names)
        if path.stem == "workspaces":
            assert type(names["kept"]) is np.ndarray
            assert names["batch"].sum() == 1280
        if path.stem == "training":
            assert names["network"].epoch_count == 5
            assert 0 < names["network"].get_learning_rate(0) <= 0.01
        if path.stem == "images":
            check_names_of_the_page_of_images(names)
    finally:
        workspace_manager.destroy_all_workspaces_for_current_thread()


def check_names_of_the_page_of_images(names):
    test_set = names["DigitsDataSetIterator"](64, train=False)
    assert names["network"].evaluate(test_set).accuracy() > 0.7
    assert names["evaluation"].accuracy() > 0.95
    mean, variance = names["running"]
    assert mean.shape == variance.shape == (4,)
    assert not np.array_equal(variance, np.ones(4))
    assert names["normalised"].epoch_count == 2
    small, default, large = (names["working_memory"](cap) for cap in (64 * 1024, None, 4 << 20))
    assert small < default < large


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.stem)
def test_links_lead_to_files(path):
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not (path.parent / link).exists()]


def test_the_picture_names_what_survives():
    text = text_of("what_survives_a_scope.svg")
    for name in ("detach()", "leverage()", "scratch()", "circular workspace", "StaleArrayError"):
        assert name in text


def test_the_picture_of_the_schedules_names_them_all():
    text = text_of("schedules.svg")
    for cls in SCHEDULES.values():
        assert cls.__name__ in text


@pytest.mark.parametrize("table", [ACTIVATIONS, LOSSES, UPDATERS, CONSTRAINTS, DROPOUTS])
def test_the_page_of_training_names_what_exists(table):
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert not [name for name, cls in table.items() if name not in text and cls.__name__ not in text]


def test_the_page_of_images_names_all_their_layers():
    text = IMAGES_PAGE.read_text(encoding="utf-8")
    of_vectors = {"DenseLayer", "DropoutLayer", "FeedForwardLayer", "Layer"}
    public = [name for name in layers.__all__ if isinstance(getattr(layers, name), type)]
    known = {name for name in public if issubclass(getattr(layers, name), layers.Layer | layers.InputPreProcessor)}
    missing = {name for name in known - of_vectors - {"InputPreProcessor"} if not re.search(rf"\b{name}\b", text)}
    assert not missing


def test_the_table_of_windows_is_what_the_arithmetic_gives():
    row = r"^\| (truncate|strict|same|causal) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+|ShapeError)\b"
    rows = re.findall(row, IMAGES_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {mode for mode, *_ in rows} == {mode.value for mode in ConvolutionMode}
    assert len(rows) == 9
    for mode, *numbers, positions in rows:
        options = (*map(int, numbers), ConvolutionMode(mode))
        if positions == "ShapeError":
            with pytest.raises(ShapeError, match=r"= 3\.5 is no whole number"):
                slide(*options)
        else:
            assert slide(*options).positions == int(positions)


def test_the_picture_of_the_windows_shows_every_mode():
    text = text_of("what_a_window_sees.svg")
    for mode in ConvolutionMode:
        assert f'"{mode.value}"' in text
    assert "(8 + 2 x 0 - 3) / 2 + 1 = 3.5 is no whole number" in text


def test_the_picture_of_the_memory_has_the_numbers_of_the_report():
    report = runpy.run_path(str(LENET))["lenet"](28, kernel=5, mode="truncate", rate=1e-3).memory_report(64)
    text = text_of("memory_of_lenet.svg")
    assert not [name for name in report.workspaces if name not in text]
    total, ratio = map(float, re.search(r"([\d.]+) MB, ([\d.]+) x the bound", text).groups())
    assert total == pytest.approx(report.workspace_bytes / 1e6, rel=0.05)
    assert ratio == pytest.approx(report.workspace_bytes / report.liveness_bound, rel=0.05)


def test_the_page_of_images_tells_the_size_of_the_window_buffer():
    text = IMAGES_PAGE.read_text(encoding="utf-8")
    images, bytes_of_all = [], []
    for size, channels, n_out in ((28, 1, 20), (12, 20, 50)):
        axis = slide(size, 5, 1, 0, 1, ConvolutionMode.TRUNCATE)
        window = Window2D(axis, axis)
        images.append(block_size(window, channels, n_out, 4, None).images)
        bytes_of_all.append(64 * window.positions * window.taps * channels * 4)
    assert f"{images[0]} images of LeNet's\nfirst convolution, {images[1]} of its second" in text
    assert "would take {:.1f} and {:.1f} MB".format(*(size / 1e6 for size in bytes_of_all)) in text


def test_lenet_reads_the_digits():
    run = ran(LENET, "--epochs", "1")
    assert run.returncode == 0, run.stderr
    assert "batch/s" in run.stderr
    assert "Total parameters: 114,760" in run.stdout
    assert float(re.search(r"accuracy on the test set: ([\d.]+)", run.stdout)[1]) > 0.7
    assert "x the liveness bound" in run.stdout
    assert re.search(r"one training iteration with 64 images: \d+\.\d\d ms", run.stdout)


def test_lenet_reads_mnist_from_a_folder(tmp_path):
    for path in (ROOT / "tests/data/mnist").glob("train-*.gz"):
        shutil.copy(path, tmp_path)
        shutil.copy(path, tmp_path / path.name.replace("train", "t10k"))
    run = ran(LENET, "--mnist", tmp_path, "--epochs", "1")
    assert run.returncode == 0, run.stderr
    assert "Total parameters: 431,080" in run.stdout
    assert "accuracy on the test set" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mnist", "nowhere"), "folder='nowhere' is not a directory. Give the one that holds MNIST's files"),
        (("--mnist", "tests/data/mnist"), "has no t10k-images-idx3-ubyte and no t10k-labels-idx1-ubyte"),
        (("--mnist", "nowhere", "--download"), "argument --download: not allowed with argument --mnist"),
        (("--epochs", "0"), "--epochs 0: at least 1 is needed"),
    ],
)
def test_lenet_says_what_is_wrong(arguments, message):
    run = ran(LENET, *arguments)
    assert run.returncode == 2
    assert run.stdout == ""
    assert message in run.stderr


def test_the_rare_class_is_found_more_often_with_a_weight():
    text = printed(ROOT / "examples/rare_class.py", "--epochs", "10")
    without, weighted = map(float, re.findall(r"recall of the digit 8 ([\d.]+)", text))
    assert weighted > without
    assert "last learning rate 0.0015" in text


def test_the_tour_shows_what_it_says():
    text = printed(ROOT / "examples/workspaces_tour.py", "--quick")
    assert re.findall(r"^(\d)\. ", text, re.MULTILINE) == list("123456789")
    assert "y: WorkspaceArray, attached: True; bytes used: 12,800" in text
    assert "E1: Op [add] X argument uses leaked workspace pointer from workspace [LOOP]" in text
    assert "valid in OUTER: True" in text
    assert "is valid for ever: ndarray; so is a copy: ndarray" in text
    assert "cycle 0: buffer 0 bytes, spilled 32,768" in text
    assert "cycle 1: buffer 32,768 bytes, spilled 0" in text
    assert re.search(r"E5: Can't allocate memory: .* capped", text)
    assert "bytes used after 100 rounds: 40,000" in text
    assert "sums of the batches: [0.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0]" in text
    assert "reads [7.0, 7.0, 7.0], the numbers of this one" in text
    assert re.search(r"ordinary NumPy \d+\.\d\d ms a cycle, in a workspace \d+\.\d\d ms", text)
