"""The command: options, exit codes and one whole chain on real data."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from convert import accuracy, build, smoke, toolchain, vectors
from convert.compiled import placement
from convert.paths import BOARDS

pytestmark = pytest.mark.usefixtures("build_folder")

needs_emulator = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi and qemu-system-arm",
)


def command(*args: object) -> Result:
    return CliRunner().invoke(build.main, [str(a) for a in args], catch_exceptions=False)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "--board is missing; allowed are"),
        (("--board", "nano34"), "unknown board 'nano34'; allowed are"),
        (("--board", "qemu_m4", "--runtime", "onnx"), "'onnx' is not one of"),
        (("--board", "qemu_m4", "--vectors", "-1"), "-1"),
        (("--board", "qemu_m4", "--recipe", "no_such"), "no_such"),
        (("--board", "qemu_m4", "--model", "a.tflite", "--recipe", "digits"), "exclude each other"),
        (("--board", "qemu_m4", "--model", "no_such.tflite"), "no_such.tflite"),
        (("--board", "qemu_m4", "--bord", "x"), "--bord"),
        (("--board", "qemu_m4", "--tflm-dir", "no_such_folder"), "no_such_folder"),
        (("--board", "qemu_m4", "--compress", "zip"), "--compress zip: the compiled runtime has auto, bitmap,"),
        (("--board", "qemu_m4", "--max-instructions", "2"), "bounds --compress auto, which is not given"),
        (("--board", "qemu_m4", "--compress", "gaps", "--max-instructions", "2"), "says nothing with --compress gaps"),
        (("--board", "qemu_m4", "--compress", "auto", "--max-instructions", "0"), "0"),
    ],
)
def test_wrong_use_is_exit_code_2(args: tuple[str, ...], message: str) -> None:
    result = command(*args)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output


def test_list_boards_shows_limits() -> None:
    result = command("--list-boards")
    assert result.exit_code == 0
    assert "nano33" in result.output and "983,040" in result.output


def small_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **upload: int) -> None:
    """Boards whose qemu_m4 has other limits."""
    folder = tmp_path / "boards"
    shutil.copytree(BOARDS, folder)
    manifest = json.loads((folder / "qemu_m4.json").read_text())
    manifest["upload"].update(upload)
    (folder / "qemu_m4.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(build, "BOARDS", folder)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole chain with the recipe `digits`, once."""
    output = tmp_path_factory.mktemp("digits")
    result = command("--board", "qemu_m4", "--recipe", "digits", "--runtime", "compiled", "--output", output)
    assert result.exit_code == 0, result.output
    return output


@pytest.mark.slow
@needs_emulator
def test_the_whole_chain_is_proven_on_real_data(digits: Path) -> None:
    r = json.loads((digits / "report.json").read_text())
    assert r["smoke"]["passed"] is True and r["smoke"]["vectors"] == 21 and r["smoke"]["mismatches"] == 0
    assert r["accuracy"]["int8"] > 0.9 and r["accuracy"]["samples"] > 300
    assert r["accuracy"]["device"] >= 0.8 and r["accuracy"]["device_samples"] == 20
    assert r["memory"]["arena"] + r["model"]["tflite_bytes"] > 0
    assert r["memory"]["static_ram"] >= r["memory"]["arena"]
    assert 0 < r["memory"]["stack"] < r["memory"]["stack_reserve"]
    assert r["memory"]["code"] + r["memory"]["weights"] + r["memory"]["vectors"] == r["memory"]["flash"]
    assert r["smoke"]["instructions_per_inference"] > r["model"]["macs"]
    assert r["failure"] is None
    for path in r["artifacts"].values():
        assert (digits / path).exists(), path
    golden = smoke.load_golden(digits)
    assert r["smoke"]["probe_fnv"] == f"0x{vectors.fnv1a32(golden[0].tobytes()):08x}"


