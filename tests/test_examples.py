"""The examples run, and print what they promise."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from minidl.functions import ACTIVATIONS, LOSSES
from minidl.training import DROPOUTS, SCHEDULES, UPDATERS, MaxNorm, MinMaxNorm, NonNegative, UnitNorm
from minidl.workspaces import workspace_manager

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
CONSTRAINTS = {cls.__name__: cls for cls in (MaxNorm, MinMaxNorm, NonNegative, UnitNorm)}
PAGES = sorted((ROOT / "docs").glob("*.md"))


def printed(path, *arguments):
    command = [sys.executable, str(path), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout


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
    finally:
        workspace_manager.destroy_all_workspaces_for_current_thread()


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.stem)
def test_links_lead_to_files(path):
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not (path.parent / link).exists()]


def test_the_picture_names_what_survives():
    picture = ElementTree.parse(ROOT / "docs/what_survives_a_scope.svg")
    text = " ".join("".join(element.itertext()) for element in picture.iter())
    for name in ("detach()", "leverage()", "scratch()", "circular workspace", "StaleArrayError"):
        assert name in text


def test_the_picture_of_the_schedules_names_them_all():
    picture = ElementTree.parse(ROOT / "docs/schedules.svg")
    text = " ".join("".join(element.itertext()) for element in picture.iter())
    for cls in SCHEDULES.values():
        assert cls.__name__ in text


@pytest.mark.parametrize("table", [ACTIVATIONS, LOSSES, UPDATERS, CONSTRAINTS, DROPOUTS])
def test_the_page_of_training_names_what_exists(table):
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert not [name for name, cls in table.items() if name not in text and cls.__name__ not in text]


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
