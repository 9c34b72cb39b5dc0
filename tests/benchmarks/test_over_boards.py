"""The benchmark over all boards: what becomes of build.py's answers."""

from pathlib import Path

import pytest

from benchmarks import boards as benchmark
from convert import boards

REPORT = {
    "runtime": "compiled",
    "model": {"sha256": "ab" * 32},
    "memory": {"flash": 20000, "static_ram": 1500, "arena": 1400, "stack": None},
    "smoke": {
        "emulator": "qemu_mps2",
        "passed": True,
        "vectors": 21,
        "mismatches": 0,
        "instructions_per_inference": 68800,
        "cycles_per_inference": None,
    },
}


def outcome(exit_code: int = 0, reason: str = "", **report: object) -> benchmark.Outcome:
    (task,) = benchmark.tasks(("qemu_m4",), ("digits",), ())
    return benchmark.Outcome(task, exit_code, reason, {**REPORT, **report}, 1.0)


def test_a_task_is_the_command_of_a_user(tmp_path: Path) -> None:
    (task,) = benchmark.tasks(("qemu_m4",), (), (tmp_path / "net.tflite",))
    command = " ".join(task.command(tmp_path))
    assert "convert/build.py --board qemu_m4 --environment qemu_m4 --model" in command and task.model == "net"


@pytest.mark.parametrize(
    ("exit_code", "verdict"), [(0, "equal"), (2, "refused"), (3, "does not fit"), (4, "DIFFERENT"), (5, "FAILED")]
)
def test_verdicts(exit_code: int, verdict: str) -> None:
    assert outcome(exit_code).verdict == verdict


def test_a_firmware_that_was_not_run_is_not_equal() -> None:
    assert outcome(smoke={"passed": None}).verdict == "not run"
    assert outcome(smoke={"vectors": None}).record("2026-01-01") is None


def test_the_record_and_the_table() -> None:
    record = outcome().record("2026-01-01")
    assert record is not None and record.passed and record.instructions == 68800 and record.stack is None
    line = "| qemu_m4 | digits | compiled | qemu_mps2 | 20,000 | 1,500 | 1,400 |  | 68,800 |  | 21 of 21 | 2026-01-01 |"
    assert line in benchmark.results([record]).splitlines()
    text = benchmark.markdown([outcome(), outcome(3, "RAM is exceeded by 5 B", smoke={})])
    assert "| qemu_m4 | qemu_m4 | digits | qemu_mps2 | 20,000 | 1,500 | 1,400 |  | 68,800 |  | equal |" in text
    assert "- qemu_m4, digits: RAM is exceeded by 5 B" in text


def test_only_what_is_built_here_is_run() -> None:
    found = {t.environment.name for t in benchmark.tasks((), ("digits",), ())}
    assert "nano33_bare" in found and "nano33" not in found
    assert boards.load("nano33").tinyml.official is not None
