"""Which boards a model fits: the verdicts, the advice, the files that are written and the exit codes."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from models import Op, T, tflite, write
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog
from tflite_builder import Sweep
from trees.tree_samples import tree as random_tree

from convert import boards, budget, compiled, fit, fitting, golden, graph, plan, project, sarif, tflm, verified
from convert.boards import Board
from convert.compiled import code_size
from convert.errors import ToolError, UsageError
from convert.golden import ArenaUse
from convert.graph import Graph
from convert.paths import BOARDS, ROOT
from convert.trees import container, view

INVALID = Path(__file__).parent.parent / "invalid" / "models"
ARENA = ArenaUse(total=6000, head=4000, tail=2000)


def image(side: int = 16, channels: int = 8) -> Graph:
    """Two convolutions over an image, one of them without alternatives to im2col."""
    s = Sweep()
    x = s.conv(s.input((1, side, side, 3)), channels, activation="relu", zero_point=-128)
    s.conv(x, channels, stride=(2, 2))
    return graph.load(tflite(s.tensors, s.ops, s.inputs, [s.ops[-1].outputs[0]]))


def floats() -> Graph:
    """What TFLite Micro runs and the compiled runtime does not have."""
    return graph.load(tflite([T((1, 4), "f4", None), T((1, 4), "f4", None)], [Op("COS", [0], [1])], [0], [1]))


def candidate(model: Graph | None = None, arena: ArenaUse | UsageError | None = ARENA) -> fitting.Candidate:
    return fitting.Candidate("tiny", image() if model is None else model, arena)


def board(name: str = "nano33", **changes: int) -> Board:
    """A board with other limits: `ram`, `flash`, `stack`; its environments take 1,000 B of RAM and 5,000 of flash."""
    raw = boards.load(name).model_dump(mode="json")
    raw["upload"]["maximum_ram_size"] = changes.get("ram", 262144)
    raw["upload"]["maximum_size"] = changes.get("flash", 983040)
    raw["tinyml"]["stack_reserve"] = changes.get("stack", 2000)
    for kind in ("official", "bare"):
        if raw["tinyml"][kind] is not None:
            raw["tinyml"][kind]["overhead"] = {"flash": 5000, "ram": 1000, "source": "test"}
    return Board.model_validate(raw)


def evaluate(*every: Board, of: fitting.Candidate | None = None, **options: Any) -> fitting.Fit:
    chosen = {"asked": (), "wanted": "auto", "optimize": "speed", **options}
    return fitting.evaluate(of or candidate(), "models/tiny.tflite", every, **chosen)


def case(found: fitting.BoardFit, environment: str, runtime: str) -> fitting.Case:
    return next(c for c in found.cases if (c.environment, c.runtime) == (environment, runtime))


# Verdicts


def test_a_case_has_the_runtimes_own_figures() -> None:
    (found,) = evaluate(board()).boards
    model = compiled.compile_model(image(), "cortex_m4", "speed")
    chosen = case(found, "nano33_bare", "compiled")
    assert (chosen.arena, chosen.weights) == (model.arena_bytes, model.weight_bytes)
    assert chosen.plan == model.plan.status
    interpreter = case(found, "nano33", "tflm")
    assert interpreter.arena == tflm.plan_arena(image(), ARENA).bytes
    assert interpreter.weights == len(image().data)


def code(optimize: str = "speed") -> int:
    """The estimate of the tiny model's code on a Cortex-M4."""
    model = compiled.compile_model(image(), "cortex_m4", optimize)
    found = code_size.estimate("cortex-m4", "armv7e-m", optimize, [layer.kernel for layer in model.lowered])
    assert found is not None
    return found


def test_limits_are_exact_to_the_byte() -> None:
    model = compiled.compile_model(image(), "cortex_m4", "speed")
    ram, flash = model.arena_bytes + 1000 + 2000, model.weight_bytes + 5000 + code()
    for less_ram, less_flash in ((0, 0), (1, 0), (0, 1), (1, 1)):
        found = case(evaluate(board(ram=ram - less_ram, flash=flash - less_flash)).boards[0], "nano33_bare", "compiled")
        assert found.fits is (less_ram == less_flash == 0)
        assert len(found.reasons) == less_ram + less_flash


