"""Bits and small numbers as bytes: what the codes are written with. Most significant bit first."""

from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.unsignedinteger[Any]]
Ints = npt.NDArray[np.int64]


def varint(number: int) -> bytes:
    """A number from 0 up, seven bits a byte, the lowest first; the top bit says that more follow (LEB128)."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def width(count: int) -> int:
    """Bits that tell `count` things apart; 0 for a single one."""
    return max(0, count - 1).bit_length()


def fixed_size(count: int, bits: int) -> int:
    """Bytes of `count` numbers of so many bits each."""
    return (count * bits + 7) // 8


def pack_fixed(values: npt.NDArray[Any], bits: int) -> bytes:
    """Numbers from 0 up, `bits` (0 to 63) bits each, without gaps."""
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    return np.packbits((values.astype(np.uint64)[:, np.newaxis] >> shifts & np.uint64(1)).astype(np.uint8)).tobytes()


def unpack_fixed(data: bytes, bits: int, count: int) -> Ints:
    """What `pack_fixed` wrote."""
    if not bits:
        return np.zeros(count, np.int64)
    flat = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits).reshape(count, bits)
    return flat @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))


class Reader:
    """Reads a byte string from the front; raises ValueError where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError(f"the packed bytes end early: {count} bytes at offset {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        """The next byte as a number."""
        return self.take(1)[0]

    def varint(self) -> int:
        """The next number that `varint` wrote, below 2**35."""
        number = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise ValueError(f"a number of more than five bytes at offset {self.at}")
