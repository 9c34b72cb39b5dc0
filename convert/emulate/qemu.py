"""QEMU's machines: where the program is, what they have in common, how an image is run in one."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, process
from convert.errors import ToolError

# Emulated time advances 1 ns an instruction, so that timers count instructions; no window, no monitor, and the first
# serial port on standard input and output.
OPTIONS = ("-icount", "shift=0", "-display", "none", "-monitor", "none", "-serial", "stdio")


@dataclass(frozen=True)
class Machine:
    """A machine that QEMU emulates; `run` and `connect` are those of convert.emulate."""

    name: str  # the emulator's, in transcripts and messages
    program: str
    package: str  # Debian's, which brings the program
    options: Callable[[Board], Sequence[str]]  # besides the image

    def run(self, image: Path, board: Board, _environment: Environment, timeout: float) -> Transcript:
        """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
        return process.transcript(self._command(image, board), self.name, image, timeout)

    def connect(self, image: Path, board: Board, _environment: Environment) -> process.Process:
        """Start the ELF file `image` with its console in the caller's hands; see convert.emulate."""
        return process.Process(self._command(image, board), self.name)

    def _command(self, image: Path, board: Board) -> list[str]:
        """ToolError, naming the Debian package, where the program is missing."""
        found = shutil.which(self.program)
        if found is None:
            raise ToolError(
                f"{self.program} is not on the PATH, and {board.name} is emulated with it; "
                f"on Debian or Ubuntu run: apt-get install {self.package}"
            )
        return [found, *self.options(board), "-kernel", str(image)]
