"""The C and the Python arithmetic against gemmlowp's definitions, written out with exact integers."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tflite_builder import needs_compiler

from convert.compiled import fixed_point, host

INT32_MAX = 2**31 - 1
EDGES = [0, 1, 2, 3, 2**15, 2**29, 2**30 - 1, 2**30, 2**30 + 1, 2**31 - 3, 2**31 - 2, INT32_MAX]
MULTIPLIERS = [0, 1, 2**30, 2**30 + 1, 1518500250, 2**31 - 2, INT32_MAX]


def truncated_division(a: int, b: int) -> int:
    return abs(a) // b * (1 if a >= 0 else -1)


def high_mul(a: int, b: int) -> int:
    product = a * b
    return truncated_division(product + (2**30 if product >= 0 else 1 - 2**30), 2**31)


def round_half_away(x: int, exponent: int) -> int:
    return truncated_division(2 * x + (2**exponent if x >= 0 else -(2**exponent)), 2 ** (exponent + 1))


def samples() -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(1)
    signed = [s * e for e in EDGES for s in (1, -1)]
    cases = [(x, m, s) for x in signed for m in MULTIPLIERS for s in range(-31, 31)]
    random = zip(
        rng.integers(-INT32_MAX, INT32_MAX, 4000).tolist(),
        rng.integers(2**30, 2**31, 4000).tolist(),
        rng.integers(-31, 31, 4000).tolist(),
        strict=True,
    )
    # Sums around the ties of small factors.
    small = [(x, 2**30, s) for x in range(-300, 300) for s in range(-9, 9)]
    return cases + list(random) + small


def expected(x: int, multiplier: int, shift: int) -> int:
    if shift > 0:
        return high_mul(fixed_point.wrap32(x << shift), multiplier)
    return round_half_away(high_mul(x, multiplier), -shift)


def test_python_equals_the_definition() -> None:
    for x, multiplier, shift in samples():
        assert fixed_point.multiply(x, multiplier, shift) == expected(x, multiplier, shift), (x, multiplier, shift)


@needs_compiler
def test_c_equals_the_definition(tmp_path: Path) -> None:
    source = tmp_path / "wrapper.c"
    source.write_text(
        '#include "kernels/fixed_point.h"\n'
        "void run(const int32_t *x, const int32_t *m, const int32_t *s, int32_t *y, int n) {\n"
        "  for (int i = 0; i < n; i++) y[i] = fixed_multiply(x[i], m[i], s[i]);\n}\n"
        "void run_right(const int32_t *x, const int32_t *m, const int32_t *s, int32_t *y, int n) {\n"
        "  for (int i = 0; i < n; i++)\n"
        "    if (s[i] <= -2) y[i] = fixed_multiply_right(x[i], m[i], (unsigned)(-2 - s[i]));\n}\n"
    )
    library = tmp_path / "wrapper.so"
    include = f"-I{host.KERNELS / 'include'}"
    subprocess.run([host.compiler(), "-O2", "-shared", "-fPIC", include, source, "-o", library], check=True)
    cases = samples()
    columns = [np.ascontiguousarray(c, np.int32) for c in zip(*cases, strict=True)]
    results = np.zeros(len(cases), np.int32)
    pointers = [c.ctypes.data_as(ctypes.c_void_p) for c in (*columns, results)]
    for run, longest in (("run", 30), ("run_right", -2)):
        results[:] = 0
        getattr(ctypes.CDLL(str(library)), run)(*pointers, len(cases))
        tried = [(case, result) for case, result in zip(cases, results.tolist(), strict=True) if case[2] <= longest]
        assert len(tried) > 100
        for case, result in tried:
            assert result == expected(*case), (run, case)


@pytest.mark.parametrize(
    ("real", "pair"),
    [(0.0, (0, 0)), (1.0, (2**30, 1)), (0.5, (2**30, 0)), (0.75, (3 * 2**29, 0)), (2.0**-33, (0, 0)), (1e-30, (0, 0))],
)
def test_factors_are_split(real: float, pair: tuple[int, int]) -> None:
    assert fixed_point.quantize_multiplier(real) == pair


def test_a_factor_that_rounds_up_to_a_power_of_two_moves_its_shift() -> None:
    assert fixed_point.quantize_multiplier(1 - 2.0**-40) == (2**30, 1)


def test_exponentials_and_logistic_are_close_to_the_real_functions() -> None:
    for a in np.linspace(-31.9, 0, 200):
        got = fixed_point.exp_of_negative(int(a * 2**26), 5) / 2**31
        assert got == pytest.approx(np.exp(a), abs=2e-7)
    for a in np.linspace(-15.9, 15.9, 200):
        got = fixed_point.logistic(int(a * 2**27), 4) / 2**31
        assert got == pytest.approx(1 / (1 + np.exp(-a)), abs=2e-7)
