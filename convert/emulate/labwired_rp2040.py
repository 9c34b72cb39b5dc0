"""The Raspberry Pi Pico's own image in LabWired's rp2040 (convert/emulate/labwired.py), counted in Unicorn.

LabWired starts at the vector table behind the second boot stage, which is not run. One inference is counted exactly in
Unicorn. Neither faults on an unaligned access, as a Cortex-M0+ does; QEMU's Cortex-M0 does
(tests/convert/compiled/test_cores.py). LabWired's TIMER advances with every instruction where the chip's does every
microsecond.
"""

import time
from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, cortex_m, labwired, process, unicorn_rp2040

COUNTED_BY = "unicorn_rp2040"


def run(image: Path, board: Board, environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
    start = time.monotonic()
    transcript = labwired.run(image, board, environment, timeout)
    return cortex_m.counted(transcript, unicorn_rp2040.start(image, board, environment)[0], start + timeout)


def connect(image: Path, board: Board, environment: Environment) -> process.Process:
    """Start the ELF file `image` with its UART 0 in the caller's hands; see convert.emulate."""
    return labwired.connect(image, board, environment)
