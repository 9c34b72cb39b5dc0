"""Entropy coding of byte symbols: rANS with a static model, decoded by kernels/rans.h.

J. Duda, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression rate of
arithmetic coding", arXiv:1311.2540, 2013, the range variant. A model gives every used symbol f of 4096 slots; coding it
multiplies the state by about 4096 / f, that is, costs 12 - log2(f) bits, whole or not. The state lies in [2^16, 2^32);
what does not fit goes out in 16-bit words. A stream is the decoder's first state (4 bytes) and then the words in the
order in which the decoder takes them, all little-endian. The decoder ends in state 2^16 with every byte read and none
behind the stream, so that nothing needs padding.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

BITS = 12
SLOTS = 1 << BITS
_LOW = 1 << 16  # the state's lower bound
_WORD = 16  # bits
_SHIFTS = range(BITS, 3, -1)
# A decoder looks at so many entries too many for a symbol, on average; each costs five instructions on a Cortex-M4, and
# the table that points to entries doubles where there would be more.
_MOST_STEPS = 0.25


@dataclass(frozen=True)
class Model:
    """How many of the slots each symbol has; entries in the order of their slots.

    `symbols` and `frequencies` have one element an entry, the most frequent first. Every slot is a symbol's, so that
    nothing that a decoder may read leads out of the tables; where there is only one symbol, a second one has a slot.
    The decoder's first look is at the entry of the next lower multiple of 2^shift slots.
    """

    symbols: Bytes
    frequencies: npt.NDArray[np.uint16]
    shift: int

    @property
    def starts(self) -> npt.NDArray[np.uint16]:
        """The first slot of each entry."""
        return (np.cumsum(self.frequencies) - self.frequencies).astype(np.uint16)

    @property
    def tables(self) -> Mapping[str, npt.NDArray[np.uint8] | npt.NDArray[np.uint32]]:
        """The constants of kernels_rans_model by the names of its fields: uint8 (4096 >> shift), uint32 (entries)."""
        parts = [a.astype(np.uint32) for a in (self.symbols, self.frequencies, self.starts)]
        return {
            "slots": _owners(self.frequencies)[:: 1 << self.shift],
            "entries": parts[0] | parts[1] << np.uint32(8) | parts[2] << np.uint32(20),
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the tables in flash."""
        return sum(table.nbytes for table in self.tables.values())

    def cost(self, counts: npt.NDArray[np.int64]) -> float:
        """Bits of a text in which byte b occurs `counts[b]` times, int64 (256), without the 4 bytes of the state."""
        paid = counts[self.symbols] * (BITS - np.log2(self.frequencies.astype(np.float64)))
        return float(paid.sum())

    def steps(self, counts: npt.NDArray[np.int64]) -> float:
        """Entries that a decoder looks at in vain, an average over such a text."""
        owners = _owners(self.frequencies).astype(np.int64)
        skipped = owners - np.repeat(owners[:: 1 << self.shift], 1 << self.shift)
        shares = counts[self.symbols] / self.frequencies.astype(np.float64) / max(1, int(counts.sum()))
        return float((skipped * shares[owners]).sum())


def _owners(frequencies: npt.NDArray[np.uint16]) -> Bytes:
    """The number of the entry of each slot, uint8 (4096)."""
    return np.repeat(np.arange(len(frequencies), dtype=np.uint8), frequencies)


def fit(symbols: Bytes) -> Model:
    """The model of a text, uint8 (n), with which its codes are shortest, and the smallest table for its decoder.

    Without symbols it is that of a text of zeros.
    """
    counts = np.bincount(symbols.reshape(-1), minlength=256)
    used = np.flatnonzero(counts)
    if len(used) < 2:  # a frequency has 12 bits, so that one symbol cannot have all slots
        used = np.append(used, np.setdiff1d([0, 1], used))[:2]
    frequencies = _frequencies(counts[used].tolist())
    order = np.argsort(-frequencies, kind="stable")
    models = [Model(used[order].astype(np.uint8), frequencies[order].astype(np.uint16), shift) for shift in _SHIFTS]
    return next((m for m in models if m.steps(counts) <= _MOST_STEPS), models[-1])


