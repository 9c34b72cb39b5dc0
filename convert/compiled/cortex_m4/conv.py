"""Convolutions on the Cortex-M4: windows of three output pixels are widened and multiplied as 1x1 convolutions are.

See matmul.py; the windows are gathered by firmware/lib/kernels/src/cortex_m4/conv.c.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from convert.compiled import overlap
from convert.compiled.cortex_m4 import matmul
from convert.compiled.cortex_m4 import stage as stages
from convert.compiled.layer import Layer, Value


def merged(window: Mapping[str, Value], channels: int) -> tuple[dict[str, Value], int]:
    """The same convolution with as few and as long contiguous rows a window as can be: window and input channels.

    Windows as wide as the image make a line one pixel, and an image of one column is one line.
    """
    w = {name: stages.number(window, name) for name in window}
    if w["width"] == w["input_width"] and w["output_width"] == 1 and w["pad_left"] == 0 and w["dilation_width"] == 1:
        channels *= w["width"]
        w.update(width=1, input_width=1, stride_width=1)
    if w["width"] == w["input_width"] == w["output_width"] == 1 and w["pad_left"] == 0:
        for name in ("input", "output", "stride", "dilation"):
            w[f"{name}_width"], w[f"{name}_height"] = w[f"{name}_height"], 1
        w["width"], w["height"] = w["height"], 1
        w["pad_left"], w["pad_top"] = w["pad_top"], 0
    return dict(w), channels


def inside(outputs: int, stride: int, pad: int, extent: int, length: int) -> tuple[int, int]:
    """The first output in one direction whose window lies inside of the input, and how many there are."""
    places = np.arange(outputs) * stride - pad
    found = np.flatnonzero((places >= 0) & (places + extent <= length))
    return (int(found[0]), len(found)) if len(found) else (0, 0)


def _regions(w: Mapping[str, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """First line and lines, first column and columns of the outputs that the kernel does not copy windows for."""
    found = []
    for one, pad in (("height", "pad_top"), ("width", "pad_left")):
        extent = (w[one] - 1) * w[f"dilation_{one}"] + 1
        found.append(inside(w[f"output_{one}"], w[f"stride_{one}"], w[pad], extent, w[f"input_{one}"]))
    return found[0], (found[1] if w["dilation_width"] == 1 or w["width"] == 1 else (0, 0))


def _scratch(rows: int, row: int, copying: bool) -> tuple[int, int]:
    """Where the copied windows begin in scratch, and scratch bytes.

    Rows of whole words are read one word of each pixel at a time, after which 24 bytes of the tile are written: the
    tile, at 6 bytes an input, does not reach what is still to be read of the copies, 3 bytes an input, if these begin
    3 * depth + 2 * row bytes after it (5 * row - 20 less the last row's three). Bytes beside whole words are read last.
    """
    depth = rows * row
    tile = 8 * matmul.PIXELS * matmul.blocks_of(depth)
    if not copying:
        return 0, tile
    copies = tile if row % 4 else 3 * depth + 2 * row
    return copies, -(-(copies + 3 * depth) // 4) * 4


def _distance(w: Mapping[str, int], input_channels: int, output_channels: int) -> int:
    """See `Overlap`: three windows are read before their outputs are written, whatever line they lie in."""
    begin = overlap.pixels(w, input_channels)
    total = w["batches"] * w["input_height"] * w["input_width"] * input_channels
    edges = np.arange(0, len(begin), matmul.PIXELS)
    ends = np.minimum(edges + matmul.PIXELS, len(begin)) * output_channels
    return overlap.distance(np.minimum.reduceat(begin, edges), ends, total)


def _row(rows: int, row: int, channels: int) -> tuple[int, int]:
    """How a window's rows are widened: words and bytes beside them, or one more word with weights of 0.

    A byte beside words takes 10 instructions a tile and its row 17 more; a block more takes 17 for every two output
    channels.
    """
    words, rest = divmod(row, 4)
    more = rows * (words + 1) - matmul.blocks_of(rows * row)
    if rest and more * 17 * -(-channels // 2) <= rows * (17 + 10 * rest - 12):
        return words + 1, 0
    return words, rest


def _whole_reads(w: Mapping[str, int], channels: int, over: int, columns: tuple[int, int], lines: int) -> int:
    """How many of the inner columns of outputs may read `over` bytes past their windows' rows within the image."""
    first, count = columns
    bottom = (lines - 1) * w["stride_height"] - w["pad_top"] + (w["height"] - 1) * w["dilation_height"]
    while lines and count:
        right = (first + count - 1) * w["stride_width"] - w["pad_left"] + (w["width"] - 1) * w["dilation_width"] + 1
        if (bottom * w["input_width"] + right) * channels + over <= w["input_height"] * w["input_width"] * channels:
            break
        count -= 1
    return count


Geometry: TypeAlias = dict[str, Value]


def _direct(w: Mapping[str, int], channels: int, output_channels: int, stored: int) -> tuple[Geometry, int, int]:
    """Windows are read from the input, those at its border copied first: parameters, scratch bytes, distance."""
    (first_line, lines), (first_column, columns) = _regions(w)
    over = stored - w["width"] * channels
    columns = _whole_reads(w, channels, over, (first_column, columns), first_line + lines)
    copying = lines < w["output_height"] or columns < w["output_width"]
    copies, scratch = _scratch(w["height"], stored, copying)
    geometry: Geometry = {
        "window": dict(w),
        "first_line": first_line,
        "lines": lines,
        "first_column": first_column,
        "columns": columns,
        "copies": copies,
        "padded": 0,
        "image": {"at": 0, "lines": 0, "line": 0, "pitch": 0},
    }
    return geometry, scratch, _distance(w, channels, output_channels)


def _padded(w: Mapping[str, int], channels: int, stored: int) -> tuple[Geometry, int, int] | None:
    """The image is copied into a padded one first, if that spares copies of windows: as `_direct`, or None."""
    (_, lines), (_, columns) = _regions(w)
    inner = lines == w["output_height"] and columns == w["output_width"]
    if inner or w["batches"] > 1 or (w["dilation_width"] > 1 and w["width"] > 1):
        return None
    size, shown = {}, {}
    for one, pad in (("height", "pad_top"), ("width", "pad_left")):
        extent = (w[one] - 1) * w[f"dilation_{one}"] + 1
        size[one] = (w[f"output_{one}"] - 1) * w[f"stride_{one}"] + extent
        shown[one] = min(w[f"input_{one}"], size[one] - w[pad])
    tile = 8 * matmul.PIXELS * matmul.blocks_of(w["height"] * stored)
    window = {**w, "input_height": size["height"], "input_width": size["width"], "pad_top": 0, "pad_left": 0}
    geometry: Geometry = {
        "window": window,
        "first_line": 0,
        "lines": w["output_height"],
        "first_column": 0,
        "columns": w["output_width"],
        "copies": 0,
        "padded": tile,
        "image": {
            "at": (w["pad_top"] * size["width"] + w["pad_left"]) * channels,
            "lines": shown["height"],
            "line": shown["width"] * channels,
            "pitch": w["input_width"] * channels,
        },
    }
    over = stored - w["width"] * channels
    scratch = tile + -(-(size["height"] * size["width"] * channels + over) // 4) * 4
    return geometry, scratch, -w["input_height"] * w["input_width"] * channels


def candidates(layer: Layer) -> Sequence[Layer]:
    """A kernels_conv_s8 layer without groups, three output pixels at a time, with and without a padded image."""
    p = layer.params
    if stages.number(p, "groups") != 1:
        return []
    kernel, stage = stages.array(p, "weights"), stages.nested(p, "stage")
    weights = kernel.reshape(len(kernel), -1)
    window, channels = merged(stages.nested(p, "window"), stages.number(p, "input_channels"))
    w = {name: stages.number(window, name) for name in window}
    rows, row = w["height"], w["width"] * channels
    words, rest = _row(rows, row, len(weights))
    stored = 4 * words + rest
    filled = np.pad(weights.reshape(-1, rows, row), ((0, 0), (0, 0), (0, stored - row))).reshape(len(weights), -1)
    order = matmul.tile_order(rows, stored)
    pixels = w["batches"] * w["output_height"] * w["output_width"]
    found = []
    for way in (_direct(w, channels, len(weights), stored), _padded(w, channels, stored)):
        for kind, laid in matmul.streams(filled[:, order], stage, pixels) if way else []:
            assert way is not None
            geometry, scratch, distance = way
            params: dict[str, Value] = {
                "window": geometry["window"],
                "input_channels": channels,
                "output_channels": len(weights),
                "input_zero_point": stages.number(p, "input_zero_point"),
                "minimum": stages.number(stage, "minimum"),
                "maximum": stages.number(stage, "maximum"),
                "words": words,
                "rest": rest,
                **{name: value for name, value in geometry.items() if name != "window"},
                "weights": laid,
            }
            made = replace(
                layer,
                kernel=f"kernels_m4_conv{kind}_s8",
                params=params,
                params_type="kernels_m4_conv_params",
                constants=(laid,),
                scratch_bytes=scratch,
                overlaps=(),
            )
            found.append(overlap.overlapping(made, distance))
    return found


def _quick_tiles(w: Mapping[str, int], params: Mapping[str, Value]) -> int:
    """Tiles of three neighbouring pixels whose windows lie inside, which the kernel sets up at once."""
    first_line, lines, first, columns = (
        stages.number(params, name) for name in ("first_line", "lines", "first_column", "columns")
    )
    quick = at = 0  # `at`: pixels of the tile that is begun
    for line in [*range(w["output_height"])] * w["batches"]:
        inside = range(first, first + columns) if first_line <= line < first_line + lines else range(0)
        column = 0
        while column < w["output_width"]:
            if at == 0 and column in inside and column + 2 in inside:
                quick += 1
                column += 3
            else:
                at = (at + 1) % matmul.PIXELS
                column += 1
    return quick


def features(layer: Layer) -> dict[str, float]:
    """Calls, tiles, pixels, copied windows, and how often each loop of the widening and of the tile kernel runs."""
    p = layer.params
    window, channels = stages.nested(p, "window"), stages.number(p, "output_channels")
    w = {name: stages.number(window, name) for name in window}
    rows, words, rest = w["height"], stages.number(p, "words"), stages.number(p, "rest")
    row = w["width"] * stages.number(p, "input_channels")
    pixels = w["batches"] * w["output_height"] * w["output_width"]
    image, padded = stages.nested(p, "image"), stages.number(p, "padded") > 0
    copied = pixels - w["batches"] * stages.number(p, "lines") * stages.number(p, "columns")
    runs = w["width"] if w["dilation_width"] > 1 else 1
    tiles = -(-pixels // matmul.PIXELS)
    return {
        "calls": 1,
        **matmul.tile_features(layer.kernel, tiles, matmul.blocks_of(rows * (4 * words + rest)), channels),
        "rows": tiles * rows,
        "words": tiles * rows * words,
        "rest_tiles": tiles * (rest > 0),
        "rest_rows": tiles * rows * (rest > 0),
        "rest_bytes": tiles * rows * rest,
        "lines": w["batches"] * w["output_height"],
        "pixels": pixels,
        "quick_tiles": _quick_tiles(w, p),
        "padded_lines": stages.number(image, "lines"),
        "padded_words": stages.number(image, "lines") * (stages.number(image, "line") / 4),
        "filled_words": w["input_height"] * w["input_width"] * stages.number(p, "input_channels") / 4 * padded,
        "copied": copied,
        "copied_runs": copied * rows * runs,
        "copied_words": copied * rows * (row / 4),
        "copied_rests": copied * rows * runs * (row % 4 > 0),
        "clamped": pixels * channels * stages.narrow(p),
    }


CANDIDATES = {"kernels_conv_s8": candidates}
FEATURES = {f"kernels_m4_conv{kind}_s8": features for kind in matmul.KINDS}
