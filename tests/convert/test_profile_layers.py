"""Profiles of a small model: counted from outside in Unicorn, by the firmware's own counter in QEMU, and by hand."""

import csv
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from models import Op, T, tflite

from convert import build, layers, profile_layers, toolchain
from convert import built as builds
from convert.compiled import compile_model
from convert.compiled.device import profile as count_on_device
from convert.emulate import cortex_m, unicorn_link
from convert.errors import ToolError
from convert.graph import load
from convert.layers import Operator
from convert.serial_protocol import Counters
from convert.vectors import computed

needs_compiler = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs gcc-arm-none-eabi")
needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm")


def command(*args: object) -> Result:
    return CliRunner().invoke(profile_layers.main, [str(a) for a in args], catch_exceptions=False)


def two_layers() -> bytes:
    """Two dense layers, a RESHAPE without code between them, of very different sizes."""
    rng = np.random.default_rng(1)

    def dense(x: int, y: int) -> list[T]:
        weights = T((y, x), data=rng.integers(-127, 127, (y, x)), scale=0.01)
        return [weights, T((y,), "i4", data=rng.integers(-9, 9, y), scale=0.005)]

    tensors = [T((1, 64), name="x"), *dense(64, 32), T((1, 32)), T((2,), "i4", data=[1, 32]), T((1, 32))]
    tensors += [*dense(32, 4), T((1, 4))]
    ops = [
        Op("FULLY_CONNECTED", [0, 1, 2], [3], "FullyConnectedOptions"),
        Op("RESHAPE", [3, 4], [5], "ReshapeOptions"),
        Op("FULLY_CONNECTED", [5, 6, 7], [8], "FullyConnectedOptions"),
    ]
    return tflite(tensors, ops, [0], [8])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "two.tflite"
    path.write_bytes(two_layers())
    return path