def _frequencies(counts: list[int]) -> npt.NDArray[np.int64]:
    """Slots of each of two or more symbols, at least one, so that the text's cost is least.

    Slots go one by one to where they save most. That is optimal, not only greedy: the cost is a sum over symbols, and
    a symbol's next slot never saves more than its last one did.
    """
    held = np.ones(len(counts), np.int64)
    heap = [(-count * math.log2(2), i) for i, count in enumerate(counts)]
    heapq.heapify(heap)
    for _ in range(SLOTS - len(counts)):
        i = heap[0][1]
        held[i] += 1
        heapq.heapreplace(heap, (-counts[i] * math.log2(1 + 1 / held[i]), i))
    return held


def encode(symbols: Bytes, models: Sequence[Model], which: Sequence[int] | npt.NDArray[np.integer] | int = 0) -> Bytes:
    """The stream of `symbols`, uint8 (n), in the order in which they will be decoded.

    `which`: the number in `models` of each symbol's model, or of all. Raises ValueError for a symbol that its model
    does not have.
    """
    text = symbols.reshape(-1)
    chosen = np.broadcast_to(np.asarray(which), text.shape)
    tables = [_of_symbol(model) for model in models]
    words: list[int] = []
    state = _LOW
    # Last in, first out.
    for symbol, number in zip(reversed(text.tolist()), reversed(chosen.tolist()), strict=True):
        frequency, start = tables[number][symbol]
        if not frequency:
            raise ValueError(f"symbol {symbol} is not in model {number}")
        if state >= frequency << (2 * _WORD - BITS):
            words.append(state & 0xFFFF)
            state >>= _WORD
        state = (state // frequency << BITS) + start + state % frequency
    return np.array([state & 0xFFFF, state >> _WORD, *reversed(words)], "<u2").view(np.uint8)


def _of_symbol(model: Model) -> list[tuple[int, int]]:
    """(frequency, start) by symbol, (0, 0) for those that are not used."""
    found = [(0, 0)] * 256
    for symbol, frequency, start in zip(model.symbols, model.frequencies, model.starts, strict=True):
        found[symbol] = (int(frequency), int(start))
    return found


class Decoder:
    """kernels_rans in Python: takes symbols from a stream, each with the model that it was encoded with.

    Raises ValueError for a stream of fewer than 4 bytes, IndexError where a symbol lies behind the stream's end.
    """

    def __init__(self, stream: Bytes) -> None:
        if stream.size < 4 or stream.size % 2:
            raise ValueError(f"a stream has 4 bytes or more, in pairs, and this one has {stream.size}")
        self._words = stream.view("<u2").tolist()
        self._state = self._words[0] | self._words[1] << _WORD
        self._at = 2
        self._tables: dict[int, tuple[Model, list[int], list[int]]] = {}

    def next(self, model: Model) -> int:
        """The next symbol."""
        if id(model) not in self._tables:
            self._tables[id(model)] = (model, *(t.tolist() for t in model.tables.values()))
        _, slots, entries = self._tables[id(model)]
        slot = self._state % SLOTS
        at = slots[slot >> model.shift]
        while slot - (entries[at] >> 20) >= entries[at] >> 8 & 0xFFF:
            at += 1
        entry = entries[at]
        self._state = (entry >> 8 & 0xFFF) * (self._state >> BITS) + slot - (entry >> 20)
        if self._state < _LOW:
            self._state = self._state << _WORD | self._words[self._at]
            self._at += 1
        return int(entry & 0xFF)

    def end(self) -> None:
        """Raise ValueError unless the stream ends here: all of it was read and the state is the encoder's first."""
        if self._at != len(self._words) or self._state != _LOW:
            raise ValueError("the stream does not end where its symbols do")


def decode(
    stream: Bytes, count: int, models: Sequence[Model], which: Sequence[int] | npt.NDArray[np.integer] | int = 0
) -> Bytes:
    """The `count` symbols of a stream, uint8 (count); the inverse of `encode`.

    Raises ValueError where the stream does not end behind them, IndexError where it ends before.
    """
    decoder = Decoder(stream)
    chosen = np.broadcast_to(np.asarray(which), (count,))
    found = np.array([decoder.next(models[number]) for number in chosen.tolist()], np.uint8)
    decoder.end()
    return found
