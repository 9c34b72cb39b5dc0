"""Flashing a board: which tool, which port, probe or drive, and one clear line where something is missing.

Standard library only (and pyserial, which PlatformIO brings): PlatformIO's scripts import it too, in whatever Python
PlatformIO runs. Nothing is guessed: a serial port is taken unasked only where its USB ids are the board's own, a drive
only where its INFO_UF2.TXT names the board's boot loader, and where several match, the user chooses.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.errors import ToolError, UsageError, one_of


@dataclass(frozen=True)
class Tool:
    """A program that flashes.

    `programs` are its names on the PATH, in the order they are tried; `target` is what it is pointed at; `image` is the
    suffix of the file it takes; `seconds` ends it where it hangs; `arguments` may use {chip}, {target}, {image} and
    {origin} (hexadecimal).
    """

    programs: tuple[str, ...]
    install: str
    target: str  # "port", "probe", "drive" or "usb": the program finds its device itself, and says so where it does not
    image: str
    seconds: float
    arguments: tuple[str, ...] = ()


TOOLS: Mapping[str, Tool] = {
    # --no-wait: without a probe it ends at once. No question is asked: its input is closed and the probe is named.
    "pyocd": Tool(
        ("pyocd",),
        "pip install pyocd",
        "probe",
        ".hex",
        120,
        ("flash", "--no-wait", "--uid", "{target}", "--target", "{chip}", "{image}"),
    ),
    # 0x0: the chip's own loader starts an image there that says so (direct boot).
    "esptool": Tool(
        ("esptool", "esptool.py"),
        "pip install esptool",
        "port",
        ".bin",
        120,
        ("--chip", "{chip}", "--port", "{target}", "--baud", "460800", "write_flash", "0x0", "{image}"),
    ),
    # 32 KB at 115,200 baud are written and read back in about 10 seconds; ten vain attempts would take a minute.
    "avrdude": Tool(
        ("avrdude",),
        "apt-get install avrdude",
        "port",
        ".hex",
        40,
        ("-q", "-p", "{chip}", "-c", "arduino", "-P", "{target}", "-b", "115200", "-D", "-U", "flash:w:{image}:i"),
    ),
    "uf2": Tool((), "", "drive", ".uf2", 60),
    "picotool": Tool(
        ("picotool",), "https://github.com/raspberrypi/picotool", "usb", ".uf2", 60, ("load", "-x", "{image}")
    ),
    "dfu-util": Tool(
        ("dfu-util",),
        "apt-get install dfu-util",
        "usb",
        ".bin",
        60,
        ("-d", "0483:df11", "-a", "0", "-s", "{origin}:leave", "-D", "{image}"),
    ),
}

# Other tools that flash the same images, by what build.mcu begins with. RP2040 data sheet, 2.8; ST AN2606.
ALTERNATIVES: Mapping[str, tuple[str, ...]] = {
    "nrf52840": ("pyocd",),
    "rp2040": ("uf2", "picotool", "pyocd"),
    "stm32f4": ("pyocd", "dfu-util"),
}

# What INFO_UF2.TXT calls the boot loader, by build.mcu.
BOARD_IDS: Mapping[str, str] = {"rp2040": "RPI-RP2"}

# Upload protocols of the official platforms that open a serial port.
SERIAL_PROTOCOLS = ("arduino", "esptool", "picotool", "sam-ba", "serial")

# How long a tool may take to list its devices.
_LIST_SECONDS = 20.0


@dataclass(frozen=True)
class Port:
    """A serial port; `ids` are (vendor, product) of its USB device, None for other ports."""

    device: str
    ids: tuple[int, int] | None
    description: str

    def __str__(self) -> str:
        ids = f"{self.ids[0]:04x}:{self.ids[1]:04x}" if self.ids else "no USB device"
        return f"{self.device} ({ids}, {self.description})"


@dataclass(frozen=True)
class Plan:
    """What will be done: a command, or a copy where there is none."""

    tool: str
    target: str
    image: Path
    command: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        to = {"port": "through", "probe": "through probe", "drive": "to drive", "usb": "over"}[TOOLS[self.tool].target]
        return f"flashing {self.image.name} with {self.tool} {to} {self.target}"


def serial_ports() -> list[Port]:
    """All serial ports of this machine."""
    from serial.tools import list_ports

    return [
        Port(found.device, None if found.vid is None else (found.vid, found.pid or 0), found.description or "unknown")
        for found in list_ports.comports()
    ]


def _hwids(board: Mapping[str, Any]) -> list[tuple[int, int]]:
    return [(int(vendor, 16), int(product, 16)) for vendor, product in board["build"].get("hwids", ())]


def _here(ports: Iterable[Port]) -> str:
    listed = "; ".join(map(str, ports))
    return f"ports here: {listed}" if listed else "there is no serial port here at all"


def choose_port(
    board: Mapping[str, Any], given: str | None, listing: Callable[[], Sequence[Port]] = serial_ports
) -> str:
    """The serial port to flash through: the given one, or the only one with the board's USB ids.

    Raises ToolError where the given port does not exist or may not be opened, where none or several match, and where
    the board has no USB ids of its own, so that any port would be a guess.
    """
    name = board["name"]
    if given:
        ports = list(listing())
        if given not in (port.device for port in ports) and not Path(given).exists():
            raise ToolError(
                f"serial port {given} does not exist; {_here(ports)}; connect the board or name another port"
            )
        if Path(given).exists() and not os.access(given, os.R_OK | os.W_OK):
            raise ToolError(
                f"serial port {given} may not be opened by this user; on Linux join the group that owns it "
                f"(often: sudo usermod -aG dialout $USER, then log in anew)"
            )
        return given
    ports = list(listing())
    ids = _hwids(board)
    if not ids:
        raise ToolError(
            f"{name} has no USB ids of its own, its port cannot be told from others; name it with --upload-port PORT; "
            f"{_here(ports)}"
        )
    matching = [port for port in ports if port.ids in ids]
    if len(matching) == 1:
        return matching[0].device
    known = one_of([f"{vendor:04x}:{product:04x}" for vendor, product in ids])
    if matching:
        raise ToolError(
            f"{len(matching)} ports have the USB ids of {name}: {'; '.join(map(str, matching))}; choose one with "
            f"--upload-port PORT"
        )
    raise ToolError(
        f"no serial port has the USB ids of {name} ({known}); {_here(ports)}; connect the board, or name its port with "
        f"--upload-port PORT where it has other ids"
    )


def drives() -> list[Path]:
    """Mounted drives of a kind that a UF2 boot loader could be."""
    if sys.platform == "win32":
        return [Path(f"{letter}:/") for letter in "DEFGHIJKLMNOPQRSTUVWXYZ" if Path(f"{letter}:/").exists()]
    if sys.platform == "darwin":
        return sorted(Path("/Volumes").iterdir())
    # Only FAT, which a boot loader shows: asking a network drive may hang.
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines]
    spaced = [(row[1].encode().decode("unicode_escape"), row[2]) for row in rows if len(row) > 2]
    return [Path(place) for place, kind in spaced if kind in ("vfat", "msdos")]


def boot_loader(drive: Path) -> str | None:
    """What a drive's INFO_UF2.TXT gives as Board-ID; None for any other drive."""
    try:
        text = (drive / "INFO_UF2.TXT").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Board-ID:")]
    return found[0] if found else None


