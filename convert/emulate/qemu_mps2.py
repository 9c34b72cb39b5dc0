"""QEMU's mps2-an386: a Cortex-M4F with 4 MB of flash at 0 and 4 MB of RAM, the console on UART 0.

With `-icount shift=0` emulated time advances 1 ns an instruction, so the firmware counts instructions with a timer:
at 25 MHz a tick is 40 instructions, the resolution of the figure.
"""

import os
import selectors
import shutil
import subprocess
import time
from pathlib import Path

from convert.boards import Board, Environment
from convert.emulate import Transcript, closed, figure
from convert.errors import ToolError

NAME = "qemu_mps2"
_TOOL = "qemu-system-arm"


def _command(tool: str, image: Path) -> list[str]:
    return [
        *(tool, "-M", "mps2-an386", "-icount", "shift=0"),
        *("-display", "none", "-monitor", "none", "-serial", "stdio"),
        *("-semihosting-config", "enable=on,target=native"),
        *("-kernel", str(image)),
    ]


def run(image: Path, board: Board, _environment: Environment, timeout: float) -> Transcript:
    """Run the ELF file `image` for at most `timeout` seconds; see convert.emulate."""
    tool = shutil.which(_TOOL)
    if tool is None:
        raise ToolError(
            f"{_TOOL} is not on the PATH, and {board.name} is emulated with it; "
            "on Debian or Ubuntu run: apt-get install qemu-system-arm"
        )
    start = time.monotonic()
    with subprocess.Popen(
        _command(tool, image), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            raw, errors = _read(process, start + timeout)
        finally:
            process.kill()
    text = raw.decode("ascii", "backslashreplace").replace("\r\n", "\n")
    if not text and errors:
        reason = errors.decode(errors="replace").strip().splitlines()[-1]
        raise ToolError(f"{_TOOL} did not run {image.name}: {reason}")
    return Transcript(NAME, text, closed(text), figure(text, "instructions"), round(time.monotonic() - start, 3))


def _read(process: "subprocess.Popen[bytes]", deadline: float) -> tuple[bytes, bytes]:
    """Standard output and error until the process ends or the time is up."""
    streams = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                streams[key.fileobj] += chunk  # type: ignore[index]
    return bytes(streams[process.stdout]), bytes(streams[process.stderr])
