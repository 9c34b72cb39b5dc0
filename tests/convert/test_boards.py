import json
from pathlib import Path

import pytest

from convert import boards
from convert.errors import UsageError
from convert.paths import BOARDS

INVALID = Path(__file__).parent.parent / "invalid" / "boards"


@pytest.mark.parametrize("name", boards.names())
def test_every_board_is_valid(name: str) -> None:
    board = boards.load(name)
    assert board.environments
    assert board.build.clock_hz > 1_000_000
    for environment in board.environments:
        assert "to be" not in environment.overhead.source


def test_the_expected_boards_are_there() -> None:
    assert {"nano33", "qemu_m4", "esp32"} <= set(boards.names())


def test_unknown_board_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match=r"unknown board 'nano34'; allowed are .*nano33"):
        boards.load("nano34")


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("not_json", "boards/not_json.json is not JSON"),
        ("unknown_key", "key tinyml.stack_reserv"),
        ("missing_flash", "key upload.maximum_size: Field required"),
        ("negative_ram", "key upload.maximum_ram_size: Input should be greater than 0, got -1"),
        (
            "unknown_runtime",
            r"key tinyml.bare.runtimes.0: Input should be 'tflm', 'compiled', 'tree' or 'binary', got 'onnx'",
        ),
    ],
)
def test_a_broken_board_names_the_key(defect: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        boards.load(defect, INVALID)


def test_limits_stand_only_in_the_manifest() -> None:
    raw = json.loads((BOARDS / "nano33.json").read_text())
    dumped = boards.load("nano33").model_dump(mode="json")
    assert dumped["upload"]["maximum_size"] == raw["upload"]["maximum_size"]
    assert dumped["tinyml"]["stack_reserve"] == raw["tinyml"]["stack_reserve"]