def choose_drive(board: Mapping[str, Any], given: str | None, listing: Callable[[], Sequence[Path]] = drives) -> Path:
    """The drive of the board's boot loader: the given one or the only one. Raises ToolError."""
    name, wanted = board["name"], BOARD_IDS.get(board["build"]["mcu"])
    if wanted is None:
        raise ToolError(f"{name} has no UF2 boot loader that is known here ({one_of(list(BOARD_IDS))} have one)")
    hold = "hold BOOTSEL while connecting the board and mount the drive that appears"
    if given:
        found = boot_loader(Path(given))
        if found != wanted:
            is_ = f"has INFO_UF2.TXT with Board-ID {found}" if found else "has no INFO_UF2.TXT with a Board-ID"
            raise ToolError(f"{given} is not the boot drive of {name}: it {is_}, wanted is {wanted}; {hold}")
        return Path(given)
    matching = [drive for drive in listing() if boot_loader(drive) == wanted]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = "; ".join(map(str, matching))
        raise ToolError(f"{len(matching)} boot drives of {name}: {names}; choose one with --upload-port DRIVE")
    raise ToolError(
        f"no boot drive of {name} is mounted (a drive whose INFO_UF2.TXT has Board-ID {wanted}); {hold}, or name it "
        f"with --upload-port DRIVE"
    )


