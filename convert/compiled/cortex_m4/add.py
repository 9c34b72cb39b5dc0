"""Sums and differences of two tensors of one shape on the Cortex-M4: ADD and SUB without broadcasting.

The output is a function of two bytes, so that a faster arithmetic is right if it is right for all 65,536 pairs: both
inputs are multiplied by factors of 31 bits and the sum is shifted once, where TFLite Micro rescales three times. Only
sums at or next to the middle between two outputs can differ; neighbouring factors are tried until none does. Where one
always does (about 3 in 100 pairs of random scales; most pairs of round ones), one input's rescaled values come from a
table instead, and all steps are TFLite Micro's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from convert.compiled import overlap
from convert.compiled.cortex_m4 import stage as stages
from convert.compiled.layer import Array, Constant, Layer, Value

_FRACTION = 22  # bits of a sum below one output step
_EXTRA = 8  # more of them in a factor
_MAX_FACTOR = 2.0 ** (31 - _FRACTION - _EXTRA)
_LIMIT = 1 << 31
_STEPS = 4  # neighbours of the nearest factors that are tried
_HEADROOM = 20
_BYTES = np.arange(-128, 128, dtype=np.int64)


def _high_mul(x: Array, multiplier: int) -> Array:
    return (x * multiplier + (1 << 30)) >> 31


def _rounding_shift(x: Array, exponent: int) -> Array:
    return x if exponent == 0 else (x - (x < 0) + (1 << (exponent - 1))) >> exponent


def _rescaled(side: Mapping[str, Value]) -> Array:
    """An input's 256 rescaled values, as the portable kernel computes them: int64 (256,)."""
    x = (_BYTES + stages.number(side, "offset")) << _HEADROOM
    return _rounding_shift(_high_mul(x, stages.number(side, "multiplier")), -stages.number(side, "shift"))


def table(params: Mapping[str, Value], sign: int) -> Array:
    """What the portable kernel gives for every pair, before its activation: int64 (256, 256), clamped to int8.

    `sign` is 1 for a sum, -1 for a difference; rows are the first input's values from -128 on, columns the second's.
    """
    a, b = _rescaled(stages.nested(params, "a")), _rescaled(stages.nested(params, "b"))
    total = a[:, None] + sign * b[None, :]
    rounded = _rounding_shift(
        _high_mul(total, stages.number(params, "multiplier")), -stages.number(params, "shift")
    ) + stages.number(params, "zero_point")
    clamped: Array = np.clip(rounded, -128, 127)
    return clamped


def _wrap(x: Array) -> Array:
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def fast_table(factors: Sequence[int], ties: bool) -> Array:
    """What the kernel gives for every pair: int64 (256, 256)."""
    a, b, offset, zero_point = factors
    x, y = (a * _BYTES) >> _EXTRA, (b * _BYTES) >> _EXTRA
    total = _wrap(_wrap(offset + x)[:, None] + y[None, :])
    if ties:
        total = _wrap(_wrap(total - (total < 0)) + zero_point)
    clamped: Array = np.clip(total >> _FRACTION, -128, 127)
    return clamped


def _real(side: Mapping[str, Value]) -> float:
    return stages.number(side, "multiplier") * 2.0 ** (stages.number(side, "shift") - 31 + _HEADROOM)


def _around(params: Mapping[str, Value], sign: int) -> tuple[list[int], int] | None:
    """The nearest factors of both inputs and the share of their zero points; None where a factor is too large."""
    out = stages.number(params, "multiplier") * 2.0 ** (stages.number(params, "shift") - 31)
    sides = stages.nested(params, "a"), stages.nested(params, "b")
    real = [_real(side) * out * s for side, s in zip(sides, (1, sign), strict=True)]
    if max(abs(r) for r in real) >= _MAX_FACTOR:
        return None
    shift = sum(r * stages.number(side, "offset") for r, side in zip(real, sides, strict=True))
    return [round(r * (1 << (_FRACTION + _EXTRA))) for r in real], round(shift * (1 << _FRACTION))


def _offset(a: int, b: int, wanted: Array) -> int | None:
    """An offset with which the sum's floor is `wanted`, in the middle of all that are; None if there is none."""
    total = ((a * _BYTES) >> _EXTRA)[:, None] + ((b * _BYTES) >> _EXTRA)[None, :]
    at_least = ((wanted << _FRACTION) - total)[wanted > -128]
    below = (((wanted + 1) << _FRACTION) - total)[wanted < 127]
    low, high = at_least.max(initial=-_LIMIT), below.min(initial=_LIMIT) - 1
    return int(low + high) // 2 if low <= high else None


