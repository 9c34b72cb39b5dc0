"""Sparsity-preserving quantisation-aware training: as `qat`, but weights that are zero stay zero.

TFMOT's collaborative optimisation (prune-preserving scheme) keeps the zeros of convolutions and dense layers; it
leaves depthwise kernels out, so theirs are set back after each step.
"""

from typing import Any

import numpy as np

from training import backend
from training.compression import zeros
from training.fitting import TrainingData, fit
from training.settings.quantization import Pqat


def apply(model: Any, data: TrainingData, settings: Pqat) -> Any:
    """A quantisation-aware copy of `model` with at least its zeros."""
    quantization = backend.tfmot().quantization.keras
    scheme = backend.tfmot().experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    before = {name: np.asarray(variable) for name, variable in zeros.kernels(model).items()}
    quantised = quantization.quantize_apply(quantization.quantize_annotate_model(model), scheme)
    fit(quantised, data, settings, "pqat", settings.distillation, [_keep_zeros(quantised)])
    for name, variable in zeros.kernels(quantised).items():
        revived = int(((before[name] == 0) & (np.asarray(variable) != 0)).sum())
        if revived:
            raise RuntimeError(f"{revived} zeros of layer {name} were lost in sparsity-preserving training")
    return quantised


def _keep_zeros(model: Any) -> Any:
    """A Keras callback that sets depthwise weights back to zero where they were."""
    kind = backend.keras().layers.DepthwiseConv2D
    depthwise = [layer for layer in model.layers if isinstance(zeros.plain(layer), kind)]
    kept = [
        (variable, np.asarray(variable != 0, np.float32))
        for variable in map(zeros.kernel, depthwise)
        if variable is not None and (np.asarray(variable) == 0).any()
    ]

    class KeepZeros(backend.keras().callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            del batch, logs
            for variable, mask in kept:
                variable.assign(variable * mask)

    return KeepZeros()
