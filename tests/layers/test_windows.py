"""Where windows stand: the arithmetic against an enumeration of what every window looks at."""

import re

import pytest
import reference
from hypothesis import assume, example, given
from hypothesis import strategies as st

from minidl.errors import ShapeError
from minidl.layers.windows import ConvolutionMode, Window2D, slide

MODES = [mode.value for mode in ConvolutionMode]
OPTIONS = dict(
    size=st.integers(1, 12),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 5),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 4),
    mode=st.sampled_from(MODES),
)
PADS_BY_ITSELF = dict(mode=st.sampled_from(["same", "causal"]))
PADDING_ONLY = dict(size=5, kernel=1, stride=1, padding=2, dilation=1, mode="truncate")
BETWEEN_TAPS = dict(size=1, kernel=2, stride=1, padding=2, dilation=3, mode="truncate")  # a window around the axis


def both(options):
    """Return the window that minidl makes of these options, and the elements that each of its positions looks at."""
    try:
        seen = reference.windows(**options)
    except reference.DoesNotFitError:
        assume(False)
    return slide(**options | {"mode": ConvolutionMode(options["mode"])}), seen


@given(**OPTIONS)
def test_a_window_stands_where_the_enumeration_says(**options):
    window, seen = both(options)
    assert window.positions == len(seen)
    assert -window.before == min(0, seen[0][0])
    assert window.after == max(0, seen[-1][-1] - (options["size"] - 1))
    assert window.reach == seen[0][-1] - seen[0][0] + 1
    assert (window.size, window.kernel, window.stride, window.dilation) == tuple(
        options[name] for name in ("size", "kernel", "stride", "dilation")
    )


@given(**OPTIONS)
def test_what_does_not_fit_raises_and_nothing_else(**options):
    try:
        reference.windows(**options)
    except reference.DoesNotFitError:
        with pytest.raises(ShapeError, match=r"is larger than the padded size|is no whole number"):
            slide(**options | {"mode": ConvolutionMode(options["mode"])})
    else:
        slide(**options | {"mode": ConvolutionMode(options["mode"])})


@example(**PADDING_ONLY)
@example(**BETWEEN_TAPS)
@given(**OPTIONS)
def test_taps_are_where_each_element_of_the_kernel_falls_on_the_input(**options):
    window, seen = both(options)
    size, by_tap = options["size"], []
    for tap in range(options["kernel"]):
        pairs = [(position, taps[tap]) for position, taps in enumerate(seen) if 0 <= taps[tap] < size]
        by_tap += [pairs] if pairs else []
    found = list(window.taps())
    assert [
        list(zip(range(window.positions)[positions], range(size)[inputs], strict=True)) for positions, inputs in found
    ] == by_tap
    for positions, inputs in found:  # not just where a slice is cut off at the end
        assert 0 <= positions.start < positions.stop <= window.positions
        assert 0 <= inputs.start < inputs.stop <= size


@example(**PADDING_ONLY, start=0, length=1)
@example(**PADDING_ONLY, start=0, length=2)
@example(**PADDING_ONLY, start=7, length=2)
@example(**BETWEEN_TAPS, start=0, length=1)
@given(**OPTIONS, start=st.integers(0, 11), length=st.integers(1, 12))
def test_a_run_of_positions_sees_these_inputs_at_these_places(start, length, **options):
    window, seen = both(options)
    run = seen[start : start + length]
    assume(run)
    extent = list(range(run[0][0], run[-1][-1] + 1))  # with gaps between windows and between taps
    assert window.seen_extent(len(run)) == len(extent)
    inputs, places = window.seen_by(slice(start, start + len(run)))
    on_the_input = [element for element in extent if 0 <= element < options["size"]]
    assert list(range(options["size"]))[inputs] == on_the_input
    assert extent[places] == on_the_input


@given(**OPTIONS)
def test_is_padded_says_whether_a_window_looks_at_padding(**options):
    window, seen = both(options)
    assert window.is_padded == any(not 0 <= element < options["size"] for taps in seen for element in taps)


