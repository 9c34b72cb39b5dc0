"""What layers see and answer on samples, without adding anything to the model's graph."""

from typing import Any

import numpy as np

from training import backend, surgery
from training.fitting import BATCH, Floats


def inputs(model: Any, layer: Any, x: Floats) -> Floats:
    """What a layer of one input reads when the model is given samples x, (n, *shape)."""
    if any(layer.input is tensor for tensor in model.inputs):
        return x
    return batched(backend.keras().Model(model.inputs, layer.input), x)


def linear(layer: Any, x: Floats) -> Floats:
    """A layer's answer to its inputs x before its activation, bias included."""
    return batched(surgery.copy(layer, layer.get_weights(), activation="linear"), x)


def batched(function: Any, x: Floats) -> Floats:
    """A model's or layer's answers, computed piece by piece."""
    pieces = [np.asarray(function(x[start : start + BATCH])) for start in range(0, len(x), BATCH)]
    return np.concatenate(pieces)
