"""Flashing: every tool, port, probe and drive that can be missing, each in one line and at once."""

import dataclasses
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake import generate, need

from convert import boards, flash, toolchain, upload
from convert.errors import ToolError, UsageError
from convert.flash import Port
from convert.paths import BOARDS, ROOT

NANO33 = json.loads((BOARDS / "nano33.json").read_text())
PICO: dict[str, Any] = {"name": "a Pico", "build": {"mcu": "rp2040"}, "tinyml": {}}
PILL: dict[str, Any] = {
    "name": "a Black Pill",
    "build": {"mcu": "stm32f411ceu6"},
    "debug": {"pyocd_target": "stm32f411ce"},
    "tinyml": {},
}
C3: dict[str, Any] = {"name": "a C3", "build": {"mcu": "esp32c3"}, "tinyml": {}}
UNO: dict[str, Any] = {
    "name": "an Uno",
    "build": {"mcu": "atmega328p", "hwids": [["0x2341", "0x0043"], ["0x2A03", "0x0043"]]},
    "tinyml": {},
}

SOUND_CARD = Port("/dev/ttyS0", None, "16550A")
ADAPTER = Port("/dev/ttyUSB0", (0x10C4, 0xEA60), "CP2102")
AN_UNO = Port("/dev/ttyACM0", (0x2A03, 0x0043), "Arduino Uno")
ANOTHER_UNO = Port("/dev/ttyACM1", (0x2341, 0x0043), "Arduino Uno")


def entry(tool: str | None, **more: Any) -> dict[str, Any]:
    return {"name": "x_bare", "platform": "bare", "upload": tool, **more}


def listing(*ports: Port) -> Callable[[], list[Port]]:
    return lambda: list(ports)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A PATH of stand-in programs alone; each is the body of a shell script. Its arguments go to NAME.called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(**programs: str) -> Path:
        for name, body in programs.items():
            program = folder / name.replace("_", "-")
            program.write_text(f'#!/bin/sh\nfor a; do echo "$a"; done > "$0.called"\n{body}\n')
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return folder

    return add


@pytest.fixture
def pty_port() -> Iterator[str]:
    import pty

    ours, theirs = pty.openpty()
    yield os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    for suffix in (".bin", ".hex", ".uf2"):
        (tmp_path / "firmware").with_suffix(suffix).write_bytes(suffix.encode() * 50)
    return tmp_path / "firmware"


def probes(*ids: str) -> str:
    """A stand-in for pyocd that lists probes and flashes."""
    boards = json.dumps({"status": 0, "boards": [{"unique_id": uid, "info": f"probe {uid}"} for uid in ids]})
    return f"""if [ "$1" = json ]; then echo '{boards}'; fi"""


# Ports


def test_the_only_port_with_the_board_s_ids_is_taken() -> None:
    assert flash.choose_port(UNO, None, listing(SOUND_CARD, AN_UNO, ADAPTER)) == "/dev/ttyACM0"


@pytest.mark.parametrize("others", [(), (SOUND_CARD,), (ADAPTER,), (SOUND_CARD, ADAPTER)])
def test_a_port_that_may_be_no_board_is_never_taken(others: tuple[Port, ...]) -> None:
    with pytest.raises(ToolError, match=r"no serial port has the USB ids of an Uno \(2341:0043 or 2a03:0043\)") as e:
        flash.choose_port(UNO, None, listing(*others))
    assert all(str(port) in str(e.value) for port in others)
    assert others or "there is no serial port here at all" in str(e.value)


def test_two_boards_are_a_choice_for_the_user() -> None:
    with pytest.raises(ToolError, match=r"2 ports have the USB ids.*ttyACM0.*ttyACM1.*choose one with --upload-port"):
        flash.choose_port(UNO, None, listing(AN_UNO, ADAPTER, ANOTHER_UNO))


def test_a_board_without_ids_of_its_own_needs_its_port_named() -> None:
    with pytest.raises(ToolError, match=r"a C3 has no USB ids of its own.*--upload-port PORT; ports here: .*CP2102"):
        flash.choose_port(C3, None, listing(ADAPTER))


def test_a_named_port_must_exist() -> None:
    with pytest.raises(
        ToolError, match=r"serial port /dev/ttyNONE does not exist; ports here: /dev/ttyACM0 \(2a03:0043"
    ):
        flash.choose_port(UNO, "/dev/ttyNONE", listing(AN_UNO))


def test_a_named_port_is_taken_whatever_its_ids(pty_port: str) -> None:
    assert flash.choose_port(UNO, pty_port, listing(AN_UNO)) == pty_port


