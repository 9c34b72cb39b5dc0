"""The TFLite Micro project with the real library, in QEMU: the bytes of the host's TFLite Micro, and its failures.

On every Cortex-M core that QEMU has, with CMSIS-NN where the tree has it; the failures on one of them. Needs a TFLite
Micro source tree, which no package registry has: TINYML_TFLM_DIR names one.
"""

import copy
import json
import os
import re
import runpy
import shutil
import subprocess
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
from models import Op, T, tflite

from convert import boards, emit, golden, graph, smoke, tflm, tflm_compress, tflm_tree, vectors
from convert.compress import Compress
from convert.emulate import qemu_mps2
from convert.errors import ToolError
from convert.paths import FIRMWARE
from convert.tflm_compress import BITMAP, CODEBOOK

TREE = os.environ.get("TINYML_TFLM_DIR")
TOOLS = ("arm-none-eabi-g++", "arm-none-eabi-ar", "qemu-system-arm")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not TREE, reason="TINYML_TFLM_DIR names no TFLite Micro source tree"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} on the PATH"),
]

CORES = ("qemu_m3", "qemu_m4", "qemu_m7", "qemu_m33", "qemu_m55")
FLAGS = runpy.run_path(str(FIRMWARE / "pio/platforms/bare/builder/architectures.py"))["of"]
CXX = ["-std=gnu++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fno-use-cxa-atexit"]
STRICT = ["-Wall", "-Wextra", "-Werror"]
CONV = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, "padding": 0}


def net():
    """CONV_2D per channel, DEPTHWISE_CONV_2D, AVERAGE_POOL_2D, RESHAPE, FULLY_CONNECTED per channel, SOFTMAX."""
    random = np.random.default_rng(7)

    def weights(*shape):
        return random.integers(-127, 128, shape)

    scales = [0.004, 0.006, 0.003, 0.005, 0.002, 0.007, 0.004, 0.005]
    tensors = [
        T((1, 8, 8, 3), scale=0.05, zero_point=-3, name="x"),
        T((8, 3, 3, 3), data=weights(8, 3, 3, 3), scale=scales),
        T((8,), "i4", data=random.integers(-500, 500, 8), scale=[0.05 * s for s in scales]),
        T((1, 8, 8, 8), scale=0.06, zero_point=-128),
        T((1, 3, 3, 8), data=weights(1, 3, 3, 8), scale=scales, axis=3),
        T((8,), "i4", data=random.integers(-500, 500, 8), scale=[0.06 * s for s in scales]),
        T((1, 8, 8, 8), scale=0.08, zero_point=-128),
        T((1, 2, 2, 8), scale=0.08, zero_point=-128),
        T((2,), "i4", data=[1, 32], scale=None),
        T((1, 32), scale=0.08, zero_point=-128),
        T((4, 32), data=weights(4, 32), scale=[0.01, 0.02, 0.015, 0.012], axis=0),
        T((4,), "i4", data=random.integers(-500, 500, 4), scale=[0.08 * s for s in (0.01, 0.02, 0.015, 0.012)]),
        T((1, 4), scale=0.3, zero_point=5),
        T((1, 4), scale=1 / 256, zero_point=-128, name="y"),
    ]
    relu = {"fusedActivationFunction": 1}
    pool = {"strideH": 4, "strideW": 4, "filterHeight": 4, "filterWidth": 4, "padding": 1}
    ops = [
        Op("CONV_2D", [0, 1, 2], [3], "Conv2DOptions", {**CONV, **relu}),
        Op("DEPTHWISE_CONV_2D", [3, 4, 5], [6], "DepthwiseConv2DOptions", {**CONV, **relu, "depthMultiplier": 1}),
        Op("AVERAGE_POOL_2D", [6], [7], "Pool2DOptions", pool),
        Op("RESHAPE", [7, 8], [9], "ReshapeOptions", {"newShape": [1, 32]}),
        Op("FULLY_CONNECTED", [9, 10, 11], [12], "FullyConnectedOptions"),
        Op("SOFTMAX", [12], [13], "SoftmaxOptions", {"beta": 1.0}),
    ]
    return graph.load(tflite(tensors, ops, [0], [13]))


