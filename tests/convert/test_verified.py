from pathlib import Path

import pytest

from convert import boards, verified
from convert.errors import UsageError

INVALID = Path(__file__).parent.parent / "invalid" / "verified"


def record(**fields: object) -> verified.Record:
    known = {
        "board": "qemu_m4",
        "environment": "qemu_m4",
        "runtime": "compiled",
        "model": "digits",
        "sha256": "ab" * 32,
        "date": "2026-11-23",
        "emulator": "QEMU mps2-an386",
        "vectors": 21,
        "equal": 21,
        "instructions": 68883,
    }
    return verified.Record.model_validate(known | fields)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    first, second = record(), record(board="uno", environment="uno_bare", cycles=1000, model='odd, "name"')
    verified.save([second, first], tmp_path)
    assert verified.load(tmp_path) == [first, second], "sorted by board"
    assert first.cycles is None and second.cycles == 1000
    text = (tmp_path / verified.FILE).read_text()
    assert text.splitlines()[0] == ",".join(verified.COLUMNS)
    assert "None" not in text, "unknown is an empty field"


def test_the_last_record_of_a_firmware_replaces_the_one_before(tmp_path: Path) -> None:
    verified.save([record(), record(runtime="tflm")], tmp_path)
    verified.save([record(date="2026-11-24", equal=20)], tmp_path)
    loaded = verified.load(tmp_path)
    assert {(r.runtime, r.date) for r in loaded} == {("compiled", "2026-11-24"), ("tflm", "2026-11-23")}


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert verified.load(tmp_path) == []


def test_the_file_of_the_repository_is_no_board_and_names_boards_and_environments() -> None:
    assert "verified" not in boards.names()
    for r in verified.load():
        assert r.environment in {e.name for e in boards.load(r.board).environments}


@pytest.mark.parametrize(
    ("vectors", "equal", "passed"), [(21, 21, True), (21, 20, False), (0, 0, False)], ids=["equal", "one", "none ran"]
)
def test_passed_needs_every_vector_and_at_least_one(vectors: int, equal: int, passed: bool) -> None:
    assert record(vectors=vectors, equal=equal).passed is passed


def test_the_newest_runs_of_a_board_are_those_of_its_last_day() -> None:
    old, new, failed = record(date="2026-11-20"), record(), record(model="fashion", equal=0)
    assert verified.newest([old, failed, new, record(board="uno", date="2026-12-01")], "qemu_m4") == [failed, new]
    assert verified.newest([new], "uno") == []


def test_the_latest_run_of_a_model_has_its_figures() -> None:
    old, new = record(date="2026-11-20", sha256="cd" * 32), record()
    uncounted = record(environment="another", instructions=None)
    assert verified.latest([uncounted, new, old], "qemu_m4", "ab" * 32) == new
    assert verified.latest([new, old], "qemu_m4", "cd" * 32) == old
    assert verified.latest([new, old], "qemu_m4", "ef" * 32) is None


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("unknown_column", r"has the columns board, .*stack, latency; expected are board, .*stack\. Write it anew"),
        ("negative_vectors", r"line 3: column vectors: .*greater than or equal to 0, got '-1'"),
        ("month_as_date", r"line 2: column date: .*got 'November'"),
        ("unknown_runtime", r"line 2: column runtime: Input should be 'tflm', .*got 'onnx'"),
    ],
)
def test_a_broken_file_names_line_and_column(defect: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        verified.load(INVALID / defect)
