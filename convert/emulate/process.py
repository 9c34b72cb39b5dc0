"""A child process whose standard input and output are the serial port of an emulated firmware."""

import contextlib
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from convert.emulate import Transcript, closed, figure
from convert.errors import ToolError

# A console's last line is shorter than this; more is not looked at again for each piece that comes.
_TAIL = 4096
_PIECE = 65536
# How long a firmware may take no bytes.
WRITE_SECONDS = 10.0


class Process:
    """The process while it runs; a context manager that ends it. What it prints on standard error is kept aside."""

    def __init__(self, command: Sequence[str], name: str, folder: Path | None = None) -> None:
        """Start `command` in `folder`; `name` is the emulator's in messages. ToolError where it does not start."""
        self._name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                list(command), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
        except OSError as e:
            self._errors.close()
            raise ToolError(f"{name} did not start: {e}") from e
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._input.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self.ended = False  # nothing comes any more

    def write(self, data: bytes) -> None:
        """Send bytes, all values; ToolError where the emulation has ended or takes none for ten seconds."""
        left = memoryview(data)
        deadline = time.monotonic() + WRITE_SECONDS
        while left:
            try:
                left = left[os.write(self._input.fileno(), left) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ToolError(f"{self._name} takes no more bytes; the firmware does not read them") from None
                time.sleep(0.001)
            except (OSError, ValueError) as e:
                raise ToolError(f"{self._name} has ended{self.reason()}") from e

    def read(self, seconds: float) -> bytes:
        """What has come since the last call; waits at most `seconds` for a first byte, b"" where none came."""
        if self.ended or not self._selector.select(max(0.0, seconds)):
            return b""
        data = os.read(self._output.fileno(), _PIECE)
        self.ended = not data
        return data

    def reason(self) -> str:
        """`: <the last line on standard error>`, or nothing where there is none."""
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1]}" if lines else ""

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        for stream in (self._input, self._output, self._errors):
            with contextlib.suppress(OSError):
                stream.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def transcript(
    command: Sequence[str], name: str, image: Path, timeout: float, folder: Path | None = None
) -> Transcript:
    """Run an emulator until the firmware's closing line, its own end, or for `timeout` seconds.

    ToolError, with the last line of its standard error, where it ends without a word from the firmware.
    """
    start = time.monotonic()
    text = bytearray()
    with Process(command, name, folder) as process:
        while not process.ended and (left := start + timeout - time.monotonic()) > 0:
            text += process.read(left)
            if closed(text[-_TAIL:].decode("ascii", "replace")):
                break
        if process.ended and not text:
            raise ToolError(f"{name} did not run {image.name}{process.reason()}")
    console = text.decode("ascii", "backslashreplace").replace("\r\n", "\n")
    seconds = round(time.monotonic() - start, 3)
    return Transcript(name, console, closed(console), figure(console, "instructions"), seconds)


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this project in a Python of its own; to be started in the project's folder."""
    return [sys.executable, "-m", module, *arguments]
