"""Depthwise convolutions on the Cortex-M4: a channel at a time, copied into a plane of int16 with a border.

What the kernels compute, and why it is exact, stands in firmware/lib/kernels/src/cortex_m4/depthwise_3x3_planes.S and,
for windows that are not 3x3, depthwise_line.S.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from convert.compiled import overlap
from convert.compiled.cortex_m4 import fit
from convert.compiled.cortex_m4 import stage as stages
from convert.compiled.layer import Array, Constant, Layer, Value

PITCHES = (32, 64, 128, 256)  # bytes from a row of the plane to the next
BANDS = (8, 4)  # output rows that are worked off at a time, besides all of them
_MAX_TAPS = 16  # in a row of a window
_MAX_COLUMNS = (1 << 15) - 1  # outputs in a row, counted in half a register


def channels_of(weights: Array, zero_point: int, stage: stages.Stage) -> list[fit.Channel]:
    """The channels of (channels, taps) weights, the input's zero point folded into the bias."""
    folded = fold(weights, zero_point, stage)
    return fit.channels(folded, weights) if stages.applicable(folded, weights) else []


def fold(weights: Array, zero_point: int, stage: stages.Stage) -> dict[str, Value]:
    """The stage with a bias for raw inputs; the sum goes to int64, so that the stage's conditions see it."""
    bias = stages.array(stage, "bias").astype(np.int64) - zero_point * weights.astype(np.int64).sum(axis=1)
    return {**stage, "bias": Constant("bias", bias, "[output channel], input zero point folded in")}


def pairs_of(weights: Array, stride: int) -> Array:
    """Variant linear's weight words: doubled weights, (channels, 3, 3), to (channels, 6 or 5)."""
    w = 2 * weights.astype(np.int64)
    if stride == 1:
        first, second = w[:, :, :2].reshape(len(w), 6), w[:, :, 1:].reshape(len(w), 6)
        halves = np.stack([first[:, 0::2], first[:, 1::2], second[:, 0::2], second[:, 1::2]], axis=2).reshape(-1, 12)
    else:
        right = np.stack([w[:, 0, 2], w[:, 1, 2], w[:, 2, 2], np.zeros_like(w[:, 0, 2])], axis=1)
        halves = np.concatenate([w[:, :, :2].reshape(len(w), 6), right], axis=1)
    return (halves[:, 0::2] & 0xFFFF) | (halves[:, 1::2] & 0xFFFF) << 16


_NONE = 9  # a byte without weight
_BYTES = {1: [0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8], 2: [0, 3, 1, 4, 6, 2, 7, 5, _NONE, 8, _NONE, _NONE]}


def bytes_of(weights: Array, stride: int) -> Array:
    """Variant relu's weight words: weights, (channels, 9), to (channels, 3).

    Bytes 1 and 3 of a word are the upper bytes of two halfwords, bytes 0 and 2 those of the two before them.
    """
    padded = np.concatenate([weights.astype(np.int8), np.zeros((len(weights), 1), np.int8)], axis=1)
    return np.ascontiguousarray(padded[:, _BYTES[stride]]).view("<u4").astype(np.int64)


def stream(weights: Array, zero_point: int, stage: stages.Stage, stride: int) -> tuple[str, Array] | None:
    """The variant and the kernels' stream, int32 (words,); `weights` is (channels, 9). None if not exact."""
    channels = channels_of(weights, zero_point, stage)
    if not channels:
        return None
    scaled = [fit.fitted(c) for c in channels] if stages.variant(stage) == "relu" else []
    good = [s for s in scaled if s is not None]
    if len(good) == len(channels):
        varying = weights * np.array([[s.multiplier != 0] for s in good])
        last = np.array([[s.bias, s.multiplier, s.rounding] for s in good], np.int64)
        variant, words = "relu", np.concatenate([bytes_of(varying, stride), last], axis=1)
    elif stages.linear_is_exact(stage):
        last = stages.words(fold(weights, zero_point, stage)).astype(np.int64)
        variant, words = "linear", np.concatenate([pairs_of(weights.reshape(-1, 3, 3), stride), last], axis=1)
    else:
        return None
    return variant, (words & 0xFFFFFFFF).astype(np.uint32).view(np.int32).reshape(-1)


def window_is_3x3(window: Mapping[str, Value]) -> bool:
    """3x3 taps side by side, stride 1 or 2 in both directions, and at most one row or column of padding before."""
    names = ("height", "width", "dilation_height", "dilation_width", "pad_top", "pad_left")
    height, width, down, right, top, left = (stages.number(window, name) for name in names)
    strides = stages.number(window, "stride_height"), stages.number(window, "stride_width")
    square = (height, width, down, right) == (3, 3, 1, 1)
    return square and strides in ((1, 1), (2, 2)) and max(top, left) <= 1


