"""The generated source: stable, warning-free, told apart by section, and runnable on its own."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tflite_builder import Sweep, needs_compiler, vectors

from convert import emit
from convert.compiled import CompiledModel, compile_model, host
from convert.errors import ToolError
from convert.paths import FIRMWARE


def small_model() -> CompiledModel:
    s = Sweep(3)
    x = s.conv(s.input((1, 6, 6, 3)), 4, activation="relu")
    y = s.dense(s.reshape(s.pool(x, size=(6, 6)), (1, 4)), 3)
    s.unary("SOFTMAX", y, 1 / 256, -128, beta=1.0)
    return compile_model(s.build())


def test_the_same_model_gives_the_same_bytes() -> None:
    first, second = small_model().render(), small_model().render()
    assert first == second
    assert sorted(first) == ["compiled_model.c", "compiled_model.h"]


def test_the_source_says_what_it_was_made_from() -> None:
    model = small_model()
    for text in model.render().values():
        assert f"model sha256: {model.graph.sha256}" in text
    assert f"#define COMPILED_MODEL_ARENA_BYTES {model.arena_bytes}\n" in model.render()["compiled_model.h"]


def test_equal_constants_stand_once() -> None:
    s = Sweep(4)
    x = s.input((1, 16))
    s.unary("LOGISTIC", x, 1 / 256, -128)
    s.unary("LOGISTIC", x, 1 / 256, -128)
    model = compile_model(s.build())
    assert model.weight_bytes == 256
    assert sum(layer.weight_bytes for layer in model.layers) == 512


def test_layers_say_what_they_cost() -> None:
    model = small_model()
    conv = model.layers[0]
    assert (conv.op, conv.name, conv.kernel) == (0, "CONV_2D", "kernels_conv_s8")
    assert conv.macs == 36 * 4 * 27
    assert conv.weight_bytes == 4 * 27 + 4 * (4 + 4 + 1)
    assert (conv.output_bytes, conv.scratch_bytes) == (144, 54)
    assert model.layers[2].kernel is None
    assert sum(layer.macs for layer in model.layers) == model.graph.macs


CROSS = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb"]


@pytest.mark.parametrize("command", [["gcc"], ["clang"], CROSS], ids=lambda c: c[0])
def test_compiles_without_warnings(command: list[str], tmp_path: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    emit.write_tree(tmp_path, small_model().render())
    sources = [tmp_path / "compiled_model.c", host.RUNTIME / "inference.c", *sorted((host.KERNELS / "src").glob("*.c"))]
    include = [f"-I{folder}" for folder in (tmp_path, host.KERNELS / "include", FIRMWARE / "include")]
    for source in sources:
        out = tmp_path / f"{source.stem}.o"
        flags = ["-std=c99", "-O2", *host.WARNINGS, "-Wcast-align", "-Wshadow"]
        done = subprocess.run([*command, *flags, *include, "-c", source, "-o", out], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_headers_compile_as_cpp17(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    emit.write_tree(tmp_path, small_model().render())
    text = '#include "compiled_model.h"\n#include "kernels/kernels.h"\nint main() { return 0; }\n'
    (tmp_path / "all.cpp").write_text(text)
    include = [f"-I{tmp_path}", f"-I{host.KERNELS / 'include'}"]
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-Wpedantic", "-fsyntax-only"]
    done = subprocess.run(["g++", *flags, *include, tmp_path / "all.cpp"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_kernels_are_formatted() -> None:
    if shutil.which("clang-format") is None:
        pytest.skip("clang-format is not installed")
    files = [*host.KERNELS.rglob("*.[ch]"), *host.RUNTIME.glob("*.[ch]")]
    assert len(files) > 10
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_on_the_target_there_is_no_allocation_and_weights_have_their_section(tmp_path: Path) -> None:
    if shutil.which(CROSS[0]) is None:
        pytest.skip(f"{CROSS[0]} is not installed")
    model = small_model()
    emit.write_tree(tmp_path, model.render())
    sources = [tmp_path / "compiled_model.c", host.RUNTIME / "inference.c", *sorted((host.KERNELS / "src").glob("*.c"))]
    include = [f"-I{folder}" for folder in (tmp_path, host.KERNELS / "include", FIRMWARE / "include")]
    image = tmp_path / "all.o"
    subprocess.run(
        [*CROSS, "-std=c99", "-Os", "-nostdlib", "-r", "-mfloat-abi=hard", *include, *sources, "-o", image], check=True
    )
    undefined = subprocess.run(["arm-none-eabi-nm", "-u", image], capture_output=True, text=True, check=True).stdout
    assert set(undefined.split()) - {"U"} <= {"memcpy", "memset"}
    sections = subprocess.run(["arm-none-eabi-size", "-A", image], capture_output=True, text=True, check=True).stdout
    found = re.search(r"^\.rodata\.weights\s+(\d+)", sections, re.MULTILINE)
    assert found is not None
    assert model.weight_bytes <= int(found[1]) < model.weight_bytes + 16 * len(model.layers)
    arena = re.search(r"^\.bss\s+(\d+)", sections, re.MULTILINE)
    assert arena is not None
    assert int(arena[1]) == model.arena_bytes


@needs_compiler
def test_vectors_do_not_depend_on_each_other() -> None:
    model = small_model()
    inputs = vectors(model.graph, 5)
    together, _ = host.run(model, inputs)
    alone = np.concatenate([host.run(model, inputs[i : i + 1])[0] for i in (4, 0)])
    assert np.array_equal(together[[4, 0]], alone)


def test_vectors_of_the_wrong_size_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(n, 108\)"):
        host.run(small_model(), np.zeros((1, 7), np.uint8))


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"no C compiler .* install one: apt-get install gcc"):
        host.run(small_model(), np.zeros((1, 108), np.uint8))


@needs_compiler
def test_a_compiler_that_fails_shows_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "gcc"
    script.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TINYML_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ToolError, match=r"(?s)failed with exit code 3.*no space left"):
        host.run(small_model(), np.zeros((1, 108), np.uint8))
