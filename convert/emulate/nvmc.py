"""The nRF52840's flash controller in Unicorn: erasing sets a page's bits, writing clears bits, power can be cut.

A store into flash reaches memory only while CONFIG allows it; another one is the fault that it is on the chip. Nothing
takes time. Registers: as public drivers of the controller use them; the Product Specification was not at hand.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_BASE, _SIZE = 0x4001E000, 0x1000
_READY, _CONFIG, _ERASEPAGE = 0x400, 0x504, 0x508
_WRITE, _ERASE = 1, 2
PAGE = 4096


@dataclass
class Cut:
    """Loss of power in the middle of an operation on the flash: number `after` of them, counted from 0.

    What that operation had to change is changed in part, as `seed` says.
    """

    after: int
    seed: int


class Nvmc:
    """The controller of the flash from `origin` on, `size` bytes, in the unicorn machine `uc`.

    `operations` counts words written and pages erased. After a cut nothing reaches the flash any more, `dark` is true
    and the emulation stopped.
    """

    def __init__(self, unicorn: Any, uc: Any, origin: int, size: int) -> None:
        self.uc, self.flash = uc, range(origin, origin + size)
        self.operations = 0
        self.cut: Cut | None = None
        self.dark = False
        self.on_cut: Callable[[], None] = lambda: None
        self._mode = 0
        uc.mmio_map(_BASE, _SIZE, self._read, None, self._register, None)
        uc.hook_add(unicorn.UC_HOOK_MEM_WRITE_PROT, self._store, None, origin, origin + size - 1)

    def _read(self, _uc: Any, offset: int, _size: int, _data: Any) -> int:
        return {_READY: 1, _CONFIG: self._mode}.get(offset, 0)

    def _register(self, _uc: Any, offset: int, _size: int, value: int, _data: Any) -> None:
        if offset == _CONFIG:
            self._mode = value
        elif offset == _ERASEPAGE and self._mode == _ERASE and value in self.flash:
            self._change(value - value % PAGE, b"\xff" * PAGE)

    def _store(self, _uc: Any, _access: int, address: int, size: int, value: int, _data: Any) -> bool:
        if self._mode != _WRITE or size != 4 or address % 4:
            return False
        old = bytes(self.uc.mem_read(address, size))
        new = (value & 0xFFFFFFFF).to_bytes(size, "little")
        self._change(address, bytes(a & b for a, b in zip(old, new, strict=True)))
        return True

    def _change(self, address: int, new: bytes) -> None:
        if self.dark:
            return
        if self.cut is not None and self.operations == self.cut.after:
            source = random.Random(self.cut.seed)
            old = bytes(self.uc.mem_read(address, len(new)))
            mask = source.randbytes(len(new))
            new = bytes(a ^ (a ^ b) & m for a, b, m in zip(old, new, mask, strict=True))
            self.dark = True
            self.uc.emu_stop()
            self.on_cut()
        self.operations += 1
        self.uc.mem_write(address, new)