@dataclass(frozen=True)
class Plane:
    """A plane's geometry: pairs of outputs in a row, one more if odd, words of a row that are read."""

    stride: int
    pairs: int
    odd: int

    @property
    def words(self) -> int:
        """Words of a row that are read."""
        return self.stride * self.pairs + self.odd + 1

    @property
    def pitch(self) -> int | None:
        """The smallest pitch that rows fit in, whose ends overlap the next row's unused start."""
        return next((pitch for pitch in PITCHES if 4 * self.words <= pitch), None)

    def scratch_bytes(self, band: int) -> int:
        """Bytes for bands of `band` output rows, wherever the scratch memory starts."""
        pitch = self.pitch or 0
        return pitch - 4 + ((band - 1) * self.stride + 2) * pitch + 4 * self.words


def plane(window: Mapping[str, Value]) -> Plane:
    """The plane for a 3x3 window."""
    width = stages.number(window, "output_width")
    return Plane(stages.number(window, "stride_width"), width // 2, width % 2)


def rows_fit(window: Mapping[str, Value], geometry: Plane) -> bool:
    """Rows of outputs have a pair at least, and rows of the input fit into the plane's, which have a pitch."""
    columns = stages.number(window, "pad_left") + stages.number(window, "input_width")
    return geometry.pairs > 0 and geometry.pitch is not None and columns <= 2 * geometry.words


def distance(window: Mapping[str, Value], channels: int, band: int) -> int:
    """How far the output may reach into the input, by whole pixels: only rows that the next band reads matter."""
    names = ("batches", "input_height", "input_width", "output_height", "output_width", "stride_height", "pad_top")
    batches, height, width, out_height, out_width, stride, pad = (stages.number(window, name) for name in names)
    first = np.arange(0, out_height, band)
    batch = np.arange(batches)[:, None]
    read = batch * height * width + np.maximum(first * stride - pad, 0) * width
    written = (batch * out_height + np.minimum(first + band, out_height)) * out_width
    return channels * overlap.distance(read, written, batches * height * width)


def candidates_3x3(layer: Layer) -> list[Layer]:
    """A kernels_depthwise_s8 layer with windows of 3x3, the whole image or a band of rows at a time."""
    p = layer.params
    window, stage = stages.nested(p, "window"), stages.nested(p, "stage")
    channels = stages.number(p, "input_channels")
    if stages.number(p, "multiplier") != 1 or not window_is_3x3(window):
        return []
    geometry = plane(window)
    weights = stages.array(p, "weights").reshape(-1, channels).T
    made = stream(weights, stages.number(p, "input_zero_point"), stage, geometry.stride)
    if made is None or not rows_fit(window, geometry):
        return []
    variant, words = made
    laid = Constant("weights", words, "stream: weights of a channel as pairs of halfwords, then its stage")
    found = []
    for band in bands(window):
        params: dict[str, Value] = {
            **{name: window[name] for name in ("batches", "input_height", "input_width")},
            "channels": channels,
            **{name: window[name] for name in ("output_height", "output_width", "pad_top", "pad_left")},
            "band": band,
            "input_zero_point": p["input_zero_point"],
            **{name: stage[name] for name in ("minimum", "maximum")},
            "weights": laid,
        }
        other = replace(
            layer,
            kernel=f"kernels_m4_depthwise_3x3_s{geometry.stride}_p{geometry.pitch}_{variant}_s8",
            params=params,
            params_type="kernels_m4_depthwise_3x3_params",
            constants=(laid,),
            scratch_bytes=geometry.scratch_bytes(band),
            overlaps=(),
        )
        found.append(overlap.overlapping(other, distance(window, channels, band), step=channels))
    return found


def bands(window: Mapping[str, Value]) -> list[int]:
    """Numbers of output rows to work off at a time: all of them, or fewer for less scratch memory."""
    height = stages.number(window, "output_height")
    return [height, *(band for band in BANDS if band < height)]


def phases_are_dense(window: Mapping[str, Value]) -> bool:
    """Neighbouring taps of a row are neighbours in the plane: columns that are dilated have a stride of 1."""
    return stages.number(window, "dilation_width") == 1 or stages.number(window, "stride_width") == 1


def lying(window: Mapping[str, Value], weights: Array) -> tuple[dict[str, int], Array]:
    """An image of a single column as one of a single row, which has the same pixels in the same order.

    `weights` is (height, width, channels). Other images stay as they are.
    """
    w = {name: stages.number(window, name) for name in window}
    if (w["input_width"], w["output_width"]) != (1, 1) or w["input_height"] == 1:
        return w, weights
    hit = [j for j in range(w["width"]) if j * w["dilation_width"] == w["pad_left"]]
    column = weights[:, hit].sum(axis=1, keepdims=True, dtype=np.int8)
    turned = {name: w[_TURNED.get(name, name)] for name in w}
    return {**turned, "height": 1, "stride_height": 1, "dilation_height": 1, "pad_top": 0}, column.transpose(1, 0, 2)


_TURNED = {
    a + b: c + d
    for a, b, c, d in [
        ("input_", "height", "input_", "width"),
        ("input_", "width", "input_", "height"),
        ("output_", "height", "output_", "width"),
        ("output_", "width", "output_", "height"),
        ("", "width", "", "height"),
        ("stride_", "width", "stride_", "height"),
        ("dilation_", "width", "dilation_", "height"),
        ("pad_", "left", "pad_", "top"),
    ]
}


def line(window: Mapping[str, int]) -> int:
    """Halfwords of a row of one phase in the plane, for blocks of four outputs."""
    outputs = -(-window["output_width"] // window["dilation_width"])
    needed = (-(-outputs // 4) * 4 - 1) * window["stride_width"] + 2 * -(-window["width"] // 2)
    return needed + needed % 2


def lines_stream(weights: Array, zero_point: int, stage: stages.Stage) -> Array | None:
    """The stream of the kernels for any window, int32 (words,), or None if it would not be exact.

    `weights` is (height, width, output channels).
    """
    _, width, channels = weights.shape
    flat = weights.reshape(-1, channels).T
    folded = fold(flat, zero_point, stage)
    if not stages.applicable(folded, flat) or not stages.linear_is_exact(folded):
        return None
    padded = np.pad(weights.astype(np.int64), ((0, 0), (0, width % 2), (0, 0)))
    halves = padded.transpose(2, 0, 1).reshape(channels, -1) & 0xFFFF
    words = np.concatenate([halves[:, 0::2] | halves[:, 1::2] << 16, stages.words(folded).astype(np.int64)], axis=1)
    return (words & 0xFFFFFFFF).astype(np.uint32).view(np.int32).reshape(-1)


def candidates_any(layer: Layer) -> list[Layer]:
    """A kernels_depthwise_s8 layer with any window, four outputs of a row at a time."""
    p = layer.params
    given, stage = stages.nested(p, "window"), stages.nested(p, "stage")
    channels, multiplier = stages.number(p, "input_channels"), stages.number(p, "multiplier")
    shape = stages.number(given, "height"), stages.number(given, "width"), channels * multiplier
    window, weights = lying(given, stages.array(p, "weights").reshape(shape))
    if not phases_are_dense(window) or window["width"] > _MAX_TAPS or window["output_width"] > _MAX_COLUMNS:
        return []
    words = lines_stream(weights, stages.number(p, "input_zero_point"), stage)
    if words is None:
        return []
    laid = Constant("weights", words, "stream: weights of an output channel as pairs of halfwords, then its stage")
    found = []
    for band in bands(window):
        params: dict[str, Value] = {
            "window": window,
            "channels": channels,
            "multiplier": multiplier,
            "band": band,
            "line": line(window),
            "input_zero_point": p["input_zero_point"],
            **{name: stage[name] for name in ("minimum", "maximum")},
            "weights": laid,
        }
        rows = (band - 1) * window["stride_height"] + (window["height"] - 1) * window["dilation_height"] + 1
        other = replace(
            layer,
            kernel=f"kernels_m4_depthwise_{'unit' if window['stride_width'] == 1 else 'any'}_s8",
            params=params,
            params_type="kernels_m4_depthwise_params",
            constants=(laid,),
            scratch_bytes=2 * line(window) * window["dilation_width"] * rows,
            overlaps=(),
        )
        if multiplier == 1:
            other = overlap.overlapping(other, distance(window, channels, band), step=channels)
        found.append(other)
    return found


def candidates(layer: Layer) -> Sequence[Layer]:
    """A kernels_depthwise_s8 layer by the kernels for windows of 3x3, or else by the one for any window."""
    return candidates_3x3(layer) or candidates_any(layer)


def features_3x3(layer: Layer) -> dict[str, float]:
    """How often each part of the kernel runs: bands, channels, copied rows and their pieces, blocks of outputs."""
    p = layer.params
    names = (
        "batches",
        "input_height",
        "input_width",
        "channels",
        "output_height",
        "output_width",
        "pad_top",
        "pad_left",
    )
    batches, height, width, channels, out_height, out_width, top, left = (stages.number(p, name) for name in names)
    band, stride = stages.number(p, "band"), 2 if "_s2_" in str(layer.kernel) else 1
    copied = pairs = odd = 0
    for y in range(0, out_height, band):
        count = min(band, out_height - y)
        at = y * stride - top
        copied += min(at + (count - 1) * stride + 3, height) - max(at, 0)
        pairs += count // 2
        odd += count % 2
    bands = -(-out_height // band)
    each = batches * channels
    rest = width - left
    return {
        "calls": 1,
        "bands": batches * bands,
        "planes": each * bands,
        "filled_rows": batches * (band * stride + 2),
        "rows": each * copied,
        "leads": each * copied * left,
        "grouped_rows": each * copied * (rest >= 8),
        "grouped_leads": each * copied * (rest >= 8) * left,
        "groups": each * copied * (rest // 8),
        "fours": each * copied * (rest // 4 % 2),
        "twos": each * copied * (rest // 2 % 2),
        "ones": each * copied * (rest % 2),
        "pairs": each * pairs,
        "odd_rows": each * odd,
        "blocks_2x2": each * pairs * (out_width // 2),
        "blocks_1x2": each * pairs * (out_width % 2),
        "blocks_2x1": each * odd * (out_width // 2),
        "blocks_1x1": each * odd * (out_width % 2),
        "clamped": each * out_height * out_width * stages.narrow(p),
    }


def features_any(layer: Layer) -> dict[str, float]:
    """How often each part of the kernel runs: bands, channels, copied elements, rows, blocks and pairs of taps."""
    p = layer.params
    w = {name: stages.number(stages.nested(p, "window"), name) for name in stages.nested(p, "window")}
    channels, multiplier, band, columns = (stages.number(p, n) for n in ("channels", "multiplier", "band", "line"))
    phases, height = w["dilation_width"], w["output_height"]
    copied = padded = 0
    for y in range(0, height, band):
        rows = (min(band, height - y) - 1) * w["stride_height"] + (w["height"] - 1) * w["dilation_height"] + 1
        at = y * w["stride_height"] - w["pad_top"]
        inside = sum(0 <= at + i < w["input_height"] for i in range(rows))
        copied += inside
        padded += rows - inside
    counts = [-(-(w["output_width"] - i) // phases) for i in range(min(phases, w["output_width"]))]
    blocks = sum(-(-n // 4) for n in counts) * height
    pairs = -(-w["width"] // 2)
    each = w["batches"] * channels
    made = each * multiplier
    bands_ = -(-height // band)
    inside_phase = []
    for i in range(phases):
        left = min(max(-(-(w["pad_left"] - i) // phases), 0), columns)
        right = -(-(w["input_width"] - (i + left * phases - w["pad_left"])) // phases)
        inside_phase.append(min(max(right, 0), columns - left))
    fours, singles = sum(n // 4 for n in inside_phase), sum(n % 4 for n in inside_phase)
    return {
        "calls": 1,
        "bands": w["batches"] * bands_,
        "planes": each * bands_,
        "rows": each * copied,
        "border_rows": each * padded,
        "lines": each * copied * phases,
        "fours": each * copied * fours,
        "singles": each * copied * singles,
        "border": each * copied * (phases * columns - sum(inside_phase)),
        "filled": w["batches"] * padded * phases * columns,
        "jobs": made * bands_ * len(counts),
        "output_rows": made * height * len(counts),
        "blocks": made * blocks,
        **{f"blocks_of_{short}": made * height * sum(n % 4 == short for n in counts) for short in (1, 2, 3)},
        "window_rows": made * blocks * w["height"],
        "pairs": made * blocks * w["height"] * pairs,
        "clamped": made * height * w["output_width"] * stages.narrow(p),
    }


CANDIDATES = {"kernels_depthwise_s8": candidates}
FEATURES = {
    f"kernels_m4_depthwise_3x3_s{stride}_p{pitch}_{variant}_s8": features_3x3
    for stride in (1, 2)
    for pitch in PITCHES
    for variant in ("relu", "linear")
}
FEATURES |= {f"kernels_m4_depthwise_{variant}_s8": features_any for variant in ("unit", "any")}
