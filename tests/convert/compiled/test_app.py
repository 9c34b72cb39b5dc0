"""The firmware's own application on this machine: order of vectors, resets between them, and inputs of int16."""

import subprocess
from pathlib import Path

import numpy as np
from test_int16 import Wide
from test_recurrent import lstm_sweep
from test_variables import adder, pack
from tflite_builder import needs_compiler

from convert import golden, graph, project, vectors
from convert.compiled import compile_model, host
from convert.paths import FIRMWARE

pytestmark = needs_compiler

PORT = """
#include "port.h"
#include <stdio.h>
int app_run(void);
void port_write(const char *text, size_t count) { fwrite(text, 1, count, stdout); }
void port_count_start(void) {}
int port_count_stop(uint64_t *instructions) { (void)instructions; return 1; }
int port_stack_used(size_t *bytes) { (void)bytes; return 1; }
int main(void) { return app_run(); }
"""


def run(g: graph.Graph, test: vectors.Vectors, folder: Path) -> np.ndarray:
    """The outputs that the application prints."""
    model = compile_model(g)
    image = project.Image(dict(model.render()), model.arena_bytes, model.weight_bytes)
    project.write(folder, g, test, {"compiled": image}, {"board": "host", "model": "test"})
    (folder / "port.c").write_text(PORT)
    common, compiled = folder / "common", folder / "compiled"
    sources = [
        FIRMWARE / "src" / "golden" / "app.c",
        host.RUNTIME / "inference.c",
        common / "golden_vectors.c",
        folder / "port.c",
    ]
    sources += [compiled / "compiled_model.c"]
    includes = [f"-I{path}" for path in (FIRMWARE / "include", common, compiled)]
    flags = ["-std=c99", "-O2", *host.WARNINGS, "-I", str(host.KERNELS / "include")]
    kernels = host.kernels(host.compiler(), flags, sorted((host.KERNELS / "src").glob("*.c")))
    program = folder / "app"
    subprocess.run(
        [host.compiler(), *flags, "-O0", *includes, *map(str, [*sources, *kernels]), "-o", str(program)], check=True
    )
    text = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    assert f"#done {len(test.inputs)}" in text
    lines = [line.split() for line in text.splitlines() if line.startswith("#vector ")]
    assert [int(line[1]) for line in lines] == list(range(len(test.inputs)))
    return np.stack([np.frombuffer(bytes.fromhex(line[2]), np.uint8) for line in lines])


def check(g: graph.Graph, test: vectors.Vectors, folder: Path) -> None:
    expected = golden.run(g, test.inputs, apart=test.apart).outputs
    np.testing.assert_array_equal(run(g, test, folder), expected)


def test_vectors_are_one_sequence(tmp_path: Path) -> None:
    for k, g in enumerate((graph.load(pack(adder())), lstm_sweep().build())):
        test = vectors.computed(g, 4)
        assert (golden.run(g, test.inputs, apart=True).outputs != golden.run(g, test.inputs).outputs).any()
        check(g, test, tmp_path / str(k))


def test_samples_start_from_the_first_state_each(tmp_path: Path) -> None:
    g = graph.load(pack(adder()))
    samples = np.random.default_rng(2).uniform(-10, 10, (4, 6)).astype(np.float32)
    test = vectors.from_samples(g, samples)
    assert (golden.run(g, test.inputs, apart=True).outputs != golden.run(g, test.inputs).outputs).any()
    check(g, test, tmp_path)
    assert "TINYML_RESET_EACH_VECTOR" in (tmp_path / "common" / "model_config.h").read_text()


def test_inputs_of_int16(tmp_path: Path) -> None:
    s = Wide(72)
    s.dense(s.conv(s.input((1, 4, 4, 2), scale=0.001), 3), 2)
    g = s.build()
    check(g, vectors.computed(g, 4), tmp_path / "computed")
    samples = np.random.default_rng(3).uniform(-40, 40, (3, 4, 4, 2)).astype(np.float32)
    check(g, vectors.from_samples(g, samples), tmp_path / "stored")
    assert "TINYML_RESET" not in (tmp_path / "stored" / "common" / "model_config.h").read_text()
