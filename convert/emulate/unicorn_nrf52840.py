"""The Nano 33 BLE's own image at 0x10000, run by Unicorn's Cortex-M4 with a model of the nRF52840's UARTE 0.

Unicorn has neither interrupts nor peripherals: the firmware polls, and every other register reads back what was
written. One inference is counted exactly, instruction by instruction, between the entry of the first inference_run()
and its return; the rest runs at full speed. The clock stands still.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convert.boards import Board, Environment
from convert.emulate import Transcript, closed, cortex_m
from convert.emulate.nvmc import Nvmc
from convert.emulate.unicorn_link import UnicornLink

NAME = "unicorn_nrf52840"

_UARTE = 0x40002000
# Registers of UARTE 0; nRF52840 Product Specification, UARTE.
_STARTTX, _ENDTX, _ENABLE, _TXD_PTR, _TXD_MAXCNT, _TXD_AMOUNT = 0x008, 0x120, 0x500, 0x544, 0x548, 0x54C
_STARTRX, _ENDRX, _RXD_PTR, _RXD_MAXCNT, _RXD_AMOUNT = 0x000, 0x110, 0x534, 0x538, 0x53C
_ENABLED = 8
_EASYDMA = range(0x20000000, 0x20040000)  # EasyDMA reads the data RAM only
# Plain memory where the firmware configures clock, pins and the core; (address, bytes).
_REGISTERS = ((0x40000000, 0x1000), (0x40009000, 0x1000), (0x50000000, 0x1000), (0xE000E000, 0x1000))
_IN_VAIN = 8  # questions after which a firmware is taken to wait for input


@dataclass
class _Uarte:
    """UARTE 0: STARTTX takes TXD.MAXCNT bytes at TXD.PTR at once, STARTRX puts as many as RXD.MAXCNT at RXD.PTR.

    `linked`: stops where the firmware asks in vain for input, and not at a closing line.
    """

    memory: Any  # the unicorn machine
    linked: bool = False
    text: bytearray = field(default_factory=bytearray)
    waiting: deque[int] = field(default_factory=deque)
    polls: int = 0
    registers: dict[int, int] = field(default_factory=dict)
    receiving: int | None = None  # bytes of the buffer that are filled

    def read(self, uc: Any, offset: int, _size: int, _data: Any) -> int:
        if offset == _ENDRX:
            self._receive()
            if not self.registers.get(_ENDRX, 0):
                self.polls += 1
                if self.linked and self.polls >= _IN_VAIN:
                    uc.emu_stop()
        return self.registers.get(offset, 0)

    def write(self, uc: Any, offset: int, _size: int, value: int, _data: Any) -> None:
        self.registers[offset] = value
        if not value or self.registers.get(_ENABLE) != _ENABLED:
            return
        if offset == _STARTRX:
            self.receiving = 0
        elif offset == _STARTTX:
            self._send(uc)

    def silence(self) -> None:
        """Nobody is there any more: whoever waits for an answer need not wait for a question."""
        self.polls = _IN_VAIN

    def _receive(self) -> None:
        start, size = self.registers.get(_RXD_PTR, 0), self.registers.get(_RXD_MAXCNT, 0)
        if self.receiving is None or start not in _EASYDMA or start + size - 1 not in _EASYDMA:
            return
        while self.waiting and self.receiving < size:
            self.memory.mem_write(start + self.receiving, bytes([self.waiting.popleft()]))
            self.receiving += 1
            self.polls = 0
        if self.receiving == size:
            self.registers[_RXD_AMOUNT] = size
            self.registers[_ENDRX] = 1
            self.receiving = None

    def _send(self, uc: Any) -> None:
        start, count = self.registers.get(_TXD_PTR, 0), self.registers.get(_TXD_MAXCNT, 0)
        if start in _EASYDMA and start + count - 1 in _EASYDMA:
            self.text += self.memory.mem_read(start, count)
            self.registers[_TXD_AMOUNT] = count
        self.registers[_ENDTX] = 1
        if not self.linked and b"\n" in self.text[-count:] and closed(self.text[-4096:].decode("ascii", "replace")):
            uc.emu_stop()


def _start(image: Path, board: Board, environment: Environment, *, linked: bool) -> tuple[cortex_m.Machine, _Uarte]:
    machine = cortex_m.Machine(cortex_m.load(image), board, environment, _REGISTERS)
    uarte = _Uarte(machine.uc, linked)
    machine.uc.mmio_map(_UARTE, 0x1000, uarte.read, None, uarte.write, None)
    machine.nvmc = Nvmc(machine.unicorn, machine.uc, environment.flash_origin or 0, board.upload.maximum_size)
    machine.nvmc.on_cut = uarte.silence
    return machine, uarte


def connect(image: Path, board: Board, environment: Environment) -> UnicornLink:
    """Start the ELF file `image` with its UARTE 0 in the caller's hands; see convert.emulate."""
    return UnicornLink(*_start(image, board, environment, linked=True))


def run(image: Path, board: Board, environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate.

    A fault (memory that is not there, an unknown instruction) ends the transcript with an #error line that names
    the program counter and its function.
    """
    start = time.monotonic()
    machine, uarte = _start(image, board, environment, linked=False)
    instructions, fault = None, ""
    try:
        instructions = machine.count(start + timeout)
        if not closed(uarte.text.decode("ascii", "replace")):
            machine.go(0, start + timeout)
    except machine.unicorn.UcError as e:
        pc = machine.uc.reg_read(machine.pc_register) & ~1
        fault = f"#error fault in the emulator: {e} at pc={machine.program.place(pc)}\n"
    text = uarte.text.decode("ascii", "backslashreplace")
    if fault and text and not text.endswith("\n"):
        text += "\n"
    text += fault
    return Transcript(NAME, text, closed(text), instructions, round(time.monotonic() - start, 3))
