"""STM32F4 images in Unicorn's Cortex-M4 with USART 1: every inference counted exactly.

No clock starts, as in qemu_netduinoplus2, and the timer stands still.
"""

from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import cortex_m
from convert.emulate.unicorn_link import UnicornLink
from convert.emulate.unicorn_polled import Uart

_USART1, _SR, _DR = 0x40011000, 0x00, 0x04
_SENT, _RECEIVED = 0xC0, 0x20  # TXE and TC, RXNE
# Plain memory where the firmware configures timer, power, pins, clock, flash and the core; (address, bytes).
_REGISTERS = ((0x40000000, 0x1000), (0x40007000, 0x1000), (0x40020000, 0x4000), (0xE000E000, 0x1000))


def start(image: Path, board: Board, environment: Environment) -> tuple[cortex_m.Machine, Uart]:
    """The image just after reset; ToolError where the unicorn package is missing."""
    machine = cortex_m.Machine(cortex_m.load(image), board, environment, _REGISTERS)
    uart = Uart(_DR, _SR, _SENT, _SENT | _RECEIVED)
    uart.attach(machine, _USART1)
    return machine, uart


def connect(image: Path, board: Board, environment: Environment) -> UnicornLink:
    """Start the ELF file `image` with its USART 1 in the caller's hands; see convert.emulate."""
    return UnicornLink(*start(image, board, environment))
