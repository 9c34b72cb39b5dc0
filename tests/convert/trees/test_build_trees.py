"""Recipes of trees through convert/build.py: the whole chain, and every way in which it ends early."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from convert import accuracy, build, compilers, evaluate, smoke
from convert.errors import OutputsDifferError
from convert.paths import BOARDS
from convert.trees import container
from convert.trees.family import TREE

pytestmark = pytest.mark.usefixtures("build_folder")

needs_emulator = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi and qemu-system-arm",
)
needs_avr = pytest.mark.skipif(shutil.which("avr-gcc") is None, reason="needs gcc-avr")

RECIPE = """
name = "tiny_tree"
[data]
dataset = "breast_cancer"
[model]
architecture = "bonsai"
depth = 1
projection = 4
[train]
epochs = 6
batch_size = 32
learning_rate = 2e-2
[[compress]]
technique = "iht"
epochs = 6
batch_size = 32
learning_rate = 1e-2
"""
TEST_SAMPLES = 113


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny_tree.toml"
    path.write_text(RECIPE)
    return path


def command(*args: object) -> Result:
    return CliRunner().invoke(build.main, [str(a) for a in args], catch_exceptions=False)


def whole(board: str, recipe: Path, output: Path) -> dict[str, dict[str, object]]:
    """The report of a build that runs the whole test set in the emulator."""
    result = command("--board", board, "--recipe", recipe, "--vectors", TEST_SAMPLES, "--output", output)
    assert result.exit_code == 0, result.output
    assert "every byte equal to the NumPy reference" in result.output
    assert "TFLite Micro" not in result.output
    report: dict[str, dict[str, object]] = json.loads((output / "report.json").read_text())
    return report


def check(r: dict[str, dict[str, object]], output: Path) -> None:
    assert (r["runtime"], r["reference"]) == ("tree", "the NumPy reference")
    assert r["smoke"]["passed"] is True and r["smoke"]["vectors"] == TEST_SAMPLES + 1
    a, m = r["accuracy"], r["memory"]
    assert a["int8"] > 0.85 and a["samples"] == a["device_samples"] == TEST_SAMPLES
    assert a["device"] == a["int8"], "on the device as in Python, on the whole test set"
    tree = container.unpack((output / r["artifacts"]["model"]).read_bytes())
    assert (m["weights"], m["arena"]) == (tree.constant_bytes, 30 + 8)
    assert m["code"] + m["weights"] + m["vectors"] == m["flash"]
    assert m["arena"] <= m["static_ram"] and 0 < m["stack"] < m["stack_reserve"]
    assert r["model"]["macs"] == tree.macs < r["smoke"]["instructions_per_inference"]
    assert [layer["operator"] for layer in r["layers"]] == ["BONSAI_PROJECTION", "BONSAI_TREE"]
    assert r["peers"] == {}


@pytest.fixture(scope="module")
def built(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("m4")
    whole("qemu_m4", recipe, output)
    return output


@pytest.mark.slow
@needs_emulator
def test_the_whole_chain_on_a_cortex_m4(built: Path) -> None:
    check(json.loads((built / "report.json").read_text()), built)


@pytest.mark.slow
@needs_avr
def test_the_whole_chain_on_an_uno(recipe: Path, tmp_path: Path) -> None:
    r = whole("uno", recipe, tmp_path)
    check(r, tmp_path)
    assert r["memory"]["static_ram"] + r["memory"]["stack"] <= 512, "core, model and stack"
    assert r["smoke"]["cycles_per_inference"] <= 100_000


@pytest.mark.slow
@needs_emulator
def test_the_smoke_target_names_the_reference(built: Path) -> None:
    image = built / "pio" / "qemu_m4" / "firmware.elf"
    arguments = ["--output", str(built), "--environment", "qemu_m4", "--image", str(image)]
    result = CliRunner().invoke(smoke.main, arguments)
    assert result.exit_code == 0, result.output
    assert f"{TEST_SAMPLES + 1} vectors, every byte equal to the NumPy reference" in result.output


@pytest.mark.slow
@needs_emulator
def test_a_wrong_byte_is_exit_code_4_and_the_blame_is_found(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = smoke.parse

    def flip(*args: object) -> smoke.Run:
        run = parse(*args)  # type: ignore[arg-type]
        outputs = run.outputs.copy()
        outputs[2, 1] ^= 1
        return smoke.Run(outputs, run.arena, run.stack, run.instructions)

    monkeypatch.setattr(smoke, "parse", flip)
    result = command("--board", "qemu_m4", "--recipe", recipe, "--output", tmp_path)
    assert result.exit_code == OutputsDifferError.exit_code == 4, result.output
    assert (
        "1 of 21 vectors differ from the NumPy reference on the host; first: vector 2, output byte 1" in result.output
    )
    assert "The same C agrees on this machine, so compiler, port or emulator is at fault" in result.output


@pytest.mark.slow
def test_a_tree_that_does_not_fit_is_exit_code_3(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(BOARDS, tmp_path / "boards")
    manifest = json.loads((tmp_path / "boards" / "qemu_m4.json").read_text())
    manifest["upload"]["maximum_size"] = 3000
    (tmp_path / "boards" / "qemu_m4.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(build, "BOARDS", tmp_path / "boards")
    result = command("--board", "qemu_m4", "--recipe", recipe, "--output", tmp_path / "out")
    assert result.exit_code == 3, result.output
    assert "flash of QEMU" in result.output and "is exceeded by" in result.output
    assert "--runtime compiled" not in result.output, "no advice that a tree cannot follow"


@pytest.mark.slow
def test_accuracy_below_the_bar_is_exit_code_6(recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "proud.toml"
    path.write_text(recipe.read_text() + "[require]\nmax_accuracy_drop = 0.0\nint8_accuracy = 0.8\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accuracy, "top1", lambda *_: 0.7)
        result = command("--board", "qemu_m4", "--recipe", path, "--output", tmp_path / "out")
    assert result.exit_code == 6, result.output
    assert "int8 accuracy 0.7000 is below require.int8_accuracy = 0.8" in result.output


@pytest.mark.parametrize("options", [("--runtime", "compiled"), ("--runtime", "tflm"), ("--tflm-dir", ".")])
def test_a_runtime_that_runs_no_tree_is_exit_code_2(recipe: Path, options: tuple[str, ...]) -> None:
    result = command("--board", "qemu_m4", "--recipe", recipe, *options)
    assert result.exit_code == 2
    assert "makes a tree, which runs in a runtime of its own; leave --runtime and --tflm-dir out" in result.output


@pytest.mark.slow
def test_without_a_compiler_sources_are_emitted_and_the_exit_code_is_5(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilers, "missing", lambda _: "the compiler is missing; install it")
    result = command("--board", "qemu_m4", "--recipe", recipe, "--output", tmp_path)
    assert result.exit_code == 5, result.output
    assert "the compiler is missing" in result.output
    names = sorted(p.name for p in (tmp_path / "generated" / "tree").iterdir())
    assert names == ["tree_model.c", "tree_model.h"]


def test_the_blame_where_the_c_itself_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from tree_samples import tree

    from convert.trees import host, view

    g = view.load(container.pack(tree()))
    monkeypatch.setattr(host, "run", lambda _tree, x: np.zeros((len(x), 3), np.int32))
    assert TREE.locate is not None
    assert TREE.locate(g, np.zeros((2, 30), np.uint8)) == "The C differs on this machine too."


@pytest.mark.slow
@needs_emulator
def test_a_tree_of_an_earlier_build_is_taken_as_a_model(built: Path, tmp_path: Path) -> None:
    result = command("--board", "qemu_m4", "--model", built / "model.tree", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    r = json.loads((tmp_path / "report.json").read_text())
    assert (r["runtime"], r["smoke"]["passed"], r["smoke"]["vectors"]) == ("tree", True, 21)
    assert r["model"]["sha256"] == json.loads((built / "report.json").read_text())["model"]["sha256"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory); give the model.tree of a build's folder"),
        (b"TFL3", "not a tree: the file does not begin with BNS1"),
    ],
)
def test_a_file_that_is_no_tree_is_exit_code_2(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.tree"
    if content is not None:
        path.write_bytes(content)
    result = command("--board", "qemu_m4", "--model", path)
    assert result.exit_code == 2, result.output
    assert message in result.output
    result = command("--board", "qemu_m4", "--model", path, "--runtime", "compiled")
    assert "x.tree is a tree, which runs in a runtime of its own" in result.output


@pytest.mark.slow
@needs_emulator
def test_the_device_is_evaluated_on_data_of_the_user_s(built: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 30)).astype(np.float32), rng.integers(0, 2, 9)
    np.savez(tmp_path / "own.npz", x=x, y=y)
    options = ["--board", "qemu_m4", "--output", str(built), "--data", str(tmp_path / "own.npz")]
    result = CliRunner().invoke(evaluate.main, options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "every byte of every output equal" in result.output
