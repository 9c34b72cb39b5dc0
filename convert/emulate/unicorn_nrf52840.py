"""The Nano 33 BLE's own image at 0x10000, run by Unicorn's Cortex-M4 with a model of the nRF52840's UARTE 0.

Unicorn has neither interrupts nor peripherals: the firmware polls, and every other register reads back what was
written. One inference is counted exactly, instruction by instruction, between the entry of the first inference_run()
and its return; the rest runs at full speed. An instruction that its IT block skips counts, as it does in QEMU.
Instructions are not cycles.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert.boards import Board, Environment
from convert.emulate import Transcript, closed, cortex_m
from convert.errors import ToolError

NAME = "unicorn_nrf52840"

_UARTE = 0x40002000
# Registers of UARTE 0; nRF52840 Product Specification, UARTE.
_STARTTX, _ENDTX, _ENABLE, _TXD_PTR, _TXD_MAXCNT, _TXD_AMOUNT = 0x008, 0x120, 0x500, 0x544, 0x548, 0x54C
_ENABLED = 8
_EASYDMA = range(0x20000000, 0x20040000)  # EasyDMA reads the data RAM only
# Plain memory where the firmware configures clock, pins and the core; (address, bytes).
_REGISTERS = ((0x40000000, 0x1000), (0x50000000, 0x1000), (0xE000E000, 0x1000))


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


class _Machine:
    """A board with a program in it, just after reset."""

    def __init__(self, unicorn: Any, program: cortex_m.Program, board: Board, environment: Environment) -> None:
        self.unicorn, self.program = unicorn, program
        arm = unicorn.arm_const
        origin = environment.flash_origin or 0
        regions = [
            (origin, board.upload.maximum_size, True),
            (environment.ram_origin or 0, board.upload.maximum_ram_size, False),
            *((address, size, False) for address, size in _REGISTERS),
        ]
        uc = cortex_m.machine(unicorn, program, regions)
        self.uarte = _Uarte(uc)
        uc.mmio_map(_UARTE, 0x1000, self.uarte.read, None, self.uarte.write, None)
        uc.reg_write(arm.UC_ARM_REG_SP, int.from_bytes(uc.mem_read(origin, 4), "little"))
        self.pc = int.from_bytes(uc.mem_read(origin + 4, 4), "little") & ~1
        self.uc, self.pc_register, self.lr_register = uc, arm.UC_ARM_REG_PC, arm.UC_ARM_REG_LR

    def go(self, until: int, deadline: float) -> None:
        """Run on until an address, a closing line, a fault (UcError) or the deadline."""
        with cortex_m.stopping(self.uc, deadline):
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
                count = known[key] = cortex_m.thumb_instructions(bytes(uc.mem_read(address, size)))
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


def run(image: Path, board: Board, environment: Environment, timeout: float) -> Transcript:
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
    machine = _Machine(unicorn, cortex_m.load(image), board, environment)
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