def test_it_is_the_builds_own_check_but_for_the_code() -> None:
    made = board(ram=4000, flash=6000)
    images = project.images(made, image(), ARENA, "compiled", "speed", lambda _: None)
    runtimes = {"nano33_bare": "compiled"}
    manifest = project.build_json(made, "tiny", runtimes, images, candidate().vectors, "speed", None)
    ram, flash = budget.estimate(made.model_dump(mode="json"), manifest, "nano33_bare")
    found = case(evaluate(made).boards[0], "nano33_bare", "compiled")
    assert found.ram and found.flash
    assert found.reasons[0] == ram.shortage(made.name) == ram.message(made.name).split(". ")[0]
    assert found.flash.used == flash.used + code() and found.code == code()
    interpreted = case(evaluate(made).boards[0], "nano33_bare", "tflm")
    assert interpreted.code is None, "nobody measured the interpreter"


def test_auto_takes_the_first_that_fits_and_otherwise_the_one_that_lacks_least() -> None:
    (roomy,) = evaluate(board()).boards
    assert (roomy.case.environment, roomy.case.runtime) == ("nano33", "tflm")
    need = compiled.compile_model(image(), "cortex_m4", "speed").arena_bytes + 3000
    (tight,) = evaluate(board(ram=need)).boards
    assert tight.fits and tight.case.runtime == "compiled"
    (narrow,) = evaluate(board(ram=need - 1)).boards
    assert not narrow.fits and narrow.case.runtime == "compiled", "TFLite Micro lacks more"


@pytest.mark.parametrize("runtime", ["compiled", "tflm"])
def test_a_wanted_runtime_is_the_only_one_that_is_looked_at(runtime: str) -> None:
    (found,) = evaluate(board(), wanted=runtime).boards
    assert {c.runtime for c in found.cases} == {runtime}


def test_the_emulated_twin_is_no_way_to_build_for_a_board() -> None:
    raw = board().model_dump(mode="json")
    raw["tinyml"]["twin"] = raw["tinyml"]["bare"] | {"name": "nano33_twin"}
    (found,) = evaluate(Board.model_validate(raw)).boards
    assert {c.environment for c in found.cases} == {"nano33", "nano33_bare"}


def test_every_board_asked_for_must_fit_and_one_where_none_is() -> None:
    small, large = board(ram=4000), board("esp32")
    assert evaluate(small, large).fits is True
    assert evaluate(small, large, asked=("esp32",)).fits is True
    assert evaluate(small, large, asked=("esp32", "nano33")).fits is False
    assert evaluate(small).fits is False


def test_an_emulated_machine_counts_only_where_it_is_asked_for() -> None:
    machine = board("qemu_m4")
    assert fitting.emulated(machine) and not fitting.emulated(board())
    assert evaluate(machine, board(ram=4000)).fits is False
    assert evaluate(machine, asked=("qemu_m4",)).fits is True
    shown = evaluate(machine, board(ram=4000))
    assert [b.board for b in shown.boards] == ["nano33", "qemu_m4"], "emulated ones stand last"
    assert shown.boards[0].advice[-1] == "no board here would take it"


def test_the_biggest_tensors_and_the_widest_point() -> None:
    found = evaluate(board())
    assert found.biggest_activation.shape == (1, 16, 16, 8) and found.biggest_activation.bytes == 2048
    assert found.biggest_constant is not None and found.biggest_constant.shape == (8, 3, 3, 8)
    point = plan.widest_point(image())
    assert (found.widest.operator, found.widest.bytes) == (point.operator.index, point.bytes)
    assert f"{found.widest.bytes:,} B of live tensors" in plan.widest(image())


# Refusals


def test_what_a_runtime_does_not_have_is_named() -> None:
    (found,) = evaluate(board(), of=candidate(floats()), wanted="compiled").boards
    assert not found.fits and found.case.ram is None
    assert "the compiled runtime does not have COS" in found.reasons[0]
    assert found.advice[0] == "--runtime tflm takes the model and fits"
    (auto,) = evaluate(board(), of=candidate(floats())).boards
    assert auto.fits and auto.case.runtime == "tflm"
    assert "COS" in str(case(auto, "nano33", "compiled").refused)


