"""Quantisation after training: batch normalisation folded, kernels rounded to grids, the format marked for conversion.

Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: A whitepaper", 2018 (formats, scales
for each channel); Banner, Nahshan and Soudry, "Post training 4-bit quantization of convolutional networks for
rapid-deployment", 2019 (clipping with the least squared error).
"""

from typing import Any

from convert.scheme import Scheme
from training import backend, folding, rounding
from training.fitting import TrainingData
from training.settings.quantization import PostTraining


def apply(model: Any, data: TrainingData, settings: PostTraining) -> Any:
    """The model with its weights as they will be stored, and a scheme; UsageError for an unknown layer in `skip`."""
    del data
    folded = folding.fold(model)
    chosen = rounding.layers(folded, settings.skip)
    if settings.format not in ("int8", "int16x8"):
        return backend.with_scheme(folded, Scheme(settings.format))
    grids = {
        layer.name: rounding.grid(layer, settings.weight_bits, settings.per_channel, settings.clipping)
        for layer in chosen
    }
    return backend.with_scheme(rounding.rounded(folded, grids), Scheme(settings.format, grids))