def _listed(command: Sequence[str]) -> str:
    """What a tool prints, at most _LIST_SECONDS long. Raises ToolError."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_LIST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"{' '.join(command)} did not end within {_LIST_SECONDS:.0f} s; disconnect the probe and connect it again"
        ) from None
    except OSError as e:
        raise ToolError(f"{command[0]} cannot be run: {e.strerror}; install it anew") from e
    return done.stdout


def choose_probe(board: Mapping[str, Any], program: str, given: str | None) -> str:
    """The id of the debug probe: the one that begins like the given one, or the only one. Raises ToolError."""
    text = _listed((program, "json", "--probes"))
    try:
        found = {str(probe["unique_id"]): str(probe.get("info", "")) for probe in json.loads(text)["boards"]}
    except (ValueError, KeyError, TypeError):
        raise ToolError(
            f"{program} json --probes printed no list of probes; update it: {TOOLS['pyocd'].install}"
        ) from None
    matching = [uid for uid in found if uid.lower().startswith((given or "").lower())]
    if len(matching) == 1:
        return matching[0]
    listed = "; ".join(f"{uid} ({info})" for uid, info in found.items())
    if not found:
        raise ToolError(
            f"no debug probe is connected, and this image of {board['name']} is flashed through one; "
            f"connect a CMSIS-DAP, ST-Link or J-Link probe to the board's SWD pins{_official(board)}"
        )
    if not matching:
        raise ToolError(f"no debug probe has an id that begins with {given}; probes here: {listed}")
    raise ToolError(f"{len(matching)} debug probes are connected: {listed}; choose one with --upload-port ID")


def _official(board: Mapping[str, Any]) -> str:
    official = board["tinyml"].get("official")
    return f", or flash over USB with: pio run -e {official['name']} -t upload" if official else ""


def tools(board: Mapping[str, Any], entry: Mapping[str, Any]) -> list[str]:
    """Names of the tools that can flash an environment's image, the usual one first; none for an emulator."""
    usual = entry.get("upload")
    if usual is None:
        return []
    mcu = board["build"]["mcu"]
    others = next((names for start, names in ALTERNATIVES.items() if mcu.startswith(start)), ())
    return [usual, *(name for name in others if name != usual)]


