"""Preprocessing that is the same on the device and in training: one C implementation, generated from a description.

A description (`description`) becomes tables (`tables`) and C (`source`) around firmware/lib/features. Firmware compiles
it; training calls the very same C on NumPy arrays (`host`).
"""

from convert.features.description import Description, Image, Normalise, Series, Spectrum, learn
from convert.features.host import ImagePath, SeriesPath
from convert.features.source import render

__all__ = [
    "Description",
    "Image",
    "ImagePath",
    "Normalise",
    "Series",
    "SeriesPath",
    "Spectrum",
    "learn",
    "render",
]
