"""What every Cortex-M4 in Unicorn needs: loading an ELF file, stopping in time, counting instructions.

An instruction that its IT block skips counts, as it does in QEMU. Instructions are not cycles.
"""

import bisect
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from convert.emulate import Transcript
from convert.emulate.nvmc import Nvmc
from convert.errors import ToolError

if TYPE_CHECKING:  # boards know the compiled runtime's targets, and that counts in this module's machines
    from convert.boards import Board, Environment

PAGE = 4096
_STOP_SECONDS = 0.02


@dataclass
class Program:
    """Segments by physical address, function symbols in the order of their addresses, and symbols' places."""

    segments: list[tuple[int, bytes]]
    symbols: list[tuple[int, str]]
    places: Mapping[str, tuple[int, int]]  # (address without the Thumb bit, bytes) of functions and variables

    def address(self, name: str) -> int | None:
        """Where a function starts, without the Thumb bit; None if there is none of that name."""
        return self.places.get(name, (None, 0))[0]

    def place(self, pc: int) -> str:
        """`0x10046 (inference_run+0x12)`."""
        at = bisect.bisect_right(self.symbols, (pc, "\x7f")) - 1
        if at < 0:
            return f"{pc:#x}"
        address, name = self.symbols[at]
        return f"{pc:#x} ({name}+{pc - address:#x})"


def load(image: Path) -> Program:
    """Read an ELF file."""
    with image.open("rb") as f:
        elf = ELFFile(f)
        segments = [(s["p_paddr"], s.data()) for s in elf.iter_segments("PT_LOAD") if s["p_filesz"]]
        tables = (s for s in elf.iter_sections() if isinstance(s, SymbolTableSection))
        symbols = [symbol for table in tables for symbol in table.iter_symbols() if symbol.name]
        functions = {(s["st_value"] & ~1, s.name) for s in symbols if s["st_info"]["type"] == "STT_FUNC"}
        places = {s.name: (s["st_value"], s["st_size"]) for s in symbols if s["st_info"]["type"] == "STT_OBJECT"}
        places |= {s.name: (s["st_value"] & ~1, s["st_size"]) for s in symbols if s["st_info"]["type"] == "STT_FUNC"}
    return Program(segments, sorted(functions), places)


def thumb_instructions(code: bytes) -> int:
    """Number of Thumb-2 instructions in `code`, which starts and ends between two.

    An instruction has 4 bytes where the top five bits of its first halfword are 0b11101, 0b11110 or 0b11111, else 2
    (ARMv7-M Architecture Reference Manual, A5.1).
    """
    count = at = 0
    while at < len(code):
        at += 4 if code[at + 1] >> 3 >= 0b11101 else 2
        count += 1
    return count


