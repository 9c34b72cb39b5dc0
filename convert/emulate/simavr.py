"""libsimavr's ATmega328P: the Uno's own image, every byte and every cycle of it.

A harness of ours (simavr_harness.c) is compiled with the host's compiler at the first use and kept in the project's
cache. It counts the instructions and the cycles of the first inference_run() exactly, the core's timer interrupts
within it included, and turns what a board would show by standing still (a stack that reaches the static data, an
instruction that does not exist, a jump to address 0) into an #error line.
"""

import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from convert.boards import Board, Environment
from convert.cache import Cache, digest, digest_files
from convert.emulate import Transcript, closed, process
from convert.errors import ToolError

NAME = "simavr"
_SOURCE = Path(__file__).with_name("simavr_harness.c")
_PACKAGES = "apt-get install gcc libsimavr-dev libelf-dev"
_RAM_IN_ELF = 0x800000  # where AVR ELF files put the data memory's addresses
_ERASED = b"\xff"


@dataclass(frozen=True)
class _Program:
    """An image: the flash from address 0 on, and addresses in bytes."""

    flash: bytes
    static_end: int  # the first RAM address behind the static data
    entry: int  # of inference_run(); 0: there is none


def _load(image: Path) -> _Program:
    with image.open("rb") as f:
        elf = ELFFile(f)
        flash = bytearray()
        for segment in elf.iter_segments("PT_LOAD"):
            start, data = segment["p_paddr"], segment.data()
            if data and start < _RAM_IN_ELF:
                flash += _ERASED * (start + len(data) - len(flash))
                flash[start : start + len(data)] = data
        tables = (s for s in elf.iter_sections() if isinstance(s, SymbolTableSection))
        symbols = {s.name: s["st_value"] for table in tables for s in table.iter_symbols()}
    return _Program(bytes(flash), symbols.get("_end", _RAM_IN_ELF) - _RAM_IN_ELF, symbols.get("inference_run", 0))


def harness() -> Path:
    """The compiled harness.

    Raises ToolError, naming the packages, where it cannot be compiled.
    """
    compiler = next((path for name in ("gcc", "cc", "clang") if (path := shutil.which(name))), None)
    if compiler is None:
        raise ToolError(f"no C compiler (gcc, cc or clang) on the PATH for simavr's harness; run: {_PACKAGES}")

    def build(folder: Path) -> None:
        command = [compiler, "-std=gnu11", "-O2", str(_SOURCE), "-o", str(folder / "harness"), "-lsimavr", "-lelf"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if "error" in line or "cannot" in line), "")
            raise ToolError(
                f"simavr's harness cannot be compiled, libsimavr is missing or another version: {reason.strip()}; "
                f"on Debian or Ubuntu run: {_PACKAGES}"
            )

    folder, _ = Cache().get("simavr-harness", digest(digest_files([_SOURCE]), compiler), build)
    return folder / "harness"


class Simulation(process.Process):
    """A running image whose USART 0 is the link."""

    def __init__(
        self, image: Path, mcu: str, clock_hz: int, until: Literal["closing", "open"], ram_end: int | None = None
    ) -> None:
        """Start the ELF file `image` on a processor; ToolError where the harness cannot be had.

        `ram_end`: the last address of RAM, where it is not the processor's own.
        """
        program, tool = _load(image), harness()
        self._folder = tempfile.TemporaryDirectory(prefix="simavr-")
        flash = Path(self._folder.name) / "flash.bin"
        flash.write_bytes(program.flash)
        figures = (clock_hz, flash, program.static_end, program.entry)
        more = [] if ram_end is None else [str(ram_end)]
        super().__init__([str(tool), mcu, *map(str, figures), until, *more], NAME)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._folder.cleanup()


def connect(image: Path, board: Board, _environment: Environment) -> Simulation:
    """Start the ELF file `image` with its USART 0 in the caller's hands; see convert.emulate."""
    return Simulation(image, board.build.mcu, board.build.clock_hz, "open")


def run(image: Path, board: Board, _environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
    start = time.monotonic()
    text = bytearray()
    with Simulation(image, board.build.mcu, board.build.clock_hz, "closing") as simulation:
        while not simulation.ended and (left := start + timeout - time.monotonic()) > 0:
            text += simulation.read(left)
        last = simulation.reason()
    if not text and "figures" not in last:
        raise ToolError(f"simavr did not run {image.name}{last}")
    console = text.decode("ascii", "backslashreplace").replace("\r\n", "\n")
    found = re.search(r"figures instructions=(\d+) cycles=(\d+)", last)
    instructions, cycles = (int(found[1]), int(found[2])) if found else (None, None)
    seconds = round(time.monotonic() - start, 3)
    return Transcript(NAME, console, closed(console), instructions, seconds, cycles)
