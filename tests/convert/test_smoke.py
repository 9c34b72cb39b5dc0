import numpy as np
import pytest

from convert import boards, smoke
from convert.emulate import Transcript
from convert.errors import OutputsDifferError, ToolError, UsageError

GOOD = """#tinyml 1 board=b runtime=compiled model=0123456789abcdef vectors=2
#vector 0 00ff80
#vector 1 010203
#arena 128
#stack 700
#instructions 12345
#done 2
"""


def transcript(text: str, instructions: int | None = None) -> Transcript:
    finished = "#done" in text or "#error" in text
    return Transcript(emulator="test", text=text, finished=finished, instructions=instructions, seconds=1.5)


GOLDEN = np.array([[0, 255, 128], [1, 2, 3]], np.uint8)


def test_outputs_and_figures_are_read() -> None:
    run = smoke.parse(transcript(GOOD), 3)
    np.testing.assert_array_equal(run.outputs, GOLDEN)
    assert (run.arena, run.stack, run.instructions) == (128, 700, 12345)
    smoke.compare(run, GOLDEN)


def test_the_emulator_s_own_count_wins() -> None:
    assert smoke.parse(transcript(GOOD, instructions=99), 3).instructions == 99


def test_unknown_figures_stay_unknown() -> None:
    text = "\n".join(line for line in GOOD.splitlines() if line.split()[0] in {"#vector", "#done"})
    run = smoke.parse(transcript(text), 3)
    assert (run.arena, run.stack, run.instructions) == (None, None, None)


@pytest.mark.parametrize(
    ("defect", "old", "new", "message"),
    [
        ("firmware_error", "#done 2", "#error arena 12 B too small", "stopped in test with: arena 12 B too small"),
        ("no_closing_line", "#done 2\n", "", r"did not finish in test: 2 vectors after 1.5 s.*#instructions 12345"),
        ("wrong_count", "#done 2", "#done 3", "did not finish"),
        ("truncated_vector", "010203", "0102", "3 output bytes of vector 1 were expected"),
        ("not_hexadecimal", "010203", "01020g", "vector 1 were expected"),
        ("skipped_vector", "#vector 0 00ff80\n", "", "output bytes of vector 0 were expected"),
    ],
)
def test_a_broken_transcript_is_a_tool_error(defect: str, old: str, new: str, message: str) -> None:
    assert old in GOOD, defect
    with pytest.raises(ToolError, match=message):
        smoke.parse(transcript(GOOD.replace(old, new)), 3)


def test_silence_is_said() -> None:
    with pytest.raises(ToolError, match=r"0 vectors after 1.5 s, no closing line. Its last output was: nothing"):
        smoke.parse(transcript(""), 3)


def test_a_single_wrong_byte_is_found_and_named() -> None:
    run = smoke.parse(transcript(GOOD.replace("010203", "010204")), 3)
    message = r"1 of 2 vectors differ .* vector 1, output byte 2 is 4 and should be 3. In layer x."
    with pytest.raises(OutputsDifferError, match=message):
        smoke.compare(run, GOLDEN, "In layer x.")


def test_missing_vectors_are_not_a_pass() -> None:
    run = smoke.parse(transcript(GOOD.replace("#vector 1 010203\n", "").replace("#done 2", "#done 1")), 3)
    with pytest.raises(OutputsDifferError, match="ran 1 of 2"):
        smoke.compare(run, GOLDEN)


def test_an_environment_without_an_emulator_is_refused(tmp_path) -> None:
    board = boards.load("nano33")
    assert board.tinyml.official is not None
    with pytest.raises(UsageError, match=r"'nano33' of Arduino Nano 33 BLE has no emulator"):
        smoke.emulate(tmp_path / "x.elf", board, board.tinyml.official, 1.0)


def test_golden_outputs_are_kept(tmp_path) -> None:
    smoke.save_golden(tmp_path, GOLDEN, GOLDEN)
    np.testing.assert_array_equal(smoke.load_golden(tmp_path), GOLDEN)
    with pytest.raises(UsageError, match="no golden outputs"):
        smoke.load_golden(tmp_path / "elsewhere")