def built(model: Path, board: str) -> Path:
    """What build.py leaves, without the build itself."""
    output = model.parent / board
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "BUILD", model.parent / "build")
        patch.setattr(build, "_build", lambda *_: None)
        arguments = ["--board", board, "--model", model, "--output", output, "--no-smoke", "--runtime", "compiled"]
        result = CliRunner().invoke(build.main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return output


@pytest.fixture(scope="module")
def nano33(model: Path) -> Iterator[Path]:
    yield built(model, "nano33")


@needs_compiler
def test_every_instruction_is_somebody_s(model: Path, nano33: Path) -> None:
    result = command("--board", "nano33", "--output", nano33)
    assert result.exit_code == 0, result.output
    folder = nano33 / "profile" / "nano33_bare"
    found = json.loads((folder / "profile.json").read_text())
    lines = found["layers"]
    assert [line["operator"] for line in lines] == ["FULLY_CONNECTED", "RESHAPE", "FULLY_CONNECTED"]
    assert found["total"] == found["whole"] == sum(line["amount"] for line in lines) + found["between"]
    assert lines[1]["amount"] == 0 and found["between"] < 100
    assert [line["macs"] for line in lines] == [2048, 0, 128]
    # The same layers in an image of another kind, counted in another way.
    g = load(model.read_bytes())
    counted = count_on_device(compile_model(g, "cortex_m4"), computed(g, 0).inputs[0])
    for line, layer in zip(lines, counted.layers, strict=True):
        assert line["amount"] == pytest.approx(0 if layer is None else layer.instructions, rel=0.02, abs=12)
    assert "agree within 0" in result.output and "(an estimate) at 64 MHz" in result.output
    rows = list(csv.reader((folder / "profile.csv").open()))
    assert rows[0][:4] == ["index", "operator", "kernel", "instructions"]
    assert [float(row[3]) for row in rows[1:]] == [*(line["amount"] for line in lines), found["between"]]
    assert (folder / "profile.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "profile.svg").read_text()


@needs_compiler
@needs_qemu
def test_the_firmware_counts_its_own_layers(model: Path, nano33: Path) -> None:
    output = built(model, "qemu_m4")
    result = command("--board", "qemu_m4", "--output", output)
    assert result.exit_code == 0, result.output
    found = json.loads((output / "profile" / "qemu_m4" / "profile.json").read_text())
    assert abs(found["total"] - found["whole"]) <= found["resolution"] <= 200
    assert "latency of the board: unknown" in result.output
    if not (nano33 / "profile").is_dir():
        command("--board", "nano33", "--output", nano33)
    exact = json.loads((nano33 / "profile" / "nano33_bare" / "profile.json").read_text())
    for line, other in zip(found["layers"], exact["layers"], strict=True):
        # A tick of QEMU's timer is 40 instructions, and a layer has two ends.
        assert abs(line["amount"] - other["amount"]) <= 80


# By hand


def test_the_hook_s_cost_is_taken_off() -> None:
    raw = struct.pack("<III", 640, 4, 1000) + struct.pack("<II", 500, 1) + struct.pack("<II", 5, 1)
    raw += struct.pack("<II", 495, 2)
    found = layers.inside(raw, [0, 1], 900.0, "microseconds", None)
    assert found.amounts == {0: 490.0, 1: 0.0}
    assert (found.between, found.whole, found.step) == (475.0, 900.0, 18.0)
    assert "10.0 microseconds a layer" in found.how and "on the board" in found.how


OPERATORS = [
    Operator(0, "CONV_2D", "conv", True, 10, 1, 1),
    Operator(1, "RESHAPE", None, False, 0, 0, 1),
    Operator(2, "SOFTMAX", "softmax", True, 0, 1, 1),
]
PLACES = {"inference_run": (0, 16), "compiled_model_run": (16, 48), "conv": (100, 20), "inference_trace": (200, 8)}


def count(*blocks: tuple[int, int]) -> unicorn_link.Count:
    """Blocks of (address, instructions); each has 4 bytes an instruction."""
    trace = [address << 16 | 4 * n for address, n in blocks]
    sizes = {key: (key & 0xFFFF) // 4 for key in trace}
    return unicorn_link.Count(sum(sizes[key] for key in trace), np.array(trace, np.int64), sizes)


def program(**places: tuple[int, int]) -> cortex_m.Program:
    return cortex_m.Program([], [], {**PLACES, **places})


def test_calls_of_a_compiled_model() -> None:
    counted = count((0, 2), (16, 3), (100, 5), (110, 1), (30, 2), (300, 7), (100, 4), (50, 1), (8, 1))
    amounts, between = layers.by_calls(counted, program(), OPERATORS)
    assert amounts == {0: 6.0, 1: 0.0, 2: 11.0} and between == 9.0
    with pytest.raises(ToolError, match="2 kernel calls were counted where 1 are expected"):
        layers.by_calls(counted, program(), OPERATORS[:2])


def test_ends_of_layers_in_an_interpreter() -> None:
    known = [OPERATORS[0], OPERATORS[2]]
    counted = count((0, 2), (200, 1), (204, 1), (100, 5), (200, 2), (90, 3), (200, 2), (300, 7), (200, 2), (8, 4))
    amounts, between = layers.by_hooks(counted, program(), known)
    assert amounts == {0: 5.0, 2: 7.0} and between == 2 + 3 + 4 + 8
    assert sum(amounts.values()) + between == counted.instructions
    with pytest.raises(ToolError, match="4 ends of layers were counted where 6 are expected"):
        layers.by_hooks(counted, program(), OPERATORS)


def test_what_cannot_be_counted_is_said() -> None:
    class Silent:
        counts_from_outside, clock_is_true, emulator = False, False, "labwired"

        class info:
            counters = Counters(2)

    with pytest.raises(ToolError, match=r"counts no instructions on this board, and the clock of labwired is not"):
        layers.measure(Silent(), OPERATORS, None)  # type: ignore[arg-type]


def test_an_environment_without_an_emulator(nano33: Path) -> None:
    result = command("--board", "nano33", "--output", nano33, "--environment", "nano33")
    assert result.exit_code == 2
    assert "environment nano33 has no emulator; take --environment nano33_bare or --port" in result.output


def test_toolchain_is_asked_for_the_right_application(nano33: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def stop(_name: str, _output: Path, _log: Path, *, application: str) -> toolchain.Firmware:
        asked.append(application)
        raise ToolError("enough")

    monkeypatch.setattr(toolchain, "build", stop)
    assert command("--board", "nano33", "--output", nano33).exit_code == 5
    manifest = json.loads((nano33 / "generated" / "build.json").read_text())
    there = builds.find("nano33", nano33, None, None, None)
    assert asked == ["serve"] and manifest["runtimes"]["nano33_bare"] == "compiled"
    assert layers.application(there, "/dev/ttyACM0") == "profile"