def test_a_port_that_may_not_be_opened_is_said(pty_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ToolError, match=r"serial port /dev/.* may not be opened by this user.*dialout"):
        flash.choose_port(UNO, pty_port, listing())


def test_the_ports_of_this_machine_can_be_listed() -> None:
    assert all(isinstance(port, Port) for port in flash.serial_ports())


# Tools


@pytest.mark.parametrize(
    ("board", "tool", "install"),
    [
        (NANO33, "pyocd", "pip install pyocd, or flash over USB with: pio run -e nano33 -t upload"),
        (C3, "esptool", "pip install esptool"),
        (UNO, "avrdude", "apt-get install avrdude"),
    ],
)
def test_a_missing_tool_is_one_line(
    path: Callable[..., Path], image: Path, board: dict[str, Any], tool: str, install: str
) -> None:
    path()
    start = time.monotonic()
    with pytest.raises(ToolError) as e:
        flash.plan(board, entry(tool), image, ports=listing(AN_UNO))
    assert str(e.value) == f"{tool}, which flashes {board['name']}, is not on the PATH; get it with: {install}"
    assert time.monotonic() - start < 1


def test_a_missing_tool_names_the_others(path: Callable[..., Path], image: Path) -> None:
    path()
    with pytest.raises(ToolError, match="pip install pyocd, or set TINYML_UPLOAD_TOOL to dfu-util"):
        flash.plan(PILL, entry("pyocd"), image)


def test_a_tool_of_another_board_is_refused(image: Path) -> None:
    with pytest.raises(UsageError, match="an Uno cannot be flashed with 'pyocd'; allowed are avrdude"):
        flash.plan(UNO, entry("avrdude"), image, tool="pyocd")


def test_an_emulator_has_nothing_to_upload_to(image: Path) -> None:
    with pytest.raises(UsageError, match=r"x_bare is for an emulator.*pio run -e x_bare -t smoke"):
        flash.plan(UNO, entry(None), image)


def called(program: Path) -> list[str]:
    return program.with_name(f"{program.name}.called").read_text().splitlines()


def test_avrdude_gets_port_speed_and_image(path: Callable[..., Path], image: Path) -> None:
    bin_ = path(avrdude="")
    flash.run(flash.plan(UNO, entry("avrdude"), image, ports=listing(AN_UNO)))
    assert called(bin_ / "avrdude") == [
        *("-q", "-p", "atmega328p", "-c", "arduino", "-P", "/dev/ttyACM0", "-b", "115200", "-D"),
        *("-U", f"flash:w:{image}.hex:i"),
    ]


def test_esptool_writes_the_image_to_the_start_of_the_flash(
    path: Callable[..., Path], image: Path, pty_port: str
) -> None:
    bin_ = path(esptool="")
    flash.run(flash.plan(C3, entry("esptool", flash_origin=0x42000000), image, pty_port))
    assert called(bin_ / "esptool") == [
        *("--chip", "esp32c3", "--port", pty_port, "--baud", "460800", "write_flash", "0x0", f"{image}.bin")
    ]


def test_esptool_under_its_older_name(path: Callable[..., Path], image: Path, pty_port: str) -> None:
    bin_ = path(**{"esptool.py": ""})
    assert flash.plan(C3, entry("esptool"), image, pty_port).command[0] == str(bin_ / "esptool.py")


def test_pyocd_flashes_the_only_probe(path: Callable[..., Path], image: Path) -> None:
    bin_ = path(pyocd=probes("0669FF"))
    flash.run(flash.plan(NANO33, entry("pyocd"), image))
    assert called(bin_ / "pyocd") == [
        *("flash", "--no-wait", "--uid", "0669FF", "--target", "nrf52840", f"{image}.hex")
    ]


def test_no_probe_is_one_line(path: Callable[..., Path], image: Path) -> None:
    path(pyocd=probes())
    with pytest.raises(
        ToolError, match=r"no debug probe is connected.*SWD pins, or flash over USB with: pio run -e nano33"
    ):
        flash.plan(NANO33, entry("pyocd"), image)


def test_two_probes_are_a_choice_for_the_user(path: Callable[..., Path], image: Path) -> None:
    path(pyocd=probes("0669FF", "E6614"))
    with pytest.raises(
        ToolError, match=r"2 debug probes.*0669FF \(probe 0669FF\).*E6614.*choose one with --upload-port"
    ):
        flash.plan(PILL, entry("pyocd"), image)
    assert flash.plan(PILL, entry("pyocd"), image, "e66").target == "E6614"
    with pytest.raises(ToolError, match="no debug probe has an id that begins with 99; probes here: 0669FF"):
        flash.plan(PILL, entry("pyocd"), image, "99")


