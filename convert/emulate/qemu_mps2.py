"""QEMU's MPS2 and MPS3 boards, one a Cortex-M core: an385 (M3), an386 (M4F), an500 (M7), an505 (M33), an547 (M55).

The board's build.mcu is the machine. The serial port is CMSDK UART 0. With `-icount shift=0` emulated time advances
1 ns an instruction, so the firmware counts instructions with a timer: a tick of it is 40 of them, 50 on an505 and 31 on
an547; that is the resolution of the figure.
"""

from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, process, qemu

NAME = "qemu_mps2"
_TOOL = "qemu-system-arm"


def _command(image: Path, board: Board) -> list[str]:
    return [
        *(qemu.tool(_TOOL, _TOOL, board), "-M", board.build.mcu, *qemu.OPTIONS),
        *("-semihosting-config", "enable=on,target=native"),  # how the firmware leaves
        *("-kernel", str(image)),
    ]


def run(image: Path, board: Board, _environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
    return process.transcript(_command(image, board), NAME, image, timeout)


def connect(image: Path, board: Board, _environment: Environment) -> process.Process:
    """Start the ELF file `image` with its UART 0 in the caller's hands; see convert.emulate."""
    return process.Process(_command(image, board), NAME)
