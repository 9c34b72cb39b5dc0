"""The ways to store a layer's weights: dense int8 as the kernels have it, and coded streams.

A coded layer is another layer for the same operator, exact to the bit, whose kernel is made for its format; see
firmware/lib/kernels/include/kernels/coded.h.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from convert.compiled import overlap
from convert.compiled.formats import packing
from convert.compiled.formats.packing import Packed, Values
from convert.compiled.layer import Array, Constant, Layer, Value, constants_of

DENSE = "dense"
LEAN = "lean"
TILE = 4  # KERNELS_CODED_TILE
_FAST_SHIFT = -2  # see kernels_coded_format.right

_Pack = Callable[[Array, Values], Packed | None]
# Of weights, and what may stand for them where those of zero have no place: `_values`.
_Variants = Callable[[Array, Sequence[Values]], Iterator[Packed | None]]


@dataclass(frozen=True)
class Option:
    """A way to store a layer's weights."""

    format: str  # a name of FORMATS, or LEAN
    layer: Layer


def _int4(weights: Array, _: Sequence[Values]) -> Iterator[Packed | None]:
    yield _with(packing.everything, packing.signed(weights, 4))


def _int2(weights: Array, _: Sequence[Values]) -> Iterator[Packed | None]:
    yield _with(packing.everything, packing.signed(weights, 2))


def _codebook(weights: Array, _: Sequence[Values]) -> Iterator[Packed | None]:
    for per_channel in (False, True):
        yield _with(packing.everything, packing.codebook(weights, zero=True, per_channel=per_channel))


def _values(weights: Array) -> Iterator[Values]:
    """What may stand for weights where those of zero have no place."""
    yield packing.plain(weights)
    narrow = [packing.signed(weights, bits) for bits in (2, 4)]
    books = [
        packing.codebook(weights, zero=zero, per_channel=per_channel)
        for per_channel in (False, True)
        for zero in (False, True)
    ]
    yield from (values for values in (*narrow, *books) if values is not None)


def _gaps(weights: Array, given: Sequence[Values]) -> Iterator[Packed | None]:
    for values in given:
        yield packing.gaps(weights, values)


def _wide_gaps(weights: Array, given: Sequence[Values]) -> Iterator[Packed | None]:
    for values in given:
        yield packing.gaps(weights, values, extra_bits=1)


def _byte_gaps(weights: Array, given: Sequence[Values]) -> Iterator[Packed | None]:
    for values in given:
        yield packing.gaps(weights, values, bits=8)


def _bitmap(weights: Array, given: Sequence[Values]) -> Iterator[Packed | None]:
    for values in given:
        yield packing.bitmap(weights, values)


def _two_of_four(weights: Array, given: Sequence[Values]) -> Iterator[Packed | None]:
    for values in given:
        yield packing.two_of_four(weights, values)


def _blocks(weights: Array, given: Sequence[Values]) -> Iterator[Packed | None]:
    for values in given:
        # Fields of blocks do not straddle bytes.
        bits = next(b for b in (2, 4, 8) if b >= values.bits)
        yield packing.blocks(weights, values if bits == values.bits else packing.widened(values, bits))


def _rans(weights: Array, _: Sequence[Values]) -> Iterator[Packed | None]:
    yield packing.coded(weights)


def _rans_gaps_values(weights: Array, _: Sequence[Values]) -> Iterator[Packed | None]:
    yield packing.coded_gaps(weights, None)


def _rans_gaps(weights: Array, given: Sequence[Values]) -> Iterator[Packed | None]:
    for values in given:
        yield packing.coded_gaps(weights, values)


def _rans_values(pack: _Pack) -> _Variants:
    def packed(weights: Array, _: Sequence[Values]) -> Iterator[Packed | None]:
        found = pack(weights, packing.plain(weights))
        yield None if found is None else packing.coded_values(weights, found)

    return packed


def _with(pack: Callable[[Values], Packed], values: Values | None) -> Packed | None:
    return None if values is None else pack(values)


