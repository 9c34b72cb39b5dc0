"""A new weights image for a device in the field, over the serial protocol; the other end: firmware/runtimes/split."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from convert.errors import UsageError
from convert.serial_client import Client, DeviceError
from convert.serial_protocol import Command
from convert.split import header

CHUNK = 256

_SLOTS = struct.Struct("<bBBII8s32s")


@dataclass(frozen=True)
class Slots:
    """What a device says of its slots; `present` is the one in use, None where no image is whole."""

    present: int | None
    statuses: tuple[int, int]  # slots_status of firmware/lib/slots
    slot_bytes: int
    sequence: int
    model: bytes  # 8, the first of the .tflite's SHA-256
    graph: bytes  # 32


def slots(client: Client) -> Slots:
    """Ask for the slots. Raises DeviceError where no firmware with weights apart answers."""
    answer = client.ask(Command.SLOTS)
    if len(answer) != _SLOTS.size:
        raise DeviceError(f"{client.name} answers SLOTS with {len(answer)} bytes; build and flash its firmware again")
    present, first, second, size, sequence, model, graph = _SLOTS.unpack(answer)
    return Slots(None if present < 0 else present, (first, second), size, sequence, model, graph)


def send(client: Client, image: bytes, progress: Callable[[int], None]) -> Slots:
    """Bring a whole image onto the device, which checks it and then uses it; `progress` is told the bytes so far.

    Returns the slots afterwards. Raises UsageError where the image is not for this firmware, DeviceError with the
    device's own reason where it refuses; it then goes on with the model that it had.
    """
    before = slots(client)
    found = header.check(image, before.graph)
    if before.present is not None and found.sequence <= before.sequence:
        raise UsageError(
            f"the image has sequence number {found.sequence} and the device's {before.sequence}; make it again with "
            f"--sequence {before.sequence + 1}"
        )
    transfer(client, image, progress)
    after = slots(client)
    if after.sequence != found.sequence:
        raise DeviceError(f"{client.name} took the image and uses sequence number {after.sequence}; press reset")
    return after


def transfer(client: Client, image: bytes, progress: Callable[[int], None]) -> None:
    """The requests alone, whatever the image is: what to refuse is left to the device."""
    client.ask(Command.BEGIN, image[: header.BYTES])
    payload = image[header.BYTES :]
    for offset in range(0, len(payload), CHUNK):
        data = payload[offset : offset + CHUNK]
        client.ask(Command.DATA, struct.pack("<IH", offset, len(data)) + data)
        progress(offset + len(data))
    client.ask(Command.FINISH, image[16:20])
