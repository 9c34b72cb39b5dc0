"""The generated C, called back from here and compared with the reference; and what it becomes on an AVR."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import avr_object
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tree_samples import inputs, tree

from convert import emit
from convert.errors import ToolError
from convert.paths import FIRMWARE
from convert.trees import host, reference, source
from convert.trees.bonsai import Bonsai

has_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def same(of: Bonsai, count: int = 3000, *, sanitize: bool = True) -> None:
    x = inputs(of, count)
    np.testing.assert_array_equal(host.run(of, x, sanitize=sanitize), reference.run(of, x))


@has_compiler
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"classes": 2},
        {"depth": 0},
        {"depth": 0, "classes": 2, "density": 1.0},
        {"density": 1.0},
        {"density": 0.02},
        {"density": 0.0},
        {"features": 300, "depth": 1},
        {"features": 1, "projection": 1, "depth": 1},
        {"depth": 5, "classes": 2, "projection": 3},
        {"shift_z": 0, "shift_v": 0},
        {"shift_z": 15, "shift_v": 14},
        {"projection": 127, "depth": 1, "classes": 2},
    ],
    ids=str,
)
def test_the_c_equals_the_reference(kind: dict[str, int]) -> None:
    same(tree(7, **kind))


@has_compiler
@settings(max_examples=12, phases=[Phase.generate], deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        tree,
        st.integers(0, 2**32 - 1),
        features=st.integers(1, 70),
        projection=st.integers(1, 24),
        depth=st.integers(0, 4),
        classes=st.integers(2, 11),
        density=st.floats(0, 1),
        shift_z=st.integers(0, 12),
        shift_v=st.integers(0, 8),
    )
)
def test_random_trees(of: Bonsai) -> None:
    same(of)


@has_compiler
def test_z_dense_and_nodes_sparse_and_the_other_way_round() -> None:
    of = tree(3, density=1.0)
    thin = np.where(np.arange(of.v.size).reshape(of.v.shape) % 3 == 0, of.v, 0).astype(np.int8)
    mixed = dataclasses.replace(of, v=thin, w=thin)
    assert (mixed.coded_z.sparse, mixed.coded_nodes.sparse) == (False, True)
    same(mixed)
    z = np.where(np.arange(of.z.size).reshape(of.z.shape) % 3 == 0, of.z, 0).astype(np.int8)
    mixed = dataclasses.replace(of, z=z)
    assert (mixed.coded_z.sparse, mixed.coded_nodes.sparse) == (True, False)
    same(mixed)


@has_compiler
@pytest.mark.parametrize("factor", [1, 3, 5])
def test_every_step_of_tanh(factor: int) -> None:
    of = tree(0, features=1, projection=1, depth=0, classes=2, shift_z=0, shift_v=0)
    one = dataclasses.replace(
        of,
        bias=np.zeros(1, np.int16),
        z=np.ones((1, 1), np.int8),
        v=np.full((1, 1, 1), factor, np.int8),
        w=np.ones((1, 1, 1), np.int8),
    )
    x = np.arange(-128, 128).astype(np.int8)[:, None]
    found = host.run(one, x)
    np.testing.assert_array_equal(found, reference.run(one, x))
    expected = x[:, 0].astype(int) * reference.tanh(x[:, 0].astype(int) * factor)
    np.testing.assert_array_equal(found[:, 1], expected)


@has_compiler
def test_scores_at_the_edge_of_32_bits() -> None:
    of = tree(0, projection=127, depth=3, classes=2, features=4, density=1.0)
    full = dataclasses.replace(
        of,
        z=np.full_like(of.z, 127),
        bias=np.zeros_like(of.bias),
        shift_z=2,
        shift_v=0,
        v=np.full_like(of.v, 127),
        w=np.full_like(of.w, 127),
    )
    same(full, 50)
    assert np.abs(reference.run(full, inputs(full, 50))).max() > 2_000_000_000


@has_compiler
def test_clang_compiles_it_too(tmp_path: Path) -> None:
    if (clang := shutil.which("clang")) is None:
        pytest.skip("clang is not on the PATH")
    of = tree(9)
    x = inputs(of, 200)
    program = host.build(of, tmp_path, tool=clang)
    np.testing.assert_array_equal(host.call_program(program, of, x), reference.run(of, x))


def test_the_same_tree_gives_the_same_source() -> None:
    assert source.render(tree(2), "0" * 64) == source.render(tree(2), "0" * 64)


def test_a_missing_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="no C compiler"):
        host.run(tree(), inputs(tree(), 1))


# On an AVR


@avr_object.has_avr
@pytest.mark.parametrize("kind", [{}, {"depth": 0}, {"density": 1.0}, {"classes": 2}, {"features": 300}], ids=str)
def test_on_an_avr_constants_stay_in_flash_and_no_arithmetic_is_wide(kind: dict[str, int], tmp_path: Path) -> None:
    of = tree(4, **kind)
    target = avr_object.built(of, tmp_path / "source")
    found = avr_object.sections(target)
    assert found[".progmem.data"] == of.constant_bytes, "where avr-gcc puts what is __flash"
    assert found[".data"] == found[".bss"] == found.get(".rodata", 0) == 0, "nothing takes RAM at the start"
    assert avr_object.calls(target) <= avr_object.ROUTINES, "no floating point, no 64 bits, no library"


def test_nothing_in_the_source_is_floating_point_or_wide() -> None:
    text = source.render(tree(4), "0" * 64)["tree_model.c"]
    for word in ("float", "double", "int64", "long long", "malloc"):
        assert word not in text, word


TRACE_MAIN = """
#include <stdio.h>
#include "tree_model.h"
void inference_trace(unsigned op, unsigned tensor, const void *data, size_t bytes) {
  printf("%u %u", op, tensor);
  for (size_t i = 0; i < bytes; i++) printf(" %d", ((const signed char *)data)[i]);
  printf("\\n");
}
int main(void) {
  static int8_t x[TREE_MODEL_FEATURES];
  static int32_t scores[TREE_MODEL_CLASSES];
  for (int i = 0; i < TREE_MODEL_FEATURES; i++) x[i] = (int8_t)(i * 7 - 100);
  tree_model_run(x, scores);
  return 0;
}
"""


@has_compiler
def test_a_profile_sees_the_projection_and_the_path(tmp_path: Path) -> None:
    of = tree(11)
    emit.write_tree(tmp_path, {**source.render(of, "0" * 64), "main.c": TRACE_MAIN})
    sources = [str(tmp_path / name) for name in ("tree_model.c", "main.c")]
    flags = ["-DINFERENCE_TRACE", f"-I{FIRMWARE / 'lib' / 'kernels' / 'include'}", "-o", str(tmp_path / "traced")]
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", *sources, *flags], check=True)
    text = subprocess.run([str(tmp_path / "traced")], check=True, capture_output=True, text=True).stdout
    lines = [[int(word) for word in line.split()] for line in text.splitlines()]
    x = (np.arange(30) * 7 - 100).astype(np.int8)
    z = np.clip(of.z.astype(int) @ x + of.bias >> of.shift_z, -128, 127)
    assert lines[0] == [0, 2, *z]
    assert lines[1] == [1, 4, *reference.run(of, x[None]).view(np.int8)[0]]