def test_without_a_reference_nothing_is_built() -> None:
    (found,) = evaluate(board(), of=candidate(arena=UsageError("TFLite Micro refuses the model: X"))).boards
    assert not found.fits
    assert {c.refused for c in found.cases} == {"TFLite Micro refuses the model: X"}


def test_the_arduino_librarys_own_limits_count_where_it_is_used() -> None:
    s = Sweep()
    s.dense(s.input((1, 8)), 4, per_channel=True)
    model = graph.load(tflite(s.tensors, s.ops, s.inputs, [s.ops[-1].outputs[0]]))
    (found,) = evaluate(board(), of=candidate(model)).boards
    assert "quantised per channel" in str(case(found, "nano33", "tflm").refused)
    assert case(found, "nano33_bare", "tflm").refused is None


def test_floats_are_refused_where_the_compiler_has_none() -> None:
    tensors = [T((1, 4), "f4", None), T((1, 4))]
    model = graph.load(tflite(tensors, [Op("QUANTIZE", [0], [1], "QuantizeOptions")], [0], [1]))
    (found,) = evaluate(board("esp32"), of=candidate(model), wanted="compiled").boards
    assert found.fits and found.case.environment == "esp32"
    assert "compiled without floating point" in str(case(found, "esp32_bare", "compiled").refused)


def test_a_board_without_the_wanted_runtime_is_left_out_or_wrong_use() -> None:
    raw = board().model_dump(mode="json")
    for kind in ("official", "bare"):
        raw["tinyml"][kind]["runtimes"] = ["compiled"]
    only = Board.model_validate(raw)
    assert evaluate(only, board("esp32"), wanted="tflm").boards[0].board == "esp32"
    with pytest.raises(UsageError, match=r"'nano33' has no environment with the tflm runtime; try --runtime auto"):
        evaluate(only, wanted="tflm", asked=("nano33",))


# Advice


def advice(found: fitting.BoardFit, start: str) -> str:
    return next(text for text in found.advice if text.startswith(start))


def test_advice_on_ram_names_an_input_that_has_room() -> None:
    model = compiled.compile_model(image(64), "cortex_m4", "speed")
    room = model.arena_bytes // 4
    (found,) = evaluate(board(ram=room + 3000), of=candidate(image(64)), wanted="compiled").boards
    text = advice(
        found, f"the arena is {model.arena_bytes:,} B, {model.arena_bytes - room:,} B too much for the {room:,}"
    )
    assert "an input of about 32x32 instead of 64x64" in text
    assert "about 25 % of their channels" in text
    smaller = compiled.compile_model(image(32), "cortex_m4", "speed")
    assert smaller.arena_bytes <= room * 1.1, "what is advised must about fit"


@pytest.mark.parametrize(
    ("shape", "share", "expected"),
    [
        ((1, 96, 96, 3), 0.5, "an input of about 64x64 instead of 96x96"),
        ((1, 49, 10, 1), 0.5, "an input of about 32x7 instead of 49x10"),
        ((1, 100, 6), 0.5, "an input of about 48 instead of 100"),
        ((1, 100, 1, 6), 0.25, "an input of about 25 instead of 100"),
        ((1, 640), 0.5, "layers with about 50 % of their channels at the widest point"),
        ((1, 4, 4, 8), 0.01, "layers with about 1 % of their channels at the widest point"),
    ],
    ids=["image", "oblong", "steps", "steps as image", "vector", "too small"],
)
def test_the_smaller_input_follows_the_share(shape: tuple[int, ...], share: float, expected: str) -> None:
    tensors = [T(shape), T(shape)]
    model = graph.load(tflite(tensors, [Op("RELU", [0], [1])], [0], [1]))
    assert fitting._shrink(model, share).startswith(expected)


def test_advice_on_other_options_is_the_difference_of_the_cases() -> None:
    (found,) = evaluate(board(ram=5000), wanted="tflm").boards
    chosen = found.case
    other = fitting.case(candidate(), board(ram=5000), board().environments[0], "compiled", "speed")
    assert chosen.ram and other.ram and chosen.weights and other.weights
    text = advice(found, "--runtime compiled saves")
    assert f"{chosen.ram.used - other.ram.used:,} B of RAM" in text
    assert f"{chosen.weights - other.weights:,} B of constants in flash" in text
    assert text.endswith("and it fits" if other.fits else "still too much")


