"""The ways to store a layer's weights: dense int8 as the kernels have it, and coded streams.

A coded layer is another layer for the same operator, exact to the bit, whose kernel is made for its format; see
firmware/lib/kernels/include/kernels/coded.h.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from convert.compiled import overlap
from convert.compiled.formats import packing
from convert.compiled.formats.packing import Packed, Values
from convert.compiled.layer import Array, Constant, Layer, Value

DENSE = "dense"
TILE = 4  # KERNELS_CODED_TILE
_FAST_SHIFT = -2  # see kernels_coded_format.right

_Pack = Callable[[Array, Values], Packed | None]


@dataclass(frozen=True)
class Option:
    """A way to store a layer's weights."""

    format: str  # a name of FORMATS, or DENSE
    layer: Layer


def _everything(_weights: Array, values: Values) -> Packed:
    return packing.everything(values)


def _int4(weights: Array) -> Iterator[Packed | None]:
    yield _if(_everything, weights, packing.signed(weights, 4))


def _int2(weights: Array) -> Iterator[Packed | None]:
    yield _if(_everything, weights, packing.signed(weights, 2))


def _codebook(weights: Array) -> Iterator[Packed | None]:
    for per_channel in (False, True):
        yield _if(_everything, weights, packing.codebook(weights, zero=True, per_channel=per_channel))


def _sparse(pack: _Pack) -> Callable[[Array], Iterator[Packed | None]]:
    def packed(weights: Array) -> Iterator[Packed | None]:
        for bits in (2, 4):
            yield _if(pack, weights, packing.signed(weights, bits))
        yield pack(weights, packing.plain(weights))
        for per_channel in (False, True):
            for zero in (False, True):
                yield _if(pack, weights, packing.codebook(weights, zero=zero, per_channel=per_channel))

    return packed


def _blocks(weights: Array) -> Iterator[Packed | None]:
    yield from _sparse(packing.blocks)(weights)
    book = packing.codebook(weights, zero=True, per_channel=False)
    if book is not None and book.bits == 3:
        yield packing.blocks(weights, packing.widened(book, 4))


def _if(pack: _Pack, weights: Array, values: Values | None) -> Packed | None:
    return None if values is None else pack(weights, values)


# What --compress takes: each name's function gives the variants among which the smallest is that format.
FORMATS: Mapping[str, Callable[[Array], Iterator[Packed | None]]] = {
    "int4": _int4,
    "int2": _int2,
    "codebook": _codebook,
    "gaps": _sparse(packing.gaps),
    "bitmap": _sparse(packing.bitmap),
    "two_of_four": _sparse(packing.two_of_four),
    "blocks": _blocks,
}


def options(layer: Layer) -> list[Option]:
    """The formats that hold a portable layer's weights, each in its smallest variant; none for other operators.

    `layer` is what the lowering gave: kernels_matmul_s8, or kernels_conv_s8 without groups.
    """
    weights = _weights(layer)
    if weights is None:
        return []
    found = []
    for name, variants in FORMATS.items():
        packed = [p for p in variants(weights) if p is not None]
        if packed:
            found.append(Option(name, _coded(layer, weights.shape, min(packed, key=lambda p: p.nbytes))))
    return found


def _weights(layer: Layer) -> Array | None:
    """Weights (channels, depth) of a layer that has coded kernels."""
    grouped = layer.kernel == "kernels_conv_s8" and layer.params["groups"] != 1
    if layer.kernel not in ("kernels_matmul_s8", "kernels_conv_s8") or grouped:
        return None
    weights = layer.params["weights"]
    assert isinstance(weights, Constant)
    return weights.values.reshape(len(weights.values), -1)


_KINDS = {"kernels_matmul_s8": "matmul", "kernels_conv_s8": "conv"}
_POSITIONS = {name: f"KERNELS_CODED_{name.upper()}" for name in ("all", "gaps", "bitmap", "two_of_four", "blocks")}


def _coded(layer: Layer, shape: tuple[int, int], packed: Packed) -> Layer:
    stage = layer.params["stage"]
    assert isinstance(stage, Mapping)
    shift = stage["shift"]
    assert isinstance(shift, Constant)
    at = packed.layout
    right = int((shift.values <= _FAST_SHIFT).all())
    single = layer.kernel == "kernels_matmul_s8" and layer.params["rows"] == 1
    kind = "row" if single else _KINDS[layer.kernel or ""]
    bits = f"{at.position_bits}" if at.positions == "gaps" else ""
    count = f"_{at.count_bytes}" if at.positions == "gaps" else ""
    values = f"codebook{at.value_bits}" if at.codebook else f"int{at.value_bits}"
    kernel = f"coded_{kind}_{at.positions}{bits}_{values}{count}{'' if right else '_left'}"
    numbers = [at.count_bytes, at.position_bits, at.value_bits, int(at.codebook), right]
    arguments = ", ".join([kernel, _POSITIONS[at.positions], *map(str, numbers)])
    return _layer(layer, shape, packed, kernel, f"KERNELS_CODED_{kind.upper()}({arguments})")


def _layer(layer: Layer, shape: tuple[int, int], packed: Packed, kernel: str, definition: str) -> Layer:
    channels, depth = shape
    stream = Constant("stream", packed.stream, f"coded: {packed.layout.positions}, {packed.layout.value_bits} bits")
    table = None if packed.table is None else Constant("codebook", packed.table, "[channel][entry]")
    weights: dict[str, Value] = {"depth": depth, "channels": channels, "stream": stream}
    if table is not None:
        weights |= {"table": table, "table_step": packed.table_step}
    weights["stage"] = layer.params["stage"]
    kept = tuple(c for c in layer.constants if c.role != "weights")
    constants = (stream, *(() if table is None else (table,)), *kept)
    coded = replace(layer, kernel=kernel, definition=definition, constants=constants, overlaps=(), scratch_bytes=0)
    if layer.kernel == "kernels_conv_s8":
        window, pixel = layer.params["window"], layer.params["input_channels"]
        assert isinstance(window, Mapping)
        assert isinstance(pixel, int)
        names = ("window", "input_channels", "input_zero_point")
        params = {name: layer.params[name] for name in names} | {"weights": weights}
        coded = replace(coded, params=params, params_type="kernels_coded_conv_params", scratch_bytes=TILE * depth)
        return overlap.overlapping(coded, overlap.windowed(window, pixel, channels, block=TILE))
    rows = layer.params["rows"]
    assert isinstance(rows, int)
    coded = replace(coded, params={"rows": rows, "weights": weights}, params_type="kernels_coded_matmul_params")
    if rows == 1:
        return overlap.overlapping(coded, overlap.rows(1, depth, channels, store=1))
    coded = replace(coded, scratch_bytes=TILE * depth)
    return overlap.overlapping(coded, overlap.rows(rows, depth, channels, block=TILE))


def stored(layer: Layer) -> int:
    """Bytes of flash that a layer's constants take, the alignment of wide weights left out."""
    return int(np.sum([c.values.nbytes for c in layer.constants]))
