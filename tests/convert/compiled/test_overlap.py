"""The distances of overlapping outputs, against kernels played through byte by byte."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.compiled import overlap

Step = tuple[set[int], set[int]]  # bytes of the input that are read, then bytes of the output that are written


def safe(steps: list[Step], back: int) -> bool:
    """Whether no byte is read after it was overwritten, with the output `back` bytes before the input."""
    spoilt: set[int] = set()
    for read, written in steps:
        if read & spoilt:
            return False
        spoilt |= {b - back for b in written}
    return True


def check(steps: list[Step], input_bytes: int, output_bytes: int, found: int) -> None:
    """Safe from the distance on, and not one byte less where one byte less is an overlap at all."""
    assert -input_bytes <= found <= output_bytes
    assert all(safe(steps, back) for back in range(found, output_bytes + 1))
    if found > -input_bytes:
        assert not safe(steps, found - 1)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.none() | st.integers(1, 3))
def test_rows(count: int, input_row: int, output_row: int, block: int, store: int | None) -> None:
    steps: list[Step] = []
    for first in range(0, count, block):
        here = range(first, min(first + block, count))
        width = store or output_row
        for c in range(0, output_row, width):
            columns = range(c, min(c + width, output_row))
            steps.append(
                (
                    {r * input_row + i for r in here for i in range(input_row)},
                    {r * output_row + i for r in here for i in columns},
                )
            )
    found = overlap.rows(count, input_row, output_row, block=block, store=store)
    check(steps, count * input_row, count * output_row, found)


sizes = st.tuples(*[st.integers(1, 3)] * 2)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, int]:
    window = {"batches": draw(st.integers(1, 2))}
    for axis, pad in (("height", "pad_top"), ("width", "pad_left")):
        length, size = draw(st.integers(1, 5)), draw(st.integers(1, 3))
        stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        extent = (size - 1) * dilation + 1
        same = extent > length or draw(st.booleans())
        count = -(-length // stride) if same else (length - extent) // stride + 1
        window |= {
            f"input_{axis}": length,
            f"output_{axis}": count,
            axis: size,
            f"stride_{axis}": stride,
            f"dilation_{axis}": dilation,
            pad: max((count - 1) * stride + extent - length, 0) // 2,
        }
    return window


def taps(w: dict[str, int], n: int, y: int, x: int) -> Iterator[int]:
    """Pixels of the input that an output pixel's window covers."""
    for i, j in itertools.product(range(w["height"]), range(w["width"])):
        row = y * w["stride_height"] - w["pad_top"] + i * w["dilation_height"]
        column = x * w["stride_width"] - w["pad_left"] + j * w["dilation_width"]
        if 0 <= row < w["input_height"] and 0 <= column < w["input_width"]:
            yield (n * w["input_height"] + row) * w["input_width"] + column


def whole(w: dict[str, int], kind: str) -> int:
    return w["batches"] * w[f"{kind}_height"] * w[f"{kind}_width"]


@settings(derandomize=True, max_examples=150, deadline=None)
@given(windows(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_windows(w: dict[str, int], channels: int, outputs: int, block: int, lines: bool) -> None:
    steps: list[Step] = []
    at = 0
    for n, y in itertools.product(range(w["batches"]), range(w["output_height"])):
        for x in range(w["output_width"]):
            read = {t * channels + c for t in taps(w, n, y, x) for c in range(channels)}
            written = {at * outputs + c for c in range(outputs)}
            place = x if lines else y * w["output_width"] + x
            if place % block:
                steps[-1] = (steps[-1][0] | read, steps[-1][1] | written)
            else:
                steps.append((read, written))
            at += 1
    found = overlap.windowed(w, channels, outputs, block=block, lines=lines)
    check(steps, whole(w, "input") * channels, at * outputs, found)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(windows(), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
def test_windows_by_groups_of_channels(w: dict[str, int], channels: int, multiplier: int, store: int) -> None:
    steps: list[Step] = []
    at, outputs = 0, channels * multiplier
    for n, y, x in itertools.product(range(w["batches"]), range(w["output_height"]), range(w["output_width"])):
        for c in range(0, outputs, store):
            group = range(c, min(c + store, outputs))
            read = {t * channels + i // multiplier for t in taps(w, n, y, x) for i in group}
            steps.append((read, {at + i for i in group}))
        at += outputs
    check(steps, whole(w, "input") * channels, at, overlap.windowed(w, channels, outputs, store=store))


def test_known_distances() -> None:
    assert overlap.rows(100, 8, 8) == 0
    assert overlap.rows(10, 8, 16) == 9 * 8
    assert overlap.rows(1, 640, 128) == -640
    assert overlap.rows(1, 640, 128, store=4) == 124
    same = dict(batches=1, input_height=6, input_width=5, output_height=6, output_width=5, height=3, width=3)
    same |= dict(stride_height=1, stride_width=1, dilation_height=1, dilation_width=1, pad_top=1, pad_left=1)
    assert overlap.windowed(same, 4, 4) == (5 + 1) * 4


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="2 steps read and 1 write"):
        overlap.distance(np.array([0, 1]), np.array([1]), 2)
    same = dict(batches=1, input_height=6, input_width=5, output_height=6, output_width=5, height=3, width=3)
    same |= dict(stride_height=1, stride_width=1, dilation_height=1, dilation_width=1, pad_top=1, pad_left=1)
    with pytest.raises(ValueError, match="groups of channels"):
        overlap.windowed(same, 4, 6, store=2)
