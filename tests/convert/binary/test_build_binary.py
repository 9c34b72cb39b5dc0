"""Recipes of binary networks through convert/build.py: the whole chain, and the ways in which it ends early."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from binary_nets import net
from click.testing import CliRunner, Result

from convert import build, evaluate, fit
from convert.binary import container, host, view
from convert.binary.family import BINARY
from convert.compiled import avr

pytestmark = pytest.mark.usefixtures("build_folder")

needs_emulator = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi and qemu-system-arm",
)
needs_avr = pytest.mark.skipif(not avr.available(), reason="needs gcc-avr and simavr")
needs_riscv = pytest.mark.skipif(
    shutil.which("riscv64-unknown-elf-gcc") is None or shutil.which("qemu-system-riscv32") is None,
    reason="needs gcc-riscv64-unknown-elf and qemu-system-riscv32",
)

RECIPE = """
name = "tiny_bits"
[data]
dataset = "digits"
[model]
architecture = "lenet"
filters = [16, 32]
dense = [32]
[train]
epochs = 3
batch_size = 32
learning_rate = 3e-3
[[compress]]
technique = "binarize"
scheme = "SCHEME"
epochs = 6
batch_size = 32
learning_rate = 5e-3
"""
SAMPLES = 360


def recipe_of(folder: Path, scheme: str) -> Path:
    path = folder / "tiny_bits.toml"
    path.write_text(RECIPE.replace("SCHEME", scheme))
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_of(tmp_path_factory.mktemp("recipe"), "integer_bnn")


def command(*args: object) -> Result:
    return CliRunner().invoke(build.main, [str(a) for a in args], catch_exceptions=False)


@pytest.fixture(scope="module")
def built(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("m4")
    result = command("--board", "qemu_m4", "--recipe", recipe, "--vectors", SAMPLES, "--output", output)
    assert result.exit_code == 0, result.output
    assert "every byte equal to the NumPy reference" in result.output and "TFLite Micro" not in result.output
    return output


@pytest.mark.slow
@needs_emulator
def test_the_whole_chain_on_a_cortex_m4(built: Path) -> None:
    r = json.loads((built / "report.json").read_text())
    assert (r["runtime"], r["reference"]) == ("binary", "the NumPy reference")
    assert r["smoke"]["passed"] is True and r["smoke"]["vectors"] == SAMPLES + 1
    a, m = r["accuracy"], r["memory"]
    assert a["device"] == a["int8"] > 0.6, "on the device as in Python, on the whole test set"
    found = container.unpack_net((built / "model.bits").read_bytes())
    assert m["weights"] == found.constant_bytes < 3000
    assert r["model"]["macs"] == found.macs == sum(layer["macs"] for layer in r["layers"])
    assert m["arena"] <= m["static_ram"] and 0 < m["stack"] < m["stack_reserve"]
    assert "kernels_m4_bits_conv" in (built / "generated" / "binary" / "binary_model.c").read_text()


@pytest.mark.slow
@needs_emulator
def test_the_test_set_is_evaluated_on_the_device(built: Path) -> None:
    arguments = ["--board", "qemu_m4", "--output", str(built), "--samples", "20"]
    result = CliRunner().invoke(evaluate.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "every byte of every output equal" in result.output


@pytest.mark.slow
@needs_avr
def test_a_file_is_a_model_for_an_uno(built: Path, tmp_path: Path) -> None:
    result = command("--board", "uno", "--model", built / "model.bits", "--vectors", 3, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert "simavr: 4 vectors, every byte equal to the NumPy reference" in result.output
    assert (tmp_path / "model.bits").read_bytes() == (built / "model.bits").read_bytes()


@pytest.mark.slow
@needs_riscv
def test_a_file_is_a_model_for_risc_v(tmp_path: Path) -> None:
    path = tmp_path / "ternary.bits"
    path.write_bytes(container.pack_net(net(ternary=True)))
    asked = ("--board", "esp32c3", "--environment", "esp32c3_twin", "--vectors", 3, "--output", tmp_path / "out")
    result = command("--model", path, *asked)
    assert result.exit_code == 0, result.output
    assert "qemu_virt: 4 vectors, every byte equal" in result.output


def test_what_does_not_fit_is_exit_code_3(tmp_path: Path) -> None:
    path = tmp_path / "wide.bits"
    path.write_bytes(container.pack_net(net(shape=(28, 28, 1), filters=(32, 64))))
    result = command("--board", "uno", "--model", path, "--output", tmp_path / "out")
    assert result.exit_code == 3, result.output
    assert "RAM of Arduino Uno is exceeded" in result.output


def test_boards_are_looked_at_without_a_build(tmp_path: Path) -> None:
    path = tmp_path / "wide.bits"
    path.write_bytes(container.pack_net(net(shape=(28, 28, 1), filters=(32, 64))))
    result = CliRunner().invoke(
        fit.main, ["--model", str(path), "--json", str(tmp_path / "fit.json")], catch_exceptions=False
    )
    assert result.exit_code in (0, 3), result.output
    found = {b["board"]: b["fits"] for b in json.loads((tmp_path / "fit.json").read_text())["boards"]}
    assert found["nano33"] is True and found["uno"] is False


@pytest.mark.parametrize("options", [("--runtime", "compiled"), ("--runtime", "tflm"), ("--tflm-dir", ".")])
def test_a_runtime_that_runs_no_bits_is_exit_code_2(recipe: Path, options: tuple[str, ...]) -> None:
    result = command("--board", "qemu_m4", "--recipe", recipe, *options)
    assert result.exit_code == 2
    assert "makes a binary network, which runs in a runtime of its own; leave --runtime" in result.output


def test_a_scheme_with_floats_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    result = command("--board", "qemu_m4", "--recipe", recipe_of(tmp_path, "xnor"))
    assert result.exit_code == 2
    assert 'firmware takes scheme = "integer_bnn" or "integer_tnn"' in result.output


def test_a_file_of_something_else_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "model.bits").write_bytes(b"BNS1 and so on")
    result = command("--board", "qemu_m4", "--model", tmp_path / "model.bits")
    assert result.exit_code == 2 and "does not begin with BIT1" in result.output


def test_the_blame_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    g = view.load(container.pack_net(net()))
    assert BINARY.locate is not None
    inputs = np.zeros((2, 64), np.uint8)
    assert "The portable C agrees on this machine" in BINARY.locate(g, inputs)
    monkeypatch.setattr(host, "run", lambda _net, x: np.zeros((len(x), 4), np.int32))
    assert BINARY.locate(g, inputs) == "The C differs on this machine too."
