"""What QEMU's machines have in common: where the program is, and the options of each."""

import shutil

from convert.boards import Board
from convert.errors import ToolError

# Emulated time advances 1 ns an instruction, so that timers count instructions; no window, no monitor, and the first
# serial port on standard input and output.
OPTIONS = ("-icount", "shift=0", "-display", "none", "-monitor", "none", "-serial", "stdio")


def tool(program: str, package: str, board: Board) -> str:
    """The path of a QEMU program; ToolError, naming the Debian package, where it is missing."""
    found = shutil.which(program)
    if found is None:
        raise ToolError(
            f"{program} is not on the PATH, and {board.name} is emulated with it; "
            f"on Debian or Ubuntu run: apt-get install {package}"
        )
    return found
