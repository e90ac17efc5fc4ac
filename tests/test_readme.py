"""What the README shows works, and `python -m minidl` prints what it promises."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from minidl.errors import StaleArrayError
from minidl.workspaces import workspace_manager

README = Path(__file__).parents[1] / "README.md"


def python_blocks():
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_training_example_runs(capsys):
    example = python_blocks()[0].replace("epochs=30", "epochs=2")
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["evaluation"].accuracy() > 0.8
    printed = capsys.readouterr().out
    assert "Total parameters: 7,510" in printed
    assert "x the liveness bound" in printed


def test_the_custom_layer_example_runs(capsys):
    exec(compile(python_blocks()[1], "README.md", "exec"), {"__name__": "readme"})
    assert "gradient of the input       right" in capsys.readouterr().out


def test_the_workspace_example_ends_with_the_promised_error():
    try:
        with pytest.raises(StaleArrayError, match=re.escape("Op [add] X argument uses leaked workspace pointer")):
            exec(compile(python_blocks()[2], "README.md", "exec"), {})
    finally:
        workspace_manager.destroy_all_workspaces_for_current_thread()


def test_the_example_with_images_runs():
    first, images = (python_blocks()[index] for index in (0, 3))
    names = {}
    exec(compile(first.replace("epochs=30", "epochs=1"), "README.md", "exec"), names)
    exec(compile(images.replace("epochs=20", "epochs=3"), "README.md", "exec"), names)
    assert names["lenet"].num_params() == 114760
    assert names["lenet"].evaluate(names["test"]).accuracy() > 0.93


def test_the_example_with_series_runs(capsys):
    first, series = (python_blocks()[index] for index in (0, 4))
    names = {}
    exec(compile(first.replace("epochs=30", "epochs=1"), "README.md", "exec"), names)
    exec(compile(series.replace("epochs=20", "epochs=6"), "README.md", "exec"), names)
    assert names["reader"].evaluate(names["test"]).accuracy() > 0.85
    np.testing.assert_allclose(names["guess"], names["reader"].output(names["digit"]), rtol=1e-5)
    guesses = re.findall(r"^\d [01]\.\d+$", capsys.readouterr().out, re.MULTILINE)
    assert len(guesses) == 8


def test_the_example_with_evaluations_runs():
    first, evaluations = (python_blocks()[index] for index in (0, 5))
    names = {}
    exec(compile(first.replace("epochs=30", "epochs=1"), "README.md", "exec"), names)
    exec(compile(evaluations, "README.md", "exec"), names)
    assert len(plt.gca().get_legend().get_texts()) == 10
    plt.close("all")
    assert names["calibration"].num_classes == 10


def test_the_main_program_trains_evaluates_and_reports():
    command = [sys.executable, "-m", "minidl", "--epochs", "12"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    accuracy = float(re.search(r"Accuracy: +([0-9.]+)", done.stdout)[1])
    assert accuracy >= 0.96
    assert len(re.findall(r"\d: [01]\.\d{4}", done.stdout)) == 10
    assert re.search(r"NONE \d+ us and [0-9,]+ bytes; ENABLED \d+ us and [0-9,]+ bytes", done.stdout)
    assert "Total:" in done.stdout
    assert "batch/s" in done.stderr


def test_the_main_program_refuses_no_epochs():
    command = [sys.executable, "-m", "minidl", "--epochs", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "--epochs 0: at least 1 is needed" in done.stderr
