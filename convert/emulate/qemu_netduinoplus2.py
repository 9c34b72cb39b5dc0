"""QEMU's netduinoplus2, an STM32F405: runs STM32F4 images at 0x08000000 that use USART 1 and TIM2.

Its RCC, PWR and GPIO registers read as 0, so a clock never starts: the firmware goes on as on a chip whose crystal is
broken, at 16 MHz. Its timers count every instruction as one cycle of that, so that time is no time of the hardware's.
The chip does not count instructions; one inference of the same image is counted exactly in Unicorn's Cortex-M4.
"""

import time
from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, cortex_m, process, qemu, unicorn_stm32f4

NAME = "qemu_netduinoplus2"
_TOOL = "qemu-system-arm"
COUNTED_BY = "unicorn_stm32f4"


def _command(image: Path, board: Board) -> list[str]:
    return [
        *(qemu.tool(_TOOL, _TOOL, board), "-M", "netduinoplus2", *qemu.OPTIONS),
        *("-kernel", str(image)),
    ]


def run(image: Path, board: Board, environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
    start = time.monotonic()
    transcript = process.transcript(_command(image, board), NAME, image, timeout)
    return cortex_m.counted(transcript, unicorn_stm32f4.start(image, board, environment)[0], start + timeout)


def connect(image: Path, board: Board, _environment: Environment) -> process.Process:
    """Start the ELF file `image` with its USART 1 in the caller's hands; see convert.emulate."""
    return process.Process(_command(image, board), NAME)
