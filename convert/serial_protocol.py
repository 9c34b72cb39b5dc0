"""The serial protocol's frames and messages, without any port: docs/serial_protocol.md.

A frame is COBS between zero bytes (Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999); its content ends
with zlib's CRC-32 of what is before it. The device's side is firmware/lib/serial.
"""

import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

VERSION = 1
_NOISE_KEPT = 2000  # bytes of what is not a frame, for messages
_LONGEST = 1 << 20  # bytes without a zero after which a line is taken to carry no frames


class Command(IntEnum):
    """What a request asks for; its answer is the number plus ANSWER."""

    HELLO = 1
    RESET = 2
    WRITE = 3
    RUN = 4
    READ = 5
    TRACE = 6
    PUT = 7
    # Of a firmware whose weights lie apart: docs/two_images.md.
    SLOTS = 8
    BEGIN = 9
    DATA = 10
    FINISH = 11


ANSWER = 0x80
ERROR = 0xFF


class Code(IntEnum):
    """Why a device refuses a request."""

    CHECKSUM = 1
    COMMAND = 2
    LENGTH = 3
    RANGE = 4
    INPUT = 5
    OUTPUT = 6
    MODEL = 7
    REFUSED = 8


class Counters(IntFlag):
    """What a device measures of an inference."""

    INSTRUCTIONS = 1
    MICROSECONDS = 2


class Flags(IntFlag):
    """What kind of firmware it is."""

    TRACES = 1  # TRACE and the region FIGURES are there


class Region(IntEnum):
    """What READ reads from."""

    OUTPUTS = 0
    FIGURES = 1


class ProtocolError(Exception):
    """A frame or message that is not what the protocol says."""


def cobs_encode(data: bytes) -> bytes:
    """COBS without the delimiters; the result holds no zero byte."""
    out = bytearray()
    runs = data.split(b"\0")
    for k, run in enumerate(runs):
        at = 0
        while len(run) - at >= 254:
            out.append(255)
            out += run[at : at + 254]
            at += 254
        # A full block needs no other one where the content ends with it.
        if at and at == len(run) and k == len(runs) - 1:
            break
        out.append(len(run) - at + 1)
        out += run[at:]
    return bytes(out)


