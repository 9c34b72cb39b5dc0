"""The fixed-point arithmetic of TFLite Micro's int8 operators, for what is computed at build time.

Source: gemmlowp's fixed-point functions (github.com/google/gemmlowp, fixedpoint/fixedpoint.h) and TFLite Micro's
reference kernels; numbers are plain Python integers that stand for int32. Qm.n below has m integer and n fraction bits.
"""

import math

import numpy as np
import numpy.typing as npt

INT32_MAX = (1 << 31) - 1
INT32_MIN = -(1 << 31)


def wrap32(x: int) -> int:
    """`x` modulo 2^32, as an int32."""
    return (x - INT32_MIN) % (1 << 32) + INT32_MIN


def saturate32(x: int) -> int:
    """`x` clamped to int32."""
    return min(max(x, INT32_MIN), INT32_MAX)


def high_mul(a: int, b: int) -> int:
    """High half of 2*a*b, rounded to nearest; the product of two Q0.31 numbers."""
    return saturate32((a * b + (1 << 30)) >> 31)


def rounding_shift(x: int, exponent: int) -> int:
    """x / 2^exponent rounded to nearest, ties away from zero."""
    mask = (1 << exponent) - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))


def multiply(x: int, multiplier: int, shift: int) -> int:
    """x * multiplier * 2^(shift - 31), rounded twice (gemmlowp's double rounding)."""
    if shift > 0:
        return high_mul(wrap32(x << shift), multiplier)
    return rounding_shift(high_mul(x, multiplier), -shift)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Split a non-negative factor into (multiplier, shift): real = multiplier * 2^(shift - 31).

    The multiplier is 0 or in [2^30, 2^31); factors below about 2^-32 become 0.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = round_away(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier >>= 1
        shift += 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def round_away(x: float) -> int:
    """Nearest integer, ties away from zero, as C's round()."""
    whole = math.trunc(x)
    rest = x - whole
    return whole + (rest >= 0.5) - (rest <= -0.5)


def quantize(value: float, scale: float, zero_point: int) -> int:
    """The integer that stands for `value`; the division is float32's."""
    return round_away(float(np.float32(value) / np.float32(scale))) + zero_point


def input_radius(integer_bits: int, left_shift: int) -> int:
    """Largest input (before rescaling by 2^left_shift) that a Q(integer_bits) number holds."""
    return math.floor(((1 << integer_bits) - 1) * float(1 << (31 - integer_bits)) / float(1 << left_shift))


# exp(-2^k) as Q0.31, for k = -2 to 4.
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_OF_MINUS_EIGHTH = 1895147668
_ONE_THIRD = 715827883


def _exp_near_minus_eighth(a: int) -> int:
    """exp of a Q0.31 number in [-1/4, 0): a Taylor polynomial of degree 4 around -1/8."""
    x = a + (1 << 28)
    x2 = high_mul(x, x)
    x3 = high_mul(x2, x)
    x4 = high_mul(x2, x2)
    tail = rounding_shift(high_mul(rounding_shift(x4, 2) + x3, _ONE_THIRD) + x2, 1)
    return saturate32(_EXP_OF_MINUS_EIGHTH + high_mul(_EXP_OF_MINUS_EIGHTH, x + tail))


def exp_of_negative(a: int, integer_bits: int) -> int:
    """exp(a) as Q0.31 of a <= 0 with `integer_bits` integer bits (at most 5)."""
    if a == 0:
        return INT32_MAX
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    rest = (a & (quarter - 1)) - quarter
    result = _exp_near_minus_eighth(saturate32(rest << integer_bits))
    quarters = rest - a
    for k, factor in enumerate(_EXP_OF_POWERS, start=-2):
        if k < integer_bits and quarters & (1 << (fraction_bits + k)):
            result = high_mul(result, factor)
    return result


def reciprocal_of_one_plus(x: int) -> int:
    """1 / (1 + x) for x in [0, 1], both Q0.31."""
    return saturate32(_reciprocal((x + INT32_MAX + 1) // 2) << 1)


def _reciprocal(half: int) -> int:
    """1 / half as Q2.29 of a Q0.31 number from 1/2 on: three steps of Newton-Raphson division."""
    y = 1515870810 + high_mul(half, -1010580540)  # 48/17 - 32/17 * half
    for _ in range(3):
        y = wrap32(y + saturate32(high_mul(y, (1 << 29) - high_mul(half, y)) << 2))
    return y


def tanh(a: int, integer_bits: int) -> int:
    """tanh(a) as Q0.31; `integer_bits` is at most 4."""
    if a == 0:
        return 0
    # With e = exp(-2|a|) it is (1 - e) / (1 + e); doubling a number is one more integer bit.
    half = (exp_of_negative(-abs(a), integer_bits + 1) + INT32_MAX + 1) // 2
    y = _reciprocal(half)
    positive = saturate32((y - (1 << 29)) << 2)
    return positive if a > 0 else -positive


def inverse_square_root(x: int) -> tuple[int, int]:
    """1 / sqrt(x) of a positive int32 as (multiplier, shift), as for `multiply`; 0 counts as 1."""
    if x <= 1:
        return INT32_MAX, 0
    shift = 11
    while x >= 1 << 29:
        x //= 4
        shift += 1
    pairs = (31 - x.bit_length()) // 2 - 1
    shift -= pairs
    x = x << 2 * pairs >> 1  # in [2^26, 2^28), Q3.28
    half = rounding_shift(x, 1)
    y = 1 << 28
    for _ in range(5):  # Newton-Raphson: y * (3 - x * y^2) / 2
        cube = saturate32(high_mul(high_mul(y, y), y) << 6)
        y = saturate32((high_mul(3 << 27, y) - high_mul(half, cube)) << 3)
    y = high_mul(y, 1518500250)  # 1 / sqrt(2) as Q0.31
    return (wrap32(y << -shift), 0) if shift < 0 else (y, -shift)


def logistic(a: int, integer_bits: int) -> int:
    """1 / (1 + exp(-a)) as Q0.31."""
    if a == 0:
        return 1 << 30
    positive = reciprocal_of_one_plus(exp_of_negative(-abs(a), integer_bits))
    return positive if a > 0 else INT32_MAX - positive


# Where TFLite's table of the logistic function (sigmoid_table_uint16) lies one above the nearest number.
_ONE_ABOVE = (
    *(4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46, 49),
    *(50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
)


def sigmoid_table() -> npt.NDArray[np.uint16]:
    """1 / (1 + exp(-i / 24)) as Q0.16 for i = 0 to 255, as TFLite's 16-bit logistic and tanh interpolate it."""
    nearest = [round_away(65536 / (1 + math.exp(-i / 24))) for i in range(256)]
    return np.array([n + (i in _ONE_ABOVE) for i, n in enumerate(nearest)], np.uint16)
