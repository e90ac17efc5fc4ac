"""Draw the pictures of the documentation.

    python docs/make_pictures.py [--png FOLDER]

Writes docs/*.svg; with --png also a PNG of each into FOLDER, to look at. Needs the extra "plot".
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ShapeError
from minidl.layers import ConvolutionLayer, ConvolutionMode, DenseLayer, OutputLayer, SubsamplingLayer
from minidl.layers.windows import slide
from minidl.training import (
    Adam,
    CosineWarmupSchedule,
    CycleSchedule,
    ExponentialSchedule,
    FixedSchedule,
    InverseSchedule,
    MapSchedule,
    PolySchedule,
    RampSchedule,
    SigmoidSchedule,
    StepSchedule,
)

HERE = Path(__file__).parent
SCOPE, ATTACHED, DETACHED, STALE = "#e9eef5", "#3b6ea5", "#3f8f5f", "#b3403a"
INK, FRAME = "#1d2733", "#c3ccd8"
END = 12.0
FIRST, SECOND = (1.5, 5.5), (6.5, 10.5)  # two cycles of the inner workspace


def scope(axes, rows, start, end, name):
    """Shade an open scope over ``rows``, (top, bottom)."""
    top, bottom = rows
    axes.add_patch(plt.Rectangle((start, bottom), end - start, top - bottom, color=SCOPE, zorder=0))
    axes.text(start + 0.1, top - 0.27, name, family="monospace", fontsize=8.5, color="#5a6675")


def life(axes, row, start, end, name, color=ATTACHED):
    """Draw the time in which one array may be used: to the end of a scope, or for ever."""
    axes.plot([start, end], [row, row], color=color, linewidth=5, solid_capstyle="butt")
    axes.text(start, row + 0.17, name, family="monospace", fontsize=9, color=INK)
    if end < END:
        axes.plot([end], [row], marker="x", markersize=9, markeredgewidth=2.5, color=STALE)
    else:
        axes.annotate(
            "", (END + 0.45, row), (END - 0.05, row), arrowprops={"arrowstyle": "-|>", "color": color, "lw": 3}
        )


def what_survives_a_scope():
    figure, axes = plt.subplots(figsize=(9.6, 6.6))
    axes.set_xlim(-0.2, END + 0.6)
    axes.set_ylim(-3.2, 9.2)
    axes.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.01)

    axes.text(0, 8.85, "detached: an ordinary array", fontsize=10, weight="bold", color=DETACHED)
    life(axes, 8.0, 4.2, END, "kept = y.detach()   x.copy()   pickle", DETACHED)

    scope(axes, (7.3, 0.2), 0, 11.4, "with OUTER:")
    life(axes, 6.1, 0.5, 11.4, "total = OUTER.create(5)")
    life(axes, 5.2, 4.2, 11.4, "best = y.leverage()")
    scope(axes, (4.8, 0.4), *FIRST, "with INNER:  # cycle 1")
    scope(axes, (4.8, 0.4), *SECOND, "with INNER:  # cycle 2, the same bytes")
    for start, end in (FIRST, SECOND):
        axes.add_patch(plt.Rectangle((start, 0.4), end - start, 4.4, fill=False, edgecolor=FRAME, zorder=1))
        life(axes, 3.6, start + 0.4, end, "y = np.tanh(x @ w)")
        scope(axes, (3.0, 1.5), start + 0.7, start + 3.4, "with INNER.scratch():")
        axes.add_patch(plt.Rectangle((start + 0.7, 1.5), 2.7, 1.5, fill=False, edgecolor=FRAME, zorder=1))
        life(axes, 1.9, start + 1.0, start + 3.4, "t = y * 0.5")
        axes.text(start + 0.4, 0.75, "total += y.sum(0)", family="monospace", fontsize=9, color=INK)

    axes.text(
        0,
        -0.45,
        "circular workspace with room for two cycles: a third one overwrites the first",
        fontsize=10,
        weight="bold",
        color=ATTACHED,
    )
    for number, start in enumerate((0.5, 3.2, 5.9, 8.6)):
        row = -1.15 - 0.85 * (number % 2)
        life(axes, row, start, min(start + 5.1, END), f"batch {number + 1}")
    axes.text(
        0,
        -2.85,
        "A bar is the time in which an array may be used. After a red cross, touching it raises StaleArrayError.",
        fontsize=8.5,
        color=INK,
    )
    return figure


RATES = [
    FixedSchedule(0.1),
    MapSchedule("iteration", {0: 0.1, 30: 0.06, 60: 0.02}),
    StepSchedule("iteration", 0.1, 0.5, 20),
    ExponentialSchedule("iteration", 0.1, 0.96),
    InverseSchedule("iteration", 0.1, 0.1, 1.0),
    PolySchedule("iteration", 0.1, 2.0, 90),
    SigmoidSchedule("iteration", 0.1, -0.15, 50),
    RampSchedule(ExponentialSchedule("iteration", 0.1, 0.99), 25),
    CycleSchedule("iteration", 0.02, 0.1, 50, 10, 0.8),
    CosineWarmupSchedule("iteration", 0.1, 15, 90),
]


def schedules():
    figure, grid = plt.subplots(2, 5, figsize=(11.5, 4.2), sharex=True, sharey=True)
    for axes, schedule in zip(grid.flat, RATES, strict=True):
        axes.plot([schedule.value_at(i, 0) for i in range(101)], color=ATTACHED, linewidth=2)
        axes.set_title(type(schedule).__name__, fontsize=9.5, color=INK, family="monospace")
        axes.set_ylim(0, 0.115)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=SCOPE)
        axes.tick_params(labelsize=8, colors=INK)
    grid[1, 2].set_xlabel("iteration, or epoch", fontsize=9, color=INK)
    figure.supylabel("learning rate", fontsize=9, color=INK)
    figure.tight_layout()
    return figure


SIZE, KERNEL, STRIDE = 8, 3, 2
WINDOWS = [  # mode, padding, dilation
    (ConvolutionMode.TRUNCATE, 0, 1),
    (ConvolutionMode.TRUNCATE, 1, 1),
    (ConvolutionMode.STRICT, 0, 1),
    (ConvolutionMode.SAME, 0, 1),
    (ConvolutionMode.CAUSAL, 0, 1),
    (ConvolutionMode.SAME, 0, 2),
]


def cell(axes, place, top, text, **style):
    """Draw one element of the input, or of the padding."""
    axes.add_patch(plt.Rectangle((place, top - 0.8), 1, 0.8, linewidth=1, **style))
    axes.text(place + 0.5, top - 0.42, text, ha="center", va="center", fontsize=9, color=INK)


def look(axes, window, position, row):
    """Draw one position of a window: a line as far as it reaches, a dot for each element that it multiplies."""
    first = position * window.stride - window.before
    taps = [first + tap * window.dilation + 0.5 for tap in range(window.kernel)]
    axes.plot([first + 0.12, first + window.reach - 0.12], [row, row], color=ATTACHED, linewidth=2)
    axes.plot(taps, [row] * len(taps), "o", color=ATTACHED, markersize=5)


def what_a_window_sees():
    figure, axes = plt.subplots(figsize=(9.6, 7.0))
    axes.set_xlim(-7.2, 16.6)
    axes.set_ylim(-0.5, 2.15 * len(WINDOWS) + 0.75)
    axes.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.01)
    title = f"a window of {KERNEL} in steps of {STRIDE} over {SIZE} elements"
    axes.text(-7, 2.15 * len(WINDOWS) + 0.25, title, fontsize=10, weight="bold", color=INK)
    for number, (mode, padding, dilation) in enumerate(WINDOWS):
        top = 2.15 * (len(WINDOWS) - number) - 0.2
        axes.text(-7, top - 0.35, f'"{mode.value}"', family="monospace", fontsize=10, weight="bold", color=INK)
        axes.text(
            -7, top - 0.85, f"padding={padding}, dilation={dilation}", family="monospace", fontsize=8.5, color=INK
        )
        for place in range(SIZE):
            cell(axes, place, top, str(place), facecolor=SCOPE, edgecolor=FRAME)
        try:
            window = slide(SIZE, KERNEL, STRIDE, padding, dilation, mode)
        except ShapeError as error:
            reason = str(error).partition("but ")[2].partition(". ")[0]
            axes.text(0, top - 1.25, f"ShapeError: {reason}", fontsize=9, color=STALE)
            continue
        for place in (*range(-window.before, 0), *range(SIZE, SIZE + window.after)):
            cell(axes, place, top, "0", facecolor="white", edgecolor=STALE, linestyle="--")
        for position in range(window.positions):
            look(axes, window, position, top - 1.08 - 0.25 * (position % 2))
        axes.text(11, top - 0.45, f"{window.positions} positions", fontsize=9.5, color=INK)
        last = (window.positions - 1) * window.stride - window.before + window.reach
        if last < SIZE:
            axes.text(11, top - 0.95, f"{SIZE - last} element not seen", fontsize=9, color=STALE)
    axes.text(
        -7, -0.35, "Dashed: padding that a window sees. A dot: an element that it multiplies.", fontsize=8.5, color=INK
    )
    return figure


BATCH = 64
MEANING = {
    "WS_ALL_LAYERS_ACT": "activations, kept for the backward pass",
    "WS_LAYER_WORKING_MEM": "windows and scratch: the largest layer's",
    "WS_LAYER_ACT_1": "gradients by activations, and outputs in inference: every other layer",
    "WS_LAYER_ACT_2": "the same: the layers between",
    "WS_OUTPUT_MEM": "the last output, in evaluation",
}


def lenet():
    """Return LeNet for images of 28 x 28, with 20 and 50 maps of 5 x 5 and 500 hidden units."""
    configuration = NeuralNetConfiguration(seed=1, updater=Adam(1e-3)).list(
        ConvolutionLayer(n_out=20, kernel_size=5),
        SubsamplingLayer(),
        ConvolutionLayer(n_out=50, kernel_size=5),
        SubsamplingLayer(),
        DenseLayer(n_out=500, activation="relu"),
        OutputLayer(n_out=10),
        input_type=InputType.convolutional_flat(28, 28, 1),
    )
    return MultiLayerNetwork(configuration).init()


def memory_of_lenet():
    report = lenet().memory_report(BATCH)
    shades = dict(zip(MEANING, (ATTACHED, DETACHED, "#8aa9cc", "#b9cce0", INK), strict=True))
    figure, axes = plt.subplots(figsize=(9.6, 3.9))
    rows = list(range(len(MEANING) + 1, -1, -1))
    for row, (name, meaning) in zip(rows, MEANING.items(), strict=False):
        size = report.workspaces[name] / 1e6
        axes.barh(row, size, color=shades[name], height=0.62)
        amount = f"{size:.2f} MB" if size >= 0.01 else f"{1e3 * size:.1f} KB"
        axes.text(size + 0.1, row, f"{amount}: {meaning}", va="center", fontsize=9, color=INK)
    start = 0.0
    for name in MEANING:
        axes.barh(rows[-2], report.workspaces[name] / 1e6, left=start, color=shades[name], height=0.62)
        start += report.workspaces[name] / 1e6
    bound = report.liveness_bound / 1e6
    ratio = report.workspace_bytes / report.liveness_bound
    axes.text(start + 0.1, rows[-2], f"{start:.2f} MB, {ratio:.2f} x the bound", va="center", fontsize=9, color=INK)
    axes.barh(rows[-1], bound, color=STALE, height=0.62)
    axes.text(
        bound + 0.1,
        rows[-1],
        f"{bound:.2f} MB: no reuse of memory can do with less",
        va="center",
        fontsize=9,
        color=INK,
    )
    axes.plot([bound, bound], [rows[-1] - 0.31, rows[-2] + 0.4], color=STALE, linewidth=1, linestyle="--")
    axes.set_yticks(rows, [*MEANING, "all workspaces", "liveness bound"], family="monospace", fontsize=9, color=INK)
    axes.set_xlim(0, 1.25 * start)
    axes.set_xlabel(
        f"MB (million bytes): LeNet, 28 x 28 pixels, a training step with {BATCH} images", fontsize=9, color=INK
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8, colors=INK)
    figure.tight_layout()
    return figure


STEPS, FORWARD, BACK = 13, 5, 3  # of the series, of a piece, and those through which errors go back
GAP = 1.0  # between two pieces
LOSSES, CELLS, INPUTS = 3.2, 1.6, 0.25  # heights of the rows
HALF = 0.3  # of the width of a box
STATE = {"ha": "center", "va": "bottom", "fontsize": 8.5, "color": ATTACHED}
FORTH, BACKWARDS = CELLS + 0.13, CELLS - 0.13  # heights of what goes from step to step


def arrow(axes, start, end, color, width=1.6):
    style = {"arrowstyle": "-|>", "color": color, "lw": width, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)


def stop(axes, start, end):
    """Draw an error that goes no further than ``end``."""
    axes.plot(*zip(start, end, strict=True), color=STALE, linewidth=1.6)
    axes.plot(*end, marker="x", markersize=8, markeredgewidth=2.5, color=STALE)


def box(axes, place, row, text, color):
    patch = plt.Rectangle((place - HALF, row - 0.27), 2 * HALF, 0.54, facecolor="white", edgecolor=color, linewidth=1.5)
    axes.add_patch(patch)
    axes.text(place, row - 0.02, text, ha="center", va="center", fontsize=9, color=INK)


def step_of_a_piece(axes, step, place, distance):
    """Draw a time step, ``distance`` steps behind the first that errors reach, with its errors."""
    axes.text(place, INPUTS - 0.12, f"$x_{{{step}}}$", ha="center", va="center", fontsize=10, color=INK)
    arrow(axes, (place, INPUTS + 0.1), (place, CELLS - 0.27), ATTACHED)
    box(axes, place, CELLS, "h, c", ATTACHED)
    arrow(axes, (place - 0.12, CELLS + 0.27), (place - 0.12, LOSSES - 0.27), ATTACHED)
    box(axes, place, LOSSES, "loss", STALE)
    if distance < 0:
        stop(axes, (place + 0.12, LOSSES - 0.27), (place + 0.12, LOSSES - 0.72))
        return
    arrow(axes, (place + 0.12, LOSSES - 0.27), (place + 0.12, CELLS + 0.27), STALE)
    if distance == 0:
        stop(axes, (place - HALF, BACKWARDS), (place - 0.5, BACKWARDS))
    else:
        arrow(axes, (place - HALF, BACKWARDS), (place - 1 + HALF, BACKWARDS), STALE)


def piece_of_series(axes, number, place, length):
    """Draw a piece of ``length`` steps, whose first one stands at ``place``."""
    left, right = place - 0.55, place + length - 0.5
    axes.add_patch(plt.Rectangle((left, -0.25), right - left, 4.75, color=SCOPE, zorder=0))
    axes.text(left + 0.1, 4.15, f"piece {number + 1}", fontsize=9.5, weight="bold", color=INK)
    axes.text(left + 0.1, 3.77, f"one update: iteration {number}", fontsize=8.5, color=INK)
    for step in range(length):
        first = length - min(BACK, length)
        step_of_a_piece(axes, number * FORWARD + step + 1, place + step, step - first)
        if step:
            arrow(axes, (place + step - 1 + HALF, FORTH), (place + step - HALF, FORTH), ATTACHED)


def a_piece_carries_its_state():
    figure, axes = plt.subplots(figsize=(9.6, 4.4))
    axes.set_xlim(-3.25, 15.0)
    axes.set_ylim(-1.4, 5.2)
    axes.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.01)
    title = f"tbptt_fwd_length={FORWARD}, tbptt_back_length={BACK}, series of {STEPS} steps"
    axes.text(-3.2, 4.85, title, family="monospace", fontsize=10, weight="bold", color=INK)
    for row, name in ((LOSSES, "RnnOutputLayer"), (CELLS, "LSTM"), (INPUTS - 0.12, "features")):
        axes.text(-3.2, row, name, family="monospace", fontsize=9, va="center", color=INK)
    end = -1.0
    for number, start in enumerate(range(0, STEPS, FORWARD)):
        place = start + GAP * number
        arrow(axes, (end, FORTH), (place - HALF, FORTH), ATTACHED, 2.8)
        axes.text((end + place - HALF) / 2 - 0.1, FORTH + 0.12, "state" if start else "0", **STATE)
        length = min(FORWARD, STEPS - start)
        piece_of_series(axes, number, place, length)
        end = place + length - 1 + HALF
    forward = "Blue goes forward: a piece begins with the state that the piece before it ended with."
    back = "Red are errors: a cross is where they stop. A loss above one trains the output layer alone."
    axes.text(-3.2, -0.75, forward, fontsize=8.5, color=ATTACHED)
    axes.text(-3.2, -1.2, back, fontsize=8.5, color=STALE)
    return figure


def main():
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("--png", type=Path, help="a folder for PNG files, to look at")
    png = parser.parse_args().png
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "minidl", "font.family": "DejaVu Sans"})
    for draw in (what_survives_a_scope, schedules, what_a_window_sees, memory_of_lenet, a_piece_carries_its_state):
        figure = draw()
        figure.savefig(HERE / f"{draw.__name__}.svg", metadata={"Date": None})
        if png is not None:
            figure.savefig(png / f"{draw.__name__}.png", dpi=110)


if __name__ == "__main__":
    main()
