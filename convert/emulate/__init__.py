"""Emulators: one module each, all with `run(image: Path, board: Board, timeout: float) -> Transcript`.

`image` is the ELF file, `timeout` the most seconds of wall time. A firmware that fails or hangs is no exception: its
transcript says so. ToolError where the emulator is missing or does not start.
"""

import re
from dataclasses import dataclass

CLOSING = ("#done ", "#error ")


@dataclass(frozen=True)
class Transcript:
    """What a firmware printed in an emulator."""

    emulator: str
    text: str  # the console, with '\n' line ends
    finished: bool  # a closing line came (#done or #error); False: the time ran out or the emulator ended early
    instructions: int | None  # of one inference_run() of vector 0, where the emulator or the firmware counts them
    seconds: float  # wall time

    @property
    def error(self) -> str | None:
        """The text of the firmware's #error line, or None."""
        return next((line[7:] for line in self.text.splitlines() if line.startswith("#error ")), None)


def closed(text: str) -> bool:
    """Whether a whole closing line is in the text of a console."""
    return any(line.startswith(CLOSING) for line in text.split("\n")[:-1])


def figure(text: str, name: str) -> int | None:
    """The figure in a line `#name <number>` of a console, or None where it was not printed."""
    found = re.search(rf"^\s*#{name} (\d+)\s*$", text, re.MULTILINE)
    return int(found[1]) if found else None