# What --compress takes: each name's function gives the variants among which the smallest is that format. Those with
# rANS are the same with an entropy coder; weights of int4, int2 or a codebook are symbols of "rans" like any others.
FORMATS: Mapping[str, _Variants] = {
    "int4": _int4,
    "int2": _int2,
    "codebook": _codebook,
    "gaps": _gaps,
    "wide_gaps": _wide_gaps,
    "byte_gaps": _byte_gaps,
    "bitmap": _bitmap,
    "two_of_four": _two_of_four,
    "blocks": _blocks,
    "rans": _rans,
    "rans_gaps": _rans_gaps,
    "rans_gaps_values": _rans_gaps_values,
    "rans_bitmap": _rans_values(packing.bitmap),
    "rans_two_of_four": _rans_values(packing.two_of_four),
    "rans_blocks": _rans_values(packing.blocks),
}


def options(layer: Layer, *, wide: bool, names: Collection[str] = tuple(FORMATS)) -> list[Option]:
    """The formats, of `names`, that hold a portable layer's weights, each in its smallest variant.

    `layer` is what the lowering gave: kernels_matmul_s8, or kernels_conv_s8 without groups; others have none. With
    `wide`, tiles of pixels hold int16, which is faster where the processor multiplies halfwords.
    """
    weights = _weights(layer)
    if weights is None:
        return []
    smallest = {name: min(found, key=lambda p: p.nbytes) for name, found in variants(weights, names) if found}
    return [Option(name, _coded(layer, weights.shape, packed, wide)) for name, packed in smallest.items()]


def variants(weights: Array, names: Collection[str] = tuple(FORMATS)) -> Iterator[tuple[str, list[Packed]]]:
    """Each format of `names`, in the order of FORMATS, with the variants that hold int8[channels, depth] weights."""
    given = tuple(_values(weights))
    for name in (known for known in FORMATS if known in names):
        yield name, [packed for packed in FORMATS[name](weights, given) if packed is not None]


def as_kernel(layer: Layer, kernel: str, *, wide: bool) -> Layer | None:
    """A portable layer with weights in the format of a coded kernel; None where they cannot be stored so."""
    weights = _weights(layer)
    if weights is None or not kernel.startswith(("coded_", INT4)):
        return None
    layout = _INT4 if kernel.startswith(INT4) else _layout(kernel)
    found = [_coded(layer, weights.shape, packed, wide) for packed in packing.exactly(weights, layout)]
    return min((coded for coded in found if coded.kernel == kernel), key=stored, default=None)


def _layout(kernel: str) -> packing.Layout:
    """The layout that a kernel's name says; see `_coded`."""
    _, _, *positions, count, position_bits, value_bits, codebook, gaps, values, _wide, _right = kernel.split("_")
    name = next(known for known in _POSITIONS if known == "_".join(positions))
    flags = [bool(int(flag)) for flag in (codebook, gaps, values)]
    return packing.Layout(name, int(value_bits), flags[0], int(position_bits), int(count), *flags[1:])


def lean(dense: Layer, kernels: Sequence[Layer]) -> list[Option]:
    """The kernel of `kernels` whose constants take the fewest bytes, where that is not the one of `dense`.

    Fast kernels hold weights as they read them, some in 16 bits, with several words a channel. What needs more scratch
    memory is left out: flash must not be bought with RAM.
    """
    allowed = [layer for layer in kernels if layer.scratch_bytes <= dense.scratch_bytes]
    least = min(allowed, key=stored, default=dense)
    return [Option(LEAN, least)] if stored(least) < stored(dense) else []


def _weights(layer: Layer) -> Array | None:
    """Weights (channels, depth) of a layer that has coded kernels."""
    grouped = layer.kernel == "kernels_conv_s8" and layer.params["groups"] != 1
    if layer.kernel not in ("kernels_matmul_s8", "kernels_conv_s8") or grouped:
        return None
    weights = layer.params["weights"]
    assert isinstance(weights, Constant)
    return weights.values.reshape(len(weights.values), -1)


