"""platformio.ini and boards/*.json against what the official platforms say of themselves.

The platforms are out of reach here. What is relied on was read from each version's own manifests and recorded, with
the version, in platform_facts.json; a new pin needs new facts.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from platformio.project.config import ProjectConfig

from convert.paths import BOARDS, ROOT

FACTS = json.loads(Path(__file__).with_name("platform_facts.json").read_text())
CHIRALE = "spaziochirale/Chirale_TensorFLowLite@2.0.0"

# Where our figure is not the manifest's, and why.
DIFFERENT = {
    ("pico", "build.f_cpu"): "Arduino's core and our port run the RP2040 at 125 MHz, what its data sheet calls typical",
    ("esp32", "upload.maximum_ram_size"): "ESP-IDF's linker places at most 160 KiB of static data",
}

# Keys that tell people something and PlatformIO nothing.
TOLD = ("name", "url", "vendor")


def paths(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every leaf."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def ids(hwids: Any) -> list[tuple[str, ...]]:
    return sorted(tuple(part.lower() for part in pair) for pair in hwids or ())


def problems(ini: Path, folder: Path, facts: dict[str, Any] = FACTS) -> list[str]:
    """What platformio.ini and a folder of boards say that the platforms do not; empty where all is right."""
    found = [f"platformio.ini: {text}" for kind in ProjectConfig.lint(str(ini)).values() for text in map(str, kind)]
    config = ProjectConfig(str(ini))
    sections = set(config.envs())
    for path in sorted(folder.glob("*.json")):
        board = json.loads(path.read_text())
        for kind in ("official", "bare", "twin"):
            entry = board["tinyml"].get(kind)
            if entry is None:
                continue
            name = entry["name"]
            if name not in sections:
                found.append(f"{name}: platformio.ini has no section of it")
                continue
            sections.discard(name)
            section = dict(config.items(env=name))
            check = _official if kind == "official" else _bare
            found += [f"{name}: {text}" for text in check(path.stem, board, entry, section, facts)]
    found += [f"{name}: no board describes it" for name in sorted(sections)]
    return found


def _bare(
    board_id: str, _board: dict[str, Any], entry: dict[str, Any], section: dict[str, Any], _: Any
) -> Iterator[str]:
    if section["platform"] != "bare" or section["board"] != board_id:
        yield f"platform {section['platform']}, board {section['board']} instead of bare, {board_id}"
    if section.get("framework", []) != ([entry["framework"]] if entry.get("framework") else []):
        yield f"framework {section.get('framework')} instead of {entry.get('framework')}"


def _official(
    board_id: str, board: dict[str, Any], entry: dict[str, Any], section: dict[str, Any], facts: dict[str, Any]
) -> Iterator[str]:
    platform = facts["platforms"].get(entry["platform"])
    if platform is None:
        yield f"no facts of platform {entry['platform']}"
        return
    if section["platform"] != f"{entry['platform']}@{entry['version']}":
        yield f"platform {section['platform']} where the board has {entry['platform']}@{entry['version']}"
    if entry["version"] != platform["version"]:
        yield f"version {entry['version']} where the facts are of {platform['version']}"
    manifest = platform["boards"].get(section["board"])
    if manifest is None:
        yield f"platform {entry['platform']} is not known to have a board {section['board']}"
        return
    for framework in section["framework"]:
        if framework != entry["framework"]:
            yield f"framework {framework} where the board has {entry['framework']}"
        if framework not in manifest["frameworks"] or framework not in platform["frameworks"]:
            yield f"board {section['board']} has no framework {framework}"
    if (CHIRALE in section.get("lib_deps", [])) != ("tflm" in entry["runtimes"]):
        yield f"lib_deps {section.get('lib_deps')} with runtimes {entry['runtimes']}"
    yield from _limits(board_id, board, manifest)
    if section["board"] == board_id:
        yield from _stands_in(board_id, board, manifest)


def _limits(board_id: str, board: dict[str, Any], manifest: dict[str, Any]) -> Iterator[str]:
    wanted = {
        "build.mcu": manifest["build"]["mcu"],
        "build.f_cpu": manifest["build"]["f_cpu"],
        "upload.maximum_ram_size": manifest["upload"]["maximum_ram_size"],
        # The ESP32's flash holds several partitions; the platform takes the application's for the limit.
        "upload.maximum_size": manifest.get("application", {}).get("bytes", manifest["upload"]["maximum_size"]),
    }
    if "cpu" in manifest["build"]:
        wanted["build.cpu"] = manifest["build"]["cpu"]
    for path, value in wanted.items():
        ours = at(board, path)
        if ours != value and (board_id, path) not in DIFFERENT:
            yield f"{path} is {ours!r}, the platform's is {value!r}"
    if at(board, "upload.maximum_ram_size") > manifest["upload"]["maximum_ram_size"]:
        yield "upload.maximum_ram_size is beyond the platform's"
    if ids(at(board, "build.hwids")) != ids(manifest["build"].get("hwids")):
        yield f"build.hwids {at(board, 'build.hwids')}, the platform's are {manifest['build'].get('hwids')}"


def _stands_in(board_id: str, board: dict[str, Any], manifest: dict[str, Any]) -> Iterator[str]:
    """boards_dir goes before the platform: a board of ours with the platform's name must hold all its keys."""
    for path, value in paths(
        {key: manifest[key] for key in manifest if key in ("build", "debug", "upload", "bootloader")}
    ):
        ours = at(board, path)
        if path == "build.extra_flags":
            missing = set(re.sub(r"-D\s+", "-D", value).split()) - set(re.sub(r"-D\s+", "-D", ours or "").split())
            if missing:
                yield f"build.extra_flags lacks {sorted(missing)}"
        elif path == "build.hwids" or (board_id, path) in DIFFERENT:
            continue
        elif ours != value:
            yield f"{path} is {ours!r}; the board stands in for the platform's own, where it is {value!r}"


