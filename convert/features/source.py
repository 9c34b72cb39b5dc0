"""The generated C of a description."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from convert import emit
from convert.cache import digest
from convert.features import tables
from convert.features.description import Description, Image, Series


def render(description: Description, to_model: npt.NDArray[np.uint8] | None = None) -> dict[str, str]:
    """preprocessing.h and preprocessing.c; `to_model` (256,) maps a feature's byte to the model's input byte.

    Raises UsageError for a description that the C cannot do.
    """
    names = _context(description, to_model)
    return {name: emit.render(f"features/{name}.j2", names) for name in ("preprocessing.h", "preprocessing.c")}


def _context(description: Description, to_model: npt.NDArray[np.uint8] | None) -> dict[str, Any]:
    identity = to_model is None or np.array_equal(to_model, np.arange(256))
    key = digest(asdict(description), None if to_model is None else to_model.tobytes())
    names: dict[str, Any] = {"digest": key[:16], "to_model": None if identity else to_model, "image": None}
    if isinstance(description, Image):
        return names | {"image": description}
    tables.check(description)
    names |= {"window": description, "channels": description.channels, "width": description.width}
    names |= {"millihertz": description.millihertz, "normalise": tables.normalise(description.normalise)}
    names |= {"spectrum": None, "bands": None, "dct": None, "about": _about(description)}
    if description.spectrum is not None:
        spectrum = tables.spectrum(description.spectrum)
        bands = tables.bands(description.spectrum, spectrum)
        dct = tables.dct(description.spectrum, bands) if description.spectrum.coefficients else None
        names |= {"spectrum": spectrum, "bands": bands, "dct": dct}
    return names


def _about(series: Series) -> str:
    rows = f"windows of {series.length} rows every {series.hop}, each row {series.width} features"
    if series.spectrum is None:
        return f"{series.channels} channels, normalised; {rows}."
    s = series.spectrum
    kind = "MFCC" if s.coefficients else f"log energies on a {s.scale} scale"
    return f"{kind} of frames of {s.frame} samples every {s.hop}, normalised; {rows}."
