"""One tensor as bytes: where its non-zero values lie, and which they are, each in the smallest of several codes.

After Han, Mao and Dally, "Deep Compression", 2016. Positions are distances: a symbol of k bits below 2^k - 1 is the
number of zeros before the next value, and 2^k - 1 stands for so many zeros without a value after them (the paper puts a
value of zero there, which costs its bits as well). With k = 1 that is a bitmap. Values are stored as they are, or as
indices into a codebook of the tensor or of each output channel (the last axis). Symbols and indices have a fixed width
or a Huffman code. A tensor of zeros takes no bits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.coding import huffman
from training.coding.bits import Ints, Reader, Words, fixed_size, pack_fixed, unpack_fixed, varint, width

LARGEST_GAP = 10  # bits
LARGEST_CODEBOOK = 1 << 12  # entries a tensor; more never pay here


@dataclass(frozen=True)
class Piece:
    """A part of a tensor's code: its bytes are only made when it is chosen."""

    label: str
    size: int  # bytes
    make: Callable[[], bytes]
    codebook: int = 0  # bytes of it that are a codebook
    code: int = 0  # how the reader knows it


# Positions


def positions(nonzero: Ints, count: int, entropy: bool) -> Piece:
    """The smallest code of increasing positions among `count`."""
    return min(_position_codes(nonzero, count, entropy), key=lambda piece: piece.size)


