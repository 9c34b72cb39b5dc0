"""How far a kernel's output may reach into an input that it consumes: derived from the order of its reads and writes.

A kernel is described as a sequence of steps; a step first reads, then writes. Once step t is done, output bytes below
`written(t)` may have been stored and input bytes from `needed(t)` on will still be read. With the output D bytes before
the input, byte b of the output lies on byte b - D of the input, so that nothing that is still needed is overwritten if
D >= written(t) - needed(t) for every t. The largest of these differences is the `distance` of `Overlap`.

What counts is the order in which the kernel's C or assembly really works: a kernel that reads a row again for every
block of channels has a step for each block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.compiled.layer import Layer, Overlap

Indices = npt.NDArray[np.int64]


def distance(read: npt.ArrayLike, written: npt.ArrayLike, input_bytes: int) -> int:
    """The distance of a kernel whose step t reads input bytes from `read[t]` on, then writes output below `written[t]`.

    Both are byte offsets, (steps,); a step that reads nothing has `read` = input_bytes, one that writes nothing has
    `written` = 0. A kernel that has read everything before it writes has the distance -input_bytes: its output may lie
    anywhere.
    """
    starts, ends = np.asarray(read, np.int64).reshape(-1), np.asarray(written, np.int64).reshape(-1)
    if starts.shape != ends.shape:
        raise ValueError(f"{starts.size} steps read and {ends.size} write; expected one of each a step")
    done = np.maximum.accumulate(ends)[:-1]
    needed = np.minimum.accumulate(starts[::-1])[::-1][1:]
    # A step that stores nothing yet harms nothing, and input that is not read again may be overwritten.
    matters = (done > 0) & (needed < input_bytes)
    return int(max((done - needed)[matters].max(initial=-input_bytes), -input_bytes))


def rows(count: int, input_row: int, output_row: int, *, block: int = 1, store: int | None = None) -> int:
    """The distance of a kernel that turns each of `count` rows into one of the output, `block` rows at a time.

    Rows are bytes. Without `store` a block's rows are all read (copied, or summed up in registers) before the first
    byte of its output is written. With `store` the kernel reads the block's rows again after each `store` bytes of
    every output row, as a matrix product does that works off its channels one after the other. A last block of fewer
    rows is worked off likewise.
    """
    first = np.arange(0, count, block, dtype=np.int64)
    end = np.minimum(first + block, count)
    if store is None or store >= output_row:
        return distance(first * input_row, end * output_row, count * input_row)
    columns = np.minimum(np.arange(store, output_row + store, store, dtype=np.int64), output_row)
    read = np.repeat(first * input_row, len(columns))
    written = ((end - 1) * output_row)[:, None] + columns
    return distance(read, written.reshape(-1), count * input_row)


def pixels(window: Mapping[str, Any], channels: int) -> Indices:
    """Where each output pixel's window begins: the lowest input element it reads, (batches * height * width,).

    `window` is `Window.params`, `channels` the input's. Elements outside of the image are not read; a window that lies
    outside altogether begins at the input's end.
    """
    height, width = window["input_height"], window["input_width"]
    total = window["batches"] * height * width
    y = _first_tap(
        window["output_height"],
        window["stride_height"],
        window["dilation_height"],
        window["pad_top"],
        window["height"],
        height,
    )
    x = _first_tap(
        window["output_width"],
        window["stride_width"],
        window["dilation_width"],
        window["pad_left"],
        window["width"],
        width,
    )
    image = np.where((y < 0)[:, None] | (x < 0), total, y[:, None] * width + x)
    batches = np.arange(window["batches"], dtype=np.int64) * (height * width)
    begin: Indices = np.minimum(batches[:, None, None] + image, total).reshape(-1) * channels
    return begin


def _first_tap(outputs: int, stride: int, dilation: int, pad: int, size: int, length: int) -> Indices:
    """The first place within [0, length) that each output's taps touch, -1 where none does: (outputs,)."""
    taps = (np.arange(outputs, dtype=np.int64) * stride - pad)[:, None] + np.arange(size, dtype=np.int64) * dilation
    inside = (taps >= 0) & (taps < length)
    first = np.where(inside, taps, length).min(axis=1, initial=length)
    return np.where(first < length, first, -1)


def windowed(
    window: Mapping[str, Any],
    input_pixel: int,
    output_pixel: int,
    *,
    block: int = 1,
    lines: bool = False,
    store: int | None = None,
) -> int:
    """The distance of a kernel that slides a window over an image, pixel by pixel in the output's order.

    Pixels are bytes of all their channels. The windows of `block` neighbouring pixels are read before the first byte
    of their output is written; blocks start anew with every image, and with `lines` on every line. `store` says that an
    output pixel's bytes are worked off in groups of that many, each reading its own bytes of the window and storing its
    output before the next group is read (depthwise convolution, pooling); then `block` is 1, and m output bytes are
    made from each input byte of a pixel.
    """
    begin = pixels(window, input_pixel)
    total = window["batches"] * window["input_height"] * window["input_width"] * input_pixel
    end = np.arange(1, len(begin) + 1, dtype=np.int64) * output_pixel
    if store is None:
        run = window["output_width"] * (1 if lines else window["output_height"])
        at = np.arange(len(begin))
        edges = at[at % run % block == 0]
        last = np.append(edges[1:], len(begin)) - 1
        return distance(np.minimum.reduceat(begin, edges), end[last], total)
    if block != 1 or output_pixel % input_pixel:
        raise ValueError("groups of channels need one pixel at a time and a multiple of the channels in")
    groups = np.arange(0, output_pixel, store, dtype=np.int64)
    read = np.where((begin < total)[:, None], begin[:, None] + groups // (output_pixel // input_pixel), total)
    written = (end - output_pixel)[:, None] + np.minimum(groups + store, output_pixel)
    return distance(read.reshape(-1), written.reshape(-1), total)


def elements(shape: Sequence[int], strides: Sequence[int], size: int) -> int:
    """The distance of a kernel that makes one output byte after the other, each of one input byte.

    `strides` are elements of the input from one index of the output to the next, of an input of `size` bytes.
    """
    grid = np.indices(tuple(shape), np.int64).reshape(len(shape), -1)
    read = (np.asarray(strides, np.int64)[:, None] * grid).sum(axis=0)
    return distance(read, np.arange(1, len(read) + 1), size)


def copies(read: npt.ArrayLike, written: npt.ArrayLike, input_bytes: int) -> int:
    """The distance of a kernel that copies by memcpy: as `distance`, and no copy overlaps what it reads.

    A step that copies nothing between these two tensors has `read` = input_bytes.
    """
    starts, ends = np.asarray(read, np.int64).reshape(-1), np.asarray(written, np.int64).reshape(-1)
    own = (ends - starts)[starts < input_bytes]
    return max(distance(starts, ends, input_bytes), int(own.max(initial=-input_bytes)))


def overlapping(layer: Layer, distance: int, input: int = 0, output: int = 0, *, step: int = 1) -> Layer:
    """The layer with the statement that output number `output` may reach into input number `input`.

    See `Overlap` for `distance` and `step`; one that says nothing does no harm.
    """
    stated = Overlap(layer.inputs[input], layer.outputs[output], distance, step)
    return replace(layer, overlaps=(*layer.overlaps, stated))
