"""The header of a weights image and what makes an image whole; the device's side is firmware/lib/slots.

Layout and meaning of the fields: docs/two_images.md.
"""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from convert.errors import UsageError
from convert.split import ed25519

MAGIC, FORMAT, BYTES = 0x574C4D54, 1, 128
UNSIGNED, ED25519 = 0, 1
LARGEST_SEQUENCE = 0xFFFFFFFF

_HEAD = struct.Struct("<IHHIIII8s32s64s")
_CRC = slice(12, 16)
_NO_SIGNATURE = bytes(64)


@dataclass(frozen=True)
class Header:
    """A weights image's header as it stands; `length` is the payload's in bytes."""

    magic: int
    format: int
    size: int  # of the header
    length: int
    crc: int
    sequence: int
    kind: int
    model: bytes  # 8, the first of the .tflite's SHA-256
    graph: bytes  # 32
    signature: bytes  # 64


def make(payload: bytes, sequence: int, model: bytes, graph: bytes, secret: bytes | None) -> bytes:
    """A whole image: header and payload (a multiple of 4 bytes), signed where there is a secret key.

    `model` is the .tflite's SHA-256, `graph` the graph hash. Raises UsageError for a sequence number that is none.
    """
    if not 1 <= sequence <= LARGEST_SEQUENCE:
        raise UsageError(f"sequence number {sequence} is none; allowed are 1 to {LARGEST_SEQUENCE}")
    kind = UNSIGNED if secret is None else ED25519
    fields = [MAGIC, FORMAT, BYTES, len(payload), 0, sequence, kind, model[:8], graph]
    unsigned = _HEAD.pack(*fields, _NO_SIGNATURE)
    if secret is not None:
        unsigned = _HEAD.pack(*fields, ed25519.sign(secret, _message(unsigned + payload)))
    crc = _crc(unsigned + payload)
    return unsigned[: _CRC.start] + crc.to_bytes(4, "little") + unsigned[_CRC.stop :] + payload


def read(image: bytes) -> Header:
    """The header at the start of an image. Raises UsageError where it is none that is known here."""
    if len(image) < BYTES:
        raise UsageError(f"a weights image has at least {BYTES} bytes and this file has {len(image)}; make it again")
    header = Header(*_HEAD.unpack_from(image))
    if header.magic != MAGIC:
        raise UsageError("this is no weights image: it does not begin with TMLW; give the weights.bin of a split build")
    if (header.format, header.size) != (FORMAT, BYTES) or header.kind not in (UNSIGNED, ED25519):
        raise UsageError(
            f"this weights image has format {header.format} and kind of signature {header.kind}, and {FORMAT} with "
            f"{UNSIGNED} or {ED25519} is known; make it again"
        )
    return header


def check(image: bytes, graph: bytes | None = None, key: bytes | None = None) -> Header:
    """The header of a whole image, as the firmware checks it.

    `graph` is the firmware's graph hash, `key` its public key. Raises UsageError that says what is wrong.
    """
    header = read(image)
    if len(image) != BYTES + header.length or header.length % 4:
        raise UsageError(
            f"this weights image is cut or has grown: {len(image)} bytes, and {BYTES + header.length} should be there; "
            "copy or make it again"
        )
    if _crc(image) != header.crc:
        raise UsageError("this weights image is damaged: its CRC is wrong; copy or make it again")
    if graph is not None and header.graph != graph:
        raise UsageError(
            f"this weights image is for another firmware: its graph hash is {header.graph.hex()[:16]}, the firmware's "
            f"{graph.hex()[:16]}; make it with: python convert/weights.py pack --firmware OUTPUT"
        )
    if key is not None:
        if header.kind != ED25519:
            raise UsageError(
                "this weights image is not signed and the firmware asks for it; make it with --sign KEYFILE"
            )
        if not ed25519.verify(key, _message(image), header.signature):
            raise UsageError("this weights image's signature is not that of the key; sign it with the firmware's key")
    return header


def _message(image: bytes) -> bytes:
    return image[: _CRC.start] + image[_CRC.stop : 64] + image[BYTES:]


def _crc(image: bytes) -> int:
    return zlib.crc32(image[_CRC.stop :], zlib.crc32(image[: _CRC.start]))


def load_key(path: Path) -> bytes:
    """The 32 bytes of a key file: 64 hexadecimal digits. Raises UsageError where it holds none."""
    try:
        key = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as e:
        raise UsageError(f"{path} is no key file: {e}; make one with: python convert/weights.py key FILE") from None
    if len(key) != 32:
        raise UsageError(
            f"{path} holds {len(key)} bytes, a key has 32; make one with: python convert/weights.py key FILE"
        )
    return key
