"""Weights as the streams of firmware/lib/kernels/include/kernels/coded.h, where the layout is described."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from convert.compiled.formats import rans
from convert.compiled.layer import Array

Bytes: TypeAlias = npt.NDArray[np.uint8]
Positions: TypeAlias = Literal["all", "gaps", "bitmap", "two_of_four", "blocks"]

PAD = 8  # KERNELS_CODED_PAD
GROUP = 8
BLOCK = 4
_GAPS = range(1, 9)  # bits


@dataclass(frozen=True)
class Layout:
    """The numbers of a `kernels_coded_format` that say how a stream is laid out."""

    positions: Positions
    value_bits: int = 8
    codebook: bool = False
    position_bits: int = 0
    count_bytes: int = 0
    coded_positions: bool = False
    coded_values: bool = False


@dataclass(frozen=True)
class Packed:
    """A layer's weights in a layout."""

    layout: Layout
    stream: Bytes  # (bytes,), with the pad before and behind
    table: npt.NDArray[np.int8] | None  # (entries,), or (channels * step,)
    table_step: int = 0
    code: Bytes | None = None  # symbols
    gaps: rans.Model | None = None
    values: rans.Model | None = None

    @property
    def nbytes(self) -> int:
        """Bytes in flash."""
        parts = (self.stream, self.table, self.code, self.gaps, self.values)
        return sum(part.nbytes for part in parts if part is not None)


@dataclass(frozen=True)
class Values:
    """What stands for a weight: fields of `bits` bits and the table that they index, if any."""

    fields: npt.NDArray[np.int64]  # (channels, depth): of every weight, that of zero included where there is one
    bits: int
    table: npt.NDArray[np.int8] | None
    table_step: int
    zero: bool  # whether zero has a field in every channel


def plain(weights: Array) -> Values:
    """The weights themselves."""
    return Values(weights.astype(np.int64) & 0xFF, 8, None, 0, True)


def signed(weights: Array, bits: int) -> Values | None:
    """Numbers of `bits` bits, or None where a weight is none."""
    limit = 1 << (bits - 1)
    if weights.min(initial=0) < -limit or weights.max(initial=0) >= limit:
        return None
    return Values(weights.astype(np.int64) & ((1 << bits) - 1), bits, None, 0, True)


def codebook(weights: Array, *, zero: bool, per_channel: bool) -> Values | None:
    """Indices into a table of all values that occur, or into one a channel; None where 7 bits do not tell them apart.

    Without `zero` weights of zero get no entry (their fields are 0 and mean nothing).
    """
    rows = weights if per_channel else weights.reshape(1, -1)
    tables = [np.unique(row if zero else row[row != 0]) for row in rows]
    entries = max(len(table) for table in tables)
    if entries > 128:
        return None
    bits = max(1, (entries - 1).bit_length())
    fields = [np.searchsorted(table, row) for table, row in zip(tables, rows, strict=True)]
    fields = [
        np.where(table[np.minimum(field, len(table) - 1)] == row, field, 0) if len(table) else np.zeros(row.shape, int)
        for table, field, row in zip(tables, fields, rows, strict=True)
    ]
    joined = np.zeros((len(tables), max(entries, 1)), np.int8)
    for k, table in enumerate(tables):
        joined[k, : len(table)] = table
    has_zero = all((table == 0).any() for table in tables)
    step = joined.shape[1] if per_channel else 0
    return Values(np.stack(fields).reshape(weights.shape).astype(np.int64), bits, joined.reshape(-1), step, has_zero)


def widened(values: Values, bits: int) -> Values:
    """The same in wider fields."""
    return replace(values, bits=bits)


def everything(values: Values) -> Packed:
    """Every weight in its place, "all"."""
    parts = [_groups(row, values.bits) for row in values.fields]
    return _packed(Layout("all", values.bits, values.table is not None), parts, values)


