"""UF2 files for the RP2040: what its boot ROM takes when an image is copied to it as to a USB stick.

Format: the UF2 specification of Microsoft's MakeCode (github.com/microsoft/uf2), blocks of 512 bytes; how an image
starts: RP2040 datasheet, 2.8. Standard library only: PlatformIO's scripts import it too, in whatever Python PlatformIO
runs.
"""

from __future__ import annotations

import struct

_BLOCK, _PAYLOAD = 512, 256
_MAGIC, _END = (0x0A324655, 0x9E5D5157), 0x0AB16F30
_FAMILY_PRESENT = 0x2000
_RP2040 = 0xE48BFF56
_BOOT2 = 256


def crc32(data: bytes) -> int:
    """The ROM's CRC-32: polynomial 04C11DB7, most significant bit first, starting from all ones, not inverted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return crc


def check_boot2(image: bytes) -> None:
    """Raise ValueError where the ROM would not start an image: its first 256 bytes must end in their CRC."""
    found = int.from_bytes(image[_BOOT2 - 4 : _BOOT2], "little")
    right = crc32(image[: _BOOT2 - 4])
    if len(image) < _BOOT2 or found != right:
        raise ValueError(
            f"the second boot stage ends in the CRC {found:#010x} and its bytes give {right:#010x}; the RP2040 would "
            "not start it: put that figure at the end of firmware/ports/rp2040/boot2.S"
        )


def blocks(image: bytes, address: int) -> bytes:
    """The UF2 file that writes `image` to `address`; the last block is filled up with zeros."""
    count = -(-len(image) // _PAYLOAD)
    file = bytearray()
    for k in range(count):
        data = image[k * _PAYLOAD : (k + 1) * _PAYLOAD].ljust(_PAYLOAD, b"\0")
        head = struct.pack("<8I", *_MAGIC, _FAMILY_PRESENT, address + k * _PAYLOAD, _PAYLOAD, k, count, _RP2040)
        file += (head + data).ljust(_BLOCK - 4, b"\0") + struct.pack("<I", _END)
    return bytes(file)
