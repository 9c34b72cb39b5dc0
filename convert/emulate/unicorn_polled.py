"""Cortex-M boards in Unicorn, as far as counting needs it: a serial port that is polled, peripherals that are ready.

Their own emulators run them for their outputs (qemu_netduinoplus2, labwired_rp2040) and count no instructions.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from convert.emulate import cortex_m

_IN_VAIN = 8  # questions after which a firmware is taken to wait for input


@dataclass
class Uart:
    """A port with one register for data both ways and one for its state; it takes every byte at once.

    A firmware that sends asks for the state, too, but then writes: only questions without an answer in between are in
    vain.
    """

    data: int  # offset of the data register
    state: int  # offset of the state register
    idle: int  # the state where no byte is waiting
    full: int  # the state where one is
    text: bytearray = field(default_factory=bytearray)
    waiting: deque[int] = field(default_factory=deque)
    polls: int = 0

    def attach(self, machine: cortex_m.Machine, address: int) -> None:
        """Put the port into a machine."""
        machine.uc.mmio_map(address, 0x1000, self._read, None, self._write, None)

    def _read(self, uc: Any, offset: int, _size: int, _data: Any) -> int:
        if offset == self.data:
            self.polls = 0
            return self.waiting.popleft() if self.waiting else 0
        if offset != self.state:
            return 0
        if self.waiting:
            return self.full
        self.polls += 1
        if self.polls >= _IN_VAIN:
            uc.emu_stop()
        return self.idle

    def _write(self, _uc: Any, offset: int, _size: int, value: int, _data: Any) -> None:
        if offset == self.data:
            self.polls = 0
            self.text.append(value & 0xFF)
