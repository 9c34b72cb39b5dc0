"""Firmware from recipes of few bits and other formats: proven byte by byte, or refused before any training."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from convert import build, graph
from training import train

pytestmark = pytest.mark.usefixtures("build_folder")

RECIPE = """
name = "few_bits"

[data]
dataset = "digits"

[model]
architecture = "lenet"
filters = [6, 12]
dense = [24]

[train]
epochs = 8
batch_size = 32
learning_rate = 5e-3

[[compress]]
"""


def run(tmp_path: Path, board: str, step: str, *options: str) -> Result:
    path = tmp_path / "few_bits.toml"
    path.write_text(RECIPE + step)
    arguments = ["--board", board, "--recipe", str(path), "--output", str(tmp_path / "out"), *options]
    return CliRunner().invoke(build.main, arguments, catch_exceptions=False)


@pytest.mark.parametrize(
    ("form", "options", "words"),
    [
        ("float16", (), "neither tflm nor compiled"),
        ("dynamic", (), "neither tflm nor compiled"),
        ("float32", ("--runtime", "compiled"), "tflm"),
    ],
)
def test_a_format_that_no_firmware_executes_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, options: tuple[str, ...], words: str
) -> None:
    monkeypatch.setattr(train, "run", lambda *_: pytest.fail("training had begun"))
    result = run(tmp_path, "qemu_m4", f'technique = "post_training"\nformat = "{form}"\n', *options)
    assert result.exit_code == 2, result.output
    assert f'makes a model with format = "{form}"' in result.output.replace("\n", " ")
    assert f"{words}; take format int8 or int16x8 for firmware" in result.output.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi and qemu-system-arm",
)
@pytest.mark.parametrize(
    ("step", "board", "packed"),
    [
        ('technique = "post_training"\nweight_bits = 4\n', "nano33", 4),
        ('technique = "qat_bits"\nweight_bits = 2\nepochs = 3\nbatch_size = 32\nskip = ["scores"]\n', "qemu_m4", 2),
        ('technique = "post_training"\nformat = "int16x8"\n', "qemu_m4", 8),
    ],
    ids=["4_bits", "2_bits", "int16x8"],
)
def test_firmware_of_few_bits_answers_like_tflite_micro(tmp_path: Path, step: str, board: str, packed: int) -> None:
    result = run(tmp_path, board, step, "--runtime", "compiled", "--vectors", "10")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["smoke"]["passed"] is True and report["smoke"]["vectors"] == 11
    assert report["smoke"]["mismatches"] == 0
    assert report["accuracy"]["int8"] > 0.75
    view = graph.load((tmp_path / "out" / "model.tflite").read_bytes())
    weights = [view.tensors[op.inputs[1]] for op in view.operators if op.name in ("CONV_2D", "FULLY_CONNECTED")]
    assert {t.packed_bits for t in weights} == ({4} if packed == 4 else {None})
    if packed == 2:
        assert all(t.data is not None and set(t.data.ravel().tolist()) <= {-1, 0, 1} for t in weights[:-1])