def test_boards_and_platformio_ini_agree_with_the_platforms() -> None:
    assert problems(ROOT / "platformio.ini", BOARDS) == []


def test_every_platform_takes_this_platformio() -> None:
    """PlatformIO 6 takes platforms for 5 as well."""
    for name, platform in FACTS["platforms"].items():
        assert platform["platformio"] in ("^5", "^6"), name
        assert re.fullmatch(r"[0-9a-f]{12}", platform["commit"]) and platform["date"], name


Edit = Callable[..., list[str]]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """The problems after an edit of platformio.ini or a board."""

    def run(file: str, old: str, new: str) -> list[str]:
        shutil.copytree(BOARDS, tmp_path / "boards")
        shutil.copy(ROOT / "platformio.ini", tmp_path)
        path = tmp_path / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return problems(tmp_path / "platformio.ini", tmp_path / "boards")

    return run


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        pytest.param(
            *("platformio.ini", "board = nano33ble\n", "board = nano33_ble\n"),
            "nano33: platform nordicnrf52 is not known to have a board nano33_ble",
            id="unknown_board",
        ),
        pytest.param(
            *("platformio.ini", "board = nano33ble\nframework = arduino", "board = nano33ble\nframework = mbed"),
            "nano33: board nano33ble has no framework mbed",
            id="framework_that_the_board_lacks",
        ),
        pytest.param(
            *("boards/nano33.json", '"maximum_size": 983040', '"maximum_size": 1048576'),
            "nano33: upload.maximum_size is 1048576, the platform's is 983040",
            id="wrong_flash",
        ),
        pytest.param(
            *("boards/blackpill.json", '"maximum_ram_size": 131072', '"maximum_ram_size": 98304'),
            "blackpill: upload.maximum_ram_size is 98304, the platform's is 131072",
            id="wrong_ram",
        ),
        pytest.param(
            *("boards/esp32.json", '"maximum_size": 1310720', '"maximum_size": 4194304'),
            "esp32: upload.maximum_size is 4194304, the platform's is 1310720",
            id="whole_flash_instead_of_a_partition",
        ),
        pytest.param(
            *("boards/nano33.json", '["0x2341", "0x005a"], ', ""),
            "nano33: build.hwids [['0x2341', '0x805a']], "
            "the platform's are [['0x2341', '0x005a'], ['0x2341', '0x805a']]",
            id="usb_ids",
        ),
        pytest.param(
            *("boards/nano33.json", '"version": "10.11.0"', '"version": "10.10.0"'),
            "nano33: version 10.10.0 where the facts are of 10.11.0",
            id="version_without_facts",
        ),
        pytest.param(
            *("boards/pico.json", '    "variant": "RASPBERRY_PI_PICO"\n', '    "variant": null\n'),
            "pico: build.variant is None; the board stands in for the platform's own, where it is 'RASPBERRY_PI_PICO'",
            id="key_that_the_platform_needs",
        ),
        pytest.param(
            *("boards/pico.json", '    "openocd_target": "rp2040.cfg",\n', ""),
            "pico: debug.openocd_target is None; the board stands in for the platform's own, where it is 'rp2040.cfg'",
            id="debugger_that_the_platform_asserts",
        ),
        pytest.param(
            *("boards/uno.json", "-DARDUINO_AVR_UNO", "-DUNO"),
            "uno: build.extra_flags lacks ['-DARDUINO_AVR_UNO']",
            id="flag_that_the_core_needs",
        ),
        pytest.param(
            *("platformio.ini", "platform = ststm32@19.6.0", "platform = ststm32"),
            "blackpill: platform ststm32 where the board has ststm32@19.6.0",
            id="platform_without_version",
        ),
        pytest.param(
            *("platformio.ini", "[env:uno]", "[env:arduino_uno]"),
            "uno: platformio.ini has no section of it",
            id="environment_of_another_name",
        ),
        pytest.param(
            *("platformio.ini", "platform = bare\nboard = nano33\n", "platform = bare\nboard = qemu_m4\n"),
            "nano33_bare: platform bare, board qemu_m4 instead of bare, nano33",
            id="board_of_another_environment",
        ),
    ],
)
def test_a_mistake_is_found(edited: Edit, file: str, old: str, new: str, problem: str) -> None:
    assert problem in edited(file, old, new)


def test_a_misspelt_option_is_found(edited: Edit) -> None:
    found = edited("platformio.ini", "monitor_speed = 115200", "monitor_sped = 115200")
    assert any("monitor_sped" in text for text in found)
