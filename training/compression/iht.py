"""Iterative hard thresholding: Bonsai's second and third phase (Kumar, Goyal and Varma 2017, after Jain, Tewari and
Kar, "On Iterative Hard Thresholding Methods for High-dimensional M-Estimation", 2014), and how ProtoNN becomes sparse
(Gupta et al. 2017).

Second phase: gradient steps, and after every few of them all but the largest weights of each matrix become zero, so
that a weight may come back that was cut too early. Third phase: the support stays, and only what is left is trained.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training import backend
from training.compression import zeros
from training.fitting import TrainingData, fit
from training.settings.trees import Iht


def apply(model: Any, data: TrainingData, settings: Iht) -> Any:
    """`model`, trained on, with the settings' share of zeros in each matrix."""
    weights = zeros.kernels(model)
    schedule = _callback(weights, settings, data.steps(settings))
    fit(model, data, settings, "iht", settings.distillation, [schedule])
    for name, variable in weights.items():
        left, most = int(np.count_nonzero(variable)), kept(settings, name, variable)
        if left > most:
            raise RuntimeError(f"thresholding left {left} weights in {name} where {most} were due")
    return model


def pruned(model: Any, settings: Iht) -> list[str]:
    """All matrices of the model."""
    del settings
    return sorted(zeros.kernels(model))


def kept(settings: Iht, name: str, variable: Any) -> int:
    """How many weights of a matrix stay."""
    sparsity: float = getattr(settings, f"sparsity_{name}")
    return round(int(np.prod(variable.shape)) * (1 - sparsity))


def mask(values: Any, count: int) -> Any:
    """1 for the `count` largest magnitudes of an array, 0 for the others; the first wins a tie."""
    order = np.argsort(-np.abs(values), axis=None, kind="stable")
    found = np.zeros(values.size, values.dtype)
    found[order[:count]] = 1
    return found.reshape(values.shape)


def _callback(weights: Mapping[str, Any], settings: Iht, steps: int) -> Any:
    """Thresholds every few steps; from `settle` on it keeps the support."""
    fixed = max(1, min(int(settings.settle * steps), steps))

    class Threshold(backend.keras().callbacks.Callback):  # type: ignore[misc]
        done = 0
        masks: Mapping[str, Any] = {}

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            del batch, logs
            self.done += 1
            if self.done == fixed or (self.done < fixed and self.done % settings.every == 0):
                self.masks = {name: mask(v.numpy(), kept(settings, name, v)) for name, v in weights.items()}
            elif self.done < fixed:
                return
            for name, variable in weights.items():
                variable.assign(variable * self.masks[name])

    return Threshold()
