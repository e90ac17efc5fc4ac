"""The examples run, and print what they promise."""

import re
import runpy
import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from evaluations import CLASSES as EVALUATIONS

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration, layers
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
RECURRENT_PAGE = ROOT / "docs/recurrent.md"
LENET = ROOT / "examples/lenet.py"
CHARACTERS = ROOT / "examples/characters.py"
SEQUENCES = ROOT / "examples/sequences.py"
EVALUATION = ROOT / "examples/evaluation.py"


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
        if path.stem == "recurrent":
            check_names_of_the_page_of_recurrent_networks(names)
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


def check_names_of_the_page_of_recurrent_networks(names):
    batch = DataSet(names["bits"], names["echo"], labels_mask=names["known"])
    assert names["network"].evaluate(batch).accuracy() > 0.99
    assert names["chances"].shape == (64, 2, 17)
    assert names["report"].timesteps == 104
    assert {name: array.shape for name, array in names["state"].items()} == {"prev_act": (1, 20), "prev_mem": (1, 20)}
    assert [guess.shape for guess in names["guesses"]] == [(1, 2)] * 3


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


def test_the_pages_of_images_and_of_recurrent_networks_name_all_their_layers():
    text = "".join(page.read_text(encoding="utf-8") for page in (IMAGES_PAGE, RECURRENT_PAGE))
    of_vectors = {"DenseLayer", "DropoutLayer"}
    bases = {"Layer", "FeedForwardLayer", "InputPreProcessor", "RecurrentLayer", "WrapperLayer"}
    public = [name for name in layers.__all__ if isinstance(getattr(layers, name), type)]
    known = {name for name in public if issubclass(getattr(layers, name), layers.Layer | layers.InputPreProcessor)}
    assert not {name for name in known - of_vectors - bases if not re.search(rf"\b{name}\b", text)}


def recurrent_layers():
    return {
        "LSTM": layers.LSTM(n_out=4),
        "GravesLSTM": layers.GravesLSTM(n_out=4),
        "SimpleRnn": layers.SimpleRnn(n_out=4, has_layer_norm=True),
        "Bidirectional": layers.Bidirectional(layers.LSTM(n_out=4)),
    }


@pytest.mark.parametrize("name", recurrent_layers())
def test_the_page_of_recurrent_networks_has_the_parameters_of_a_layer_in_their_order(name):
    row = re.search(rf"^\| {name}\b.*$", RECURRENT_PAGE.read_text(encoding="utf-8"), re.MULTILINE)[0]
    told = row.rstrip(" |").split(" | ")[-1]
    configuration = NeuralNetConfiguration().list(
        recurrent_layers()[name], layers.RnnOutputLayer(n_out=2), input_type=InputType.recurrent(3)
    )
    names = [spec.name for spec in configuration.layers[0].param_specs(InputType.recurrent(3))]
    places = [re.search(rf"\b{parameter}\b", told).start() for parameter in names]
    assert places == sorted(places)


@pytest.mark.parametrize(("layer", "numbers"), [(layers.LSTM, 7), (layers.GravesLSTM, 7), (layers.SimpleRnn, 2)])
def test_the_page_of_recurrent_networks_tells_the_memory_of_a_step(layer, numbers):
    text = RECURRENT_PAGE.read_text(encoding="utf-8").replace("\n", " ")
    assert "an LSTM keeps 7 n_out numbers for each step of each example" in text
    assert "SimpleRnn 2 n_out" in text
    batch, n_out = 8, 20
    configuration = NeuralNetConfiguration().list(
        layer(n_out=n_out), layer(n_out=n_out), layers.RnnOutputLayer(n_out=2), input_type=InputType.recurrent(3)
    )
    network = MultiLayerNetwork(configuration).init()
    short, long = (
        network.memory_report(batch, timesteps=steps).layers[1].workspaces["WS_ALL_LAYERS_ACT"] for steps in (64, 128)
    )
    assert long - short == 4 * 64 * batch * numbers * n_out


