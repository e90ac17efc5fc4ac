"""Draw the pictures of the documentation.

    python docs/make_pictures.py [--png FOLDER]

Writes docs/*.svg; with --png also a PNG of each into FOLDER, to look at. Needs the extra "plot".
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from minidl.training import (
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


def main():
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("--png", type=Path, help="a folder for PNG files, to look at")
    png = parser.parse_args().png
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "minidl", "font.family": "DejaVu Sans"})
    for draw in (what_survives_a_scope, schedules):
        figure = draw()
        figure.savefig(HERE / f"{draw.__name__}.svg", metadata={"Date": None})
        if png is not None:
            figure.savefig(png / f"{draw.__name__}.png", dpi=110)


if __name__ == "__main__":
    main()
