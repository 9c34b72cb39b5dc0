"""How a matrix of int8 with zeros is stored: all values, or those that are not zero and a bitmap of their places.

Rows follow each other without gaps within a group, and a group (the rows that belong to one node) starts at a whole
byte of the bitmap; `starts` says with which value. A bitmap takes one bit a place, which is near the entropy of the
places between one fifth and four fifths of zeros; where dense storage is smaller, that is taken.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Coded:
    """A coded matrix; `bitmap` is empty where it is stored dense."""

    values: Int8
    bitmap: Bytes  # the first place of a group is the lowest bit of its first byte
    starts: npt.NDArray[np.uint16]  # of each group: its first value

    @property
    def sparse(self) -> bool:
        """Whether a bitmap says where the values belong."""
        return bool(self.bitmap.size)

    @property
    def nbytes(self) -> int:
        """Bytes in flash; the starts of dense groups and of a single one are known without being stored."""
        starts = self.starts.nbytes if self.sparse and len(self.starts) > 1 else 0
        return self.values.nbytes + self.bitmap.nbytes + starts


def encode(groups: Sequence[Int8]) -> Coded:
    """Code groups of places, each of shape (places,), in whatever way is smaller."""
    flat = [np.asarray(g, np.int8).reshape(-1) for g in groups]
    dense = np.concatenate([*flat, np.zeros(0, np.int8)])
    packed = Coded(
        np.concatenate([*(g[g != 0] for g in flat), np.zeros(0, np.int8)]),
        np.concatenate([*(np.packbits(g != 0, bitorder="little") for g in flat), np.zeros(0, np.uint8)]),
        _starts([int(np.count_nonzero(g)) for g in flat]),
    )
    return packed if packed.nbytes < dense.nbytes else Coded(dense, packed.bitmap[:0], _starts([len(g) for g in flat]))


def decode(values: Int8, bitmap: Bytes, sizes: Sequence[int]) -> list[Int8]:
    """The groups, of `sizes` places each, that `encode` coded. Raises ValueError where the parts do not fit."""
    if not bitmap.size:
        if len(values) != sum(sizes):
            raise ValueError(f"{len(values)} values for {sum(sizes)} places")
        return np.split(values, np.cumsum(sizes)[:-1])
    found, byte, value = [], 0, 0
    for size in sizes:
        length = (size + 7) // 8
        bits = np.unpackbits(bitmap[byte : byte + length], bitorder="little").astype(bool)
        count = int(bits[:size].sum())
        if len(bits) != 8 * length or bits[size:].any() or value + count > len(values):
            raise ValueError("the bitmap does not fit the values")
        group = np.zeros(size, np.int8)
        group[bits[:size]] = values[value : value + count]
        found.append(group)
        byte, value = byte + length, value + count
    if (byte, value) != (len(bitmap), len(values)):
        raise ValueError("the bitmap does not fit the values")
    return found


def _starts(counts: Sequence[int]) -> npt.NDArray[np.uint16]:
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.uint16)


class Reader:
    """Takes the arrays of a model's file one after the other; ValueError where the bytes end too early or too late."""

    def __init__(self, data: bytes, offset: int) -> None:
        self.data, self.offset = data, offset

    def take(self, count: int, dtype: str) -> np.ndarray:
        """The next `count` numbers."""
        array = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += array.nbytes
        return array

    def groups(self, count: int, sparse: int, sizes: Sequence[int]) -> list[Int8]:
        """Groups of the given sizes from the next `count` values, with a bitmap before them where `sparse` is not 0."""
        bitmap = self.take(sum((size + 7) // 8 for size in sizes) if sparse else 0, "u1")
        return decode(self.take(count, "i1"), bitmap, sizes)

    def end(self) -> None:
        """Raise ValueError where something is left."""
        if self.offset != len(self.data):
            raise ValueError(f"{len(self.data) - self.offset} bytes too many")


def body(parts: Iterable[Coded]) -> bytes:
    """What `Reader.groups` reads, part after part."""
    return b"".join(array.tobytes() for part in parts for array in (part.bitmap, part.values))
