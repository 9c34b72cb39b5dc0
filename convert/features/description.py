"""What the preprocessing of a model does, in numbers: what a recipe asks for, and what was learned from training data.

Features are bytes. A series gives int8, `real = byte * step`; an image gives uint8 pixels, of which the data set says
what they mean. The model's own input scale is a matter of the last table (`source.render`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError

INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Normalise:
    """A feature's byte is (x - offset) * scale, to nearest; one offset and scale (bytes a raw unit) a channel."""

    offset: tuple[int, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True)
class Spectrum:
    """Frames of sound to the logarithms of bands' energies, or with `coefficients` to so many of their cosine transform.

    Frequencies in Hz; frame and hop in samples. `scale` says how the bands' middles are spread: "mel" (2595 log10(1 +
    f / 700), O'Shaughnessy 1987) or "linear". With `equal_area` triangles have the same area instead of the same height
    (Slaney 1998).
    """

    rate: int
    frame: int
    hop: int
    size: int  # of the Fourier transform, a power of two
    pre_emphasis: float
    scale: str
    bands: int
    low: float
    high: float
    equal_area: bool
    coefficients: int | None


@dataclass(frozen=True)
class Series:
    """A stream of int16 samples: rows (a sample, or a spectrum), normalised, in windows of `length` rows."""

    channels: int
    millihertz: int  # rate of the samples
    length: int
    hop: int
    normalise: Normalise
    spectrum: Spectrum | None = None

    @property
    def width(self) -> int:
        """Features in a row."""
        if self.spectrum is None:
            return self.channels
        return self.spectrum.coefficients or self.spectrum.bands

    @property
    def input_shape(self) -> tuple[int, int]:
        """(rows, features) of a window."""
        return self.length, self.width


@dataclass(frozen=True)
class Image:
    """A grey image of any size to width x height pixels by area; `crop` keeps proportions, `invert` swaps black and
    white."""

    width: int
    height: int
    crop: bool
    invert: bool


Description = Series | Image


def learn(rows: npt.NDArray[Any], deviations: float, names: str = "channel") -> Normalise:
    """The normalisation that maps mean +- `deviations` standard deviations of integer `rows` (n, channels) to int8.

    Exact sums, so that every machine learns the same. Raises UsageError for a channel that never changes.
    """
    wide = rows.astype(np.int64)
    n = len(wide)
    total, squares = wide.sum(0), (wide * wide).sum(0)
    offsets, scales = [], []
    for channel, (s, q) in enumerate(zip(total.tolist(), squares.tolist(), strict=True)):
        variance = (q * n - s * s) / (n * n)
        if variance <= 0:
            raise UsageError(
                f"{names} {channel} of the training data has the same value throughout; it cannot be normalised: leave "
                "it out, or give data in which it changes"
            )
        offsets.append(min(max(round(s / n), INT16.min), INT16.max))
        scales.append(128 / (deviations * float(variance) ** 0.5))
    return Normalise(tuple(offsets), tuple(scales))