def test_optimize_size_is_advised_where_it_saves() -> None:
    fast = compiled.compile_model(image(), "cortex_m4", "speed")
    lean = compiled.compile_model(image(), "cortex_m4", "size")
    saved = fast.weight_bytes + code() - lean.weight_bytes - code("size")
    assert saved > 0
    (found,) = evaluate(board(flash=fast.weight_bytes + 5000), wanted="compiled").boards
    assert f"{saved:,} B of flash" in advice(found, "--optimize size saves")
    (already,) = evaluate(board(flash=fast.weight_bytes), wanted="compiled", optimize="size").boards
    assert not any(text.startswith("--optimize") for text in already.advice)


def test_advice_on_flash_counts_parameters() -> None:
    model = compiled.compile_model(image(), "cortex_m4", "speed")
    (found,) = evaluate(board(flash=5000 + code() + model.weight_bytes // 2), wanted="compiled").boards
    text = advice(found, "constants")
    assert f"({image().parameters:,} parameters, int8) take {model.weight_bytes:,} B" in text
    assert "a model of about 50 % of the parameters" in text and "Pruning does not help" in text


def test_where_no_model_can_help_that_is_said() -> None:
    (found,) = evaluate(board(ram=2999, flash=4999), wanted="compiled").boards
    helpless = [text for text in found.advice if text.startswith("no smaller model helps here")]
    assert helpless == [
        "no smaller model helps here: core and start-up 1,000 B, stack reserve 2,000 B leave no RAM of 2,999 B",
        f"no smaller model helps here: core and start-up 5,000 B, estimated code {code():,} B leave no flash of "
        "4,999 B",
    ]


def test_boards_that_would_take_it_are_named() -> None:
    (found,) = evaluate(board(ram=4000), board("esp32"), asked=("nano33",)).boards
    assert found.advice[-1] == "boards that would take it: esp32"


# Trees


def test_a_tree_runs_as_c_wherever_there_is_a_compiler() -> None:
    tree = random_tree()
    made = candidate(view.load(container.pack(tree)), None)
    (found,) = evaluate(board(), of=made).boards
    assert [(c.environment, c.runtime) for c in found.cases] == [("nano33", "tree"), ("nano33_bare", "tree")]
    assert (found.case.arena, found.case.weights) == (tree.ram_bytes, tree.constant_bytes)
    (tight,) = evaluate(board(ram=3000 + tree.ram_bytes - 1, flash=5000 + tree.constant_bytes - 1), of=made).boards
    assert not tight.fits
    assert "it holds the inputs and the scores" in advice(tight, "the arena is")
    assert "zeros, which are not stored" in advice(tight, "the tree takes")
    with pytest.raises(UsageError, match=r"no board has an environment that runs this model with tflm"):
        evaluate(board(), of=made, wanted="tflm")


def test_a_trees_file_is_taken(folder: Path, tmp_path: Path) -> None:
    del folder
    (tmp_path / "my.tree").write_bytes(container.pack(random_tree()))
    result = command("--model", tmp_path / "my.tree", "--board", "nano33")
    assert result.exit_code == 0, result.output
    assert "my:" in result.output and " tree " in result.output
    (tmp_path / "broken.tree").write_bytes(b"no tree")
    broken = command("--model", tmp_path / "broken.tree")
    assert broken.exit_code == 2 and "not a tree" in broken.output


# What was measured


def test_figures_of_this_very_model_are_shown() -> None:
    known = {"board": "nano33", "environment": "nano33_bare", "runtime": "compiled", "model": "tiny"}
    run = {"date": "2026-11-23", "emulator": "unicorn", "vectors": 21, "equal": 21, "instructions": 1_000_000}
    mine = verified.Record.model_validate({**known, **run, "sha256": image().sha256})
    (found,) = evaluate(board(), records=[mine]).boards
    assert found.measured == mine and found.latency.milliseconds and found.energy.microjoules
    (other,) = evaluate(board(), records=[mine.model_copy(update={"sha256": "00"})]).boards
    assert other.measured is None and other.latency.milliseconds is None
    interpreted = mine.model_copy(update={"runtime": "tflm"})
    (unknown,) = evaluate(board(), records=[interpreted]).boards
    assert unknown.latency.milliseconds is None, "the cycles an instruction are the compiled runtime's"


# Files


def test_the_schema_in_the_documentation_is_the_programs() -> None:
    documented = json.loads((ROOT / "docs" / "fit.schema.json").read_text())
    assert documented == fitting.Fit.model_json_schema(by_alias=True), (
        "write it anew: python -c 'import json; from convert.fitting import Fit; "
        "print(json.dumps(Fit.model_json_schema(by_alias=True), indent=1))' > docs/fit.schema.json"
    )


def test_json_holds_everything() -> None:
    found = evaluate(board(ram=4000), board("esp32"))
    assert fitting.Fit.model_validate_json(found.model_dump_json(by_alias=True)) == found


def check(log: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of a log that keeps the official schema and has what code scanning needs."""
    SarifLog.model_validate(log)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        (place,) = result["locations"]
        assert place["physicalLocation"]["region"]["startLine"] == 1
        assert result["message"]["text"]
    prints = [result["partialFingerprints"]["boardAndRule/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints), "each finding is one of its own"
    results: list[dict[str, Any]] = run["results"]
    return results


def test_sarif_has_a_result_a_memory_that_is_exceeded() -> None:
    results = check(sarif.log(evaluate(board(ram=4000, flash=6000), board("esp32"), asked=("nano33",))))
    assert [(r["ruleId"], r["level"]) for r in results] == [("ram-exceeded", "error"), ("flash-exceeded", "error")]
    assert "RAM of Arduino Nano 33 BLE is exceeded by" in results[0]["message"]["text"]
    assert "boards that would take it: esp32" in results[0]["message"]["text"]
    place = results[0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "models/tiny.tflite", "uriBaseId": "%SRCROOT%"}


def test_sarif_only_notes_boards_that_nobody_asked_for_while_one_fits() -> None:
    assert [r["level"] for r in check(sarif.log(evaluate(board(ram=4000), board("esp32"))))] == ["note"]
    assert [r["level"] for r in check(sarif.log(evaluate(board(ram=4000))))] == ["error"]
    assert check(sarif.log(evaluate(board()))) == []


def test_sarif_names_what_is_refused() -> None:
    (result,) = check(sarif.log(evaluate(board(), of=candidate(floats()), wanted="compiled")))
    assert result["ruleId"] == "operator-refused" and "COS" in result["message"]["text"]


def test_sarif_locations_are_uris(tmp_path: Path) -> None:
    assert sarif._location("my models/net 1.tflite")["uri"] == "my%20models/net%201.tflite"
    outside = sarif._location(str(tmp_path / "a b.tflite"))
    assert outside == {"uri": (tmp_path / "a b.tflite").as_uri()}


def test_the_page_shows_bars_and_escapes_names() -> None:
    made = candidate()
    made.name = "<tiny>"
    found = evaluate(board(ram=4000), board("esp32"), of=made)
    page = fit.page(found)
    assert "&lt;tiny&gt;" in page and "<tiny>" not in page
    assert page.count('class="bar"') == 2 * sum(len(b.cases) for b in found.boards), "RAM and flash of each case"
    assert "does not fit" in page and "too much for" in page and 'class="limit"' in page
    shares = [float(share) for share in re.findall(r"width:([\d.]+)%", page)]
    assert shares and max(shares) <= 100


# The command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of boards of the test's own: nano33 and qemu_m4."""
    made = tmp_path / "boards"
    made.mkdir()
    for name in ("nano33", "qemu_m4"):
        shutil.copy(BOARDS / f"{name}.json", made)
    monkeypatch.setattr(fit, "BOARDS", made)
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("model") / "tiny.tflite", image().data)


def command(*args: object) -> Result:
    return CliRunner().invoke(fit.main, [str(a) for a in args], catch_exceptions=False)


def shrink(folder: Path, **upload: int) -> None:
    raw = json.loads((folder / "nano33.json").read_text())
    raw["upload"].update(upload)
    (folder / "nano33.json").write_text(json.dumps(raw))


def test_a_model_that_fits_is_exit_code_0(folder: Path, model: Path, tmp_path: Path) -> None:
    del folder
    result = command("--model", model, "--board", "nano33", "--json", tmp_path / "fit.json")
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "fit.json").read_text())
    assert written["schema"] == 1 and written["fits"] is True
    assert [b["board"] for b in written["boards"]] == ["nano33"]
    assert len(written["boards"][0]["cases"]) == 4
    assert "fits  nano33" in result.output and "widest point: operator" in result.output
    assert max(map(len, result.output.splitlines())) <= 120


