"""Vectors made in Python are the ones that the generated C makes on the device."""

import ctypes
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from convert import vectors
from convert.errors import UsageError
from convert.paths import FIRMWARE


def graph(*tensors: tuple[tuple[int, ...], str]) -> SimpleNamespace:
    items = [
        SimpleNamespace(
            name=f"input{i}",
            shape=shape,
            dtype=np.dtype(dtype),
            elements=int(np.prod(shape)),
            quantization=SimpleNamespace(scale=0.5, zero_point=-3),
        )
        for i, (shape, dtype) in enumerate(tensors)
    ]
    return SimpleNamespace(tensors=items, inputs=tuple(range(len(items))), sha256="0" * 64)


def read_back(folder: Path, g: SimpleNamespace, v: vectors.Vectors) -> np.ndarray:
    source = folder / "golden_vectors.c"
    source.write_text(vectors.render_vectors(g, v)["golden_vectors.c"])
    library = folder / "vectors.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-shared", "-fPIC"]
    flags += [f"-I{FIRMWARE / folder}" for folder in ("include", "lib/kernels/include")]
    subprocess.run(["gcc", *flags, str(source), "-o", str(library)], check=True)
    c = ctypes.CDLL(str(library))
    assert ctypes.c_uint.in_dll(c, "golden_vector_count").value == len(v.inputs)
    out = np.zeros_like(v.inputs)
    half = v.inputs.shape[1] // 2
    for k in range(len(out)):
        for start, size in ((0, half), (half, v.inputs.shape[1] - half)):
            c.golden_vector_read(
                ctypes.c_uint(k),
                ctypes.c_size_t(start),
                ctypes.c_void_p(out[k, start:].ctypes.data),
                ctypes.c_size_t(size),
            )
    return out


@pytest.mark.parametrize("dtype", ["<i1", "<u1", "<i2", "<f4"])
def test_computed_vectors_are_equal_in_c_and_python(tmp_path: Path, dtype: str) -> None:
    g = graph(((1, 7, 5), dtype), ((1, 3), "<i1"))
    v = vectors.computed(g, 4)
    assert len({row.tobytes() for row in v.inputs}) == 5
    assert v.stored_bytes == 0
    np.testing.assert_array_equal(read_back(tmp_path, g, v), v.inputs)


def test_stored_vectors_are_equal_in_c_and_python(tmp_path: Path) -> None:
    g = graph(((1, 4, 4), "<i1"))
    x = np.random.default_rng(0).normal(size=(6, 4, 4)).astype(np.float32) * 40
    v = vectors.from_samples(g, x[:5])
    assert v.stored_bytes == 5 * 16
    np.testing.assert_array_equal(read_back(tmp_path, g, v), v.inputs)


def test_no_samples_leave_the_probe() -> None:
    g = graph(((1, 4, 4), "<i1"))
    assert vectors.from_samples(g, np.zeros((0, 4, 4), np.float32)).inputs.shape == (1, 16)


def test_the_probe_is_the_documented_formula() -> None:
    v = vectors.computed(graph(((1, 300), "<i1")), 0)
    assert v.inputs.view(np.int8)[0].tolist() == [(i * 37 + 11) % 256 - 128 for i in range(300)]


def test_samples_are_rounded_away_from_zero_and_clipped() -> None:
    g = graph(((1, 5), "<i1"))
    q = vectors.quantize_inputs(g, np.array([[0.25, -0.25, 0.24, 1e6, -1e6]], np.float32))
    assert q.view(np.int8)[0].tolist() == [-2, -4, -3, 127, -128]


def test_fnv_of_known_strings() -> None:
    assert vectors.fnv1a32(b"") == 0x811C9DC5
    assert vectors.fnv1a32(b"foobar") == 0xBF9CF968


def test_too_few_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="5 test vectors asked for; the data set has 2"):
        vectors.spread(2, 5)


def test_samples_are_spread_over_the_test_set() -> None:
    assert vectors.spread(10000, 4).tolist() == [0, 2500, 5000, 7500]
    assert vectors.spread(3, 3).tolist() == [0, 1, 2]
    assert vectors.spread(3, 0).tolist() == []


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(UsageError, match=r"samples of shape \(9,\)"):
        vectors.quantize_inputs(graph(((1, 4), "<i1")), np.zeros((2, 9), np.float32))


def test_an_input_type_that_has_no_vectors_is_refused() -> None:
    with pytest.raises(UsageError, match="allowed are int8, uint8, int16 and float32"):
        vectors.computed(graph(((1, 4), "<i8")), 1)
