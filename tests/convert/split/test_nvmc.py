"""The emulated flash controller: stores only where they are enabled, bits only cleared, pages erased, power cut."""

from typing import Any

import pytest

from convert.emulate.nvmc import PAGE, Cut, Nvmc

unicorn = pytest.importorskip("unicorn")

_FLASH, _SIZE, _RAM = 0x10000, 4 * PAGE, 0x20000000
_DATA = _FLASH + PAGE
_CONFIG, _ERASEPAGE = 0x4001E504, 0x4001E508
READ, WRITE, ERASE = 0, 1, 2


class Board:
    """A processor that only stores words."""

    def __init__(self) -> None:
        self.arm = unicorn.arm_const
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(self.arm.UC_CPU_ARM_CORTEX_M4)
        self.uc.mem_map(_FLASH, _SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.uc.mem_write(_FLASH, bytes.fromhex("0160fee7"))  # str r1, [r0]; b .
        self.uc.mem_write(_DATA, bytes(range(256)) * (2 * PAGE // 256))
        self.nvmc = Nvmc(unicorn, self.uc, _FLASH, _SIZE)

    def store(self, address: int, value: int) -> None:
        self.uc.reg_write(self.arm.UC_ARM_REG_R0, address)
        self.uc.reg_write(self.arm.UC_ARM_REG_R1, value)
        self.uc.emu_start(_FLASH | 1, _FLASH + 2, count=1)

    def read(self, address: int, count: int = 4) -> bytes:
        return bytes(self.uc.mem_read(address, count))

    def write(self, address: int, value: int) -> None:
        self.store(_CONFIG, WRITE)
        self.store(address, value)
        self.store(_CONFIG, READ)

    def erase(self, address: int) -> None:
        self.store(_CONFIG, ERASE)
        self.store(_ERASEPAGE, address)
        self.store(_CONFIG, READ)


@pytest.fixture
def board() -> Any:
    return Board()


@pytest.mark.parametrize("mode", [READ, ERASE])
def test_a_store_that_is_not_enabled_is_a_fault(board: Board, mode: int) -> None:
    board.store(_CONFIG, mode)
    with pytest.raises(unicorn.UcError):
        board.store(_DATA, 0)
    assert board.read(_DATA) == bytes([0, 1, 2, 3]) and board.nvmc.operations == 0


def test_writing_only_clears_bits(board: Board) -> None:
    board.write(_DATA + 4, 0xFFFF00F0)
    assert board.read(_DATA + 4) == bytes([4 & 0xF0, 0, 6, 7])
    assert board.nvmc.operations == 1


def test_erasing_sets_one_page(board: Board) -> None:
    board.store(_ERASEPAGE, _DATA)  # not enabled
    assert board.read(_DATA, 8) == bytes(range(8))
    board.erase(_DATA)
    assert board.read(_DATA, PAGE) == b"\xff" * PAGE
    assert board.read(_DATA + PAGE, 8) == bytes(range(8))
    board.write(_DATA, 0x12345678)
    assert board.read(_DATA) == bytes.fromhex("78563412")


def test_power_goes_in_the_middle(board: Board) -> None:
    gone: list[bool] = []
    board.nvmc.cut, board.nvmc.on_cut = Cut(1, seed=5), lambda: gone.append(True)
    board.write(_DATA, 0)
    board.erase(_DATA)
    torn = board.read(_DATA, PAGE)
    assert gone == [True] and board.nvmc.dark
    # In part: bits that had to become one did or did not, no other one changed.
    before = bytes(4) + board.read(_DATA + PAGE, PAGE)[4:]
    assert all(a | b == b for a, b in zip(before, torn, strict=True))
    assert before != torn != b"\xff" * PAGE
    board.erase(_DATA)
    board.write(_DATA + PAGE, 0)
    assert board.read(_DATA, PAGE) == torn and board.read(_DATA + PAGE, 4) == bytes([0, 1, 2, 3])
