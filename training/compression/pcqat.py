"""Quantisation-aware training that leaves shared weights shared and pruned ones at zero.

TensorFlow Model Optimization's collaborative optimisation, after `prune` and `cluster` or `share`.
"""

from typing import Any

import numpy as np

from convert.errors import UsageError
from training.compression import cqat, zeros
from training.fitting import TrainingData
from training.settings.sharing import Pcqat


def apply(model: Any, data: TrainingData, settings: Pcqat) -> Any:
    """A quantisation-aware copy of `model`; raises UsageError where it has no zeros to keep."""
    if not any((np.asarray(kernel) == 0).any() for kernel in zeros.kernels(model).values()):
        raise UsageError("pcqat keeps zeros and the model has none; put prune before the step that shares, or use cqat")
    before = {name: np.asarray(kernel) == 0 for name, kernel in zeros.kernels(model).items()}
    quantised = cqat.preserve(model, data, settings, keep_zeros=True)
    for name, kernel in zeros.kernels(quantised).items():
        if revived := int((before[name] & (np.asarray(kernel) != 0)).sum()):
            raise RuntimeError(f"{revived} zeros of layer {name} were lost while shared weights were trained")
    return quantised
