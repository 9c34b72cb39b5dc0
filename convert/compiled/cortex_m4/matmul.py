"""Matrix products of several rows on the Cortex-M4: 1x1 convolutions, three pixels by two output channels at a time.

What the kernels compute, and why it is exact, stands in firmware/lib/kernels/src/cortex_m4/matmul_tile.S.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from convert.compiled import overlap
from convert.compiled.cortex_m4 import fit
from convert.compiled.cortex_m4 import stage as stages
from convert.compiled.layer import Array, Constant, Layer, Value

PIXELS = 3  # a tile
TURN, WIDE_TURN = 8, 4  # blocks of four inputs in one turn of the unrolled loop
LAYOUT = "stream: for two output channels 256 * second + first of inputs (0, 2), (1, 3) of every four, and their stages"
NARROW_DEPTH, NARROW_CHANNELS = 8, (16, 32, 64)
NARROW_ROWS, NARROW_TURN = 32, 4  # a tile of matmul_narrow_rows.S, and rows in a turn of its loop
WIDE_LAYOUT = "wide stream: for two output channels biases, scaled weights of every two inputs, stages"
KINDS = ("_relu", "_linear", "_wide_relu", "_wide_linear")  # ends of the kernels' names
_LAST = 1 << 31  # set in the shift of the last pair of channels, variant linear
_UPPER_LIMIT = 1 << 23
# Where fewer pixels share a weight, or weights are more, twice the memory is a high price for an eighth of the time.
_WIDE_PIXELS, _WIDE_WEIGHTS = 256, 4096


def weights_are_symmetric(weights: Array) -> bool:
    """No weight is -128: two in a halfword would not fit."""
    return bool(weights.min(initial=0) >= -127)


def sums_fit_24_bits(weights: Array) -> bool:
    """Sums without bias stay below 2^23 in absolute value for any int8 input, as the upper one of two has 24 bits."""
    return bool((128 * np.abs(weights.astype(np.int64)).sum(axis=1) < _UPPER_LIMIT).all())


def exact(weights: Array, stage: stages.Stage) -> bool:
    """Whether the tile kernels give the portable kernel's results for these weights, (channels, depth)."""
    return (
        len(weights) >= 2
        and weights_are_symmetric(weights)
        and sums_fit_24_bits(weights)
        and stages.applicable(stage, weights)
    )


def wide_pays(weights: Array, stage: stages.Stage, pixels: int) -> bool:
    """Whether a stream with 16 bits a weight is exact, and either small or the only one that is."""
    if len(weights) < 2 or not stages.applicable(stage, weights):
        return False
    return not exact(weights, stage) or (pixels >= _WIDE_PIXELS and weights.size <= _WIDE_WEIGHTS)


