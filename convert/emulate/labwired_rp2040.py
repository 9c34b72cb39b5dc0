"""The Raspberry Pi Pico's own image in LabWired's rp2040 (convert/emulate/labwired.py), counted in Unicorn.

LabWired starts at the vector table behind the second boot stage, which is not run. One inference is counted exactly in
Unicorn, with peripherals that are always ready. Neither faults on an unaligned access, as a Cortex-M0+ does; QEMU's
Cortex-M0 does (tests/convert/compiled/test_cores.py). LabWired's TIMER advances with every instruction where the chip's
does every microsecond.
"""

import time
from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, cortex_m, labwired, process

BOOT2 = 256
# Resets, clocks, crystal and PLL: every bit that is waited for is set.
_CLOCKS = (0x40008000, 0x28000)
_UART0, _FR, _RX_EMPTY = 0x40034000, 0x18, 1 << 4
# Plain memory: timer, watchdog and the core; (address, bytes).
_REGISTERS = ((0x40054000, 0x1000), (0x40058000, 0x1000), (0xE000E000, 0x1000))


def unicorn(image: Path, board: Board, environment: Environment) -> cortex_m.Machine:
    """The image in Unicorn, its console going nowhere. ToolError where the package is missing."""
    machine = cortex_m.Machine(cortex_m.load(image), board, environment, _REGISTERS, BOOT2)
    machine.answer(*_CLOCKS, lambda _offset: 0xFFFFFFFF)
    machine.answer(_UART0, 0x1000, lambda offset: _RX_EMPTY if offset == _FR else 0)
    return machine


def run(image: Path, board: Board, environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
    start = time.monotonic()
    transcript = labwired.run(image, board, environment, timeout)
    return cortex_m.counted(transcript, unicorn(image, board, environment), start + timeout)


def connect(image: Path, board: Board, environment: Environment) -> process.Process:
    """Start the ELF file `image` with its UART 0 in the caller's hands; see convert.emulate."""
    return labwired.connect(image, board, environment)
