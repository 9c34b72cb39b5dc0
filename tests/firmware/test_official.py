"""The scripts and the Arduino port in an environment that is not ours.

The official platform cannot be installed without PlatformIO's registry. A stand-in makes the same calls in the same
order, so that what the project adds (sources, flags, budgets, targets) is built and run here; the real core is not.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake import generate, need, outputs

from convert import boards
from convert.emulate import unicorn_nrf52840
from convert.paths import BOARDS, ROOT

LIBRARY = {
    "library.json": '{"name": "Chirale_TensorFLowLite", "version": "2.0.0"}',
    "src/Chirale_TensorFlowLite.h": '#ifdef __cplusplus\nextern "C"\n#endif\nint from_the_library(void);\n',
    "src/library.cpp": '#include "Chirale_TensorFlowLite.h"\nint from_the_library(void) { return 42; }\n',
}


def build(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build environment nano33 of platformio.ini with the stand-in, and a library of one function as lib_deps."""
    need("arm-none-eabi-gcc")
    for name, content in LIBRARY.items():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    ini = tmp_path / "platformio.ini"
    text = (ROOT / "platformio.ini").read_text()
    ini.write_text(re.sub(r"^lib_deps = .*$", f"lib_deps = file://{tmp_path / 'library'}", text, flags=re.MULTILINE))
    platforms = tmp_path / "platforms"
    shutil.copytree(Path(__file__).parent / "arduino_like", platforms, dirs_exist_ok=True)
    settings = {
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_PLATFORMS_DIR": str(platforms),
        "PLATFORMIO_BUILD_DIR": str(tmp_path / "pio"),
        "PLATFORMIO_LIBDEPS_DIR": str(tmp_path / "libdeps"),
        "TINYML_OUTPUT": str(tmp_path / "output"),
    }
    return subprocess.run(
        [sys.executable, "-m", "platformio", "run", "-e", "nano33", "-d", str(ROOT), "-c", str(ini)],
        cwd=ROOT,
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_arduino_environment_builds_and_answers(tmp_path: Path) -> None:
    uses_library = (
        '#include "Chirale_TensorFlowLite.h"\nint answer(void);\nint answer(void) { return from_the_library(); }'
    )
    body = "int answer(void); if (answer() != 42) return 1;"
    generate(tmp_path / "output", "nano33", "nano33", body=body, extra=uses_library)
    result = build(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Checking budgets" in result.stdout
    elf = tmp_path / "pio" / "nano33" / "firmware.elf"
    assert elf.with_suffix(".bin").is_file()
    board = boards.load("nano33")
    assert board.tinyml.bare is not None
    transcript = unicorn_nrf52840.run(elf, board, board.tinyml.bare, 20)
    lines = transcript.text.splitlines()
    assert lines[1:4] == [f"#vector {k} {answer}" for k, answer in enumerate(outputs())]
    assert lines[-1] == "#done 3"


def test_too_much_ram_fails_there_too(tmp_path: Path) -> None:
    """PlatformIO alone would warn and succeed."""
    body = "extern volatile char large[]; sink = (unsigned)large[sink & 1];"
    generate(tmp_path / "output", "nano33", "nano33", body=body, extra="volatile char large[60000];")
    folder = tmp_path / "boards"
    shutil.copytree(BOARDS, folder)
    manifest = json.loads((folder / "nano33.json").read_text())
    manifest["upload"]["maximum_ram_size"] = 60000
    (folder / "nano33.json").write_text(json.dumps(manifest))
    for _ in range(2):
        result = build(tmp_path, PLATFORMIO_BOARDS_DIR=str(folder))
        assert result.returncode != 0
        assert "Error: over budget: RAM of Arduino Nano 33 BLE" in result.stderr
        assert not (tmp_path / "pio" / "nano33" / "firmware.bin").exists()


@pytest.mark.parametrize("environment", ["nano33", "esp32"])
def test_what_platformio_ini_and_the_board_say_is_the_same(environment: str) -> None:
    text = (ROOT / "platformio.ini").read_text()
    section = re.split(r"^\[env:", text, flags=re.MULTILINE)
    (mine,) = [part for part in section if part.startswith(f"{environment}]")]
    entry = boards.load(environment).tinyml.official
    assert entry is not None
    assert f"platform = {entry.platform}@{entry.version}\n" in mine
    assert f"framework = {entry.framework}\n" in mine
