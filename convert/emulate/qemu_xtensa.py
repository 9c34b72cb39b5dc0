"""QEMU's xtensa machine "sim" with an LX106 core: semihosting on the console, the instructions of gcc's call0 ABI.

It starts at the first byte of its ROM, 0x50000000, whatever the ELF file's entry is. With `-icount shift=0` emulated
time advances 1 ns an instruction, so the firmware counts them with CCOUNT: a tick is 25, the resolution of the figure.
"""

from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, process, qemu

NAME = "qemu_xtensa"
_TOOL = "qemu-system-xtensa"

# With a serial port the semihosting's console would be that, and QEMU loses bytes which come while the firmware reads
# (qemu 7.2: two threads, one buffer, no lock). Without one it is QEMU's own standard input and output.
_OPTIONS = ("-icount", "shift=0", "-display", "none", "-monitor", "none", "-serial", "none")


def _command(image: Path, board: Board) -> list[str]:
    return [
        *(qemu.tool(_TOOL, "qemu-system-misc", board), "-M", "sim", "-cpu", "lx106"),
        *(*_OPTIONS, "-semihosting", "-kernel", str(image)),
    ]


def run(image: Path, board: Board, _environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
    return process.transcript(_command(image, board), NAME, image, timeout)


def connect(image: Path, board: Board, _environment: Environment) -> process.Process:
    """Start the ELF file `image` with its console in the caller's hands; see convert.emulate."""
    return process.Process(_command(image, board), NAME)