def test_a_pyocd_that_lists_nothing_is_said(path: Callable[..., Path], image: Path) -> None:
    path(pyocd="echo no JSON here")
    with pytest.raises(ToolError, match="printed no list of probes; update it: pip install pyocd"):
        flash.plan(PILL, entry("pyocd"), image)


def test_dfu_util_leaves_the_boot_loader_at_the_image(path: Callable[..., Path], image: Path) -> None:
    bin_ = path(dfu_util="")
    flash.run(flash.plan(PILL, entry("pyocd", flash_origin=0x08000000), image, tool="dfu-util"))
    assert called(bin_ / "dfu-util") == [*("-d", "0483:df11", "-a", "0", "-s", "0x8000000:leave", "-D", f"{image}.bin")]


def test_picotool_loads_the_uf2(path: Callable[..., Path], image: Path) -> None:
    bin_ = path(picotool="")
    flash.run(flash.plan(PICO, entry("uf2"), image, tool="picotool"))
    assert called(bin_ / "picotool") == ["load", "-x", f"{image}.uf2"]


def test_a_tool_that_fails_is_said(path: Callable[..., Path], image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path(avrdude="echo not in sync; exit 3")
    with pytest.raises(
        ToolError, match="avrdude failed with status 3, its messages stand above; check that /dev/ttyACM0"
    ):
        flash.run(flash.plan(UNO, entry("avrdude"), image, ports=listing(AN_UNO)))
    assert "not in sync" in capfd.readouterr().out


def test_a_tool_that_hangs_is_ended_with_all_that_it_started(
    path: Callable[..., Path], image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_ = path(avrdude='/bin/sleep 60 & echo $! > "$0.child"; wait')
    monkeypatch.setitem(flash.TOOLS, "avrdude", dataclasses.replace(flash.TOOLS["avrdude"], seconds=0.5))
    start = time.monotonic()
    with pytest.raises(ToolError, match="avrdude did not end within 0 s and was stopped; check that /dev/ttyACM0 is"):
        flash.run(flash.plan(UNO, entry("avrdude"), image, ports=listing(AN_UNO)))
    assert time.monotonic() - start < 5
    child = int((bin_ / "avrdude.child").read_text())
    for _ in range(50):
        if not _alive(child):
            break
        time.sleep(0.1)
    assert not _alive(child)


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_tool_that_lists_for_ever_is_ended(
    path: Callable[..., Path], image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path(pyocd="exec /bin/sleep 60")
    monkeypatch.setattr(flash, "_LIST_SECONDS", 0.5)
    with pytest.raises(ToolError, match="pyocd json --probes did not end within 0 s; disconnect the probe"):
        flash.plan(PILL, entry("pyocd"), image)


def test_no_question_is_asked_on_the_console(
    path: Callable[..., Path], image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_ = path(avrdude='read answer; echo "answer=$answer" > "$0.answer"')
    monkeypatch.setitem(flash.TOOLS, "avrdude", dataclasses.replace(flash.TOOLS["avrdude"], seconds=10))
    console = os.dup(0)
    silent, keyboard = os.pipe()
    try:
        os.dup2(silent, 0)
        flash.run(flash.plan(UNO, entry("avrdude"), image, ports=listing(AN_UNO)))
    finally:
        os.dup2(console, 0)
        for descriptor in (console, silent, keyboard):
            os.close(descriptor)
    assert (bin_ / "avrdude.answer").read_text() == "answer=\n"


def test_without_an_image_nothing_is_called(path: Callable[..., Path], tmp_path: Path) -> None:
    bin_ = path(avrdude="")
    with pytest.raises(UsageError, match=r"firmware\.hex does not exist; build it first"):
        flash.run(flash.plan(UNO, entry("avrdude"), tmp_path / "firmware", ports=listing(AN_UNO)))
    assert not (bin_ / "avrdude.called").exists()


# Drives


def drive(folder: Path, info: str | None) -> Path:
    folder.mkdir()
    if info is not None:
        (folder / "INFO_UF2.TXT").write_text(info)
    return folder


RP2 = "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n"
FEATHER = "UF2 Bootloader 0.6.2\nModel: Feather\nBoard-ID: nRF52840-Feather-revD\n"


def test_the_image_is_copied_to_the_boot_drive(tmp_path: Path, image: Path) -> None:
    wanted = drive(tmp_path / "RPI-RP2", RP2)
    others = [drive(tmp_path / "photos", None), drive(tmp_path / "FTHR840BOOT", FEATHER)]
    flash.run(flash.plan(PICO, entry("uf2"), image, mounted=lambda: [*others, wanted]))
    assert (wanted / "firmware.uf2").read_bytes() == image.with_suffix(".uf2").read_bytes()
    assert not any((other / "firmware.uf2").exists() for other in others)


def test_a_drive_that_is_no_boot_drive_is_never_written(tmp_path: Path, image: Path) -> None:
    others = [drive(tmp_path / "photos", None), drive(tmp_path / "FTHR840BOOT", FEATHER)]
    with pytest.raises(ToolError, match=r"no boot drive of a Pico is mounted .*Board-ID RPI-RP2.*hold BOOTSEL"):
        flash.plan(PICO, entry("uf2"), image, mounted=lambda: others)
    with pytest.raises(ToolError, match=r"photos is not the boot drive of a Pico: it has no INFO_UF2.TXT"):
        flash.plan(PICO, entry("uf2"), image, str(others[0]), mounted=list)
    with pytest.raises(ToolError, match="Board-ID nRF52840-Feather-revD, wanted is RPI-RP2"):
        flash.plan(PICO, entry("uf2"), image, str(others[1]), mounted=list)
    with pytest.raises(ToolError, match="nowhere is not the boot drive"):
        flash.plan(PICO, entry("uf2"), image, str(tmp_path / "nowhere"), mounted=list)


def test_two_boot_drives_are_a_choice_for_the_user(tmp_path: Path, image: Path) -> None:
    both = [drive(tmp_path / "a", RP2), drive(tmp_path / "b", RP2)]
    with pytest.raises(ToolError, match=r"2 boot drives of a Pico: .*/a; .*/b; choose one with --upload-port"):
        flash.plan(PICO, entry("uf2"), image, mounted=lambda: both)
    assert flash.plan(PICO, entry("uf2"), image, str(both[1]), mounted=lambda: both).target == str(both[1])


def test_a_full_drive_is_said(tmp_path: Path, image: Path) -> None:
    wanted = drive(tmp_path / "RPI-RP2", RP2)
    (wanted / "firmware.uf2").symlink_to("/dev/full")
    with pytest.raises(ToolError, match=r"firmware.uf2 cannot be written to .*RPI-RP2: No space left"):
        flash.run(flash.plan(PICO, entry("uf2"), image, mounted=lambda: [wanted]))


def test_a_drive_that_takes_nothing_is_given_up(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = drive(tmp_path / "RPI-RP2", RP2)
    os.mkfifo(wanted / "firmware.uf2")
    monkeypatch.setitem(flash.TOOLS, "uf2", dataclasses.replace(flash.TOOLS["uf2"], seconds=0.5))
    with pytest.raises(ToolError, match=r"was not written to .* within 0 s; connect the board again"):
        flash.run(flash.plan(PICO, entry("uf2"), image, mounted=lambda: [wanted]))


def test_the_drives_of_this_machine_can_be_listed() -> None:
    assert all(isinstance(place, Path) for place in flash.drives())


# Boards


def test_every_bare_environment_has_a_tool_or_an_emulator() -> None:
    for path in sorted(BOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        for kind in ("bare", "twin"):
            found = board["tinyml"].get(kind)
            if not found:
                continue
            assert found.get("upload") in (None, *flash.TOOLS), path.name
            assert found.get("upload") or found.get("emulator"), path.name
            if found.get("upload") == "uf2":
                assert board["build"]["mcu"] in flash.BOARD_IDS
            if found.get("upload") == "pyocd":
                assert board["debug"]["pyocd_target"]


# convert/upload.py


@pytest.fixture
def upload_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """(exit code, output) of convert/upload.py for what was built last, without a network and without platforms."""
    monkeypatch.setattr(toolchain, "installed", lambda _: False)
    monkeypatch.setattr(toolchain, "registry_has", lambda *_, **__: False)

    def run(board: str, *arguments: str, built: str | None = None) -> tuple[int, str]:
        output = tmp_path / f"output_{board}"
        generate(output, board, built or board)
        if built:
            (output / "report.json").write_text(json.dumps({"environment": built}))
        result = CliRunner().invoke(upload.main, ["--board", board, "--output", str(output), *arguments])
        return result.exit_code, result.output

    return run


def test_an_official_platform_that_is_out_of_reach_is_one_line(upload_: Callable[..., tuple[int, str]]) -> None:
    """PlatformIO alone takes a minute and says nothing."""
    code, output = upload_("nano33", "--environment", "nano33")
    assert code == 5
    assert output.startswith("Error: environment nano33 flashes through platform nordicnrf52, which is not installed,")
    assert "with a network run the same again, or without one flash nano33_bare with --environment" in output
    assert output.count("\n") == 1


def test_the_registry_is_given_two_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, float] = {}
    monkeypatch.setattr(toolchain, "installed", lambda _: False)
    monkeypatch.setattr(toolchain, "registry_has", lambda *_, **more: given.update(more))
    board = boards.load("nano33")
    assert board.tinyml.official is not None
    with pytest.raises(ToolError):
        upload.check(board, board.tinyml.official, tmp_path, None, None)
    assert given == {"seconds": 2.0}


def test_what_was_built_last_is_flashed(upload_: Callable[..., tuple[int, str]], path: Callable[..., Path]) -> None:
    path(pyocd=probes("0669FF"))
    assert upload_("nano33", "--check-only", built="nano33_bare") == (0, "environment nano33_bare can be flashed\n")
    code, output = upload_("nano33", "--check-only", built="nano33")
    assert code == 5 and "environment nano33 flashes through platform" in output


def test_a_missing_tool_ends_convert_upload_too(
    upload_: Callable[..., tuple[int, str]], path: Callable[..., Path]
) -> None:
    path()
    code, output = upload_("nano33", built="nano33_bare")
    assert (code, output.count("\n")) == (5, 1)
    assert output.startswith("Error: pyocd, which flashes Arduino Nano 33 BLE, is not on the PATH")


def test_wrong_use(upload_: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    code, output = upload_("qemu_m4")
    assert code == 2
    assert output == (
        "Error: QEMU mps2-an386 (Cortex-M4F) is an emulator, there is nothing to upload to; "
        "try a board such as nano33\n"
    )
    code, output = upload_("nano33", "--environment", "nano34")
    assert code == 2 and "cannot be flashed from environment 'nano34'; allowed are nano33 or nano33_bare" in output
    result = CliRunner().invoke(upload.main, ["--board", "nano33", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert f"{tmp_path} holds nothing generated; run: python convert/build.py --board nano33" in result.output


# PlatformIO


def pio(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"PLATFORMIO_DISABLE_UPGRADE_CHECK": "true", "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no"}
    return subprocess.run(
        [sys.executable, "-m", "platformio", "run", "-d", str(ROOT), *arguments],
        cwd=ROOT,
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def nano33_bare(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`pio run -e nano33_bare -t upload` with programs of ours first on the PATH."""
    need("arm-none-eabi-gcc")
    output = generate(tmp_path / "output", "nano33", "nano33_bare")
    folder = tmp_path / "tools"
    folder.mkdir()

    def upload(pyocd: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = folder / "pyocd"
        program.write_text(f'#!/bin/sh\nfor a; do echo "$a"; done > "$0.called"\n{pyocd}\n')
        program.chmod(0o755)
        return pio(
            *("-e", "nano33_bare", "-t", "upload", *arguments),
            PATH=f"{folder}:{os.environ['PATH']}",
            TINYML_OUTPUT=str(output),
            PLATFORMIO_BUILD_DIR=str(output / "pio"),
        )

    return upload


Upload = Callable[..., subprocess.CompletedProcess[str]]


def test_without_a_probe_nothing_is_even_built(nano33_bare: Upload, tmp_path: Path) -> None:
    result = nano33_bare(probes())
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: no debug probe is connected")
    assert not (tmp_path / "output" / "pio" / "nano33_bare" / "firmware.elf").exists()


def test_upload_builds_and_flashes(nano33_bare: Upload, tmp_path: Path) -> None:
    result = nano33_bare(probes("0669FF", "E6614"), "--upload-port", "E6")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "flashing firmware.hex with pyocd through probe E6614" in result.stdout
    given = (tmp_path / "tools" / "pyocd.called").read_text().splitlines()
    assert given[:6] == ["flash", "--no-wait", "--uid", "E6614", "--target", "nrf52840"]
    assert Path(given[6]).is_file() and Path(given[6]).suffix == ".hex"


def test_a_tool_that_fails_fails_the_upload(nano33_bare: Upload) -> None:
    result = nano33_bare(probes("0669FF") + '\n[ "$1" = flash ] && exit 7')
    assert result.returncode != 0
    assert "Error: pyocd failed with status 7" in result.stderr


def test_uploading_to_an_emulator_is_refused(tmp_path: Path) -> None:
    need("arm-none-eabi-gcc")
    output = generate(tmp_path / "output", "qemu_m4", "qemu_m4")
    result = pio(
        *("-e", "qemu_m4", "-t", "upload"), TINYML_OUTPUT=str(output), PLATFORMIO_BUILD_DIR=str(output / "pio")
    )
    assert result.returncode != 0
    assert "Error: qemu_m4 is for an emulator, there is nothing to upload to" in result.stderr
