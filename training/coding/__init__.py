"""Weights as the fewest bytes, without loss: what a compressed model takes where it is stored or sent.

Everything that is needed to get the weights back is in the bytes and counts: names, shapes, codebooks, Huffman tables,
biases, a checksum. The layout:

    "TW" 1, number of tensors, then for each tensor: name, type, axes, order and codes, positions, values; CRC-32
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from training.coding.bits import Ints, Reader, varint
from training.coding.models import keras_tensors
from training.coding.tensors import Piece, positions, read_positions, read_values, values

__all__ = ["Coded", "keras_tensors", "measure", "pack", "packed_size", "unpack"]

Array = npt.NDArray[Any]

MAGIC = b"TW\1"
TYPES = ("float32", "float16", "int8", "uint8", "int16", "int32")
MOST = 1 << 26  # elements of a tensor
_DENSE = 31  # code of the positions of a tensor that has a value everywhere
_TURNED = 32  # flag: the last axis comes first


@dataclass(frozen=True)
class Coded:
    """What a tensor's code is, and the bytes that it takes."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    weights: int
    nonzeros: int
    coded: int  # values that are stored: all, or those that are not zero
    positions: str  # code of the positions
    values: str  # code of the values
    header_bytes: int
    position_bytes: int  # with their Huffman table
    codebook_bytes: int
    value_bytes: int  # indices with their Huffman table, or plain numbers

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.header_bytes + self.position_bytes + self.codebook_bytes + self.value_bytes

    @property
    def position_bits(self) -> float:
        """Bits that say where a stored value lies."""
        return 8 * self.position_bytes / max(1, self.coded)

    @property
    def value_bits(self) -> float:
        """Bits that say which value it is, without the codebook."""
        return 8 * self.value_bytes / max(1, self.coded)


@dataclass(frozen=True)
class _Plan:
    header: bytes
    where: Piece | None
    what: Piece
    coded: int

    @property
    def size(self) -> int:
        return len(self.header) + (self.where.size if self.where else 0) + self.what.size


def pack(tensors: Mapping[str, Array], entropy: bool = True) -> bytes:
    """Tensors by name as bytes; with `entropy`, Huffman codes are among the choices.

    Raises ValueError for a type or size that there is no code for.
    """
    body = MAGIC + varint(len(tensors))
    for name, tensor in tensors.items():
        plan = _plan(name, tensor, entropy)
        body += plan.header + (plan.where.make() if plan.where else b"") + plan.what.make()
    return body + zlib.crc32(body).to_bytes(4, "little")


def unpack(data: bytes) -> dict[str, Array]:
    """What `pack` wrote, bit by bit; raises ValueError where the bytes are damaged or were not written by it."""
    body = data[:-4]
    if data[: len(MAGIC)] != MAGIC or len(data) < len(MAGIC) + 5:
        raise ValueError("these bytes are not packed weights")
    if zlib.crc32(body).to_bytes(4, "little") != data[-4:]:
        raise ValueError("the packed weights are damaged: their checksum differs")
    reader = Reader(body)
    reader.take(len(MAGIC))
    found = {}
    for _ in range(reader.varint()):
        name, tensor = _read(reader)
        found[name] = tensor
    if reader.at != len(body):
        raise ValueError(f"{len(body) - reader.at} bytes are left over after the last tensor")
    return found


def packed_size(tensors: Mapping[str, Array], entropy: bool = True) -> int:
    """Bytes that `pack` would give."""
    plans = [_plan(name, tensor, entropy) for name, tensor in tensors.items()]
    return len(MAGIC) + len(varint(len(plans))) + sum(plan.size for plan in plans) + 4


def measure(tensors: Mapping[str, Array], entropy: bool = True) -> list[Coded]:
    """How each tensor is coded; the sizes are those in `pack`, which has eight bytes or a little more of its own."""
    found = []
    for name, tensor in tensors.items():
        plan = _plan(name, tensor, entropy)
        coded = Coded(
            name=name,
            shape=tensor.shape,
            dtype=tensor.dtype.name,
            weights=tensor.size,
            nonzeros=int(np.count_nonzero(tensor)),
            coded=plan.coded,
            positions=plan.where.label if plan.where else "dense",
            values=plan.what.label,
            header_bytes=len(plan.header),
            position_bytes=plan.where.size if plan.where else 0,
            codebook_bytes=plan.what.codebook,
            value_bytes=plan.what.size - plan.what.codebook,
        )
        found.append(coded)
    return found


def _plan(name: str, tensor: Array, entropy: bool) -> _Plan:
    """The smallest way to write a tensor."""
    if tensor.dtype.name not in TYPES or tensor.size > MOST:
        raise ValueError(f"{name} is {tensor.dtype.name} {tensor.shape}; up to {MOST} of {', '.join(TYPES)} are coded")
    title = name.encode()
    kind = TYPES.index(tensor.dtype.name)
    head = varint(len(title)) + title + bytes([kind, tensor.ndim]) + b"".join(map(varint, tensor.shape))
    little = tensor.dtype.newbyteorder("<")
    words = np.ascontiguousarray(tensor.astype(little, copy=False)).view(f"<u{tensor.itemsize}")
    channel_count = tensor.shape[-1] if tensor.ndim > 1 else 1
    plans = []
    for turned, sparse in product((False, True) if tensor.ndim > 1 and tensor.size else (False,), (False, True)):
        flat = (np.moveaxis(words, -1, 0) if turned else words).ravel()
        chosen = np.flatnonzero(flat) if sparse else np.arange(flat.size)
        if (turned and not sparse) or (sparse and len(chosen) == flat.size > 0):
            continue
        where = positions(chosen, flat.size, entropy) if sparse else None
        what = values(flat[chosen], _channels(chosen, tensor.shape, turned), channel_count, entropy)
        codes = bytes([(where.code if where else _DENSE) | _TURNED * turned, what.code])
        plans.append(_Plan(head + codes, where, what, len(chosen)))
    return min(plans, key=lambda plan: plan.size)


def _channels(places: Ints, shape: tuple[int, ...], turned: bool) -> Ints:
    """Output channel of each place in the order that is written."""
    if len(shape) < 2 or not len(places):
        return np.zeros(len(places), np.int64)
    return places // (int(np.prod(shape)) // shape[-1]) if turned else places % shape[-1]


def _read(reader: Reader) -> tuple[str, Array]:
    """The next tensor and its name."""
    title = reader.take(reader.varint())
    kind, axes = reader.byte(), reader.byte()
    shape = tuple(reader.varint() for _ in range(axes))
    size = 1
    for extent in shape:
        size *= extent
    if kind >= len(TYPES) or size > MOST or axes > 32:
        raise ValueError(f"a tensor of an unknown type, {kind}, or of {size} elements on {axes} axes")
    where, what = reader.byte(), reader.byte()
    turned, code = bool(where & _TURNED), where & ~_TURNED
    if turned and axes < 2:
        raise ValueError("a tensor of one axis cannot be turned")
    places = np.arange(size) if code == _DENSE else read_positions(reader, code, size)
    dtype = np.dtype(TYPES[kind]).newbyteorder("<")
    channels = _channels(places, shape, turned)
    flat = np.zeros(size, f"<u{dtype.itemsize}")
    flat[places] = read_values(reader, what, flat.dtype, channels, shape[-1] if axes > 1 else 1)
    if turned:
        flat = np.moveaxis(flat.reshape(shape[-1], *shape[:-1]), 0, -1).ravel()
    return title.decode(errors="strict"), flat.view(dtype).reshape(shape).astype(TYPES[kind], copy=False)
