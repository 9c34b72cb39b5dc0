"""Sizes of a linked image, read from the section headers of its 32-bit little-endian ELF file.

Standard library only: PlatformIO's scripts import it too, in whatever Python PlatformIO runs.
Format: Tool Interface Standard, Executable and Linking Format 1.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_IDENT = b"\x7fELF\x01\x01"  # 32 bits, little-endian
_NOBITS = 8
_WRITE, _ALLOC = 1, 2
# Room that a core's linker script keeps for heap and stack: reserved, not used; the stack has a budget of its own.
_RESERVED = (".heap", ".stack", "._user_heap_stack")
# ESP-IDF's images mark their constants in flash as writable; instruction RAM and RTC memory hold no data of ours, and
# PlatformIO counts neither.
_OTHER_MEMORIES = (".flash", ".iram0", ".rtc")
# The model's constants: within the firmware, or in slots of their own.
WEIGHTS = (".rodata.weights", ".weights_slots")


@dataclass(frozen=True)
class Section:
    """A section of the program: its name, address and size in bytes."""

    name: str
    address: int
    size: int
    in_ram: bool  # writable, or .data, which holds code too and then has no such flag (the RP2040's Arduino core)
    loaded: bool  # has bytes in the image; .bss has none


@dataclass(frozen=True)
class Sizes:
    """What an image takes, in bytes."""

    flash: int  # code, constants and the initial values of .data
    static_ram: int  # .data and .bss, the arena included
    weights: int  # of flash: the model's constants (.rodata.weights, or the slots that hold them)
    vectors: int  # of flash: the test vectors (.rodata.vectors)


def sections(elf: bytes) -> list[Section]:
    """The sections that are part of the program. Raises ValueError where `elf` is no 32-bit little-endian ELF."""
    if not elf.startswith(_IDENT) or len(elf) < 52:
        raise ValueError("not a 32-bit little-endian ELF file")
    (offset,) = struct.unpack_from("<I", elf, 32)
    entry, count, names_index = struct.unpack_from("<HHH", elf, 46)
    headers = [struct.unpack_from("<10I", elf, offset + i * entry) for i in range(count)]
    names = headers[names_index][4]
    found = []
    for name, kind, flags, address, _, size, *_ in headers:
        if flags & _ALLOC and size:
            end = elf.index(b"\0", names + name)
            text = elf[names + name : end].decode()
            in_ram = bool(flags & _WRITE) or text.split(".")[1:2] == ["data"]
            in_ram = in_ram and not text.startswith(_OTHER_MEMORIES)
            found.append(Section(text, address, size, in_ram, kind != _NOBITS))
    return found


def sizes(elf: Path) -> Sizes:
    """Sizes of the image in file `elf`."""
    found = sections(elf.read_bytes())
    used = [s for s in found if s.in_ram and not s.name.startswith(_RESERVED)]
    return Sizes(
        flash=sum(s.size for s in found if s.loaded),
        static_ram=sum(s.size for s in used),
        weights=sum(s.size for s in found if s.name in WEIGHTS),
        vectors=sum(s.size for s in found if s.name == ".rodata.vectors"),
    )