def gaps(weights: Array, values: Values, *, extra_bits: int = 0, bits: int | None = None) -> Packed | None:
    """Weights that are not zero, and how many inputs lie between them, in as many bits as take the fewest bytes.

    A gap that is too wide for its field is bridged by weights of zero; where zero has no field there must be none.
    With `extra_bits` fields are wider than they need to be, for fewer bridges, which take time; `bits` says how wide
    they are.
    """
    found: list[tuple[int, int]] = []  # (bytes, bits)
    places = [np.flatnonzero(row) for row in weights]
    for width in _GAPS if bits is None else [bits]:
        counts = np.array([len(p) + int(_bridges(p, width).sum()) for p in places])
        if values.zero or counts.sum() == sum(map(len, places)):
            size = (-(-counts * width // 8) - (-counts * values.bits // 8)).sum()
            found.append((int(size) + len(counts) * _count_bytes(counts), width))
    if not found:
        return None
    chosen = min(found)[1] + extra_bits
    if chosen not in _GAPS:
        return None
    bridged = [_bridged(p, chosen) for p in places]
    width = _count_bytes(np.array([len(p) for p in bridged]))
    if width == 0:
        return None
    parts: list[Bytes] = []
    for row, at in zip(values.fields, bridged, strict=True):
        parts.append(np.frombuffer(len(at).to_bytes(width, "little"), np.uint8))
        parts.append(_interleaved(np.diff(at, prepend=-1) - 1, chosen, row[at], values.bits))
    layout = Layout("gaps", values.bits, values.table is not None, chosen, width)
    return _packed(layout, parts, values)


def bitmap(weights: Array, values: Values) -> Packed:
    """A bit an input, and the weights that are not zero."""
    parts: list[Bytes] = []
    for row, fields in zip(weights, values.fields, strict=True):
        parts += [np.packbits(row != 0, bitorder="little"), _bits(fields[row != 0], values.bits)]
    return _packed(Layout("bitmap", values.bits, values.table is not None), parts, values)


def two_of_four(weights: Array, values: Values) -> Packed | None:
    """Two weights of every four inputs; None where there are more, or fewer and zero has no field."""
    channels, depth = weights.shape
    if depth % BLOCK == 1:  # a block of one input has no second place
        return None
    used = np.count_nonzero(_quads(weights), axis=2)
    if used.max(initial=0) > 2 or (used.min(initial=2) < 2 and not values.zero):
        return None
    places, _ = _twos(weights)
    rows = np.arange(channels)[:, None]
    fields = values.fields[rows, np.repeat(np.arange(0, depth, BLOCK), 2) + places]
    parts = [_interleaved(p, 2, row, values.bits) for p, row in zip(places, fields, strict=True)]
    return _packed(Layout("two_of_four", values.bits, values.table is not None, 2), parts, values)


def _quads(weights: Array) -> Array:
    channels, depth = weights.shape
    return np.pad(weights, ((0, 0), (0, -depth % BLOCK))).reshape(channels, -1, BLOCK)


def _twos(weights: Array) -> tuple[Array, Array]:
    """Places within every four inputs and weights of the two that are kept: (channels, 2 * quads) each.

    What is not zero first, in order; then zeros from the quad's beginning, which lies within the depth.
    """
    quads = _quads(weights)
    order = np.argsort(quads == 0, axis=2, kind="stable")[..., :2]
    places = np.sort(order, axis=2)
    chosen = np.take_along_axis(quads, places, axis=2)
    return places.reshape(len(weights), -1), chosen.reshape(len(weights), -1)


def blocks(weights: Array, values: Values) -> Packed | None:
    """A bit for every four inputs, and the four weights of blocks that are not zero throughout."""
    channels, depth = weights.shape
    if depth % BLOCK or values.bits not in (2, 4, 8) or not values.zero:
        return None
    used = (weights.reshape(channels, -1, BLOCK) != 0).any(axis=2)
    parts: list[Bytes] = []
    for row, fields in zip(used, values.fields.reshape(channels, -1, BLOCK), strict=True):
        parts += [np.packbits(row, bitorder="little"), _bits(fields[row].reshape(-1), values.bits)]
    return _packed(Layout("blocks", values.bits, values.table is not None), parts, values)


def coded(weights: Array) -> Packed:
    """Every weight a symbol."""
    model = rans.fit(_symbols(weights))
    code = rans.encode(_symbols(weights), [model])
    layout = Layout("all", codebook=False, coded_values=True)
    return Packed(layout, _padded([]), None, code=code, values=model)


def coded_gaps(weights: Array, values: Values | None) -> Packed | None:
    """As `gaps`, with gaps as symbols, and weights too where no `values` are given."""
    places = [_bridged(np.flatnonzero(row), 8) for row in weights]
    bridged = sum(map(len, places)) > np.count_nonzero(weights)
    width = _count_bytes(np.array([len(p) for p in places]))
    if width == 0 or (values is not None and bridged and not values.zero):
        return None
    steps = np.concatenate([np.diff(p, prepend=-1) - 1 for p in places]).astype(np.uint8)
    model = rans.fit(steps)
    counts = [np.frombuffer(len(p).to_bytes(width, "little"), np.uint8) for p in places]
    if values is None:
        chosen = _symbols(np.concatenate([row[p] for row, p in zip(weights, places, strict=True)]))
        other = rans.fit(chosen)
        both = np.stack([steps, chosen], axis=1).reshape(-1)
        code = rans.encode(both, [model, other], np.tile([0, 1], len(steps)))
        layout = Layout("gaps", 8, count_bytes=width, coded_positions=True, coded_values=True)
        return Packed(layout, _padded(counts), None, code=code, gaps=model, values=other)
    fields = [_bits(row[p], values.bits) for row, p in zip(values.fields, places, strict=True)]
    parts = [part for pair in zip(counts, fields, strict=True) for part in pair]
    layout = Layout("gaps", values.bits, values.table is not None, count_bytes=width, coded_positions=True)
    code = rans.encode(steps, [model])
    return Packed(layout, _padded(parts), values.table, values.table_step, code, model)


def coded_values(weights: Array, packed: Packed) -> Packed:
    """A bitmap's, a block's or 2:4's weights, `packed` with plain values, as symbols."""
    if packed.layout.positions == "two_of_four":
        places, chosen = _twos(weights)
        parts = [_bits(row, 2) for row in places]
    elif packed.layout.positions == "blocks":
        grouped = weights.reshape(len(weights), -1, BLOCK)
        used = (grouped != 0).any(axis=2)
        parts, chosen = [np.packbits(row, bitorder="little") for row in used], grouped[used]
    else:
        parts, chosen = [np.packbits(row != 0, bitorder="little") for row in weights], weights[weights != 0]
    model = rans.fit(_symbols(chosen))
    layout = replace(packed.layout, coded_values=True)
    return Packed(layout, _padded(parts), None, code=rans.encode(_symbols(chosen), [model]), values=model)


def exactly(weights: Array, layout: Layout) -> Iterator[Packed]:
    """The ways to store weights in a given layout; none where they do not go into it."""
    for values in _stand_ins(weights, layout):
        packed = _laid(weights, values, layout)
        if packed is not None and packed.layout == layout:
            yield packed


def _stand_ins(weights: Array, layout: Layout) -> Iterator[Values]:
    if not layout.codebook:
        narrow = plain(weights) if layout.value_bits == 8 else signed(weights, layout.value_bits)
        yield from [] if narrow is None else [narrow]
        return
    for per_channel in (False, True):
        for zero in (False, True):
            book = codebook(weights, zero=zero, per_channel=per_channel)
            if book is not None and book.bits <= layout.value_bits:
                yield widened(book, layout.value_bits)


def _laid(weights: Array, values: Values, layout: Layout) -> Packed | None:
    if layout.positions == "all":
        if layout.coded_values:
            return coded(weights)
        return everything(values) if values.zero or (weights != 0).all() else None
    if layout.positions == "gaps":
        if layout.coded_positions:
            return coded_gaps(weights, None if layout.coded_values else values)
        return gaps(weights, values, bits=layout.position_bits)
    pack = {"bitmap": bitmap, "two_of_four": two_of_four, "blocks": blocks}[layout.positions]
    packed = pack(weights, values)
    return packed if packed is None or not layout.coded_values else coded_values(weights, packed)


def _symbols(weights: Array) -> Bytes:
    return weights.reshape(-1).astype(np.int8).view(np.uint8)


def _packed(layout: Layout, parts: Sequence[Bytes], values: Values) -> Packed:
    return Packed(layout, _padded(parts), values.table, values.table_step)


def _padded(parts: Sequence[Bytes]) -> Bytes:
    pad = np.zeros(PAD, np.uint8)
    return np.concatenate([pad, *parts, pad])


def _bits(fields: Array, bits: int) -> Bytes:
    """Fields one after the other, lowest bits first, in whole bytes."""
    spread = (fields[:, None] >> np.arange(bits)) & 1
    return np.packbits(spread.astype(np.uint8).reshape(-1), bitorder="little")


def _upper_end(fields: Array, bits: int) -> Bytes:
    """Fewer than eight fields as the upper end of a group, without the bytes that they leave empty."""
    group = np.concatenate([np.zeros(GROUP - len(fields), np.int64), fields])
    return _bits(group, bits)[bits - -(-len(fields) * bits // 8) :]


def _groups(fields: Array, bits: int) -> Bytes:
    """Fields in groups of eight, the incomplete one first."""
    first = len(fields) % GROUP
    whole = _bits(fields[first:], bits)
    return np.concatenate([_upper_end(fields[:first], bits), whole]) if first else whole


def _interleaved(positions: Array, position_bits: int, values: Array, value_bits: int) -> Bytes:
    """Groups of eight positions, each followed by its eight values; the incomplete groups first."""
    first = len(values) % GROUP
    parts = [_upper_end(positions[:first], position_bits), _upper_end(values[:first], value_bits)] if first else []
    where = _bits(positions[first:], position_bits).reshape(-1, position_bits)
    what = _bits(values[first:], value_bits).reshape(-1, value_bits)
    return np.concatenate([*parts, np.concatenate([where, what], axis=1).reshape(-1)]).astype(np.uint8)


def _bridges(places: Array, bits: int) -> Array:
    """How many weights of zero bridge the gap before each place."""
    return (np.diff(places, prepend=-1) - 1) >> bits


def _bridged(places: Array, bits: int) -> Array:
    """The places, and those of the zeros that bridge gaps: each skips as many inputs as a field can say."""
    extra = _bridges(places, bits)
    before = np.diff(places, prepend=-1)
    bridges = [
        place - step + (np.arange(n) + 1) * (1 << bits)
        for place, step, n in zip(places[extra > 0], before[extra > 0], extra[extra > 0], strict=True)
    ]
    return np.sort(np.concatenate([places, *bridges])).astype(np.int64)


def _count_bytes(counts: Array) -> int:
    """Bytes of a channel's count; 0: too many."""
    most = counts.max(initial=0)
    return 1 if most < 1 << 8 else 2 if most < 1 << 15 else 0
