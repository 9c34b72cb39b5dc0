"""Tables of the preprocessing C: worked out in float64 here, integers from there on.

Every function returns what a template of templates/features needs; formats are those of firmware/lib/features.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from convert.features.description import Normalise, Series, Spectrum

Array = npt.NDArray[Any]

LOG_BITS = 9  # FEATURES_LOG_BITS
ONE = 1 << 15  # 1.0 in Q15
# The largest sum of the transform's data, see fft.h.
_HEADROOM = 2.0**29
_MOST_FRACTION = 14


@dataclass(frozen=True)
class NormaliseTable:
    """Offsets int16, multipliers int16 (Q `shift`), shifts uint8."""

    offset: Array
    multiplier: Array
    shift: Array


@dataclass(frozen=True)
class SpectrumTable:
    """Constants of features_spectrum_t: `window` is its first half (uint16 Q15), `sine` a quarter wave (uint16 Q15)."""

    log2_size: int
    fraction: int
    pre_emphasis: int
    frame: int
    hop: int
    window: Array
    sine: Array


@dataclass(frozen=True)
class BandsTable:
    """Constants of features_bands_t."""

    bands: int
    first_bin: int
    end_bin: int
    power_shift: int
    unit: int
    band: Array
    rising: Array
    offset: Array | None


@dataclass(frozen=True)
class DctTable:
    """Constants of features_dct_t: weights int16 Q15 (coefficients, bands)."""

    shift: int
    fraction: int  # binary digits after the point of the result
    weights: Array


def normalise(wanted: Normalise) -> NormaliseTable:
    """Multipliers of 15 significant bits, so that a scale is met within 2^-15."""
    multipliers, shifts = [], []
    for channel, scale in enumerate(wanted.scale):
        if not 2.0**-16 <= scale < 2.0**13:
            raise UsageError(
                f"channel {channel} has scale {scale:.6g} (bytes a raw unit); allowed are 2^-16 to 2^13: record the "
                "channel in another unit"
            )
        shift = min(14 - math.floor(math.log2(scale)), 31)
        multiplier = round(scale * 2.0**shift)
        if multiplier > np.iinfo(np.int16).max:
            shift, multiplier = shift - 1, round(scale * 2.0 ** (shift - 1))
        multipliers.append(multiplier)
        shifts.append(shift)
    return NormaliseTable(
        np.array(wanted.offset, np.int16), np.array(multipliers, np.int16), np.array(shifts, np.uint8)
    )


def hann(frame: int) -> Array:
    """The first half of a symmetric Hann window, uint16 Q15."""
    n = np.arange((frame + 1) // 2)
    return np.rint((0.5 - 0.5 * np.cos(2 * np.pi * n / (frame - 1))) * ONE).astype(np.uint16)


def whole_window(frame: int) -> Array:
    """The window that the C applies, float64 (frame,)."""
    half = hann(frame) / ONE
    return np.concatenate([half, half[: frame // 2][::-1]])


def spectrum(wanted: Spectrum) -> SpectrumTable:
    """As many binary digits after the point as the transform's sums leave room for, whatever the samples are."""
    window = whole_window(wanted.frame)
    pre_emphasis = round(wanted.pre_emphasis * ONE)
    padded = np.concatenate([window, [0.0] * (wanted.frame % 2)])
    largest = 32768 * (1 + pre_emphasis / ONE) * float(np.hypot(padded[::2], padded[1::2]).sum())
    # A rounding of half a unit at each of the stages is far less than the rest of this power of two.
    fraction = min(_MOST_FRACTION, math.floor(math.log2(_HEADROOM * 0.99 / largest)))
    if fraction < 0:
        raise UsageError(
            f"a frame of {wanted.frame} samples is too long for the fixed-point transform; give at most 4096"
        )
    n = np.arange(wanted.size // 4 + 1)
    return SpectrumTable(
        log2_size=wanted.size.bit_length() - 1,
        fraction=fraction,
        pre_emphasis=pre_emphasis,
        frame=wanted.frame,
        hop=wanted.hop,
        window=hann(wanted.frame),
        sine=np.rint(np.sin(2 * np.pi * n / wanted.size) * ONE).astype(np.uint16),
    )


def _to_scale(hertz: Array | float, scale: str) -> Array:
    x = np.asarray(hertz, np.float64)
    return 2595 * np.log10(1 + x / 700) if scale == "mel" else x


def _from_scale(value: Array, scale: str) -> Array:
    return np.asarray(700 * (10 ** (value / 2595) - 1) if scale == "mel" else value, np.float64)


def band_edges(wanted: Spectrum) -> Array:
    """The bands' middles on their scale, with one edge before the first and one behind the last: (bands + 2,)."""
    low, high = _to_scale(wanted.low, wanted.scale), _to_scale(wanted.high, wanted.scale)
    return np.linspace(low, high, wanted.bands + 2)


def bands(wanted: Spectrum, table: SpectrumTable) -> BandsTable:
    """Which bands each bin belongs to, and how its energy is scaled so that no sum leaves 64 bits."""
    edges = band_edges(wanted)
    place = _to_scale(np.arange(wanted.size // 2) * wanted.rate / wanted.size, wanted.scale)
    inside = np.flatnonzero((place > edges[0]) & (place < edges[-1]) & (np.arange(len(place)) > 0))
    band = np.searchsorted(edges, place[inside], side="right") - 1
    rising = np.rint((place[inside] - edges[band]) / (edges[band + 1] - edges[band]) * ONE).astype(np.int64)
    weights = np.zeros(wanted.bands + 2, np.int64)
    np.add.at(weights, band, ONE - rising)
    np.add.at(weights, band + 1, rising)
    empty = np.flatnonzero(weights[1:-1] == 0)
    if len(empty):
        raise UsageError(
            f"band {int(empty[0])} of {wanted.bands} lies between two bins of a transform of {wanted.size} samples; "
            f"give fewer bands, a larger fft, or a higher low_hz than {wanted.low:g}"
        )
    # Parseval: all bins up to half the rate together have at most N / 2 times the energy of the samples.
    sample = 32768 * (1 + table.pre_emphasis / ONE) * 2.0**table.fraction
    energy = wanted.size * sample**2 * float((whole_window(wanted.frame) ** 2).sum()) * ONE
    shift = max(0, math.ceil(math.log2(energy * 1.01)) - 64)
    offset = None
    if wanted.equal_area:
        hertz = _from_scale(edges, wanted.scale)
        offset = np.rint(np.log2(2 / (hertz[2:] - hertz[:-2])) * (1 << LOG_BITS)).astype(np.int16)
    return BandsTable(
        bands=wanted.bands,
        first_bin=int(inside[0]),
        end_bin=int(inside[-1]) + 1,
        power_shift=shift,
        unit=(2 * table.fraction - shift + 15) << LOG_BITS,
        band=band.astype(np.uint8),
        rising=rising.astype(np.uint16),
        offset=offset,
    )


def dct_matrix(bands: int, coefficients: int) -> Array:
    """Rows 0 to coefficients - 1 of the orthonormal DCT-II, float64."""
    k, b = np.arange(coefficients)[:, None], np.arange(bands)
    rows: Array = np.sqrt(2 / bands) * np.cos(np.pi * k * (b + 0.5) / bands)
    rows[0] = np.sqrt(1 / bands)
    return rows


def dct(wanted: Spectrum, table: BandsTable) -> DctTable:
    """Weights, and as many binary digits in the result as int16 has room for."""
    assert wanted.coefficients is not None
    rows = dct_matrix(wanted.bands, wanted.coefficients)
    offset = np.zeros(wanted.bands) if table.offset is None else table.offset / (1 << LOG_BITS)
    # Energies are below 2^64 in the sums' format.
    top = np.abs(np.stack([64 - table.unit / (1 << LOG_BITS) + offset, offset])).max(0)
    largest = float((np.abs(rows) @ top).max())
    fraction = min(LOG_BITS, 15 - math.ceil(math.log2(largest)))
    return DctTable(15 + LOG_BITS - fraction, fraction, np.rint(rows * ONE).clip(max=ONE - 1).astype(np.int16))


def check(series: Series) -> None:
    """Raise UsageError for a description whose numbers do not go together."""
    for name, values in (("offset", series.normalise.offset), ("scale", series.normalise.scale)):
        if len(values) != series.width:
            raise UsageError(
                f"normalisation has {len(values)} values of {name} for {series.width} features; give one each"
            )
