import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fake import generate, need

from convert import toolchain

Build = Callable[..., toolchain.Firmware]

BOARDS = {"qemu_m4": "qemu_m4", "nano33_bare": "nano33"}


@pytest.fixture(scope="session", autouse=True)
def _no_leftovers() -> None:
    for name in ("TINYML_OUTPUT", "PLATFORMIO_BUILD_DIR", "PLATFORMIO_BOARDS_DIR", "PLATFORMIO_BUILD_FLAGS"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build an environment with the fake runtime; options are those of fake.generate()."""
    need("arm-none-eabi-gcc")
    made: dict[tuple[object, ...], toolchain.Firmware] = {}

    def make(environment: str, **options: object) -> toolchain.Firmware:
        options = {name: value for name, value in {"loops": 0, "body": "", **options}.items() if value}
        key = (environment, *sorted(options.items()))
        if key not in made:
            output: Path = tmp_path_factory.mktemp(environment)
            generate(output, BOARDS[environment], environment, **options)  # type: ignore[arg-type]
            made[key] = toolchain.build(environment, output)
        return made[key]

    return make
