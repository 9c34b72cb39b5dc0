"""Quantisation-aware training that leaves shared weights shared: TFMOT's cluster-preserving scheme.

TensorFlow Model Optimization's collaborative optimisation. The values of each layer are found again in the shared
model, and it keeps as many; zero is a value like others (`pcqat` keeps zeros where they are).
"""

from typing import Any

import numpy as np

from training import backend
from training.compression import zeros
from training.fitting import TrainingData, fit
from training.settings.sharing import Cqat, Pcqat


def apply(model: Any, data: TrainingData, settings: Cqat) -> Any:
    """A quantisation-aware copy of `model` with as many different weights a layer."""
    return preserve(model, data, settings, keep_zeros=False)


def preserve(model: Any, data: TrainingData, settings: Cqat | Pcqat, keep_zeros: bool) -> Any:
    """The copy, trained; with `keep_zeros`, weights that are zero stay zero.

    Raises RuntimeError where a layer has more different weights than before. Depthwise kernels are not looked at: TFMOT
    leaves them out.
    """
    combine, quantization = backend.tfmot().experimental.combine, backend.tfmot().quantization.keras
    scheme = combine.Default8BitClusterPreserveQuantizeScheme(keep_zeros)
    quantised = quantization.quantize_apply(quantization.quantize_annotate_model(model), scheme)
    fit(quantised, data, settings, settings.technique, settings.distillation)
    stripped = combine.strip_clustering_cqat(quantised)
    depthwise = backend.keras().layers.DepthwiseConv2D
    after = zeros.kernels(stripped)
    for layer in model.layers:
        kernel = zeros.kernel(layer)
        if kernel is None or isinstance(layer, depthwise):
            continue
        had, has = len(np.unique(kernel)), len(np.unique(after[layer.name]))
        if has > had:
            raise RuntimeError(f"layer {layer.name} has {has} different weights where {had} were to be preserved")
    return stripped
