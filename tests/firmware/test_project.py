"""The PlatformIO project as a user meets it: budgets, missing pieces, targets."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Built
from fake import generate, need

from convert import toolchain, uf2
from convert.errors import DoesNotFitError, ToolError
from convert.paths import BOARDS, FIRMWARE, ROOT


def pio(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run PlatformIO like a user."""
    settings = {"PLATFORMIO_DISABLE_UPGRADE_CHECK": "true", "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no", **environment}
    return subprocess.run(
        [sys.executable, "-m", "platformio", "run", *arguments],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )


def edited(folder: Path, board: str, **upload: int) -> Path:
    """A folder of boards where one has other limits."""
    shutil.copytree(BOARDS, folder, dirs_exist_ok=True)
    path = folder / f"{board}.json"
    manifest = json.loads(path.read_text())
    manifest["upload"].update(upload)
    path.write_text(json.dumps(manifest))
    return folder


def test_nothing_generated_yet(tmp_path: Path) -> None:
    result = pio("-e", "qemu_m4", TINYML_OUTPUT=str(tmp_path), PLATFORMIO_BUILD_DIR=str(tmp_path / "pio"))
    assert result.returncode != 0
    assert "run: python convert/build.py --board qemu_m4" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_environment_that_was_not_generated(tmp_path: Path) -> None:
    generate(tmp_path, "nano33", "nano33_bare")
    result = pio("-e", "qemu_m4", TINYML_OUTPUT=str(tmp_path), PLATFORMIO_BUILD_DIR=str(tmp_path / "pio"))
    assert result.returncode != 0
    assert "names no runtime for environment qemu_m4" in result.stderr


def test_tflm_on_bare_metal_needs_a_source_tree(tmp_path: Path) -> None:
    generate(tmp_path, "qemu_m4", "qemu_m4")
    path = tmp_path / "generated" / "build.json"
    manifest = json.loads(path.read_text())
    manifest.update(runtimes={"qemu_m4": "tflm"}, memory={"tflm": manifest["memory"]["fake"]})
    path.write_text(json.dumps(manifest))
    result = pio("-e", "qemu_m4", TINYML_OUTPUT=str(tmp_path), PLATFORMIO_BUILD_DIR=str(tmp_path / "pio"))
    assert result.returncode != 0
    assert "from a TFLite Micro source tree; run: python convert/build.py --board qemu_m4" in result.stderr
    assert "Traceback" not in result.stderr


def test_clean_needs_nothing(tmp_path: Path) -> None:
    result = pio("-e", "qemu_m4", "-t", "clean", TINYML_OUTPUT=str(tmp_path), PLATFORMIO_BUILD_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr


def test_a_missing_compiler_names_the_package(tmp_path: Path) -> None:
    generate(tmp_path, "qemu_m4", "qemu_m4")
    result = pio("-e", "qemu_m4", TINYML_OUTPUT=str(tmp_path), PLATFORMIO_BUILD_DIR=str(tmp_path / "pio"), PATH="")
    assert result.returncode != 0
    assert "arm-none-eabi-gcc is not on the PATH; on Debian or Ubuntu run: apt-get install gcc-arm" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"maximum_ram_size": 4000}, "RAM of QEMU"),
        ({"maximum_size": 3000}, "flash of QEMU"),
    ],
    ids=["ram", "flash"],
)
def test_a_model_too_large_is_refused_before_anything_is_compiled(
    tmp_path: Path, limits: dict[str, int], message: str
) -> None:
    generate(tmp_path / "output", "qemu_m4", "qemu_m4")
    result = pio(
        *("-e", "qemu_m4"),
        TINYML_OUTPUT=str(tmp_path / "output"),
        PLATFORMIO_BUILD_DIR=str(tmp_path / "pio"),
        PLATFORMIO_BOARDS_DIR=str(edited(tmp_path / "boards", "qemu_m4", **limits)),
    )
    assert result.returncode != 0
    assert f"Error: over budget: {message}" in result.stderr
    assert "Compiling" not in result.stdout


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        # Both lie between the estimate, which cannot know the code, and what is linked.
        ({"maximum_ram_size": 4372}, "RAM of QEMU"),
        ({"maximum_size": 3600}, "flash of QEMU"),
    ],
    ids=["ram", "flash"],
)
def test_an_image_too_large_fails_after_linking(
    tmp_path: Path, limits: dict[str, int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("arm-none-eabi-gcc")
    output = generate(tmp_path / "output", "qemu_m4", "qemu_m4")
    monkeypatch.setenv("PLATFORMIO_BOARDS_DIR", str(edited(tmp_path / "boards", "qemu_m4", **limits)))
    for _ in range(2):  # a second run must not take the image for finished
        with pytest.raises(DoesNotFitError, match=f"^{message}.* is exceeded by"):
            toolchain.build("qemu_m4", output)
        assert "Linking" in (output / "pio.log").read_text()
        left = sorted(p.suffix for p in (output / "pio" / "qemu_m4").glob("firmware.*"))
        assert ".bin" not in left and ".hex" not in left


def test_a_warning_in_our_c_is_an_error(tmp_path: Path) -> None:
    need("arm-none-eabi-gcc")
    generate(tmp_path, "qemu_m4", "qemu_m4", body="int unused;")
    with pytest.raises(ToolError, match=r"could not build environment qemu_m4: .*unused variable.*pio\.log"):
        toolchain.build("qemu_m4", tmp_path)


def test_a_second_build_compiles_nothing(built: Built) -> None:
    lines: list[str] = []
    toolchain.build("qemu_m4", built("qemu_m4"), progress=lines.append)
    assert lines and not any(line.startswith(("Compiling", "Linking")) for line in lines)


def test_a_pico_gets_a_uf2_file(built: Built) -> None:
    folder = built("pico_bare") / "pio" / "pico_bare"
    assert (folder / "firmware.uf2").read_bytes() == uf2.blocks((folder / "firmware.bin").read_bytes(), 0x10000000)


def test_no_two_kernel_sources_share_an_object() -> None:
    """PlatformIO names an object after its source, without the suffix."""
    sources = list((FIRMWARE / "lib" / "kernels" / "src").rglob("*.[cS]"))
    objects = [p.with_suffix("") for p in sources]
    assert len(set(objects)) == len(objects)
