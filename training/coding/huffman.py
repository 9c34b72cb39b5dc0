"""Canonical Huffman codes: only the lengths of the codes are stored.

Huffman, "A Method for the Construction of Minimum-Redundancy Codes", 1952; canonical form after Schwartz and Kallick,
"Generating a canonical prefix encoding", 1964. A code is the table (four bits a symbol: its code's length, 0 for one
that does not occur), the number of bytes that follow, and the codes of all symbols, first bit first.
"""

import heapq
from typing import Any

import numpy as np
import numpy.typing as npt

from training.coding.bits import Ints, Reader, fixed_size, pack_fixed, unpack_fixed, varint

LONGEST = 15  # bits: what fits in the table
CHUNK = 1 << 20  # bits that are looked up at once when decoding


def lengths(counts: npt.NDArray[Any]) -> Ints:
    """Code lengths in bits of symbols that occur so often; 0 for those that do not.

    Where codes would be longer than LONGEST, rare symbols are made more frequent until they are not. Raises ValueError
    for fewer than two symbols.
    """
    counts = np.asarray(counts, np.int64)
    used = np.flatnonzero(counts)
    if len(used) < 2:
        raise ValueError("a Huffman code needs two different symbols")
    while True:
        found = np.zeros(len(counts), np.int64)
        found[used] = _depths([int(c) for c in counts[used]])
        if found.max() <= LONGEST:
            return found
        counts = (counts + 1) // 2


def _depths(counts: list[int]) -> list[int]:
    """Depth of each leaf in Huffman's tree; ties are settled by the node's number, so the tree is always the same."""
    heap = [(count, node) for node, count in enumerate(counts)]
    heapq.heapify(heap)
    parents = [0] * (2 * len(counts) - 1)
    for node in range(len(counts), len(parents)):
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        parents[first[1]] = parents[second[1]] = node
        heapq.heappush(heap, (first[0] + second[0], node))
    depths = [0] * len(parents)
    for node in range(len(parents) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[: len(counts)]


def codes(found: Ints) -> Ints:
    """The canonical codes of these lengths: counted up from the shortest, within a length by symbol."""
    order = np.lexsort((np.arange(len(found)), found))
    order = order[found[order] > 0]
    starts = np.cumsum(1 << (LONGEST - found[order])) - (1 << (LONGEST - found[order]))
    made = np.zeros(len(found), np.int64)
    made[order] = starts >> (LONGEST - found[order])
    return made


def size(counts: npt.NDArray[Any]) -> int:
    """Bytes that `encode` would write for symbols that occur so often."""
    stream = (int(np.dot(counts, lengths(counts))) + 7) // 8
    return fixed_size(len(counts), 4) + len(varint(stream)) + stream


def encode(symbols: Ints, alphabet: int) -> bytes:
    """Symbols from 0 to `alphabet` - 1, at least two different ones."""
    found = lengths(np.bincount(symbols, minlength=alphabet))
    each = found[symbols]
    starts, made = np.cumsum(each) - each, codes(found)[symbols]
    stream = np.zeros(int(each.sum()), np.uint8)
    for bit in range(int(found.max())):
        chosen = each > bit
        stream[starts[chosen] + bit] = made[chosen] >> (each[chosen] - 1 - bit) & 1
    packed = np.packbits(stream).tobytes()
    return pack_fixed(found, 4) + varint(len(packed)) + packed


def decode(reader: Reader, alphabet: int, count: int) -> Ints:
    """`count` symbols that `encode` wrote; raises ValueError where the bytes are no such code."""
    found = unpack_fixed(reader.take(fixed_size(alphabet, 4)), 4, alphabet)
    if int((1 << (LONGEST - found[found > 0])).sum()) != 1 << LONGEST:
        raise ValueError("the lengths in a Huffman table are not those of a complete code")
    order = np.lexsort((np.arange(alphabet), found))
    order = order[found[order] > 0]
    symbol_of = np.repeat(order, 1 << (LONGEST - found[order]))  # by the next LONGEST bits
    return _follow(reader.take(reader.varint()), symbol_of, found, count)


def _follow(data: bytes, symbol_of: Ints, found: Ints, count: int) -> Ints:
    """Symbols of a stream: every bit is looked at as if a code began there, then the codes' chain is followed."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if count > len(bits):
        raise ValueError(f"{count} Huffman codes do not fit in {len(bits)} bits")
    padded = np.concatenate([bits, np.zeros(LONGEST, np.uint8)]).astype(np.int32)
    out = np.zeros(count, np.int64)
    done = at = 0
    for start in range(0, len(bits), CHUNK):
        end = min(start + CHUNK, len(bits))
        window = np.zeros(end - start, np.int32)
        for bit in range(LONGEST):
            window = window << 1 | padded[start + bit : end + bit]
        symbols = symbol_of[window]
        steps = found[symbols].tolist()
        visited: list[int] = []
        while at < end and done + len(visited) < count:
            visited.append(at - start)
            at += steps[at - start]
        out[done : done + len(visited)] = symbols[visited]
        done += len(visited)
    if done < count or at > len(bits):
        raise ValueError(f"a Huffman stream ends after {done} of {count} symbols")
    return out