def compressible():
    """The same operators: CONV_2D and one dense layer pruned, DEPTHWISE_CONV_2D and another of few values."""
    random = np.random.default_rng(8)

    def pruned(*shape):
        return random.integers(-127, 128, shape) * (random.random(shape) < 0.1)

    def shared(values, *shape):
        return random.choice(random.choice(np.arange(-127, 128), values, replace=False), shape)

    def dense(weights, channels):
        rows, columns = weights.shape
        return T((rows, columns), data=weights, scale=[0.001 * (1 + k % 3) for k in range(rows)] if channels else 0.02)

    scales = [0.003 + 0.0001 * k for k in range(32)]
    tensors = [
        T((1, 8, 8, 3), scale=0.05, zero_point=-3, name="x"),
        T((32, 3, 3, 3), data=pruned(32, 3, 3, 3), scale=scales),
        T((1, 8, 8, 32), scale=0.02, zero_point=-128),
        T((1, 3, 3, 32), data=random.choice([-60, 30, 90], (1, 3, 3, 32)), scale=scales, axis=3),
        T((32,), "i4", data=random.integers(-500, 500, 32), scale=[0.02 * s for s in scales]),
        T((1, 8, 8, 32), scale=0.02, zero_point=-128),
        T((1, 2, 2, 32), scale=0.02, zero_point=-128),
        T((2,), "i4", data=[1, 128], scale=None),
        T((1, 128), scale=0.02, zero_point=-128),
        dense(pruned(128, 128), True),
        T((1, 128), scale=0.02),
        dense(shared(9, 128, 128), False),
        T((1, 128), scale=0.3),
        T((1, 128), scale=1 / 256, zero_point=-128, name="y"),
    ]
    relu = {"fusedActivationFunction": 1}
    pool = {"strideH": 4, "strideW": 4, "filterHeight": 4, "filterWidth": 4, "padding": 1}
    ops = [
        Op("CONV_2D", [0, 1, -1], [2], "Conv2DOptions", {**CONV, **relu}),
        Op("DEPTHWISE_CONV_2D", [2, 3, 4], [5], "DepthwiseConv2DOptions", {**CONV, **relu, "depthMultiplier": 1}),
        Op("AVERAGE_POOL_2D", [5], [6], "Pool2DOptions", pool),
        Op("RESHAPE", [6, 7], [8], "ReshapeOptions", {"newShape": [1, 128]}),
        Op("FULLY_CONNECTED", [8, 9, -1], [10], "FullyConnectedOptions"),
        Op("FULLY_CONNECTED", [10, 11, -1], [12], "FullyConnectedOptions"),
        Op("SOFTMAX", [12], [13], "SoftmaxOptions", {"beta": 1.0}),
    ]
    return graph.load(tflite(tensors, ops, [0], [13]))


class Bench:
    """The library, built once for a board's core, and firmware linked with it."""

    def __init__(self, folder, board):
        self.folder = folder
        self.board = boards.load(board)
        section = self.board.tinyml
        self.cpu = [*FLAGS(section.architecture, self.board.build.cpu, section.fpu).cpu]
        self.cpu += ["-ffunction-sections", "-fdata-sections"]
        self._take(net())
        self.arena = tflm.plan_arena(self.graph, self.golden.arena, self.board.build.cpu)
        self.files = tflm.render(self.graph, self.arena)
        self.tree = tflm_tree.scan(Path(TREE), [*self.graph.op_names, golden.DECODE])
        self.library = self._library()

    def _take(self, view):
        self.graph = view
        self.vectors = vectors.computed(view, 5)
        self.golden = golden.run(view, self.vectors.inputs)

    def of(self, view):
        """The same library for another model of the same operators."""
        other = copy.copy(self)
        other._take(view)
        return other

    def _library(self):
        sources = [(source, "-Os") for source in self.tree.core] + [(source, "-O2") for source in self.tree.kernels]
        jobs = [(source, ["-w", level], str(i)) for i, (source, level) in enumerate(sources)]
        with ThreadPool() as pool:
            objects = pool.starmap(self._compile, jobs)
        library = self.folder / "library.a"
        subprocess.run(["arm-none-eabi-ar", "rcs", library, *objects], check=True)
        return library

    def _compile(self, source, options, name, folder=None):
        target = (folder or self.folder) / f"{name}.o"
        plain = source.suffix == ".c"
        tool = ["arm-none-eabi-gcc", "-std=gnu11"] if plain else ["arm-none-eabi-g++", *CXX]
        defines = [f"-D{key}={value}" for key, value in self.tree.defines]
        includes = [part for path in self.tree.includes for part in ("-isystem", path)]
        options = [*self.cpu, "-DNDEBUG", *defines, *options, *includes]
        subprocess.run([*tool, *options, "-c", source, "-o", target], check=True)
        return target

    def run(self, name, files):
        """Build the project with `files` in place of the generated ones and run it in QEMU."""
        folder = self.folder / name
        names = {"board": self.board.id, "model": "net", "model_sha256": self.graph.sha256, "reset": False}
        config = emit.render("common/model_config.h.j2", names)
        common = {**vectors.render_vectors(self.graph, self.vectors), "model_config.h": config}
        emit.write_tree(folder / "src", {**common, **files})
        ports = [FIRMWARE / "ports/qemu_mps2", FIRMWARE / "ports/cortex_m"]
        sources = [path for path in (folder / "src").iterdir() if path.suffix in (".c", ".cc")]
        sources += [path for port in ports for path in port.glob("*.c")]
        sources += [*(FIRMWARE / "src/golden").glob("*.c"), *(FIRMWARE / "runtimes/tflm").glob("*.cpp")]
        board = self.board
        options = [*STRICT, "-Os", "-DTINYML_TFLM_FROM_SOURCE=1", f"-DTINYML_CLOCK_HZ={board.build.clock_hz}"]
        includes = [FIRMWARE / name for name in ("include", "lib/kernels/include", "runtimes/tflm")]
        options += [f"-I{path}" for path in (folder / "src", *includes)]
        objects = [self._compile(source, options, source.name, folder) for source in sources]
        places = {
            "__flash_origin": board.environments[0].flash_origin,
            "__flash_size": board.upload.maximum_size,
            "__ram_origin": board.environments[0].ram_origin,
            "__ram_size": board.upload.maximum_ram_size,
        }
        link = [f"-Wl,--defsym={key}={value:#x}" for key, value in places.items()]
        link += ["-Wl,--gc-sections", "-Wl,--wrap=abort", "-Wl,--no-warn-rwx-segments", "--specs=nano.specs"]
        script = FIRMWARE / "ports/cortex_m/link.ld"
        elf = folder / "firmware.elf"
        command = ["arm-none-eabi-g++", *self.cpu, "-nostartfiles", *link, "-T", script, *objects, self.library, "-lm"]
        subprocess.run([*command, "-o", elf], check=True)
        transcript = qemu_mps2.run(elf, board, board.environments[0], 60.0)
        return smoke.parse(transcript, self.golden.outputs.shape[1])


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    made = {}

    def make(board):
        if board not in made:
            made[board] = Bench(tmp_path_factory.mktemp(board), board)
        return made[board]

    return make