def blocks_of(depth: int) -> int:
    """Blocks of four inputs that hold `depth` inputs."""
    return -(-depth // 4)


def tile_order(rows: int, row: int) -> Array:
    """The order in which a tile holds the inputs of a window of `rows` contiguous rows of `row` bytes: (rows * row,).

    kernels_m4_widen_s8 takes bytes 0 and 2, then 1 and 3 of every word of a row, and last what is left of all rows.
    """
    index = np.arange(rows * row).reshape(rows, row)
    whole = row // 4 * 4
    words = index[:, :whole].reshape(-1, 4)[:, [0, 2, 1, 3]]
    return np.concatenate([words.reshape(-1), index[:, whole:].reshape(-1)])


def _last_pairs(channels: int) -> list[int]:
    """Pairs after which a call of a tile kernel ends: the last whole one, and the one for an odd channel."""
    return [channels // 2 - 1, channels // 2] if channels % 2 else [channels // 2 - 1]


def _first_of_pairs(channels: int) -> Array:
    """The first channel of every pair; with an odd number of channels the last pair is (n - 2, n - 1)."""
    return np.minimum(np.arange(0, channels, 2), channels - 2)


def _int32(words: Array) -> Array:
    return (words & 0xFFFFFFFF).astype(np.uint32).view(np.int32).reshape(-1)


def _constants(channels: Sequence[fit.Channel], form: fit.Form, parity: Sequence[int | None]) -> Array | None:
    """Bias, multiplier and rounding of each channel: int64 (channels, 3), or None if one cannot be fitted."""
    rows = []
    for channel, wanted in zip(channels, parity, strict=True):
        found = fit.fitted(channel, form, wanted)
        if found is None:
            return None
        rows.append((found.bias, found.multiplier, found.rounding))
    return np.array(rows, np.int64)


def _fitted_pairs(weights: Array, stage: stages.Stage, first_form: fit.Form) -> tuple[Array, Array] | None:
    """Both channels' constants of every pair, or None where the stage is no ReLU or a channel cannot be fitted."""
    if stages.variant(stage) != "relu":
        return None
    channels, first = fit.channels(stage, weights), _first_of_pairs(len(weights)).tolist()
    last = _last_pairs(len(weights))
    one = _constants([channels[k] for k in first], first_form, [None] * len(first))
    if one is None:
        return None
    two = _constants([channels[k + 1] for k in first], fit.SCALED, [int(k in last) for k in range(len(first))])
    return None if two is None else (one, two)


def _padded(weights: Array) -> Array:
    """Weights as int64, with zeros for what is missing of the last block."""
    depth = weights.shape[1]
    return np.pad(weights.astype(np.int64), ((0, 0), (0, 4 * blocks_of(depth) - depth)))


def stream(weights: Array, stage: stages.Stage) -> tuple[str, Array] | None:
    """The variant and the tile kernels' stream, int32 (words,), or None if no output stage is exact.

    `weights` is (channels, depth) in the tile's order; what is missing of the last block gets weight 0.
    """
    first, padded = _first_of_pairs(len(weights)), _padded(weights)
    half = 256 * padded[first + 1] + padded[first]
    words = (half[:, 0::2] & 0xFFFF) | half[:, 1::2] << 16
    pairs = _fitted_pairs(weights, stage, fit.PLAIN)
    if pairs is not None:
        one, two = pairs
        start = np.stack([one[:, 0], one[:, 0] + two[:, 0]], axis=1)
        return "relu", _int32(np.concatenate([start, words, one[:, 1:], two[:, 1:]], axis=1))
    if not stages.linear_is_exact(stage):
        return None
    channel = stages.words(stage).astype(np.int64)
    whole = np.concatenate([words, channel[first], channel[first + 1]], axis=1)
    whole[_last_pairs(len(weights)), -1] |= _LAST
    return "linear", _int32(whole)


def wide_stream(weights: Array, stage: stages.Stage) -> tuple[str, Array] | None:
    """The variant and the stream of matmul_wide.S; weights, filling and odd channels as in `stream`."""
    first, padded = _first_of_pairs(len(weights)), _padded(weights)
    pairs = _fitted_pairs(weights, stage, fit.SCALED)
    if pairs is None and not stages.linear_is_exact(stage):
        return None
    padded = padded * (2 if pairs is None else 1 << fit.SCALED.exponent)
    words = (padded[:, 0::2] & 0xFFFF) | padded[:, 1::2] << 16
    both = np.stack([words[first], words[first + 1]], axis=2).reshape(len(first), -1)
    channel = stages.words(stage).astype(np.int64)
    one, two = (channel[first], channel[first + 1]) if pairs is None else pairs
    whole = np.concatenate([one[:, :1], two[:, :1], both, one[:, 1:], two[:, 1:]], axis=1)
    if pairs is None:
        whole[_last_pairs(len(weights)), -1] |= _LAST
    return ("linear" if pairs is None else "relu"), _int32(whole)


def streams(weights: Array, stage: stages.Stage, pixels: int) -> list[tuple[str, Constant]]:
    """The streams that suit weights, (channels, depth) in the tile's order: part of the kernel's name, and constant."""
    made = []
    if exact(weights, stage):
        made.append(("", LAYOUT, stream(weights, stage)))
    if wide_pays(weights, stage, pixels):
        made.append(("_wide", WIDE_LAYOUT, wide_stream(weights, stage)))
    return [(f"{kind}_{m[0]}", Constant("weights", m[1], layout)) for kind, layout, m in made if m is not None]


def narrow_stream(weights: Array, stage: stages.Stage) -> tuple[str, Array] | None:
    """The variant and the stream of matmul_narrow_rows.S, int32 (words,); `weights` is (channels, 8)."""
    channels = fit.channels(stage, weights) if stages.variant(stage) == "relu" else []
    last = _constants(channels, fit.SCALED, [None] * len(channels)) if channels else None
    variant = "linear" if last is None else "relu"
    if last is None:
        if not stages.linear_is_exact(stage):
            return None
        last = stages.words(stage).astype(np.int64)
    scaled = weights.astype(np.int64) * (2 if variant == "linear" else 1 << fit.SCALED.exponent)
    words = (scaled[:, [0, 1, 4, 5]] & 0xFFFF) | scaled[:, [2, 3, 6, 7]] << 16
    return variant, _int32(np.concatenate([words, last], axis=1))


def _made(layer: Layer, kernel: str, laid: Constant, scratch: int, block: int) -> Layer:
    """The layer with another kernel that works off `block` rows at a time."""
    p = layer.params
    stage, (channels, depth) = stages.nested(p, "stage"), stages.array(p, "weights").shape
    rows = stages.number(p, "rows")
    params: dict[str, Value] = {
        "rows": rows,
        "depth": depth,
        "channels": channels,
        "minimum": stages.number(stage, "minimum"),
        "maximum": stages.number(stage, "maximum"),
        "weights": laid,
    }
    made = replace(
        layer,
        kernel=f"{kernel}_s8",
        params=params,
        params_type="kernels_m4_matmul_params",
        constants=(laid,),
        scratch_bytes=scratch,
        overlaps=(),
    )
    return overlap.overlapping(made, overlap.rows(rows, depth, channels, block=block))


def candidates(layer: Layer) -> Sequence[Layer]:
    """A kernels_matmul_s8 layer with several rows, three rows at a time; with 8 inputs also a channel at a time."""
    p = layer.params
    weights, stage = stages.array(p, "weights"), stages.nested(p, "stage")
    rows, (channels, depth) = stages.number(p, "rows"), weights.shape
    found: list[Layer] = []
    if rows < 2:
        return found
    for kind, laid in streams(weights[:, tile_order(1, depth)], stage, rows):
        found.append(_made(layer, f"kernels_m4_matmul{kind}", laid, 8 * PIXELS * blocks_of(depth), PIXELS))
    if depth == NARROW_DEPTH and channels in NARROW_CHANNELS and stages.applicable(stage, weights):
        narrow = narrow_stream(weights, stage)
        if narrow is not None:
            laid = Constant("weights", narrow[1], "stream: a channel's weights, scaled, and its stage")
            kernel = f"kernels_m4_matmul8x{channels}_{narrow[0]}"
            found.append(_made(layer, kernel, laid, 2 * depth * NARROW_ROWS, NARROW_ROWS))
    return found


def tile_features(kernel: str | None, tiles: int, blocks: int, channels: int) -> dict[str, float]:
    """How often the loops of the tile kernel that `kernel` calls run, for `tiles` tiles."""
    # The first block is before the loop.
    turns = -(-(blocks - 1) // (WIDE_TURN if "_wide_" in (kernel or "") else TURN))
    pairs = -(-channels // 2)
    return {
        "tiles": tiles,
        "odd_tiles": tiles * (channels % 2),
        "pairs": tiles * pairs,
        "turns": tiles * pairs * turns,
        "blocks": tiles * pairs * blocks,
    }


def features(layer: Layer) -> dict[str, float]:
    """Calls, tiles, and how often each loop of the widening and of the tile kernel runs."""
    p = layer.params
    rows, depth, channels = (stages.number(p, name) for name in ("rows", "depth", "channels"))
    tiles = -(-rows // PIXELS)
    return {
        "calls": 1,
        **tile_features(layer.kernel, tiles, blocks_of(depth), channels),
        "words": tiles * (depth // 4),
        "rest_tiles": tiles * (depth % 4 > 0),
        "rest_bytes": tiles * (depth % 4),
        "clamped": rows * channels * stages.narrow(p),
    }


def narrow_features(layer: Layer) -> dict[str, float]:
    """Calls, tiles, channels' and rows' passes of matmul_narrow_rows.S."""
    p = layer.params
    rows, channels = stages.number(p, "rows"), stages.number(p, "channels")
    whole, rest = divmod(rows, NARROW_ROWS)
    tiles = whole + (rest > 0)
    return {
        "calls": 1,
        "tiles": tiles,
        "channels": tiles * channels,
        "outputs": rows * channels,
        "turns": channels * (whole * (NARROW_ROWS // NARROW_TURN) + -(-rest // NARROW_TURN)),
        "rows": rows,
        "clamped": rows * channels * stages.narrow(p),
    }


CANDIDATES = {"kernels_matmul_s8": candidates}
FEATURES = {f"kernels_m4_matmul{kind}_s8": features for kind in KINDS} | {
    f"kernels_m4_matmul8x{channels}_{variant}_s8": narrow_features
    for channels in NARROW_CHANNELS
    for variant in ("relu", "linear")
}
