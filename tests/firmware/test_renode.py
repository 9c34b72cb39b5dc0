"""The Nano 33 BLE's image in Renode, where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Build
from fake import outputs


def test_the_image_in_renode(build: Build, tmp_path: Path) -> None:
    tool = shutil.which("renode-test")
    if tool is None:
        pytest.skip("renode-test is not on the PATH; Renode is in no package registry, see renode.io")
    suite = Path(__file__).parent / "renode" / "nano33.robot"
    image = build("nano33_bare").elf
    variables = [f"--variable=IMAGE:{image}", f"--variable=ANSWER:{outputs()[0]}"]
    result = subprocess.run([tool, *variables, str(suite)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-2000:]
