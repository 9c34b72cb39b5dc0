"""Biases that undo the mean error of rounded weights, and what ends every rounding step.

Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019, section 4.2: rounding weights by e = W~ - W shifts the mean of each output channel by e E[x], which the bias can
take back.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from convert.scheme import Grid
from training import backend, surgery
from training.fitting import Floats, TrainingData


def samples(data: TrainingData, count: int) -> Floats:
    """So many training samples, drawn by the seed; all where there are fewer. In the order of the data set."""
    x = data.dataset.x_train
    chosen = np.random.default_rng(data.seed).permutation(len(x))[:count]
    return x[np.sort(chosen)]


def correct(layer: Any, wanted: Floats, answers: Floats) -> None:
    """Add to a layer's bias what its answers lack on average; both (n, channels), bias left out of both."""
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + (wanted.astype(np.float64).mean(axis=0) - answers.mean(axis=0))])


def with_biases(model: Any, names: list[str]) -> Any:
    """A copy of the model whose named layers have a bias, zeros where there was none."""
    changed: dict[str, surgery.Replacement] = {}
    for layer in map(model.get_layer, names):
        if not layer.use_bias:
            zeros = np.zeros(layer.output_shape[-1], np.float32)
            changed[layer.name] = surgery.copy(layer, [*layer.get_weights(), zeros], use_bias=True)
    return surgery.rebuild(model, changed)


def marked(model: Any, grids: Mapping[str, Grid]) -> Any:
    """The model with these grids in its scheme, so that conversion keeps exactly these integers."""
    scheme = backend.scheme(model)
    return backend.with_scheme(model, replace(scheme, grids={**scheme.grids, **grids}))