def plan(
    board: Mapping[str, Any],
    entry: Mapping[str, Any],
    stem: Path,
    target: str | None = None,
    tool: str | None = None,
    ports: Callable[[], Sequence[Port]] = serial_ports,
    mounted: Callable[[], Sequence[Path]] = drives,
) -> Plan:
    """How to flash an image of the bare platform.

    `board` is the board's JSON, `entry` its environment, `stem` the image's path without a suffix, `target` the port,
    the probe's id or the drive if the user named one, `tool` one of tools() if the user chose it. Whether the image
    exists is not asked, so that everything else can be found missing before a build.

    Raises UsageError for an emulator or a tool that does not go with the board, ToolError where the tool, the port, the
    probe or the drive is missing or cannot be told from others.
    """
    allowed = tools(board, entry)
    if not allowed:
        raise UsageError(
            f"{entry['name']} is for an emulator, there is nothing to upload to; "
            f"run: pio run -e {entry['name']} -t smoke"
        )
    chosen = tool or allowed[0]
    if chosen not in allowed:
        raise UsageError(f"{board['name']} cannot be flashed with {chosen!r}; allowed are {one_of(allowed)}")
    how = TOOLS[chosen]
    program = next((path for path in map(shutil.which, how.programs) if path), None)
    if how.programs and program is None:
        others = [name for name in allowed if name != chosen]
        also = f", or set TINYML_UPLOAD_TOOL to {one_of(others)}" if others else ""
        raise ToolError(
            f"{how.programs[0]}, which flashes {board['name']}, is not on the PATH; get it with: {how.install}{also}"
            f"{_official(board) if how.target == 'probe' else ''}"
        )
    where = _target(board, chosen, program, target, ports, mounted)
    image = stem.with_suffix(how.image)
    fields = {
        "chip": _chip(board, chosen),
        "target": where,
        "image": str(image),
        "origin": hex(entry.get("flash_origin") or 0),
    }
    command = (str(program), *(part.format(**fields) for part in how.arguments)) if program else ()
    return Plan(chosen, where, image, command, how.seconds)


def _chip(board: Mapping[str, Any], tool: str) -> str:
    """The chip's name in the tool's words."""
    if tool == "pyocd":
        return str(board.get("debug", {}).get("pyocd_target") or board["build"]["mcu"])
    return str(board["build"]["mcu"])


def _target(
    board: Mapping[str, Any],
    tool: str,
    program: str | None,
    given: str | None,
    ports: Callable[[], Sequence[Port]],
    mounted: Callable[[], Sequence[Path]],
) -> str:
    kind = TOOLS[tool].target
    if kind == "port":
        return choose_port(board, given, ports)
    if kind == "drive":
        return str(choose_drive(board, given, mounted))
    if kind == "probe":
        assert program is not None
        return choose_probe(board, program, given)
    return "USB"


def run(plan: Plan) -> None:
    """Flash; the tool prints to the console. Raises ToolError where it fails or hangs, UsageError without image."""
    if not plan.image.is_file():
        raise UsageError(f"{plan.image} does not exist; build it first: python convert/build.py --board BOARD")
    if plan.command:
        _call(plan)
    else:
        _copy(plan)


def _call(plan: Plan) -> None:
    # A session of its own, so that what the tool started ends with it.
    try:
        process = subprocess.Popen(plan.command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as e:
        raise ToolError(f"{plan.command[0]} cannot be run: {e.strerror}; install it anew") from e
    try:
        status = process.wait(plan.seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        raise ToolError(
            f"{plan.tool} did not end within {plan.seconds:.0f} s and was stopped; "
            f"check that {plan.target} is the board, reset or reconnect it, and try again"
        ) from None
    except BaseException:
        _end(process)
        raise
    if status != 0:
        raise ToolError(
            f"{plan.tool} failed with status {status}, its messages stand above; check that {plan.target} is the board "
            f"and that nothing else uses it, and try again"
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    if hasattr(os, "killpg"):
        import signal

        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _copy(plan: Plan) -> None:
    """Copy the image to the boot drive, which goes away once it has all of it."""
    drive = Path(plan.target)
    failure: list[OSError] = []

    def write() -> None:
        try:
            with (drive / plan.image.name).open("wb", buffering=0) as file:
                file.write(plan.image.read_bytes())
                try:
                    os.fsync(file.fileno())
                except OSError:
                    # The boot loader restarts the board at the last block, and the drive is gone.
                    if boot_loader(drive) is not None:
                        raise
        except OSError as e:
            failure.append(e)

    # A thread, because a write to a drive that is gone may never return.
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(plan.seconds)
    again = "connect the board again with BOOTSEL held and try again"
    if thread.is_alive():
        raise ToolError(f"{plan.image.name} was not written to {drive} within {plan.seconds:.0f} s; {again}")
    if failure:
        raise ToolError(f"{plan.image.name} cannot be written to {drive}: {failure[0].strerror}; {again}") from failure[
            0
        ]
