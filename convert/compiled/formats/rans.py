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
# What a decoder on a Cortex-M4 takes longer, in instructions, where it passes an entry before a symbol's own, and where
# that is a run; and what they may cost: a byte of tables spares at least so many instructions each time that the
# stream is decoded, or it is not taken.
_PASSED, _RUN = 8, 12
_SPARED = 128
_WORD_BYTES = 4  # of an entry for one symbol; one for a run has two words
_LONGEST = 128  # symbols of a run


@dataclass(frozen=True)
class Model:
    """How many of the slots each symbol has; entries in the order of their slots.

    `symbols`, `frequencies` and `lengths` have one element an entry. An entry is a symbol, or a run of as many
    consecutive ones as its length says with the same frequency each, which saves tables where symbols are rare or
    about equally frequent. Every slot is a symbol's, so that nothing that a decoder may read leads out of the tables;
    where there is only one symbol, a second one has a slot. The decoder's first look is at the entry of the next lower
    multiple of 2^shift slots.
    """

    symbols: Bytes
    frequencies: npt.NDArray[np.uint16]
    lengths: npt.NDArray[np.uint16]
    shift: int

    @property
    def widths(self) -> npt.NDArray[np.int64]:
        """Slots of each entry."""
        return self.frequencies.astype(np.int64) * self.lengths

    @property
    def places(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Frequency, 0 where it has none, and first slot of each byte: int64 (256) twice."""
        frequencies, starts = np.zeros(256, np.int64), np.zeros(256, np.int64)
        at = 0
        for symbol, frequency, length in zip(self.symbols, self.frequencies, self.lengths, strict=True):
            run = slice(int(symbol), int(symbol) + int(length))
            frequencies[run] = frequency
            starts[run] = at + np.arange(length) * int(frequency)
            at += int(frequency) * int(length)
        return frequencies, starts

    @property
    def tables(self) -> Mapping[str, npt.NDArray[np.uint8] | npt.NDArray[np.uint32]]:
        """The constants of kernels_rans_model by the names of its fields: uint8 (4096 >> shift), uint32 (words)."""
        words: list[int] = []
        numbers, start = [], 0
        for symbol, frequency, length in zip(
            self.symbols.tolist(), self.frequencies.tolist(), self.lengths.tolist(), strict=True
        ):
            numbers.append(len(words))
            words.append(symbol | (frequency << 8 if length == 1 else 0) | start << 20)
            words += [] if length == 1 else [frequency | frequency * length << 16]
            start += frequency * length
        owners = np.repeat(np.array(numbers, np.uint8), self.widths)
        return {"slots": owners[:: 1 << self.shift], "entries": np.array(words, np.uint32)}

    @property
    def nbytes(self) -> int:
        """Bytes of the tables in flash."""
        return (SLOTS >> self.shift) + _WORD_BYTES * (len(self.symbols) + int(np.count_nonzero(self.lengths > 1)))

    def cost(self, counts: npt.NDArray[np.int64]) -> float:
        """Bits of a text in which byte b occurs `counts[b]` times, int64 (256), without the 4 bytes of the state."""
        used = np.flatnonzero(counts)
        return float((counts[used] * (BITS - np.log2(self.places[0][used]))).sum())

    def steps(self, counts: npt.NDArray[np.int64]) -> float:
        """Entries that a decoder passes before a symbol's own, an average over such a text."""
        owners = np.repeat(np.arange(len(self.widths)), self.widths)
        skipped = owners - np.repeat(owners[:: 1 << self.shift], 1 << self.shift)
        inside = [counts[s : s + n].sum() for s, n in zip(self.symbols.tolist(), self.lengths.tolist(), strict=True)]
        shares = np.array(inside) / self.widths / max(1, int(counts.sum()))
        return float((skipped * shares[owners]).sum())


def fit(*texts: Bytes) -> Model:
    """The model with which texts, uint8 (n) each, and its own tables take the fewest bytes, in reasonable time.

    Which symbols become runs is decided by dynamic programming, with the frequencies that they have in the texts; slots
    are dealt out after it. Without symbols the model is that of a text of zeros.
    """
    counts = np.sum([np.bincount(text.reshape(-1), minlength=256) for text in texts], axis=0)
    used = np.flatnonzero(counts)
    if len(used) < 2:  # a frequency has 12 bits, so that one symbol cannot have all slots
        used = np.append(used, np.setdiff1d([0, 1], used))[:2]
        runs = [(symbol, 1) for symbol in used.tolist()]
    else:
        runs = _runs(counts)
    symbols, lengths = np.array(runs).T
    inside = np.array([counts[s : s + n].sum() for s, n in runs])
    frequencies = _frequencies(inside.tolist(), lengths.tolist())
    order = np.lexsort((symbols, -frequencies, lengths > 1))
    symbols, lengths, frequencies = symbols[order], lengths[order], frequencies[order]
    models = [
        Model(symbols.astype(np.uint8), frequencies.astype(np.uint16), lengths.astype(np.uint16), shift)
        for shift in _SHIFTS
    ]
    time = float(counts.sum()) * _PASSED / _SPARED
    return min(models, key=lambda m: m.nbytes + m.steps(counts) * time)


def _runs(counts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """(first symbol, length) of the entries that take the fewest bytes: words of tables, codes, the price of time.

    The most frequent symbol is an entry of its own, which takes the slots that runs cannot share among them.
    """
    total = int(counts.sum())
    before = np.concatenate([[0], np.cumsum(counts)])
    alone = int(np.argmax(counts))
    best, last = np.zeros(257), [0] * 257
    for end in range(1, 257):
        lowest = end - 1 if end == alone + 1 else alone + 1 if end > alone else 0
        starts = np.arange(end - 1, max(lowest, end - _LONGEST) - 1, -1)
        length, inside = end - starts, before[end] - before[starts]
        # No symbol has less than a slot.
        share = np.maximum(inside, total * length / SLOTS) / total / length
        words = np.where(length > 1, 2, inside > 0)
        taken = best[starts] + _WORD_BYTES * words - inside * np.log2(share) / 8
        taken += np.where(length > 1, inside * (_RUN / _SPARED), 0)
        shortest = int(np.argmin(taken))
        best[end], last[end] = taken[shortest], shortest + 1
    runs: list[tuple[int, int]] = []
    end = 256
    while end:
        start = end - last[end]
        if before[end] > before[start]:
            runs.append((start, last[end]))
        end = start
    return runs


def _frequencies(counts: list[int], lengths: list[int]) -> npt.NDArray[np.int64]:
    """Slots of each symbol of runs of `lengths`, at least one, so that a text with `counts` a run is cheap.

    Slots go one by one, for a run one a symbol, to where each saves most. Without runs that is the least cost: it is a
    sum over symbols, and a symbol's next slot never saves more than its last one did.
    """
    held = np.ones(len(counts), np.int64)
    spare = SLOTS - sum(lengths)
    heap = [(-count * math.log2(2) / length, i) for i, (count, length) in enumerate(zip(counts, lengths, strict=True))]
    heapq.heapify(heap)
    while spare:
        _, i = heap[0]
        if lengths[i] > spare:
            heapq.heappop(heap)
            continue
        held[i] += 1
        spare -= lengths[i]
        heapq.heapreplace(heap, (-counts[i] * math.log2(1 + 1 / held[i]) / lengths[i], i))
    return held


def encode(symbols: Bytes, models: Sequence[Model], which: Sequence[int] | npt.NDArray[np.integer] | int = 0) -> Bytes:
    """The stream of `symbols`, uint8 (n), in the order in which they will be decoded.

    `which`: the number in `models` of each symbol's model, or of all. Raises ValueError for a symbol that its model
    does not have.
    """
    text = symbols.reshape(-1)
    chosen = np.broadcast_to(np.asarray(which), text.shape)
    tables = [list(zip(*(a.tolist() for a in model.places), strict=True)) for model in models]
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
        symbol, frequency = entries[at] & 0xFF, entries[at] >> 8 & 0xFFF
        within = slot - (entries[at] >> 20)
        while within >= frequency:
            if frequency:
                within -= frequency
            else:
                at += 1
                frequency = entries[at] & 0xFFFF
                if within < entries[at] >> 16:
                    symbol += within // frequency
                    within %= frequency
                    break
                within -= entries[at] >> 16
            at += 1
            symbol, frequency = entries[at] & 0xFF, entries[at] >> 8 & 0xFFF
        self._state = frequency * (self._state >> BITS) + within
        if self._state < _LOW:
            self._state = self._state << _WORD | self._words[self._at]
            self._at += 1
        return int(symbol)

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
