"""The benchmark of weight formats: its page, its picture, and what it says of wrong use."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks import models, weight_formats
from convert.compiled import device


def command(*args: object) -> Result:
    return CliRunner().invoke(weight_formats.main, [str(a) for a in args], catch_exceptions=False)


def test_nothing_to_measure() -> None:
    result = command()
    assert result.exit_code == 2
    assert "name .tflite files, recipes with --recipe, or shares with --zeros" in result.output


def test_a_recipe_that_was_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "recipes", dict)
    result = command("--recipe", "digits")
    assert result.exit_code == 2
    assert "recipe digits was not built here; run: python convert/build.py" in result.output


@pytest.mark.slow
@pytest.mark.skipif(not device.available(), reason="no arm-none-eabi-gcc or qemu-system-arm in PATH")
def test_a_sparse_layer_is_smaller_and_faster(tmp_path: Path) -> None:
    result = command("--zeros", 0.9, "--output", tmp_path)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "results.md").read_text()
    assert "## dense_90" in page
    assert "![formats](dense_90.png)" in page
    assert (tmp_path / "dense_90.png").read_bytes().startswith(b"\x89PNG")
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in page.splitlines() if line.startswith("| ")}
    dense, auto = rows["dense"], rows["auto, at most 1x"]
    assert float(auto[2]) < 0.2
    assert float(auto[8].strip(" |")) <= 1 == float(dense[8].strip(" |"))
