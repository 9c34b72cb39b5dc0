"""Where an int8 model comes from, and what is known about it; models from files are made here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert import keras_import, quantize
from convert.cache import Cache, code_version, digest
from convert.console import Ui
from convert.report import Accuracy

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Source:
    """An int8 model and what is known about it."""

    name: str
    tflite: bytes
    accuracy: Accuracy = field(default_factory=Accuracy)
    samples: Callable[[], tuple[Floats, Labels]] | None = None  # test data: (n, *input shape), (n,)
    require: Callable[[float], None] | None = None  # raises AccuracyError for an int8 accuracy below the recipe's bar
    notes: tuple[str, ...] = ()


def quantized(ui: Ui, cache: Cache, key: str, make: Callable[[], tuple[bytes, str]]) -> tuple[bytes, str]:
    """(int8 .tflite, note) from the cache or from `make`."""

    def fill(folder: Path) -> None:
        tflite, note = make()
        (folder / "model.tflite").write_bytes(tflite)
        (folder / "note.txt").write_text(note)

    with ui.stage("quantise") as stage:
        folder, stage.cached = cache.get("int8", digest(key, code_version("tensorflow", quantize, keras_import)), fill)
        tflite = (folder / "model.tflite").read_bytes()
        stage.detail = f"int8 TFLite, {len(tflite):,} B"
    return tflite, (folder / "note.txt").read_text()


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