def _position_codes(nonzero: Ints, count: int, entropy: bool) -> Iterator[Piece]:
    head = varint(len(nonzero))
    if not len(nonzero):
        yield Piece("empty", len(head), lambda: head, code=0)
        return
    distances = np.diff(nonzero, prepend=-1) - 1
    for bits in range(1, LARGEST_GAP + 1):
        most = (1 << bits) - 1
        symbols = len(nonzero) + int((distances // most).sum())
        if symbols > count:
            continue
        front = head + varint(symbols)
        yield Piece(
            "bitmap" if bits == 1 else f"{bits}-bit gaps",
            len(front) + fixed_size(symbols, bits),
            _later(lambda bits, front: front + pack_fixed(_gaps(distances, bits), bits), bits, front),
            code=bits,
        )
        if entropy and bits > 1:
            counts = np.bincount(_gaps(distances, bits))
            if np.count_nonzero(counts) < 2:
                continue
            tall = front + varint(len(counts))
            yield Piece(
                f"Huffman {bits}-bit gaps",
                len(tall) + huffman.size(counts),
                _later(lambda bits, front: front + _huffman(_gaps(distances, bits)), bits, front),
                code=16 + bits,
            )


def _later(make: Callable[[int, bytes], bytes], bits: int, front: bytes) -> Callable[[], bytes]:
    return lambda: make(bits, front)


def _huffman(symbols: Ints) -> bytes:
    alphabet = int(symbols.max()) + 1
    return varint(alphabet) + huffman.encode(symbols, alphabet)


def _gaps(distances: Ints, bits: int) -> Ints:
    most = (1 << bits) - 1
    ends = np.cumsum(distances // most + 1) - 1
    symbols = np.full(int(ends[-1]) + 1, most, np.int64)
    symbols[ends] = distances % most
    return symbols


def read_positions(reader: Reader, code: int, count: int) -> Ints:
    """What a piece of `positions` with this code wrote."""
    found = reader.varint()
    if code == 0 and not found:
        return np.zeros(0, np.int64)
    bits, symbols = code & 15, reader.varint()
    if not 1 <= bits <= LARGEST_GAP or not found <= symbols <= count:
        raise ValueError(f"{found} of {count} positions in {symbols} gaps of {bits} bits")
    if code & 16:
        alphabet = reader.varint()
        if alphabet > 1 << bits:
            raise ValueError(f"{alphabet} different gaps of {bits} bits")
        gaps = huffman.decode(reader, alphabet, symbols)
    else:
        gaps = unpack_fixed(reader.take(fixed_size(symbols, bits)), bits, symbols)
    most = (1 << bits) - 1
    ends = np.cumsum(np.where(gaps == most, most, gaps + 1)) - 1
    places = ends[gaps < most]
    if len(places) != found or (found and places[-1] >= count):
        raise ValueError(f"gaps lead to {len(places)} positions where {found} of {count} were due")
    return places


# Values


def values(words: Words, channels: Ints, channel_count: int, entropy: bool) -> Piece:
    """The smallest code of words that lie in the given output channels; one channel for a tensor of one axis."""
    found = list(_value_codes(words, np.zeros(len(words), np.int64), 1, entropy, 1))
    if channel_count > 1:
        found += _value_codes(words, channels, channel_count, entropy, 3)
    raw = _number_size(words)
    return min([Piece("raw", raw, lambda: _numbers(words)), *found], key=lambda piece: piece.size)


def _value_codes(words: Words, channels: Ints, channel_count: int, entropy: bool, code: int) -> Iterator[Piece]:
    keys = channels.astype(np.uint64) << np.uint64(32) | words.astype(np.uint64)
    distinct = np.unique(keys)
    if not len(words) or len(distinct) >= min(len(words), LARGEST_CODEBOOK):
        return
    sizes = np.bincount((distinct >> np.uint64(32)).astype(np.int64), minlength=channel_count)
    starts = np.cumsum(sizes) - sizes
    indices = np.searchsorted(distinct, keys) - starts[channels]
    entries = (distinct & np.uint64(0xFFFFFFFF)).astype(words.dtype)
    head = b"".join(varint(int(n)) for n in sizes)
    book = len(head) + _number_size(entries)
    where, most = "of a channel " if channel_count > 1 else "", int(sizes.max())
    bits = width(most)

    def front() -> bytes:
        return head + _numbers(entries)

    yield Piece(
        f"codebook {where}of {most}, {bits}-bit indices",
        book + fixed_size(len(words), bits),
        lambda: front() + pack_fixed(indices, bits),
        book,
        code,
    )
    if entropy and most > 1 and indices.max() > 0:
        yield Piece(
            f"codebook {where}of {most}, Huffman indices",
            book + huffman.size(np.bincount(indices, minlength=most)),
            lambda: front() + huffman.encode(indices, most),
            book,
            code + 1,
        )


def read_values(reader: Reader, code: int, dtype: npt.DTypeLike, channels: Ints, channel_count: int) -> Words:
    """What a piece of `values` with this code wrote."""
    count = len(channels)
    if code == 0:
        return _read_numbers(reader, dtype, count)
    if code > 4:
        raise ValueError(f"values in an unknown code, {code}")
    if code < 3:
        channels, channel_count = np.zeros(count, np.int64), 1
    if channel_count > len(reader.data):
        raise ValueError(f"codebooks of {channel_count} channels in {len(reader.data)} bytes")
    sizes = np.array([reader.varint() for _ in range(channel_count)])
    total, most = int(sizes.sum()), int(sizes.max())
    entries = _read_numbers(reader, dtype, total)
    if code in (1, 3):
        bits = width(most)
        indices = unpack_fixed(reader.take(fixed_size(count, bits)), bits, count)
    else:
        indices = huffman.decode(reader, most, count)
    if (indices >= sizes[channels]).any():
        raise ValueError("an index is beyond its codebook")
    found: Words = entries[(np.cumsum(sizes) - sizes)[channels] + indices]
    return found


# Plain numbers


def _halves(words: Words) -> npt.NDArray[np.float16] | None:
    """32-bit words as half-precision numbers, where each is one exactly."""
    if words.dtype != np.uint32 or not len(words):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        halves: npt.NDArray[np.float16] = words.view(np.float32).astype(np.float16)
    return halves if np.array_equal(halves.astype(np.float32).view(np.uint32), words) else None


def _number_size(words: Words) -> int:
    return 1 + (2 if _halves(words) is not None else words.itemsize) * len(words)


def _numbers(words: Words) -> bytes:
    halves = _halves(words)
    return b"\0" + words.tobytes() if halves is None else b"\1" + halves.tobytes()


def _read_numbers(reader: Reader, dtype: npt.DTypeLike, count: int) -> Words:
    kind = np.dtype(dtype)
    short = reader.byte()
    if short > 1 or (short and kind != np.uint32):
        raise ValueError(f"numbers of an unknown kind, {short}")
    if short:
        return np.frombuffer(reader.take(2 * count), np.float16).astype(np.float32).view(np.uint32)
    return np.frombuffer(reader.take(kind.itemsize * count), kind)
