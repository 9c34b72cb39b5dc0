"""RP2040 images in Unicorn with UART 0: every inference counted exactly.

Unicorn's Cortex-M4 has all instructions of the Cortex-M0+. Clocks are always ready and the timer stands still; it
starts at the vector table, behind the second boot stage.
"""

from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import cortex_m
from convert.emulate.unicorn_link import UnicornLink
from convert.emulate.unicorn_polled import Uart

_BOOT2 = 256
# Resets, clocks, crystal and PLL: every bit that is waited for is set.
_CLOCKS = (0x40008000, 0x28000)
_UART0, _DR, _FR, _RX_EMPTY = 0x40034000, 0x00, 0x18, 1 << 4
# Plain memory: timer, watchdog and the core; (address, bytes).
_REGISTERS = ((0x40054000, 0x1000), (0x40058000, 0x1000), (0xE000E000, 0x1000))


def start(image: Path, board: Board, environment: Environment) -> tuple[cortex_m.Machine, Uart]:
    """The image just after reset; ToolError where the unicorn package is missing."""
    machine = cortex_m.Machine(cortex_m.load(image), board, environment, _REGISTERS, _BOOT2)
    machine.answer(*_CLOCKS, lambda _offset: 0xFFFFFFFF)
    uart = Uart(_DR, _FR, _RX_EMPTY, 0)
    uart.attach(machine, _UART0)
    return machine, uart


def connect(image: Path, board: Board, environment: Environment) -> UnicornLink:
    """Start the ELF file `image` with its UART 0 in the caller's hands; see convert.emulate."""
    return UnicornLink(*start(image, board, environment))
