"""Preprocessing that is the same on the device and in training: one C implementation, generated from a description.

A description (`description`) becomes tables (`tables`) and C (`source`) around firmware/lib/features. Firmware compiles
it; training calls the very same C on NumPy arrays (`host`).
"""

from convert.features.description import (
    Description,
    Image,
    Normalise,
    Preprocessed,
    Series,
    Spectrum,
    int8_values,
    learn,
)
from convert.features.host import ImagePath, SeriesPath, version
from convert.features.source import render

__all__ = [
    "Description",
    "Image",
    "ImagePath",
    "Normalise",
    "Preprocessed",
    "Series",
    "SeriesPath",
    "Spectrum",
    "int8_values",
    "learn",
    "render",
    "version",
]
