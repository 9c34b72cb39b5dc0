"""Serial ports and sockets as links. A port is what the user names; none is ever guessed."""

import errno
from pathlib import Path
from types import TracebackType
from typing import Any

from convert.errors import ToolError

_WRITE_SECONDS = 10.0


class Port:
    """An open port; a context manager that closes it. See convert.emulate.Link."""

    def __init__(self, serial: Any, name: str) -> None:
        self._serial, self._name = serial, name

    def write(self, data: bytes) -> None:
        """Send bytes; ToolError where the port is gone or takes none for ten seconds."""
        try:
            self._serial.write(data)
        except OSError as e:
            raise ToolError(f"{self._name} takes no bytes any more ({e}): was the board unplugged, or reset?") from e

    def read(self, seconds: float) -> bytes:
        """What has come since the last call; waits at most `seconds` for a first byte, b"" where none came."""
        try:
            self._serial.timeout = max(0.0, seconds)
            first: bytes = self._serial.read(1)
            waiting = self._serial.in_waiting if first else 0
            return first + (self._serial.read(waiting) if waiting else b"")
        except OSError as e:
            raise ToolError(f"{self._name} is gone ({e}): was the board unplugged, or reset?") from e

    def __enter__(self) -> "Port":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serial.close()


def open_port(name: str, baud: int) -> Port:
    """Open a device (/dev/ttyACM0, COM3) or a URL of pyserial's (socket://HOST:PORT, rfc2217://HOST:PORT).

    Raises ToolError where it is missing, busy, forbidden or unreachable; never tries another one.
    """
    import serial

    options: dict[str, Any] = {"baudrate": baud, "timeout": 0, "write_timeout": _WRITE_SECONDS}
    if "://" not in name:
        options["exclusive"] = True
    try:
        return Port(serial.serial_for_url(name, **options), name)
    except ValueError as e:
        raise ToolError(
            f"port {name!r} cannot be opened: {e}; allowed are emulator, a device such as /dev/ttyACM0 or COM3, "
            "socket://HOST:PORT and rfc2217://HOST:PORT"
        ) from e
    except OSError as e:
        raise ToolError(_why(name, e)) from e


def _why(name: str, e: OSError) -> str:
    text = str(e)
    if "://" in name:
        return f"{name} cannot be reached: {text}; is something listening there?"
    if e.errno == errno.ENOENT or "FileNotFoundError" in text or not Path(name).exists():
        return f"there is no serial port {name}; {_found()}"
    if e.errno in (errno.EBUSY, errno.EAGAIN) or "lock" in text:
        return f"port {name} is busy: another program has it open (a serial monitor?); close that"
    if e.errno in (errno.EACCES, errno.EPERM):
        return (
            f"port {name} may not be opened by this user; on Linux: sudo usermod -a -G dialout $USER, then log in again"
        )
    return f"port {name} cannot be opened: {text}"


def _found() -> str:
    """The ports of this machine, for a message."""
    from serial.tools import list_ports

    ports = [f"{p.device} ({p.description})" for p in sorted(list_ports.comports(), key=lambda p: str(p.device))]
    return f"this machine has {', '.join(ports)}" if ports else "this machine has none: is the board plugged in?"
