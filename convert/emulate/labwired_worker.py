"""A process that runs one firmware in LabWired: standard input goes to its UART 0, what that sends to standard output.

    python -m convert.emulate.labwired_worker IMAGE CHIP

Ends when standard input is closed. A fault of the emulated core becomes an #error line.
"""

import os
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

# Emulated time between two looks at standard input: 5 to 150 ms of wall time.
_SLICE = "200us"

# The divider of UART 0, which the chips' ROM sets to 115,200 baud. Here it is set to the fastest: nearly all of the
# emulator's time would pass in waiting otherwise.
_UART_DIVIDERS = {"esp32": 0x3FF40014, "esp32c3": 0x60000014, "esp32s3": 0x60000014}

# ESP32-C3: the windows through which code and data see the flash from its address 0, once the ROM has mapped it for an
# image that starts with its two words; ESP32-C3 Technical Reference Manual, Chip Boot Control and System and Memory.
_C3_WINDOWS = (0x42000000, 0x3C000000)
_C3_HEADER = struct.pack("<II", 0xAEDB041D, 0xAEDB041D)
_RISCV = 243


def flash_image(elf: Path) -> bytes:
    """What is flashed from address 0: the program's segments at their load addresses, gaps filled with zeros."""
    image = bytearray()
    with elf.open("rb") as f:
        for segment in ELFFile(f).iter_segments("PT_LOAD"):
            start, data = segment["p_paddr"], segment.data()
            if data:
                image[len(image) : start] = bytes(max(0, start - len(image)))
                image[start : start + len(data)] = data
    return bytes(image)


def mapped(flash: bytes) -> bytes:
    """An ELF file that has the flash in both windows of an ESP32-C3 and starts behind the header, as its ROM does.

    ValueError where the image does not start with the header: the ROM would not take it.
    """
    if not flash.startswith(_C3_HEADER):
        raise ValueError("the image does not start with the two words of the ESP32-C3's direct boot (0xAEDB041D)")
    count, header, program = len(_C3_WINDOWS), 52, 32
    entry = _C3_WINDOWS[0] + len(_C3_HEADER)
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    elf = ident + struct.pack("<HHIIIIIHHHHHH", 2, _RISCV, 1, entry, header, 0, 1, header, program, count, 40, 0, 0)
    start = header + count * program
    for window in _C3_WINDOWS:
        elf += struct.pack("<8I", 1, start, window, window, len(flash), len(flash), 5, 4)
    return elf + flash


def at_load_addresses(elf: bytes) -> bytes:
    """The ELF file with every segment where it is loaded; its run addresses are the start-up code's affair."""
    result = bytearray(elf)
    (table,) = struct.unpack_from("<I", elf, 28)
    size, count = struct.unpack_from("<HH", elf, 42)
    for header in range(table, table + size * count, size):
        result[header + 8 : header + 12] = elf[header + 12 : header + 16]  # p_vaddr, p_paddr
    return bytes(result)


def _load(image: Path, chip: str) -> Any:
    """LabWired's machine with the image in its memory."""
    from labwired import Sim

    if chip == "rp2040":
        return Sim(image, chip=chip)
    # LabWired's ESP32-S3 takes the run addresses, and the start-up code then finds no initial values to copy.
    elf = mapped(flash_image(image)) if chip == "esp32c3" else at_load_addresses(image.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / image.name
        path.write_bytes(elf)
        return Sim(path, chip=chip)


def _input() -> bytes | None:
    """What has come on standard input; None where it is closed."""
    try:
        return os.read(0, 65536) or None
    except BlockingIOError:
        return b""


def _claim_output() -> int:
    """Standard output for this module alone: LabWired's ESP32 prints what its UART sends there too."""
    ours = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return ours


def _output(to: int, data: bytes) -> None:
    while data:
        data = data[os.write(to, data) :]


def _serve(sim: Any, to: int) -> None:
    while (received := _input()) is not None:
        if received:
            sim.send_bytes(received)
        fault = ""
        try:
            stop = sim.run_for(_SLICE)
        except RuntimeError as e:
            fault = str(e)
        else:
            if stop.kind != "reached":
                fault = f"the core stopped ({stop.kind})"
        _output(to, sim.read_uart_bytes())
        if fault:
            _output(to, f"\n#error fault in the emulator: {fault}\n".encode())
            return


def main() -> int:
    """Run the image until standard input is closed; returns the exit code."""
    image, chip = sys.argv[1:]
    os.set_blocking(0, False)
    to = _claim_output()
    try:
        sim = _load(Path(image), chip)
    except (OSError, RuntimeError, ValueError, struct.error) as e:
        sys.stderr.write(f"{e}\n")
        return 1
    with sim:
        if chip in _UART_DIVIDERS:
            sim.write_u32(_UART_DIVIDERS[chip], 1)
        try:
            _serve(sim, to)
        except BrokenPipeError:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