def test_one_that_does_not_is_exit_code_3_and_says_why(folder: Path, model: Path) -> None:
    shrink(folder, maximum_ram_size=6000)
    result = command("--model", model)
    assert result.exit_code == 3, "the emulated machine, which it fits, is no board"
    assert "no    nano33" in result.output and "RAM of Arduino Nano 33 BLE is exceeded by" in result.output
    assert "- the arena is" in result.output and "- no board here would take it" in result.output


def test_what_goes_to_standard_output_is_nothing_else(folder: Path, model: Path) -> None:
    shrink(folder, maximum_size=3000)
    result = CliRunner().invoke(fit.main, ["--model", str(model), "--board", "nano33", "--sarif", "-"])
    assert result.exit_code == 3
    check(json.loads(result.stdout))
    assert "flash of Arduino Nano 33 BLE is exceeded" in result.stderr


def test_a_page_is_written(folder: Path, model: Path, tmp_path: Path) -> None:
    del folder
    assert command("--model", model, "--html", tmp_path / "fit.html").exit_code == 0
    assert "<h1>tiny: which boards it fits</h1>" in (tmp_path / "fit.html").read_text()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Missing option '--model'"),
        (("--model", "no_such.tflite"), "no_such.tflite does not exist"),
        (("--model", INVALID / "truncated.tflite"), "truncated.tflite"),
        (("--model", INVALID / "wrong_suffix.onnx"), "suffix '.onnx'"),
        (("--model", INVALID / "not_a_zip.keras"), "not_a_zip.keras"),
        (("--model", "MODEL", "--board", "nano34"), "unknown board 'nano34'; allowed are"),
        (("--model", "MODEL", "--runtime", "onnx"), "'onnx' is not one of"),
        (("--model", "MODEL", "--json", "-", "--html", "-"), "can take one of --json, --sarif and --html"),
        (("--model", "MODEL", "--json", ROOT / "README.md" / "fit.json"), "fit.json cannot be written"),
    ],
    ids=["nothing", "missing", "truncated", "onnx", "no zip", "board", "runtime", "two to stdout", "unwritable"],
)
def test_wrong_use_is_exit_code_2(folder: Path, model: Path, args: tuple[object, ...], message: str) -> None:
    del folder
    result = command(*(model if a == "MODEL" else a for a in args))
    assert result.exit_code == 2, result.output
    assert message in result.output and "Traceback" not in result.output


def test_a_tool_that_fails_is_exit_code_5(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del folder

    def crash(*_args: object, **_more: object) -> None:
        raise ToolError("TFLite Micro crashed on the host (signal SIGSEGV)")

    monkeypatch.setattr(golden, "cached", crash)
    result = command("--model", model)
    assert result.exit_code == 5 and "error: TFLite Micro crashed on the host" in result.output


def test_a_broken_record_is_exit_code_2(folder: Path, model: Path) -> None:
    (folder / verified.FILE).write_text("board,date\n")
    result = command("--model", model)
    assert result.exit_code == 2 and "boards/verified.csv has the columns board, date; expected are" in result.output


@pytest.mark.slow
def test_a_keras_model_is_quantised_first(folder: Path, tmp_path: Path) -> None:
    del folder
    tf_keras: Any = pytest.importorskip("tf_keras")
    from models import keras_net

    keras_net(tf_keras).save(tmp_path / "net.keras")
    result = command("--model", tmp_path / "net.keras", "--json", tmp_path / "fit.json")
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "fit.json").read_text())
    assert written["biggest_activation"]["dtype"] == "int8"
    assert any("random" in note for note in written["notes"]), "ranges without data are not to be trusted"
