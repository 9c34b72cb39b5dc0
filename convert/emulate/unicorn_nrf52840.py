"""The Nano 33 BLE's own image at 0x10000, run by Unicorn's Cortex-M4 with a model of the nRF52840's UARTE 0.

Unicorn has neither interrupts nor peripherals: the firmware polls, and every other register reads back what was
written. One inference is counted exactly, instruction by instruction, between the entry of the first inference_run()
and its return; the rest runs at full speed. An instruction that its IT block skips counts, as it does in QEMU.
Instructions are not cycles.
"""

import bisect
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from convert.boards import Board
from convert.emulate import Transcript, closed
from convert.errors import ToolError

NAME = "unicorn_nrf52840"

_PAGE = 4096
_STOP_SECONDS = 0.02
_UARTE = 0x40002000
# Registers of UARTE 0; nRF52840 Product Specification, UARTE.
_STARTTX, _ENDTX, _ENABLE, _TXD_PTR, _TXD_MAXCNT, _TXD_AMOUNT = 0x008, 0x120, 0x500, 0x544, 0x548, 0x54C
_ENABLED = 8
_EASYDMA = range(0x20000000, 0x20040000)  # EasyDMA reads the data RAM only
# Plain memory where the firmware configures clock, pins and the core; (address, bytes).
_REGISTERS = ((0x40000000, 0x1000), (0x50000000, 0x1000), (0xE000E000, 0x1000))


@dataclass
class _Program:
    """Segments by physical address, and function symbols in the order of their addresses."""

    segments: list[tuple[int, bytes]]
    symbols: list[tuple[int, str]]

    def address(self, name: str) -> int | None:
        return next((address for address, symbol in self.symbols if symbol == name), None)

    def place(self, pc: int) -> str:
        """`0x10046 (inference_run+0x12)`."""
        at = bisect.bisect_right(self.symbols, (pc, "\x7f")) - 1
        if at < 0:
            return f"{pc:#x}"
        address, name = self.symbols[at]
        return f"{pc:#x} ({name}+{pc - address:#x})"


def _load(image: Path) -> _Program:
    with image.open("rb") as f:
        elf = ELFFile(f)
        segments = [(s["p_paddr"], s.data()) for s in elf.iter_segments("PT_LOAD") if s["p_filesz"]]
        tables = (s for s in elf.iter_sections() if isinstance(s, SymbolTableSection))
        functions = {
            (symbol["st_value"] & ~1, symbol.name)
            for table in tables
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol.name
        }
    return _Program(segments, sorted(functions))


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


@dataclass
class _Uarte:
    """UARTE 0's transmitter: STARTTX takes TXD.MAXCNT bytes at TXD.PTR at once."""

    memory: Any  # the unicorn machine
    text: bytearray = field(default_factory=bytearray)
    registers: dict[int, int] = field(default_factory=dict)

    def read(self, _uc: Any, offset: int, _size: int, _data: Any) -> int:
        return self.registers.get(offset, 0)

    def write(self, uc: Any, offset: int, _size: int, value: int, _data: Any) -> None:
        self.registers[offset] = value
        if offset == _STARTTX and value and self.registers.get(_ENABLE) == _ENABLED:
            start, count = self.registers.get(_TXD_PTR, 0), self.registers.get(_TXD_MAXCNT, 0)
            if start in _EASYDMA and start + count - 1 in _EASYDMA:
                self.text += self.memory.mem_read(start, count)
                self.registers[_TXD_AMOUNT] = count
            self.registers[_ENDTX] = 1
            if b"\n" in self.text[-count:] and closed(self.text[-4096:].decode("ascii", "replace")):
                uc.emu_stop()


@contextmanager
def _stopping(uc: Any, deadline: float) -> Iterator[None]:
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


class _Machine:
    """A board with a program in it, just after reset."""

    def __init__(self, unicorn: Any, program: _Program, board: Board) -> None:
        self.unicorn, self.program = unicorn, program
        arm = unicorn.arm_const
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        origin = board.tinyml.flash_origin or 0
        regions = [
            (origin, board.upload.maximum_size, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC),
            (board.tinyml.ram_origin or 0, board.upload.maximum_ram_size, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE),
            *((address, size, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE) for address, size in _REGISTERS),
        ]
        for address, size, protection in regions:
            uc.mem_map(address, -(-size // _PAGE) * _PAGE, protection)
        for address, data in program.segments:
            uc.mem_write(address, data)
        self.uarte = _Uarte(uc)
        uc.mmio_map(_UARTE, 0x1000, self.uarte.read, None, self.uarte.write, None)
        uc.reg_write(arm.UC_ARM_REG_SP, int.from_bytes(uc.mem_read(origin, 4), "little"))
        self.pc = int.from_bytes(uc.mem_read(origin + 4, 4), "little") & ~1
        self.uc, self.pc_register, self.lr_register = uc, arm.UC_ARM_REG_PC, arm.UC_ARM_REG_LR

    def go(self, until: int, deadline: float) -> None:
        """Run on until an address, a closing line, a fault (UcError) or the deadline."""
        with _stopping(self.uc, deadline):
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


def run(image: Path, board: Board, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate.

    A fault (memory that is not there, an unknown instruction) ends the transcript with an #error line that names
    the program counter and its function.
    """
    try:
        import unicorn
        import unicorn.arm_const
    except ImportError as e:
        raise ToolError(
            f"the unicorn package, which emulates {board.name}, is missing; run: pip install unicorn"
        ) from e
    start = time.monotonic()
    machine = _Machine(unicorn, _load(image), board)
    instructions, fault = None, ""
    try:
        instructions = machine.count(start + timeout)
        if not closed(machine.uarte.text.decode("ascii", "replace")):
            machine.go(0, start + timeout)
    except unicorn.UcError as e:
        pc = machine.uc.reg_read(machine.pc_register) & ~1
        fault = f"#error fault in the emulator: {e} at pc={machine.program.place(pc)}\n"
    text = machine.uarte.text.decode("ascii", "backslashreplace")
    if fault and text and not text.endswith("\n"):
        text += "\n"
    text += fault
    return Transcript(NAME, text, closed(text), instructions, round(time.monotonic() - start, 3))
