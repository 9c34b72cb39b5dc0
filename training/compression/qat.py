"""Quantisation-aware training: the model learns with its weights and activations rounded to int8.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018;
TFMOT's implementation.
"""

from typing import Any

from training import backend
from training.fitting import TrainingData, fit
from training.settings.quantization import Qat


def apply(model: Any, data: TrainingData, settings: Qat) -> Any:
    """A quantisation-aware copy of `model`."""
    quantised = backend.tfmot().quantization.keras.quantize_model(model)
    fit(quantised, data, settings, "qat", settings.distillation)
    return quantised