def test_the_picture_of_truncated_backpropagation_shows_lengths_and_pieces():
    text = " ".join(ElementTree.parse(ROOT / "docs/a_piece_carries_its_state.svg").getroot().itertext())
    lengths = r"tbptt_fwd_length=(\d+), tbptt_back_length=(\d+), series of (\d+) steps"
    forward, back, steps = map(int, re.search(lengths, text).groups())
    assert back < forward
    pieces = -(-steps // forward)
    assert re.findall(r"piece (\d+)", text) == [str(number + 1) for number in range(pieces)]
    assert re.findall(r"iteration (\d+)", text) == [str(number) for number in range(pieces)]
    assert len(re.findall(r"h, c\s+loss", text)) == steps


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


def test_the_writer_writes():
    run = printed(CHARACTERS, "--epochs", "1", "--batches", "3", "--length", "300", "--temperature", "0.8")
    symbols, different = re.match(r"([\d,]+) symbols, (\d+) different ones", run).groups()
    assert int(symbols.replace(",", "")) > 100_000
    assert 30 < int(different) < 100
    loss = float(re.search(r"epoch 1, \d+ s, loss ([\d.]+) per symbol: ", run)[1])
    assert loss < np.log(int(different)) - 0.5
    assert re.search(r"words that are in the text: [01]\.\d{3}; where letters are drawn at random: 0\.0\d\d", run)
    assert re.search(r"time to write a symbol: \d+ us", run)
    assert "series of up to 52 steps" in run


def test_the_writer_allocates_no_arrays_while_it_writes():
    example, symbols = runpy.run_path(str(CHARACTERS)), "\n" + "".join(map(chr, range(0x4E00, 0x4E00 + 999)))
    network, rng = example["writer"](len(symbols), seed=1), np.random.default_rng(0)
    example["write"](network, symbols, 10, 1.0, rng)
    tracemalloc.start()
    try:
        example["write"](network, symbols, 10, 1.0, rng)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 4 * len(symbols) + 4000  # three arrays, and less than a fourth one


def test_the_writer_takes_prose_without_repetitions():
    text = runpy.run_path(str(CHARACTERS))["documentation"]()
    paragraphs = text.split("\n")
    assert len(set(paragraphs)) > 0.99 * len(paragraphs)
    assert "The" in text
    assert not {"=", ">"} & set(text)
    assert min(Counter(text).values()) >= 50


@pytest.mark.parametrize("arguments", [("--epochs", "0"), ("--batches", "-1"), ("--temperature", "0")])
def test_the_writer_says_what_is_wrong(arguments):
    run = ran(CHARACTERS, *arguments)
    assert run.returncode == 2
    assert run.stdout == ""
    assert "all options must be above 0" in run.stderr


def test_kinds_of_characters_are_told_by_their_names():
    run = printed(SEQUENCES, "--epochs", "2", "--names", "200", "greek small letter alpha")
    accuracy, one_for_all = (
        float(re.search(rf"{what}:? +([\d.]+)$", run, re.MULTILINE)[1])
        for what in ("epoch 2: accuracy [0-9.]+, of names never seen", "One kind for all names, the best")
    )
    assert accuracy > one_for_all + 0.2
    assert "EmbeddingSequenceLayer  (batch, 1, time)   (batch, 24, time)" in run
    assert "= other sign" in run
    assert re.search(r"^GREEK SMALL LETTER ALPHA: (letter|mark|number|punctuation|mathematics|other sign)$", run, re.M)


def test_names_are_filled_up_and_masked():
    example = runpy.run_path(str(SEQUENCES))
    pairs = example["names_and_kinds"](30, np.random.default_rng(0))
    assert sorted(kind for _, kind in pairs) == sorted(list(range(6)) * 30)
    batches = example["batches_of"](pairs)
    assert sum(len(batch) for batch in batches) == len(pairs)
    for batch in batches:
        assert batch.features.shape[2] == batch.features_mask.sum(axis=1).max()
        assert not batch.features[:, 0][batch.features_mask == 0].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--epochs", "0"), "--epochs must be at least 1, --names from 10 to 800"),
        (("--names", "9"), "--epochs must be at least 1, --names from 10 to 800"),
        (("café",), "a name has letters from A to Z, spaces and hyphens only"),
    ],
)
def test_the_reader_of_names_says_what_is_wrong(arguments, message):
    run = ran(SEQUENCES, *arguments)
    assert run.returncode == 2
    assert run.stdout == ""
    assert message in run.stderr


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


def test_the_example_of_evaluation_writes_its_picture(tmp_path):
    picture = tmp_path / "all.svg"
    text = printed(EVALUATION, "--epochs", "1", "--picture", picture)
    assert re.search(r"^ Top 2 Accuracy:  0\.\d{4}$", text, re.MULTILINE)
    assert len(re.findall(r"^\d: probabilities are off by 0\.\d{3} on average$", text, re.MULTILINE)) == 10
    assert text.endswith(f"wrote {picture}\n")
    assert "Confusion matrix" in " ".join(ElementTree.parse(picture).getroot().itertext())


def test_the_picture_of_evaluation_is_what_the_page_says():
    text = text_of("evaluation.svg")
    for name in ("Confusion matrix", "ROC", "Precision and recall", "Reliability", "AUC 0.", "AUPRC 0."):
        assert name in text
    drawn = (ROOT / "docs/evaluation.svg").read_text(encoding="utf-8")
    assert "<dc:date>" not in drawn


def test_the_page_of_evaluation_names_what_exists():
    text = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    methods = [name for name in dir(MultiLayerNetwork) if name.startswith(("evaluate", "do_evaluation"))]
    plots = [method for cls in EVALUATIONS for method in dir(cls) if method.startswith("plot")]
    assert not [name for name in (*(cls.__name__ for cls in EVALUATIONS), *methods, *plots) if name not in text]
