"""A firmware in Unicorn with its serial port in the caller's hands, its inferences counted from outside.

The firmware runs while its answer is waited for, until it has read all that it was sent and asks for more: no time
passes for it otherwise, so that the same bytes give the same run.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from convert.emulate import cortex_m
from convert.errors import ToolError

_IDLE_POLLS = 8
_IDLE_SECONDS = 0.005
_LONGEST = 60.0  # seconds of wall time for which a firmware may work without asking for input

Trace = npt.NDArray[np.int64]


class Uart(Protocol):
    """A model of a serial port: what the firmware has sent and what it has yet to read."""

    text: bytearray
    waiting: deque[int]
    polls: int  # how often the firmware has asked in vain since the last byte


@dataclass
class Count:
    """One inference_run(), counted instruction by instruction."""

    instructions: int
    blocks: Trace  # address << 16 | bytes of every block of instructions, as they ran

    sizes: dict[int, int] = field(default_factory=dict)  # instructions of each block


class UnicornLink:
    """A link to a firmware in a `cortex_m.Machine`; see convert.emulate.

    `counting`: whether inferences are counted, which slows them down; `counted` is then the last one's count.
    """

    def __init__(self, machine: cortex_m.Machine, uart: Uart) -> None:
        self.machine, self.uart = machine, uart
        self.counting = False
        self.counted: Count | None = None
        self._entry = machine.program.address("inference_run") or 0

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.uart.waiting.extend(data)
        self.uart.polls = 0

    def read(self, seconds: float) -> bytes:
        """What the firmware sends before it asks in vain for more input; ToolError where it stops with a fault.

        How long that takes is the emulator's affair and not the firmware's, so `seconds` is not its limit.
        """
        deadline = time.monotonic() + max(seconds, _LONGEST)
        while not self._idle and time.monotonic() < deadline:
            try:
                self._run(deadline)
            except self.machine.unicorn.UcError as e:
                pc = self.machine.uc.reg_read(self.machine.pc_register) & ~1
                raise ToolError(
                    f"the firmware stopped in the emulator: {e} at pc={self.machine.program.place(pc)}"
                ) from e
        data = bytes(self.uart.text)
        self.uart.text.clear()
        if not data:
            time.sleep(min(seconds, _IDLE_SECONDS))
        return data

    @property
    def _idle(self) -> bool:
        return self.uart.polls >= _IDLE_POLLS

    def _run(self, deadline: float) -> None:
        machine = self.machine
        if not self.counting:
            machine.go(0, deadline)
            return
        # What was translated with another end would run past this one.
        machine.uc.ctl_flush_tb()
        machine.go(self._entry, deadline)
        if machine.pc == self._entry:
            self._count(deadline)

    def _count(self, deadline: float) -> None:
        machine, uc = self.machine, self.machine.uc
        back = uc.reg_read(machine.lr_register) & ~1
        trace: list[int] = []
        append = trace.append

        def block(_uc: Any, address: int, size: int, _data: Any) -> None:
            append(address << 16 | size)

        hook = uc.hook_add(machine.unicorn.UC_HOOK_BLOCK, block)
        # A hook reaches only what is translated after it.
        uc.ctl_flush_tb()
        try:
            machine.go(back, deadline)
        finally:
            uc.hook_del(hook)
            uc.ctl_flush_tb()
        self.counted = self._counted(np.array(trace, np.int64)) if machine.pc == back else None

    def _counted(self, blocks: Trace) -> Count:
        keys, runs = np.unique(blocks, return_counts=True)
        sizes = {
            int(key): cortex_m.thumb_instructions(bytes(self.machine.uc.mem_read(int(key) >> 16, int(key) & 0xFFFF)))
            for key in keys
        }
        total = sum(sizes[int(key)] * int(n) for key, n in zip(keys, runs, strict=True))
        return Count(total, blocks, sizes)

    def __enter__(self) -> "UnicornLink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
