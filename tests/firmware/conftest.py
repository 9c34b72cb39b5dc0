import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake import generate

from convert import boards, compilers, toolchain

Build = Callable[..., toolchain.Firmware]
Built = Callable[[str], Path]

# Boards by environment: those that are built here and run in an emulator. AVR has its constants in a memory of its own,
# which the fake runtime does not know.
BOARDS = {
    entry.name: board.id
    for board in map(boards.load, boards.names())
    for entry in board.environments
    if entry.platform == "bare" and entry.emulator and board.tinyml.architecture != "avr"
}


@pytest.fixture(scope="session", autouse=True)
def _no_leftovers() -> None:
    for name in ("TINYML_OUTPUT", "PLATFORMIO_BUILD_DIR", "PLATFORMIO_BOARDS_DIR", "PLATFORMIO_BUILD_FLAGS"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def outputs_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


def _build(root: Path, environment: str, options: dict[str, object]) -> toolchain.Firmware:
    if lacking := compilers.missing(boards.load(BOARDS[environment]).tinyml.architecture):
        pytest.skip(lacking)
    output = root / environment
    generate(output, BOARDS[environment], environment, **options)  # type: ignore[arg-type]
    return toolchain.build(environment, output)


@pytest.fixture(scope="session")
def build(outputs_root: Path) -> Build:
    """Build an environment with the fake runtime; options are those of fake.generate().

    One folder an environment, so that only what differs is compiled again; each image is kept apart.
    """
    made: dict[tuple[object, ...], toolchain.Firmware] = {}

    def make(environment: str, **options: object) -> toolchain.Firmware:
        options = {name: value for name, value in {"loops": 0, "body": "", **options}.items() if value}
        key = (environment, *sorted(options.items()))
        if key not in made:
            firmware = _build(outputs_root, environment, options)
            folder = outputs_root / f"image{len(made)}"
            folder.mkdir()
            kept = {name: Path(shutil.copy(getattr(firmware, name), folder)) for name in ("elf", "image")}
            made[key] = dataclasses.replace(firmware, **kept)  # type: ignore[arg-type]
        return made[key]

    return make


@pytest.fixture
def built(outputs_root: Path) -> Built:
    """The output folder of an environment that was built with the fake runtime as it is."""

    def make(environment: str) -> Path:
        return _build(outputs_root, environment, {}).elf.parents[2]

    return make