def factors(params: Mapping[str, Value], sign: int) -> tuple[tuple[int, int, int, int], bool] | None:
    """Factors with which the kernel is right for all pairs, and whether it is the one for ties.

    None where none was found.
    """
    around = _around(params, sign)
    if around is None:
        return None
    (a, b), shift = around
    wanted = table(params, sign)
    for da, db in sorted(product(range(-_STEPS, _STEPS + 1), repeat=2), key=lambda d: (abs(d[0]) + abs(d[1]), d)):
        offset = _offset(a + da, b + db, wanted)
        if offset is not None:
            plain = a + da, b + db, offset, 0
            if max(map(abs, plain)) < _LIMIT and np.array_equal(fast_table(plain, False), wanted):
                return plain, False
    zero_point = (2 * stages.number(params, "zero_point") + 1) << (_FRACTION - 1)
    # Products are rounded down, each by less than one unit.
    for da, db, d in product((0, 1, -1), (0, 1, -1), (0, 1, 2)):
        guess = a + da, b + db, shift + d, zero_point
        if max(map(abs, guess)) < _LIMIT and np.array_equal(fast_table(guess, True), wanted):
            return guess, True
    return None


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    steps = [1]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * n)
    return tuple(reversed(steps))


def same_shape(params: Mapping[str, Value]) -> bool:
    """Neither input is repeated: elements of both and of the output follow one another."""
    shape = params["shape"]
    assert isinstance(shape, tuple)
    whole = _strides(shape)
    for name in ("a", "b"):
        strides = stages.nested(params, name)["strides"]
        assert isinstance(strides, tuple)
        if any(n > 1 and s != w for n, s, w in zip(shape, strides, whole, strict=True)):
            return False
    return True


def _is_half(side: Mapping[str, Value]) -> bool:
    """The side with the larger scale: its rescaled value is its offset value times 2^19, without rounding."""
    return stages.number(side, "multiplier") == 1 << 30 and stages.number(side, "shift") == 0


def _by_table(layer: Layer, sign: int, elements: int) -> Layer | None:
    """The layer with a table for the input with the smaller scale; None if the last rescaling is out of range."""
    params = layer.params
    sides = [stages.nested(params, "a"), stages.nested(params, "b")]
    signs = [1, sign]
    shift = -stages.number(params, "shift")
    if not 1 <= shift <= stages.MAX_SHIFT or stages.number(params, "multiplier") < 1 << 30:
        return None
    inputs = layer.inputs
    if not _is_half(sides[0]):
        sides, signs, inputs = sides[::-1], signs[::-1], inputs[::-1]
    if not _is_half(sides[0]):
        return None
    factor = signs[0] << _HEADROOM  # twice 2^19
    terms = 2 * signs[1] * _rescaled(sides[1]) + factor * stages.number(sides[0], "offset")
    laid = Constant("table", np.roll(terms, 128).astype(np.int32), "indexed by the input as an unsigned byte")
    made: dict[str, Value] = {
        "elements": elements,
        "factor": factor,
        "table": laid,
        "multiplier": stages.number(params, "multiplier"),
        "rounding": (1 << (shift - 1)) + (stages.number(params, "zero_point") << shift),
        "shift": shift,
    }
    return replace(
        layer,
        kernel="kernels_m4_add_table_s8",
        inputs=inputs,
        params=made,
        params_type="kernels_m4_add_table_params",
        constants=(laid,),
    )


def _by_factors(layer: Layer, sign: int, elements: int) -> Layer | None:
    found = factors(layer.params, sign)
    if found is None:
        return None
    kernel = "kernels_m4_add_ties_s8" if found[1] else "kernels_m4_add_s8"
    made: dict[str, Value] = {"elements": elements, "factors": found[0]}
    return replace(layer, kernel=kernel, params=made, params_type="kernels_m4_add_params", constants=())


def _candidates(layer: Layer, sign: int) -> Sequence[Layer]:
    if not same_shape(layer.params):
        return []
    shape = layer.params["shape"]
    assert isinstance(shape, tuple)
    elements = int(np.prod(shape))
    made = _by_factors(layer, sign, elements) or _by_table(layer, sign, elements)
    if made is None:
        return []
    ends = {name: stages.number(layer.params, name) for name in ("minimum", "maximum")}
    made = replace(made, params={**made.params, **ends}, overlaps=())
    # Four elements are read before they are written; a clamp afterwards reads outputs only.
    at = np.arange(0, elements, 4)
    distance = overlap.distance(at, np.minimum(at + 4, elements), elements)
    for i in range(2):
        made = overlap.overlapping(made, distance, i)
    return [made]


def add(layer: Layer) -> Sequence[Layer]:
    """A kernels_add_s8 layer of two tensors of one shape."""
    return _candidates(layer, 1)


def sub(layer: Layer) -> Sequence[Layer]:
    """A kernels_sub_s8 layer of two tensors of one shape."""
    return _candidates(layer, -1)


def features(layer: Layer) -> dict[str, float]:
    """Calls, words of four elements, what is left, words and bytes that are clamped."""
    elements = stages.number(layer.params, "elements")
    narrow = stages.number(layer.params, "minimum") > -128 or stages.number(layer.params, "maximum") < 127
    rest = elements % 4
    found = {
        "calls": 1,
        "words": -(-elements // 4),
        "part_words": rest > 0,
        "part_elements": rest,
        "clamped": narrow,
        "clamped_words": narrow * (elements // 4),
        "clamped_elements": narrow * rest,
    }
    return {name: float(value) for name, value in found.items()}


CANDIDATES: dict[str, Callable[[Layer], Sequence[Layer]]] = {"kernels_add_s8": add, "kernels_sub_s8": sub}
FEATURES = {f"kernels_m4_add{variant}_s8": features for variant in ("", "_ties", "_table")}
