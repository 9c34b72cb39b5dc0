"""Where an integer model comes from, its family, and what is known about it; models from files are made here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from convert import golden, graph, keras_import, quantize, report, variants
from convert.cache import Cache, code_version, digest
from convert.console import Ui
from convert.graph import Graph

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.integer]
Bytes = npt.NDArray[np.uint8]


class Answers(NamedTuple):
    """What a family's reference says to vectors."""

    outputs: npt.NDArray[np.uint8]  # (n, output bytes)
    arena: golden.ArenaUse | None  # as the reference measured it, where it does
    cached: bool


@dataclass(frozen=True)
class Family:
    """A kind of model: how its file is read, what says which bytes are right, and what runs it."""

    title: str  # of its files
    file: str  # name in the output folder
    judge: str
    read: Callable[[bytes], Graph]
    ask: Callable[[Graph, Bytes, golden.Progress, bool], Answers]  # vectors (n, input bytes); each from the first state
    version: Callable[[], str]  # of the code that makes its models
    locate: Callable[[Graph, Bytes], str] | None = None  # where an output differs; None: layer by layer


def _ask_tflm(g: Graph, inputs: Bytes, progress: golden.Progress, apart: bool) -> Answers:
    found, cached = golden.cached(g, inputs, Cache(), progress, apart=apart)
    return Answers(found.outputs, found.arena, cached)


def _tflite_version() -> str:
    return code_version("tensorflow", quantize, variants, keras_import)


TFLITE = Family("int8 TFLite", "model.tflite", report.TFLM, graph.load, _ask_tflm, _tflite_version)


@dataclass(frozen=True)
class Source:
    """An integer model and what is known about it."""

    name: str
    data: bytes  # the family's file
    accuracy: report.Accuracy = field(default_factory=report.Accuracy)
    samples: Callable[[], tuple[Floats, Labels]] | None = None  # test data: (n, *input shape), (n,)
    classes: Callable[[], tuple[str, ...]] | None = None  # names of what the labels number
    require: Callable[[float], None] | None = None  # raises AccuracyError for an int8 accuracy below the recipe's bar
    notes: tuple[str, ...] = ()
    features: Callable[[Graph], Mapping[str, str]] | None = None  # sources for live applications
    family: Family = TFLITE


def quantized(
    ui: Ui, cache: Cache, key: str, make: Callable[[], tuple[bytes, str]], family: Family = TFLITE
) -> tuple[bytes, str]:
    """(a family's file, note) from the cache or from `make`."""

    def fill(folder: Path) -> None:
        data, note = make()
        (folder / family.file).write_bytes(data)
        (folder / "note.txt").write_text(note)

    with ui.stage("quantise") as stage:
        folder, stage.cached = cache.get("int8", digest(key, family.version()), fill)
        data = (folder / family.file).read_bytes()
        stage.detail = f"{family.title}, {len(data):,} B"
    return data, (folder / "note.txt").read_text()


def from_file(path: Path, representative: Path | None, allow_custom_code: bool, seed: int, ui: Ui) -> Source:
    """A user's model. Raises UsageError for what cannot be read, converted or quantised."""
    with ui.stage("import") as stage:
        imported = keras_import.load(path, allow_custom_code=allow_custom_code)
        stage.detail = f"{path} ({imported.kind})"
    if imported.tflite is not None:
        return Source(path.stem, imported.tflite)

    def make() -> tuple[bytes, str]:
        data, note = quantize.representative_from(representative, imported.keras_model, seed)
        return quantize.to_int8(imported.keras_model, data), note or ""

    calibration = representative.read_bytes() if representative else b""
    tflite, note = quantized(ui, Cache(), digest(imported.source_sha256, calibration, seed), make)
    return Source(path.stem, tflite, notes=(note,) if note else ())
