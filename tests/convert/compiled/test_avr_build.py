"""The command on the Uno: one small model to the end, and one that is too large."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tflite_builder import Sweep

from convert import budget, build, compilers
from convert.compiled import avr
from convert.paths import BOARDS

CORE = Path("/usr/share/arduino/hardware/arduino/avr/cores/arduino/Arduino.h")

pytestmark = pytest.mark.skipif(
    compilers.missing("avr") is not None or not CORE.is_file() or not avr.available(),
    reason="no avr-gcc, Arduino core or libsimavr",
)


def command(*args: object, folder: Path) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "BUILD", folder)
        return CliRunner().invoke(build.main, [str(a) for a in args], catch_exceptions=False)


def network(size: int) -> Sweep:
    s = Sweep(95)
    x = s.conv(s.input((1, size, size, 1)), 4, activation="relu")
    x = s.depthwise(s.pool(x, "MAX"), activation="relu")
    shape = s.shape(x)
    x = s.add(x, s.tensor((4,), scale=0.1, zero_point=0, data=[1, -20, 3, 100]), 0.2)
    x = s.dense(s.reshape(x, (1, shape[1] * shape[2] * 4)), 5)
    s.unary("SOFTMAX", x, 1 / 256, -128, beta=1.0)
    return s


def test_a_model_runs_on_the_uno(tmp_path: Path) -> None:
    model = tmp_path / "small.tflite"
    model.write_bytes(network(8).build(ends_only=True).data)
    result = command("--board", "uno", "--model", model, "--output", tmp_path / "out", folder=tmp_path / "build")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["environment"], report["runtime"]) == ("uno_bare", "compiled")
    assert report["smoke"]["passed"] and report["smoke"]["vectors"] == 21
    assert report["smoke"]["instructions_per_inference"] < report["smoke"]["cycles_per_inference"] < 1_000_000
    build_json = json.loads((tmp_path / "out" / "generated" / "build.json").read_text())
    assert build_json["memory"]["compiled"]["operands"] == 4
    board = json.loads((BOARDS / "uno.json").read_text())
    ram, _ = budget.estimate(board, build_json, "uno_bare")
    assert budget.Part("constant operands", 4) in ram.parts
    memory = report["memory"]
    assert memory["stack"] < memory["stack_reserve"]
    # Nothing of the model is in RAM but the arena and the operand that a kernel reads there.
    assert memory["static_ram"] - memory["arena"] < 60


def test_a_model_that_is_too_large_is_exit_code_3(tmp_path: Path) -> None:
    model = tmp_path / "large.tflite"
    model.write_bytes(network(40).build(ends_only=True).data)
    result = command("--board", "uno", "--model", model, "--output", tmp_path / "out", folder=tmp_path / "build")
    assert result.exit_code == 3, result.output
    assert "RAM of Arduino Uno is exceeded by" in " ".join(result.output.split())
    assert not list((tmp_path / "out").rglob("firmware.hex"))


@pytest.mark.exhaustive
def test_the_smallest_cnn_keeps_its_limits(tmp_path: Path) -> None:
    """In 2 KB of RAM with its stack, 24 KB of flash with core and test vectors, right bytes, right digits."""
    result = command(
        "--board", "uno", "--recipe", "uno_digits", "--output", tmp_path / "out", folder=tmp_path / "build"
    )
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    memory = report["memory"]
    assert memory["static_ram"] + memory["stack"] < 1024 and memory["flash"] < 24 * 1024
    assert report["accuracy"]["int8"] >= 0.94 and report["accuracy"]["samples"] == 360
    assert report["smoke"]["passed"] and report["smoke"]["cycles_per_inference"] < 1_000_000
