"""Float64 and exact references of the preprocessing, written from its documentation and not from its C."""

from fractions import Fraction
from math import floor

import numpy as np
import numpy.typing as npt

from convert.features import Image, Normalise, Series, Spectrum

Array = npt.NDArray[np.float64]


def normalise(x: npt.NDArray[np.int16], wanted: Normalise) -> Array:
    """Real-valued: (x - offset) * scale, clamped to int8's range."""
    return np.clip((x.astype(np.float64) - wanted.offset) * wanted.scale, -128, 127)


def windows(rows: npt.NDArray[np.generic], length: int, hop: int) -> npt.NDArray[np.generic]:
    starts = range(0, len(rows) - length + 1, hop)
    return (
        np.stack([rows[s : s + length] for s in starts]) if len(starts) else rows[:0].reshape(0, length, rows.shape[1])
    )


def resample(x: npt.NDArray[np.int16], in_rate: int, out_rate: int) -> npt.NDArray[np.int16]:
    """Means over the time of each output, exact, rounded to nearest with ties up; x (n,)."""
    n = len(x) * out_rate // in_rate
    out = []
    for k in range(n):
        start, end = Fraction(k * in_rate, out_rate), Fraction((k + 1) * in_rate, out_rate)
        total = Fraction(0)
        for i in range(floor(start), -(-end.numerator // end.denominator)):
            total += int(x[i]) * (min(end, i + 1) - max(start, Fraction(i)))
        out.append(floor(total / (end - start) + Fraction(1, 2)))
    return np.array(out, np.int16)


def _overlaps(size: int, to: int) -> npt.NDArray[np.int64]:
    """How much of each of `size` pixels lies under each of `to`: (to, size), in units of 1 / to of a pixel."""
    edges, outer = np.arange(size + 1) * to, np.arange(to + 1) * size
    low = np.maximum(edges[:-1][None], outer[:-1][:, None])
    high = np.minimum(edges[1:][None], outer[1:][:, None])
    return np.maximum(high - low, 0).astype(np.int64)


def image(pixels: npt.NDArray[np.uint8], wanted: Image) -> npt.NDArray[np.uint8]:
    """Exact area average of uint8 (height, width)."""
    height, width = pixels.shape
    if wanted.crop:
        if width * wanted.height > height * wanted.width:
            cut = max(1, height * wanted.width // wanted.height)
            pixels = pixels[:, (width - cut) // 2 :][:, :cut]
        else:
            cut = max(1, width * wanted.height // wanted.width)
            pixels = pixels[(height - cut) // 2 :][:cut]
    h, w = pixels.shape
    sums = _overlaps(h, wanted.height) @ pixels.astype(np.int64) @ _overlaps(w, wanted.width).T
    grey = ((sums + h * w // 2) // (h * w)).astype(np.uint8)
    return 255 - grey if wanted.invert else grey


# Sound


def frames(x: npt.NDArray[np.int16], s: Spectrum) -> Array:
    wide = x.astype(np.float64)
    starts = range(0, len(x) - s.frame + 1, s.hop)
    cut = np.stack([wide[i : i + s.frame] for i in starts]) if len(starts) else np.zeros((0, s.frame))
    before = np.concatenate([cut[:, :1], cut[:, :-1]], axis=1)
    return (cut - s.pre_emphasis * before) * np.hanning(s.frame)


def spectra(x: npt.NDArray[np.int16], s: Spectrum) -> npt.NDArray[np.complex128]:
    return np.fft.rfft(frames(x, s), s.size)


def filters(s: Spectrum) -> Array:
    """Triangles (bands, size / 2 + 1), by their definition: up from the left edge, down to the right one."""

    def mel(f: float) -> float:
        return 2595 * np.log10(1 + f / 700) if s.scale == "mel" else f

    points = np.linspace(mel(s.low), mel(s.high), s.bands + 2)
    f = np.array([mel(k * s.rate / s.size) for k in range(s.size // 2 + 1)])
    rows = []
    for left, middle, right in zip(points, points[1:], points[2:], strict=False):
        row = np.maximum(0, np.minimum((f - left) / (middle - left), (right - f) / (right - middle)))
        row[0] = 0
        rows.append(row)
    return np.stack(rows)


def log_bands(x: npt.NDArray[np.int16], s: Spectrum) -> Array:
    """log2 of the bands' energies, at least 0 before the triangles are made equal in area."""
    energy = np.abs(spectra(x, s)) ** 2 @ filters(s).T
    found = np.log2(np.maximum(energy, 1))
    if s.equal_area:
        mel = s.scale == "mel"
        ends = 2595 * np.log10(1 + np.array([s.low, s.high]) / 700) if mel else np.array([s.low, s.high])
        points = np.linspace(*ends, s.bands + 2)
        hertz = 700 * (10 ** (points / 2595) - 1) if mel else points
        found += np.log2(2 / (hertz[2:] - hertz[:-2]))
    return found


def mfcc(x: npt.NDArray[np.int16], s: Spectrum) -> Array:
    from scipy.fft import dct

    return dct(log_bands(x, s), type=2, norm="ortho")[:, : s.coefficients]


def plain(width: int) -> Normalise:
    return Normalise((0,) * width, (0.01,) * width)


def sound(spectrum: Spectrum, length: int = 1, hop: int = 1) -> Series:
    width = spectrum.coefficients or spectrum.bands
    return Series(1, spectrum.rate * 1000, length, hop, plain(width), spectrum)
