"""Recipes of ProtoNN and of a decision tree through convert/build.py, whole test sets on emulated boards."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from convert import build
from convert.trees import container

pytestmark = pytest.mark.usefixtures("build_folder")

needs_avr = pytest.mark.skipif(shutil.which("avr-gcc") is None, reason="needs gcc-avr")
needs_emulator = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi and qemu-system-arm",
)

COMMON = """
[data]
dataset = "breast_cancer"
[train]
epochs = 6
batch_size = 32
learning_rate = 2e-2
"""
MODELS = {
    "protonn": """
[model]
architecture = "protonn"
prototypes = 6
projection = 4
gamma = 0.3
[[compress]]
technique = "iht"
epochs = 6
batch_size = 32
learning_rate = 1e-2
""",
    "decision_tree": """
[model]
architecture = "decision_tree"
max_leaves = 10
""",
}
OPERATORS = {"protonn": ["PROTONN_PROJECTION", "PROTONN_PROTOTYPES"], "decision_tree": ["DECISION_TREE"]}
TEST_SAMPLES = 113


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("board", [pytest.param("uno", marks=needs_avr), pytest.param("qemu_m4", marks=needs_emulator)])
def test_the_whole_chain(name: str, board: str, tmp_path: Path) -> None:
    recipe = tmp_path / f"{name}.toml"
    recipe.write_text(f'name = "tiny_{name}"\n{COMMON}{MODELS[name]}')
    arguments = ["--board", board, "--recipe", recipe, "--vectors", TEST_SAMPLES, "--output", tmp_path / "out"]
    result = CliRunner().invoke(build.main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "every byte equal to the NumPy reference" in result.output
    r = json.loads((tmp_path / "out" / "report.json").read_text())
    assert r["smoke"]["passed"] is True and r["smoke"]["vectors"] == TEST_SAMPLES + 1
    assert r["accuracy"]["device"] == r["accuracy"]["int8"] > 0.85
    model = container.unpack((tmp_path / "out" / r["artifacts"]["model"]).read_bytes())
    assert (r["memory"]["weights"], r["memory"]["arena"]) == (model.constant_bytes, 30 + 8)
    assert [layer["operator"] for layer in r["layers"]] == OPERATORS[name]