@contextmanager
def stopping(uc: Any, deadline: float) -> Iterator[None]:
    """Stop the emulation at the deadline, again and again until it has stopped.

    Unicorn's own timeout asks once, and its loop now and then overlooks a single request: the firmware then ran on for
    ever (unicorn 2.1.4, one in some hundred short runs on a loaded machine).
    """
    ended = threading.Event()

    def watch() -> None:
        if not ended.wait(max(0.0, deadline - time.monotonic())):
            uc.emu_stop()
            while not ended.wait(_STOP_SECONDS):
                uc.emu_stop()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def machine(unicorn: Any, program: Program, regions: list[tuple[int, int, bool]]) -> Any:
    """A Cortex-M4 with `program` in its memory; regions are (address, bytes, executable or else writable)."""
    arm = unicorn.arm_const
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
    for address, size, executable in regions:
        access = unicorn.UC_PROT_EXEC if executable else unicorn.UC_PROT_WRITE
        uc.mem_map(address, -(-size // PAGE) * PAGE, unicorn.UC_PROT_READ | access)
    for address, data in program.segments:
        uc.mem_write(address, data)
    return uc


def unicorn_for(board: "Board") -> Any:
    """The unicorn package; ToolError where it is missing."""
    try:
        import unicorn
        import unicorn.arm_const
    except ImportError as e:
        raise ToolError(
            f"the unicorn package, which emulates {board.name}, is missing; run: pip install unicorn"
        ) from e
    return unicorn


class Machine:
    """A board with a program in it, just after reset.

    `registers` are (address, bytes) of peripherals that are plain memory: they read back what was written. The vector
    table lies `vectors` bytes behind the start of the image.
    """

    def __init__(
        self,
        program: Program,
        board: "Board",
        environment: "Environment",
        registers: Iterable[tuple[int, int]],
        vectors: int = 0,
    ) -> None:
        """Raises ToolError where the unicorn package is missing."""
        self.unicorn, self.program = unicorn_for(board), program
        arm = self.unicorn.arm_const
        origin = environment.flash_origin or 0
        regions = [
            (origin, board.upload.maximum_size, True),
            (environment.ram_origin or 0, board.upload.maximum_ram_size, False),
            *((address, size, False) for address, size in registers),
        ]
        self.uc = machine(self.unicorn, program, regions)
        self.nvmc: Nvmc | None = None  # the flash's controller, where one is modelled
        self.uc.reg_write(arm.UC_ARM_REG_SP, int.from_bytes(self.uc.mem_read(origin + vectors, 4), "little"))
        self.pc = int.from_bytes(self.uc.mem_read(origin + vectors + 4, 4), "little") & ~1
        self.pc_register, self.lr_register = arm.UC_ARM_REG_PC, arm.UC_ARM_REG_LR

    def answer(self, address: int, size: int, value: Callable[[int], int]) -> None:
        """Let registers read as `value(offset)` and forget what is written to them."""

        def read(_uc: Any, offset: int, _size: int, _data: Any) -> int:
            return value(offset)

        def write(_uc: Any, _offset: int, _size: int, _value: int, _data: Any) -> None:
            pass

        self.uc.mmio_map(address, size, read, None, write, None)

    def go(self, until: int, deadline: float) -> None:
        """Run on until an address, a stop by a peripheral, a fault (UcError) or the deadline."""
        with stopping(self.uc, deadline):
            self.uc.emu_start(self.pc | 1, until)
        self.pc = self.uc.reg_read(self.pc_register) & ~1

    def count(self, deadline: float) -> int | None:
        """Run the first inference_run(), counting its instructions; None where it is not reached or does not return."""
        entry = self.program.address("inference_run")
        if entry is None:
            return None
        self.go(entry, deadline)
        if self.pc != entry:
            return None
        back = self.uc.reg_read(self.lr_register) & ~1
        total = 0
        known: dict[tuple[int, int], int] = {}

        def block(uc: Any, address: int, size: int, _data: Any) -> None:
            nonlocal total
            key = (address, size)
            count = known.get(key)
            if count is None:
                count = known[key] = thumb_instructions(bytes(uc.mem_read(address, size)))
            total += count

        hook = self.uc.hook_add(self.unicorn.UC_HOOK_BLOCK, block)
        # A hook reaches only what is translated after it: memcpy() and the like have run before.
        self.uc.ctl_flush_tb()
        try:
            self.go(back, deadline)
        finally:
            self.uc.hook_del(hook)
            self.uc.ctl_flush_tb()
        return total if self.pc == back else None


def counted(transcript: Transcript, machine: Machine, deadline: float) -> Transcript:
    """A transcript with the instructions of one inference, for an emulator that cannot count them.

    `machine` has the same image in it. Where the firmware did not finish, or faults here, nothing is counted.
    """
    start = time.monotonic()
    if not transcript.finished or transcript.error is not None:
        return transcript
    try:
        instructions = machine.count(deadline)
    except machine.unicorn.UcError:
        return transcript
    seconds = round(transcript.seconds + time.monotonic() - start, 3)
    return dataclasses.replace(transcript, instructions=instructions, seconds=seconds)
