"""UF2 files and the RP2040's second boot stage."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from convert import uf2
from convert.paths import FIRMWARE

ORIGIN = 0x10000000


def test_the_check_value_of_the_crc() -> None:
    """The catalogue of parametrised CRC algorithms: CRC-32/MPEG-2 of the nine digits."""
    assert uf2.crc32(b"123456789") == 0x0376E6E7


def read(file: bytes) -> dict[int, bytes]:
    """Payloads by address; checks what a reader of the format checks."""
    found = {}
    assert len(file) % 512 == 0
    for k in range(len(file) // 512):
        block = file[512 * k : 512 * k + 512]
        first, second, flags, address, size, number, count, family = struct.unpack_from("<8I", block)
        assert (first, second, block[508:]) == (0x0A324655, 0x9E5D5157, b"\x30\x6f\xb1\x0a")
        assert (flags, family) == (0x2000, 0xE48BFF56)
        assert (number, count) == (k, len(file) // 512)
        assert size == 256 and address % 256 == 0
        found[address] = block[32 : 32 + size]
    return found


@pytest.mark.parametrize("size", [1, 256, 257, 5000])
def test_the_image_comes_back(size: int) -> None:
    image = bytes(i * 31 % 251 for i in range(size))
    found = read(uf2.blocks(image, ORIGIN))
    assert sorted(found) == list(range(ORIGIN, ORIGIN + size, 256))
    data = b"".join(found[address] for address in sorted(found))
    assert data[:size] == image and not any(data[size:])


def boot2(folder: Path) -> bytes:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not on the PATH")
    source, made, raw = FIRMWARE / "ports" / "rp2040" / "boot2.S", folder / "boot2.o", folder / "boot2.bin"
    subprocess.run(["arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb", "-c", source, "-o", made], check=True)
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", "-j", ".boot2", made, raw], check=True)
    return raw.read_bytes()


def test_the_rom_starts_our_boot_stage(tmp_path: Path) -> None:
    stage = boot2(tmp_path)
    assert len(stage) == 256
    uf2.check_boot2(stage + bytes(100))


def test_a_boot_stage_with_another_crc_is_refused(tmp_path: Path) -> None:
    stage = boot2(tmp_path)
    right = uf2.crc32(stage[:252])
    with pytest.raises(ValueError, match=rf"CRC 0x00000000 and its bytes give {right:#010x}; .*boot2\.S"):
        uf2.check_boot2(stage[:252] + bytes(4))
    with pytest.raises(ValueError, match="would not start it"):
        uf2.check_boot2(stage[:255])


def test_the_boot_stage_sets_up_the_flash_and_starts_the_application(tmp_path: Path) -> None:
    """Run in Unicorn from where the ROM copies it, with a flash controller that remembers what it was told."""
    unicorn = pytest.importorskip("unicorn")
    import unicorn.arm_const as arm

    ssi, ram, stack, entry = 0x18000000, 0x20041F00, 0x20042000, ORIGIN + 0x201
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    for address in (ram & ~0xFFF, ORIGIN, 0xE000E000):
        uc.mem_map(address, 0x1000)
    written: list[tuple[int, int]] = []
    uc.mmio_map(ssi, 0x1000, lambda *_: 0, None, lambda _uc, at, _size, value, _data: written.append((at, value)), None)
    uc.mem_write(ram, boot2(tmp_path))
    uc.mem_write(ORIGIN + 0x100, struct.pack("<II", stack, entry))
    uc.emu_start(ram | 1, entry & ~1, count=100)
    assert uc.reg_read(arm.UC_ARM_REG_PC) == entry & ~1
    assert uc.reg_read(arm.UC_ARM_REG_SP) == stack
    assert int.from_bytes(uc.mem_read(0xE000ED08, 4), "little") == ORIGIN + 0x100
    # Off, settings, on; the divider is even and the command 03h with 24 bits of address.
    assert written[0] == (0x08, 0) and written[-1] == (0x08, 1)
    settings = dict(written[1:-1])
    assert settings == {0x14: 4, 0x00: 31 << 16 | 3 << 8, 0x04: 0, 0xF4: 3 << 24 | 2 << 8 | 6 << 2}
