"""QEMU's riscv32 machine "virt" with an ESP32-C3's instructions (RV32IMC): 16550 on the console, another memory map.

With `-icount shift=0` minstret counts the instructions exactly and emulated time advances 1 ns an instruction.
"""

from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, process, qemu

NAME = "qemu_virt"
_TOOL = "qemu-system-riscv32"


def _command(image: Path, board: Board) -> list[str]:
    return [
        *(qemu.tool(_TOOL, "qemu-system-misc", board), "-M", "virt", "-cpu", "rv32,f=off,d=off,a=off"),
        *(*qemu.OPTIONS, "-bios", "none", "-kernel", str(image)),
    ]


def run(image: Path, board: Board, _environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
    return process.transcript(_command(image, board), NAME, image, timeout)


def connect(image: Path, board: Board, _environment: Environment) -> process.Process:
    """Start the ELF file `image` with its UART in the caller's hands; see convert.emulate."""
    return process.Process(_command(image, board), NAME)
