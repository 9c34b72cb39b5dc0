"""LabWired (PyPI: labwired): ESP32-C3, ESP32, ESP32-S3 and RP2040 with their own memory maps and serial ports.

It runs in a process of its own (convert/emulate/labwired_worker.py), because its native code cannot be interrupted. The
serial port is UART 0, all byte values both ways, except that the ESP32's receives nothing. An ESP32-C3 gets the bytes
that are flashed, in the windows where its ROM maps them; elsewhere the firmware is loaded at its linked addresses. Boot
ROM, boot loaders and flash caches do not run, so what they do before an image starts is not checked.

An instruction takes one cycle on every chip, so its time says nothing of the hardware's. Figures printed by the
firmware are its port's affair: a port counts instructions here only where that was compared with another emulator.
"""

import importlib.util
from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, process
from convert.errors import ToolError, one_of
from convert.paths import ROOT

NAME = "labwired"

# build.mcu of the boards, which is also LabWired's name of the chip. Others of its chips are not to be believed: its
# Cortex-M4F passes over saturating and 8-bit SIMD instructions, its AVR fails on what gcc writes.
CHIPS = ["esp32", "esp32c3", "esp32s3", "rp2040"]

# Whose UART 0 sends but never receives anything (labwired 0.25.0).
_DEAF = ["esp32"]


def _command(image: Path, board: Board) -> list[str]:
    if board.build.mcu not in CHIPS:
        raise ToolError(
            f"board {board.id} has the chip {board.build.mcu}, which is not emulated with LabWired here; "
            f"allowed are {one_of(CHIPS)}"
        )
    if importlib.util.find_spec("labwired") is None:
        raise ToolError(f"the labwired package, which emulates {board.name}, is missing; run: pip install labwired")
    return process.python_module("convert.emulate.labwired_worker", str(image.resolve()), board.build.mcu)


def run(image: Path, board: Board, _environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate.

    Memory that is not there or an unknown instruction ends the transcript with an #error line that says where.
    """
    return process.transcript(_command(image, board), NAME, image, timeout, ROOT)


def connect(image: Path, board: Board, _environment: Environment) -> process.Process:
    """Start the ELF file `image` with its UART 0 in the caller's hands; see convert.emulate."""
    if board.build.mcu in _DEAF:
        twin = board.tinyml.twin
        raise ToolError(
            f"LabWired passes no bytes to the serial port of {board.name}"
            + (f"; take --environment {twin.name}" if twin is not None else "")
        )
    return process.Process(_command(image, board), NAME, ROOT)
