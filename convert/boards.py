"""Boards: one JSON each, a PlatformIO board manifest plus a "tinyml" section; the single source of every limit."""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convert.compiled.model import Target
from convert.errors import UsageError, one_of
from convert.paths import BOARDS

Runtime = Literal["tflm", "compiled", "tree", "binary"]
OWN_RUNTIMES: tuple[Runtime, ...] = ("tree", "binary")  # of models that no .tflite holds


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Overhead(_Section):
    """What start-up code, core and libraries take before the application and the model, in bytes."""

    flash: int = Field(ge=0)
    ram: int = Field(ge=0)
    source: str  # how the figures were got


class Environment(_Section):
    """A way to build for the board: a section [env:NAME] of platformio.ini."""

    name: str
    platform: str
    version: str | None = None  # None: in this repository
    framework: str | None = None
    port: str  # folder of firmware/ports
    runtimes: tuple[Runtime, ...] = Field(min_length=1)  # the first one is what `auto` takes
    overhead: Overhead
    emulator: str | None = None  # module of convert.emulate that runs the image
    flash_origin: int | None = None  # where the application starts; None: the platform's own affair
    ram_origin: int | None = None
    note: str | None = None  # what a user should know before taking it
    upload: Literal["pyocd", "esptool", "uf2", "avrdude"] | None = None  # what flashes an image of the bare platform

    def runs(self, runtime: str) -> bool:
        """Whether a runtime can be built in this environment; those of their own need nothing but a compiler."""
        return runtime in OWN_RUNTIMES or runtime in self.runtimes


class Latency(_Section):
    """What turns instructions into time: an estimate, and where it is from."""

    cycles_per_instruction: float = Field(gt=0)
    source: str
    date: str


class Energy(_Section):
    """Supply voltage and current while the core runs, from the data sheet."""

    volts: float = Field(gt=0)
    milliamps: float = Field(gt=0)
    source: str
    date: str


class Slots(_Section):
    """A flash that the firmware itself can write: where weights may lie apart from it, in two slots."""

    page: int = Field(gt=0, multiple_of=4)  # bytes that are erased at once
    source: str


class Tinyml(_Section):
    """The section of our own in a board's JSON; sizes in bytes."""

    architecture: Literal["armv6-m", "armv7-m", "armv7e-m", "armv8-m", "rv32imc", "xtensa", "avr"]
    simd: Literal["dsp", "none"]
    fpu: bool
    bootloader_flash: int = Field(ge=0)  # taken before flash_origin; already outside upload.maximum_size
    stack_reserve: int = Field(gt=0)
    official: Environment | None = None  # through PlatformIO's registry
    bare: Environment | None = None  # in this repository, with a compiler from the PATH
    twin: Environment | None = None  # the same core in an emulated machine of another memory map
    latency: Latency | None = None  # None: unknown
    energy: Energy | None = None
    slots: Slots | None = None  # None: weights are part of the firmware


class Build(BaseModel):
    """The manifest's build section, as far as it is read here."""

    mcu: str
    cpu: str
    f_cpu: str

    @property
    def clock_hz(self) -> int:
        """Core clock in Hz."""
        return int(self.f_cpu.rstrip("L"))


class Upload(BaseModel):
    """The manifest's limits in bytes."""

    maximum_size: int = Field(gt=0)
    maximum_ram_size: int = Field(gt=0)


class Board(BaseModel):
    """A validated board; `id` is the file's name."""

    id: str
    name: str
    vendor: str
    url: str
    build: Build
    upload: Upload
    tinyml: Tinyml

    @property
    def target(self) -> Target:
        """Whose kernels the compiled runtime may use besides the portable ones."""
        if self.tinyml.architecture == "avr":
            return "avr"
        return "cortex_m4" if self.tinyml.simd == "dsp" else "portable"

    @property
    def environments(self) -> tuple[Environment, ...]:
        """The board's environments, official first."""
        section = self.tinyml
        return tuple(e for e in (section.official, section.bare, section.twin) if e is not None)


def names(folder: Path = BOARDS) -> list[str]:
    """Names of all boards, sorted."""
    return sorted(p.stem for p in folder.glob("*.json"))


def load(name: str, folder: Path = BOARDS) -> Board:
    """Load a board by name.

    Raises UsageError for an unknown board or a file that breaks the format; the message names the key.
    """
    path = folder / f"{name}.json"
    if name not in names(folder):
        raise UsageError(f"unknown board {name!r}; allowed are {one_of(names(folder))} (see --list-boards)")
    try:
        return Board.model_validate({"id": name, **json.loads(path.read_text())})
    except json.JSONDecodeError as e:
        raise UsageError(f"boards/{path.name} is not JSON: {e}") from e
    except ValidationError as e:
        first = e.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"boards/{path.name}: key {key}: {first['msg']}, got {first.get('input')!r}") from e
