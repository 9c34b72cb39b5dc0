"""Output stages with constants fitted to the sums that occur: a multiply-accumulate and a saturation an output.

For a ReLU (output zero point -128) TFLite Micro's stage, bias, two roundings, zero point and clamp, never falls as the
sum grows, so that it is known by the sums at which its 255 steps come. The fast stage,

    X = 2^exponent * sum + bias;  output = clamp((floor(X * multiplier / 2^32) + rounding) >> shift, -128, 127),

SMMLA and SSAT with a shift, is the same function if it takes every step at the same sum. Its bias, multiplier and
rounding are chosen for each channel such that it does, for all sums that the channel's weights can give.
"""

from dataclasses import dataclass

import numpy as np

from convert.compiled import fixed_point
from convert.compiled.cortex_m4 import stage as stages
from convert.compiled.layer import Array


@dataclass(frozen=True)
class Form:
    """What the code of a kernel fixes: the sum's factor, 2^exponent, and the shift."""

    exponent: int
    shift: int


SCALED = Form(8, 10)
PLAIN = Form(0, 2)  # multiplies sums by the same as SCALED: shift - exponent is equal
_WORD = 1 << 32
_LIMIT = 1 << 31
_ROUNDING_LIMIT = 1 << 30  # |X * multiplier / 2^32| is below as much
_NEAR = sorted({sign * d for d in (*range(7), 8, 11, 16, 23, 32, 45, 64, 91, 128) for sign in (-1, 1)}, key=abs)
_MULTIPLIERS = 6  # how many are tried
_RUN = 1 << 14  # biases tried at a time
_BIASES = sorted(range(-(1 << 20), 1 << 20, _RUN), key=abs)


@dataclass(frozen=True)
class Scaled:
    """A channel's fitted constants."""

    bias: int
    multiplier: int
    rounding: int

    def output(self, total: int, form: Form) -> int:
        """The int8 output of a sum without bias."""
        x = (total << form.exponent) + self.bias
        return min(max((x * self.multiplier // _WORD + self.rounding) >> form.shift, -128), 127)


@dataclass(frozen=True)
class Channel:
    """A channel's output stage for zero point -128; sums with bias are in low..high for any input."""

    bias: int
    multiplier: int
    shift: int  # to the right
    low: int
    high: int

    def output(self, total: int) -> int:
        """The int8 output of a sum with bias."""
        value = fixed_point.multiply(total, self.multiplier, -self.shift) - 128
        return min(max(value, -128), 127)

    def least(self, value: int) -> int:
        """The smallest sum, of all integers, whose output is at least `value`, -127 to 127. Outputs never fall.

        With y = floor((2 * sum * multiplier + 2^31) / 2^32), the first rounding, it is where y reaches `first`.
        """
        first = ((value + 128) << self.shift) - ((1 << self.shift) >> 1)
        return -(-((first << 32) - (1 << 31)) // (2 * self.multiplier))


def fitted(channel: Channel, form: Form = SCALED, parity: int | None = None) -> Scaled | None:
    """Constants that give the channel's output for every sum that can occur, or None if none are found.

    The multiplier is the channel's own but for the power of two and a few low bits: of the ones near it those are tried
    first that leave the most room for the offset. With `parity` 0 or 1 the rounding is even or odd.
    """
    first, last = channel.output(channel.low), channel.output(channel.high)
    if first == last:
        return Scaled(0, 0, (first << form.shift) + (parity or 0))
    ends = [(total - channel.bias) << form.exponent for total in (channel.low, channel.high)]
    if ends[0] < -_LIMIT or ends[1] >= _LIMIT:
        return None
    up = form.shift + 1 - channel.shift - form.exponent
    nearest = channel.multiplier << up if up >= 0 else (channel.multiplier + (1 << -up >> 1)) >> -up
    near = [nearest + d for d in _NEAR if 0 < nearest + d < _LIMIT]
    offsets = _Steps(channel, form)
    room = sorted(((*offsets.of(m), m) for m in near), key=lambda found: found[0] - found[1])
    for low, high, multiplier in room[:_MULTIPLIERS]:
        found = _split(ends, multiplier, low, high, parity) if low < high else None
        if found is not None:
            return found
    return None


class _Steps:
    """The sums without bias, scaled, before and after each step of the output, and what they must give."""

    def __init__(self, channel: Channel, form: Form) -> None:
        reached, missed = [], []
        for value in range(-127, 128):
            at, least = value << (form.shift + 32), channel.least(value)
            if least <= channel.high:
                reached.append((at, (max(least, channel.low) - channel.bias) << form.exponent))
            if least > channel.low:
                missed.append((at, (min(least - 1, channel.high) - channel.bias) << form.exponent))
        self.reached, self.missed = (np.array(x, np.int64).reshape(-1, 2).T for x in (reached, missed))

    def of(self, multiplier: int) -> tuple[int, int]:
        """The values of bias * multiplier + rounding * 2^32, from..to, that give each step at its sum.

        Products are below 2^62 as sums fit 32 bits; there are steps as the output is not constant.
        """
        low = (self.reached[0] - self.reached[1] * multiplier).max()
        high = (self.missed[0] - self.missed[1] * multiplier).min()
        return int(low), int(high)


def _split(ends: list[int], multiplier: int, low: int, high: int, parity: int | None) -> Scaled | None:
    """An offset in low..high as bias and rounding, if there is one with which nothing overflows.

    Rounding takes the whole part, so that X, which is in `ends` without bias, stays small; small biases are tried until
    the rest fits.
    """
    whole, rest = divmod(-low, _WORD)
    for start in _BIASES:
        biases = np.arange(max(start, -_LIMIT - ends[0]), min(start + _RUN, _LIMIT - ends[1]), dtype=np.int64)
        # The rounding that brings each bias to `low` or, by less than 2^32, beyond it.
        total = biases * multiplier + rest
        rounding, beyond = -(total >> 32) - whole, total & (_WORD - 1)
        good = (beyond < high - low) & (np.abs(rounding) < _ROUNDING_LIMIT)
        if parity is not None:
            good &= rounding % 2 == parity
        if good.any():
            found = int(np.argmax(good))
            return Scaled(int(biases[found]), multiplier, int(rounding[found]))
    return None


def channels(stage: stages.Stage, weights: Array) -> list[Channel]:
    """The channels of (channels, depth) weights; the stage must be applicable, with zero point -128."""
    low, high = stages.accumulator_bounds(stage, weights)
    words = stages.words(stage).tolist()
    return [
        Channel(int(bias2) // 2, int(m), int(s), int(a), int(b))
        for (bias2, m, _, s), a, b in zip(words, low, high, strict=True)
    ]