def cobs_decode(coded: bytes) -> bytes:
    """The content again. Raises ProtocolError where a block is cut short or holds a zero byte."""
    out = bytearray()
    at, full = 0, True
    while at < len(coded):
        code = coded[at]
        block = coded[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            raise ProtocolError(f"a block of {code} at byte {at} of {len(coded)} is cut short")
        if not full:
            out.append(0)
        out += block
        full = code == 255
        at += code
    return bytes(out)


def frame(content: bytes) -> bytes:
    """The bytes on the line of a frame with that content, a zero byte on either side."""
    return b"\0" + cobs_encode(content + zlib.crc32(content).to_bytes(4, "little")) + b"\0"


def unframe(coded: bytes) -> bytes:
    """The content of a frame, given without the zero bytes. Raises ProtocolError where it is damaged."""
    data = cobs_decode(coded)
    if len(data) < 4 or zlib.crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
        raise ProtocolError("the checksum is wrong")
    return data[:-4]


@dataclass
class Receiver:
    """Takes bytes from a line and gives whole frames; what is damaged or no frame at all is counted and kept."""

    damaged: int = 0
    frames: int = 0
    noise: bytearray = field(default_factory=bytearray)  # the last bytes that were no frame
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[bytes]:
        """Contents of the frames that end in `data`, in order."""
        *whole, rest = data.split(b"\0")
        found = []
        for part in whole:
            coded = bytes(self._rest) + part
            self._rest.clear()
            if not coded:
                continue
            try:
                found.append(unframe(coded))
                self.frames += 1
            except ProtocolError:
                self.damaged += 1
                self._keep(coded)
        self._rest += rest
        if len(self._rest) > _LONGEST:
            self._keep(bytes(self._rest))
            self._rest.clear()
        return found

    def _keep(self, data: bytes) -> None:
        self.noise += data
        del self.noise[:-_NOISE_KEPT]

    @property
    def text(self) -> str:
        """The readable lines in what was no frame, for a message: a firmware of another kind prints such."""
        lines = (bytes(self.noise) + b"\n" + bytes(self._rest[-_NOISE_KEPT:])).decode("ascii", "replace").splitlines()
        return "\n".join(line for line in lines if len(line) > 3 and line.isprintable() and "\ufffd" not in line)


# Requests


def hello(sequence: int) -> bytes:
    """Who are you?"""
    return bytes([Command.HELLO, sequence])


def reset(sequence: int) -> bytes:
    """Bring the model's state to its first value."""
    return bytes([Command.RESET, sequence])


def write(sequence: int, offset: int, data: bytes, *, answered: bool = False) -> bytes:
    """Put `data` at byte `offset` of the inputs laid end to end; unless `answered`, only a refusal is told."""
    return struct.pack("<BBIH", Command.PUT if answered else Command.WRITE, sequence, offset, len(data)) + data


def run(sequence: int, inputs: bytes, most: int) -> bytes:
    """Run the model on `inputs`, which were written before; the answer holds at most `most` bytes of the outputs."""
    return struct.pack("<BBIH", Command.RUN, sequence, zlib.crc32(inputs), most)


def read(sequence: int, region: Region, offset: int, count: int) -> bytes:
    """Read bytes of a region; the answer may hold fewer of them."""
    return struct.pack("<BBBIH", Command.READ, sequence, region, offset, count)


def trace(sequence: int, on: bool) -> bytes:
    """Trace the next inferences or none; clears the figures."""
    return bytes([Command.TRACE, sequence, on])


# Answers


@dataclass(frozen=True)
class Refusal:
    """An error frame."""

    sequence: int
    command: int  # both of the request; 0 where it could not be read
    code: int
    text: str


@dataclass(frozen=True)
class Info:
    """What a device says of itself; sizes in bytes."""

    version: int
    counters: Counters
    flags: Flags
    input_bytes: int
    output_bytes: int
    arena_bytes: int
    board: str
    model_hash: str  # first 16 digits of the .tflite's SHA-256
    model: str
    runtime: str


@dataclass(frozen=True)
class Ran:
    """The answer to RUN: figures of the inference (0 where the device has no such counter) and outputs' first bytes."""

    instructions: int
    microseconds: int
    output_crc: int
    outputs: bytes


def refusal(content: bytes) -> Refusal | None:
    """The error frame in `content`, or None where it is none."""
    if content[:1] != bytes([ERROR]):
        return None
    if len(content) < 4:
        raise ProtocolError(f"an error frame of {len(content)} bytes")
    return Refusal(content[1], content[2], content[3], content[4:].decode("ascii", "replace"))


def body(content: bytes, command: Command, sequence: int) -> bytes | None:
    """What follows the head of an answer to that request, or None for another frame."""
    return content[2:] if content[:2] == bytes([command | ANSWER, sequence]) else None


def info(data: bytes) -> Info:
    """The answer to HELLO. Raises ProtocolError for one of another version, as far as it can be read."""
    if not data or data[0] != VERSION:
        raise ProtocolError(
            f"the device speaks version {data[0] if data else 'none'} of the protocol, this is {VERSION}"
        )
    head = struct.Struct("<BBBIII")
    names = data[head.size :].split(b"\0")
    if len(data) < head.size or len(names) != 4:
        raise ProtocolError(f"an answer to HELLO of {len(data)} bytes and {len(names)} names")
    version, counters, flags, inputs, outputs, arena = head.unpack_from(data)
    board, model_hash, model, runtime = (name.decode("utf-8", "replace") for name in names)
    return Info(version, Counters(counters), Flags(flags), inputs, outputs, arena, board, model_hash, model, runtime)


def ran(data: bytes) -> Ran:
    """The answer to RUN."""
    head = struct.Struct("<QQI")
    if len(data) < head.size:
        raise ProtocolError(f"an answer to RUN of {len(data)} bytes")
    instructions, microseconds, output_crc = head.unpack_from(data)
    return Ran(instructions, microseconds, output_crc, data[head.size :])
