"""QEMU's netduinoplus2, an STM32F405: runs STM32F4 images at 0x08000000 that use USART 1 and TIM2.

Its RCC, PWR and GPIO registers read as 0, so a clock never starts: the firmware goes on as on a chip whose crystal is
broken, at 16 MHz. Its timers count every instruction as one cycle of that, so that time is no time of the hardware's.
The chip does not count instructions; one inference of the same image is counted exactly in Unicorn's Cortex-M4.
"""

import time
from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, cortex_m, qemu, unicorn_stm32f4

NAME = "qemu_netduinoplus2"
COUNTED_BY = "unicorn_stm32f4"
_OPTIONS = ("-M", "netduinoplus2", *qemu.OPTIONS)

_MACHINE = qemu.Machine(NAME, "qemu-system-arm", "qemu-system-arm", lambda _: _OPTIONS)
connect = _MACHINE.connect


def run(image: Path, board: Board, environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
    start = time.monotonic()
    transcript = _MACHINE.run(image, board, environment, timeout)
    return cortex_m.counted(transcript, unicorn_stm32f4.start(image, board, environment)[0], start + timeout)