@pytest.fixture(scope="module")
def bench(benches):
    return benches("qemu_m4")


def changed(files, name, pattern, to):
    text, count = re.subn(pattern, to, files[name], count=1, flags=re.DOTALL)
    assert count == 1, json.dumps([name, pattern])
    return {**files, name: text}


@pytest.mark.parametrize("board", CORES)
def test_the_firmware_gives_the_hosts_bytes(benches, board):
    bench = benches(board)
    run = bench.run("right", bench.files)
    assert np.array_equal(run.outputs, bench.golden.outputs)
    assert run.arena is not None and run.arena <= bench.arena.bytes


@pytest.mark.parametrize("board", CORES)
def test_compressed_weights_give_the_same_bytes(benches, board):
    """Every form, decoded beside the arena, and in it where the board has no room for both."""
    bench = benches(board).of(compressible())
    upload = bench.board.upload
    runs = []
    for ram in (upload.maximum_ram_size, 0):
        small = bench.board.model_copy(update={"upload": upload.model_copy(update={"maximum_ram_size": ram})})
        for mode in (CODEBOOK, BITMAP) if ram == 0 else ("auto",):
            made = tflm_compress.for_board(small, bench.graph, bench.golden.arena, Compress(mode, 99))
            runs.append([mode, made.decompression_bytes, *(stored.scheme for stored in made.compressed.tensors)])
            run = bench.run(f"{mode}_{ram}", made.render(bench.graph))
            assert np.array_equal(run.outputs, bench.golden.outputs)
            assert run.arena <= made.arena.bytes
    assert runs == [
        ["auto", 128 * 128, BITMAP, CODEBOOK, BITMAP, CODEBOOK],
        [CODEBOOK, 0, CODEBOOK, CODEBOOK, CODEBOOK, CODEBOOK],
        [BITMAP, 0, BITMAP, "none", BITMAP, "none"],
    ]
    assert len(np.unique(bench.golden.outputs, axis=0)) > 1


# The sizes end in the interpreter's own tables, in a kernel's data (which kernels do not check) and in the activations.
@pytest.mark.parametrize("size", [1024, 1264, 1600])
def test_an_arena_too_small_is_named_with_the_bytes_that_are_missing(bench, size):
    small = changed(bench.files, "model_arena.h", r"= \d+u", f"= {size}u")
    with pytest.raises(ToolError, match=rf"AllocateTensors .* with an arena of {size} bytes: .*missing: \d+"):
        bench.run(f"small{size}", small)


def test_a_missing_operator_is_named(bench):
    without = changed(bench.files, "model_ops.h", r"  if \(resolver\.AddSoftmax.*?\n  }\n", "")
    with pytest.raises(ToolError, match="'SOFTMAX'"):
        bench.run("without", without)


def test_a_resolver_too_small_is_named(bench):
    few = changed(bench.files, "model_ops.h", r"OpResolver<6>", "OpResolver<5>")
    with pytest.raises(ToolError, match=r"operator SOFTMAX cannot be registered: .*too small"):
        bench.run("few", few)


def test_another_input_type_is_named(bench):
    other = changed(bench.files, "model_data.h", r"(InputTypes\[kTflmInputs\] = \{)kTfLiteInt8", r"\1kTfLiteFloat32")
    with pytest.raises(ToolError, match="input 0 is of type INT8 where the generated code expects FLOAT32"):
        bench.run("other", other)
