import io
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from convert import boards, build, listing, verified
from convert.paths import BOARDS

RUN = verified.Record(
    board="nano33",
    environment="nano33_bare",
    runtime="compiled",
    model="fashion",
    sha256="ab" * 32,
    date="2026-11-23",
    emulator="Unicorn",
    vectors=21,
    equal=21,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All boards, three of them verified: one equal, one with a difference in one of two runs, one without an end."""
    made = tmp_path / "boards"
    made.mkdir()
    for path in BOARDS.glob("*.json"):
        shutil.copy(path, made)
    other = {"board": "qemu_m4", "environment": "qemu_m4"}
    wrong = RUN.model_copy(update=other | {"equal": 19, "model": "digits"})
    stopped = RUN.model_copy(update={"board": "qemu_m3", "environment": "qemu_m3", "vectors": 0, "equal": 0})
    older = RUN.model_copy(update={"date": "2026-11-22", "model": "motion", "equal": 0})
    verified.save([RUN, older, RUN.model_copy(update=other), wrong, stopped], made)
    return made


def shown(folder: Path, width: int = 120, as_json: bool = False) -> str:
    out = io.StringIO()
    listing.show(Console(file=out, width=width), as_json, folder)
    return out.getvalue()


def row(text: str, board: str) -> str:
    """The lines of a board's row."""
    blocks = [b for b in text.split("\n ─") if f" {board} " in b]
    assert len(blocks) == 1, f"one row of {board}"
    return blocks[0]


def test_every_board_has_a_row_that_is_whole_at_120_columns(folder: Path) -> None:
    text = shown(folder)
    assert "…" not in text
    for name in boards.names(folder):
        board, found = boards.load(name, folder), row(text, name)
        assert board.build.cpu in found and f"{board.build.clock_hz / 1e6:g} MHz" in found
        assert f"{board.upload.maximum_size:,}" in found and f"{board.upload.maximum_ram_size:,}" in found
        for e in board.environments:
            assert e.name in found and all(runtime in found for runtime in e.runtimes)
            assert e.emulator is None or e.emulator in found


def test_the_last_verification_is_said_and_never_where_there_was_none(folder: Path) -> None:
    text = shown(folder)
    assert "2026-11-23" in row(text, "nano33") and "21 of 21 equal" in row(text, "nano33")
    assert "fashion" in row(text, "nano33")
    assert "motion" not in row(text, "nano33"), "that was a day before"
    assert "2 of 42 DIFFER" in row(text, "qemu_m4"), "of both runs"
    assert "digits" in row(text, "qemu_m4") and "fashion" not in row(text, "qemu_m4"), "the one that differs is named"
    assert "1 of 1 STOPPED" in row(text, "qemu_m3")
    assert "never" in row(text, "esp32") and "never" not in row(text, "nano33")


def test_what_is_to_be_known_of_an_environment_stands_below_the_table(folder: Path) -> None:
    below = [line for line in shown(folder, 200).splitlines() if not line.startswith(" ")]
    assert any(
        x.startswith("esp32_bare, esp32_twin, esp32s3_bare, esp32s3_twin: only for checking our C") for x in below
    )
    assert any(x.startswith("esp32c3_bare: direct boot") for x in below)
    assert not any(x.startswith("nano33") for x in below)
    listed = json.loads(shown(folder, as_json=True))["boards"]
    noted = {e["name"]: e["note"] for board in listed for e in board["environments"]}
    assert noted["nano33"] is None and noted["esp32_twin"].startswith("only for checking our C")


def test_as_json(folder: Path) -> None:
    entries = {e["board"]: e for e in json.loads(shown(folder, as_json=True))["boards"]}
    assert list(entries) == boards.names(folder)
    assert [run["equal"] for run in entries["nano33"]["verified"]] == [21] and entries["esp32"]["verified"] == []
    kinds = {e["name"]: e["kind"] for e in entries["nano33"]["environments"]}
    assert kinds == {"nano33": "official", "nano33_bare": "bare"}


def test_the_command_lists_and_json_alone_is_wrong_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "BOARDS", folder)
    assert "2 of 42 DIFFER" in CliRunner().invoke(build.main, ["--list-boards"]).output
    listed = CliRunner().invoke(build.main, ["--list-boards", "--json"])
    assert json.loads(listed.output)["schema"] == 1
    wrong = CliRunner().invoke(build.main, ["--board", "nano33", "--json"])
    assert wrong.exit_code == 2 and "--json goes with --list-boards" in wrong.output


def test_a_broken_board_is_exit_code_2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "BOARDS", folder)
    (folder / "nano33.json").write_text("{")
    result = CliRunner().invoke(build.main, ["--list-boards"])
    assert result.exit_code == 2 and "boards/nano33.json is not JSON" in result.output
