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
    """Frames of sound to the logarithms of bands' energies; with `coefficients`, to so many of their cosine transform.

    Frequencies in Hz; frame and hop in samples. `scale` says how the bands' middles are spread: "mel" (2595 log10(1 +
    f / 700), O'Shaughnessy 1987) or "linear"; triangles are straight on that scale, as HTK's are. With `equal_area`
    they have the same area instead of the same height (Slaney 1998).
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


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """How samples were made of raw integers, for the firmware to do the same.

    `values` (256,) is the real number that each feature byte stands for, by the byte as an unsigned number: the
    samples are values[bytes]. `recording` is some test data as a sensor gives it, int16 (n, channels), for a series.
    """

    description: Description
    values: npt.NDArray[np.float32]
    recording: npt.NDArray[np.int16] | None = None


def int8_values(step: float) -> npt.NDArray[np.float32]:
    """What the bytes of int8 features stand for: byte * step."""
    signed = np.arange(256, dtype=np.uint8).view(np.int8)
    return signed.astype(np.float32) * np.float32(step)


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
