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
import time
from pathlib import Path

from fake import generate, need, outputs

from convert import boards
from convert.emulate import unicorn_nrf52840
from convert.paths import BOARDS, FIRMWARE, ROOT

LIBRARY = {
    "library.json": '{"name": "Chirale_TensorFLowLite", "version": "2.0.0"}',
    "src/Chirale_TensorFlowLite.h": '#ifdef __cplusplus\nextern "C"\n#endif\nint from_the_library(void);\n',
    "src/library.cpp": '#include "Chirale_TensorFlowLite.h"\nint from_the_library(void) { return 42; }\n',
}


def build(
    tmp_path: Path, *arguments: str, libraries: tuple[str, ...] = ("library",), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Build environment nano33 of platformio.ini with the stand-in, and a library of one function as lib_deps.

    `libraries`: folders of `tmp_path` that stand in for what lib_deps names.
    """
    need("arm-none-eabi-gcc")
    for name, content in LIBRARY.items():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    ini = tmp_path / "platformio.ini"
    text = (ROOT / "platformio.ini").read_text()
    given = "".join(f"\n  file://{tmp_path / name}" for name in libraries)
    ini.write_text(re.sub(r"^lib_deps =(.*(?:\n +.*)*)$", f"lib_deps ={given}", text, flags=re.MULTILINE))
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
        [sys.executable, "-m", "platformio", "run", "-e", "nano33", "-d", str(ROOT), "-c", str(ini), *arguments],
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


def test_our_kernels_compile_with_the_platform_s_old_compiler(tmp_path: Path) -> None:
    """All of the Cortex-M4's sources, with the options of the official environment."""
    need("arm-none-eabi-gcc")
    old = Path(__file__).parent / "arduino_like" / "nordicnrf52" / "old_gcc.py"
    options = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=softfp", "-mfpu=fpv4-sp-d16", "-funsigned-char"]
    kernels = FIRMWARE / "lib" / "kernels"
    for source in sorted((kernels / "src" / "cortex_m4").glob("*.[cS]")):
        last = ["-mfloat-abi=soft", "-I", str(kernels / "include"), "-Wall", "-Wextra", "-Werror", "-O2", "-std=gnu11"]
        command = [sys.executable, str(old), "arm-none-eabi-gcc", *options, *last, "-c", str(source)]
        done = subprocess.run([*command, "-o", str(tmp_path / "a.o")], capture_output=True, text=True)
        assert done.returncode == 0, f"{source.name}: {done.stderr}"


def test_only_the_board_s_own_port_is_taken(tmp_path: Path) -> None:
    """The official platform takes any port; the project asks for one before anything is built."""
    need("arm-none-eabi-gcc")
    generate(tmp_path / "output", "nano33", "nano33")
    start = time.monotonic()
    result = build(tmp_path, "-t", "upload")
    assert result.returncode != 0
    assert "Error: no serial port has the USB ids of Arduino Nano 33 BLE (2341:005a or 2341:805a)" in result.stderr
    assert not (tmp_path / "pio" / "nano33" / "firmware.elf").exists()
    assert time.monotonic() - start < 60


def test_a_named_port_is_handed_to_the_platform(tmp_path: Path) -> None:
    import pty

    generate(tmp_path / "output", "nano33", "nano33")
    ours, theirs = pty.openpty()
    try:
        name = os.ttyname(theirs)
        result = build(tmp_path, "-t", "upload", "--upload-port", name)
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"flashing through [{name}]" in result.stdout
        result = build(tmp_path, "-t", "upload", "--upload-port", f"{name}9")
        assert result.returncode != 0
        assert f"Error: serial port {name}9 does not exist" in result.stderr
    finally:
        os.close(ours)
        os.close(theirs)