@pytest.mark.slow
@needs_emulator
def test_a_second_run_is_cached_and_gives_the_same_bytes(digits: Path, tmp_path: Path) -> None:
    result = command("--board", "qemu_m4", "--recipe", "digits", "--runtime", "compiled", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    first, second = (json.loads((d / "report.json").read_text()) for d in (digits, tmp_path))
    cached = {s["name"] for s in second["stages"] if s["cached"]}
    assert {"train", "quantise", "golden", "accuracy"} <= cached
    for report in (first, second):
        report.pop("stages")
    assert first == second
    generated = sorted(p.relative_to(digits) for p in (digits / "generated").rglob("*") if p.is_file())
    for name in [*generated, Path(first["artifacts"]["image"])]:
        assert (digits / name).read_bytes() == (tmp_path / name).read_bytes(), name


@pytest.mark.skipif(not placement.solver_present(), reason="OR-tools has no wheel for this Python")
@pytest.mark.slow
@needs_emulator
def test_stored_weights_are_reported_and_answer_alike(digits: Path, tmp_path: Path) -> None:
    run = ("--board", "qemu_m4", "--recipe", "digits", "--runtime", "compiled", "--output", tmp_path)
    result = command(*run, "--compress", "auto", "--max-instructions", "3")
    assert result.exit_code == 0, result.output
    assert "times the instructions in these" in result.output
    plain, stored = (json.loads((d / "report.json").read_text()) for d in (digits, tmp_path))
    assert plain["compression"] is None
    c = stored["compression"]
    assert c["mode"] == "auto" and c["max_instructions"] == 3 and c["weights_dense"] == plain["memory"]["weights"]
    assert c["weights"] == stored["memory"]["weights"] < plain["memory"]["weights"]
    assert stored["memory"]["flash"] < plain["memory"]["flash"]
    assert any(layer["taken"]["format"] != "dense" for layer in c["layers"])
    assert stored["smoke"]["probe_fnv"] == plain["smoke"]["probe_fnv"]
    assert (tmp_path / "weights.png").read_bytes().startswith(b"\x89PNG")
    assert 'src="weights.png"' in (tmp_path / "report.html").read_text()


@pytest.mark.slow
@needs_emulator
@pytest.mark.parametrize(
    ("upload", "message"),
    [({"maximum_ram_size": 3000}, "RAM of QEMU"), ({"maximum_size": 9000}, "flash of QEMU")],
    ids=["ram", "flash"],
)
def test_a_model_that_does_not_fit_is_exit_code_3(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upload: dict[str, int], message: str
) -> None:
    small_board(tmp_path, monkeypatch, **upload)
    model = digits / "model.tflite"
    result = command("--board", "qemu_m4", "--model", model, "--runtime", "compiled", "--output", tmp_path / "out")
    assert result.exit_code == 3, result.output
    assert message in result.output and "is exceeded by" in result.output and "What helps" in result.output
    r = json.loads((tmp_path / "out" / "report.json").read_text())
    assert r["failure"]["exit_code"] == 3
    assert r["smoke"]["passed"] is None
    assert "elf" not in r["artifacts"]


@pytest.mark.slow
def test_accuracy_below_the_recipe_s_bar_is_exit_code_6(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert digits.is_dir(), "its training is cached"
    monkeypatch.setattr(accuracy, "top1", lambda *_: 0.5)
    result = command("--board", "qemu_m4", "--recipe", "digits", "--runtime", "compiled", "--output", tmp_path)
    assert result.exit_code == 6, result.output
    assert "int8 accuracy 0.5000 is below require.int8_accuracy" in result.output
    assert "more than require.max_accuracy_drop" in result.output
    r = json.loads((tmp_path / "report.json").read_text())
    assert r["failure"]["exit_code"] == 6 and r["accuracy"]["int8"] == 0.5
    assert not (tmp_path / "generated").exists(), "nothing is emitted that could be flashed"


@pytest.mark.slow
@needs_emulator
def test_a_wrong_byte_on_the_device_is_exit_code_4(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = smoke.parse

    def flip(*args: object) -> smoke.Run:
        run = parse(*args)  # type: ignore[arg-type]
        outputs = run.outputs.copy()
        outputs[3, 1] ^= 1
        return smoke.Run(outputs, run.arena, run.stack, run.instructions)

    monkeypatch.setattr(smoke, "parse", flip)
    model = digits / "model.tflite"
    result = command("--board", "qemu_m4", "--model", model, "--runtime", "compiled", "--output", tmp_path)
    assert result.exit_code == 4, result.output
    assert "1 of 21 vectors differ from TFLite Micro on the host; first: vector 3, output byte 1" in result.output
    assert "agrees in every layer" in result.output
    r = json.loads((tmp_path / "report.json").read_text())
    assert r["smoke"]["passed"] is False and r["smoke"]["mismatches"] == 1


@pytest.mark.slow
@needs_emulator
def test_no_smoke_builds_and_does_not_run(digits: Path, tmp_path: Path) -> None:
    model = digits / "model.tflite"
    args = ("--board", "qemu_m4", "--model", model, "--runtime", "compiled", "--output", tmp_path, "--no-smoke")
    assert command(*args).exit_code == 0
    r = json.loads((tmp_path / "report.json").read_text())
    assert r["smoke"]["passed"] is None and r["memory"]["flash"] > 0


def test_the_interpreter_without_its_source_is_exit_code_2(tmp_path: Path) -> None:
    result = command("--board", "qemu_m4", "--runtime", "tflm", "--recipe", "digits", "--output", tmp_path)
    assert result.exit_code == 2
    assert "--tflm-dir" in result.output


@pytest.mark.slow
@pytest.mark.parametrize(("board", "runtime"), [("esp32", "tflm"), ("nano33", "tflm")])
def test_without_the_registry_sources_are_emitted_and_the_exit_code_is_5(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str, runtime: str
) -> None:
    monkeypatch.setattr(toolchain, "registry_has", lambda _: False)
    monkeypatch.setattr(toolchain, "installed", lambda _: False)
    model = digits / "model.tflite"
    result = command("--board", board, "--model", model, "--runtime", runtime, "--output", tmp_path)
    assert result.exit_code == 5, result.output
    assert "registry does not answer" in result.output and f"pio run -e {board}" in result.output
    assert (tmp_path / "generated" / "tflm" / "model_data.cc").is_file()
    manifest = json.loads((tmp_path / "generated" / "build.json").read_text())
    assert manifest["runtimes"][board] == "tflm"
    assert json.loads((build.BUILD / board / "active.json").read_text()) == {"output": str(tmp_path)}