@given(**OPTIONS)
def test_a_partition_sees_every_element_once_and_no_padding(**options):
    window, seen = both(options)
    if window.is_partition:
        assert [element for taps in seen for element in taps] == list(range(options["size"]))


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("mode", MODES)
def test_windows_side_by_side_are_a_partition(kernel, mode):
    window = slide(3 * kernel, kernel, kernel, 0, 1, ConvolutionMode(mode))
    is_shifted = mode == "causal" and kernel > 1
    assert window.is_partition == (not is_shifted)
    assert slide(3 * kernel + 1, kernel, kernel, 0, 1, ConvolutionMode.TRUNCATE).is_partition == (kernel == 1)


@given(**OPTIONS | PADS_BY_ITSELF)
def test_padding_is_ignored_where_the_mode_pads_by_itself(**options):
    mode = ConvolutionMode(options["mode"])
    assert slide(**options | {"mode": mode}) == slide(**options | {"mode": mode, "padding": 0})


@given(**OPTIONS | PADS_BY_ITSELF)
def test_same_and_causal_have_a_position_for_every_stride(**options):
    window, seen = both(options)
    assert window.positions == len(range(0, options["size"], options["stride"]))
    if options["mode"] == "same":
        assert 0 <= window.after - window.before <= 1
    else:  # a position ends where its stride begins, so that it sees nothing that comes later
        assert [taps[-1] for taps in seen] == list(range(0, options["size"], options["stride"]))


def test_a_window_over_images_is_one_along_each_axis():
    rows = slide(9, 3, 2, 0, 1, ConvolutionMode.TRUNCATE)
    columns = slide(8, 2, 2, 0, 1, ConvolutionMode.TRUNCATE)
    padded = slide(8, 2, 2, 1, 1, ConvolutionMode.TRUNCATE)
    window = Window2D(rows, columns)
    assert (window.taps, window.positions) == (6, 16)
    assert not window.is_padded
    assert not window.is_partition
    assert Window2D(columns, columns).is_partition
    for either in (Window2D(columns, padded), Window2D(padded, columns)):
        assert either.is_padded
        assert not either.is_partition
    assert not Window2D(columns, rows).is_partition


# Whole sentences


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (4, 3, 2, 0, 2, ConvolutionMode.TRUNCATE, "height"),
            "height=4, kernel=3, stride=2, padding=0, dilation=2: the window of 2 x (3 - 1) + 1 = 5 is larger than the "
            "padded height, 4 + 2 x 0 = 4. Use a smaller kernel or dilation, more padding, or "
            'convolution_mode="same".',
        ),
        (
            (3, 6, 1, 1, 1, ConvolutionMode.STRICT),
            "size=3, kernel=6, stride=1, padding=1, dilation=1: the window of 1 x (6 - 1) + 1 = 6 is larger than the "
            "padded size, 3 + 2 x 1 = 5. Use a smaller kernel or dilation, more padding, or "
            'convolution_mode="same".',
        ),
        (
            (8, 3, 2, 1, 1, ConvolutionMode.STRICT, "width"),
            'width=8, kernel=3, stride=2, padding=1, dilation=1: convolution_mode="strict", but (8 + 2 x 1 - 3) / 2 + '
            "1 = 4.5 is no whole number. Change the width, kernel, stride or padding, or use convolution_mode="
            '"truncate" (4 positions, the rest is dropped) or "same".',
        ),
        (
            (11, 2, 3, 0, 3, ConvolutionMode.STRICT, "timesteps"),
            'timesteps=11, kernel=2, stride=3, padding=0, dilation=3: convolution_mode="strict", but (11 + 2 x 0 - 4) '
            "/ 3 + 1 = 3.333 is no whole number. Change the timesteps, kernel, stride or padding, or use "
            'convolution_mode="truncate" (3 positions, the rest is dropped) or "same".',
        ),
    ],
)
def test_errors_show_the_arithmetic(arguments, message):
    for _ in range(2):  # the second time as well, although results are remembered
        with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
            slide(*arguments)