_INT4 = packing.Layout("all", 4)  # which the Cortex-M4 has kernels for: cortex_m4/int4.h
INT4 = "kernels_m4_int4_"
_KINDS = {"kernels_matmul_s8": "matmul", "kernels_conv_s8": "conv"}
_NAMES: tuple[packing.Positions, ...] = ("all", "gaps", "bitmap", "two_of_four", "blocks")
_POSITIONS: Mapping[packing.Positions, str] = {name: f"KERNELS_CODED_{name.upper()}" for name in _NAMES}


def _coded(layer: Layer, shape: tuple[int, int], packed: Packed, wide: bool) -> Layer:
    stage = layer.params["stage"]
    assert isinstance(stage, Mapping)
    shift = stage["shift"]
    assert isinstance(shift, Constant)
    at = packed.layout
    right = int((shift.values <= _FAST_SHIFT).all())
    single = layer.kernel == "kernels_matmul_s8" and layer.params["rows"] == 1
    kind = "row" if single else _KINDS[layer.kernel or ""]
    numbers = [
        at.count_bytes,
        at.position_bits,
        at.value_bits,
        int(at.codebook),
        int(at.coded_positions),
        int(at.coded_values),
        int(wide and not single),
        right,
    ]
    kernel = "_".join(["coded", kind, at.positions, *map(str, numbers)])
    arguments = ", ".join([kernel, _POSITIONS[at.positions], *map(str, numbers)])
    definition = f"KERNELS_CODED_{kind.upper()}({arguments})"
    scratch = 0 if single else TILE * shape[1] << wide
    if wide and packed.layout == _INT4:
        kernel, definition = f"{INT4}{kind}_s8", ""
        scratch = (1 if single else TILE) * 16 * -(-shape[1] // 8) + (-(-shape[1] // 4) * 4 if kind == "conv" else 0)
    return _layer(layer, shape, packed, kernel, definition, scratch)


def _layer(
    layer: Layer, shape: tuple[int, int], packed: Packed, kernel: str, definition: str, scratch_bytes: int
) -> Layer:
    channels, depth = shape
    at = packed.layout
    weights: dict[str, Value] = {"depth": depth, "channels": channels}
    if packed.stream.size > 2 * packing.PAD:
        weights["stream"] = Constant("stream", packed.stream, f"{at.positions}, {at.value_bits} bits a value")
    if packed.table is not None:
        table = Constant("codebook", packed.table, "[channel][entry]" if packed.table_step else "[entry]")
        weights |= {"table": table, "table_step": packed.table_step}
    if packed.code is not None:
        weights["code"] = Constant("code", packed.code, "rANS")
    for name, model in (("gaps", packed.gaps), ("values", packed.values)):
        if model is not None:
            weights[name] = {
                **{key: Constant(f"{name}_{key}", array, "rANS") for key, array in model.tables.items()},
                "shift": model.shift,
            }
    weights["stage"] = layer.params["stage"]
    constants = tuple(constants_of(weights))
    coded = replace(
        layer, kernel=kernel, definition=definition, constants=constants, overlaps=(), scratch_bytes=scratch_bytes
    )
    if layer.kernel == "kernels_conv_s8":
        window, pixel = layer.params["window"], layer.params["input_channels"]
        assert isinstance(window, Mapping)
        assert isinstance(pixel, int)
        names = ("window", "input_channels", "input_zero_point")
        params = {name: layer.params[name] for name in names} | {"weights": weights}
        coded = replace(coded, params=params, params_type="kernels_coded_conv_params")
        return overlap.overlapping(coded, overlap.windowed(window, pixel, channels, block=TILE))
    rows = layer.params["rows"]
    assert isinstance(rows, int)
    coded = replace(coded, params={"rows": rows, "weights": weights}, params_type="kernels_coded_matmul_params")
    if not scratch_bytes:
        return overlap.overlapping(coded, overlap.rows(1, depth, channels, store=1))
    return overlap.overlapping(coded, overlap.rows(rows, depth, channels, block=TILE))


def is_coded(layer: Layer) -> bool:
    """Whether a layer's kernel decodes weights."""
    return bool(layer.definition) or (layer.kernel or "").startswith(INT4)


def stored(layer: Layer) -> int:
    """Bytes of flash that a layer's constants take, the alignment of wide weights left out."""
    return int(np.sum([c.values.nbytes for c in layer.constants]))
