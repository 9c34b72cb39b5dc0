"""Iterative magnitude pruning: small weights become zero, the others are trained on from where they are, and again.

Han, Pool, Tran and Dally, "Learning both Weights and Connections for Efficient Neural Networks", 2015. A round's
threshold is a quality parameter times the standard deviation of the layer's weights, zeros among them, as in the paper;
or whatever reaches a target sparsity of each layer or of all together. In the retraining: L1 or L2 regularisation, less
dropout, and zeros that stay zero. At the end units without inputs or outputs are taken out of the model.

Where weights of all layers compete for one target they are ranked by magnitude, by magnitude in standard deviations
of their layer (one quality parameter for all), or by LAMP: a weight's square over the sum of the squares in its layer
that are no smaller (Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", 2021), which keeps thin
layers alive without a sensitivity scan.
"""

from typing import Any

import numpy as np

from convert.errors import UsageError
from training.compression import masks, rounds
from training.compression.masks import Mask, Masks
from training.fitting import TrainingData
from training.settings.pruning import IterativePrune


def apply(model: Any, data: TrainingData, settings: IterativePrune) -> Any:
    """A copy of `model` with its small weights at zero.

    Raises UsageError for layers that the model does not have and for a quality that leaves a layer without weights.
    """

    def choose(current: Any, before: Masks, number: int) -> dict[str, Mask]:
        kernels = masks.kernels(current, list(before))
        if settings.quality is not None:
            return {n: above(n, k, settings.quality) for n, k in kernels.items()}
        assert settings.sparsity is not None  # the settings have one of the two
        scores = {n: score(k, settings) for n, k in kernels.items()}
        return rounds.by_target(scores, before, settings, settings.sparsity, number)

    return rounds.run(model, data, settings, "iterative_prune", choose)


def pruned(model: Any, settings: IterativePrune) -> list[str]:
    """The layers that the settings prune."""
    return rounds.layers(model, settings)


def above(name: str, kernel: Any, quality: float) -> Mask:
    """Where a layer's weights are larger than `quality` of their standard deviations; UsageError where none is."""
    found: Mask = np.abs(kernel) > quality * np.std(kernel)
    if not found.any():
        raise UsageError(
            f"compress.quality = {quality:g} prunes every weight of layer {name}; lower it or add the layer to skip"
        )
    return found


def score(kernel: Any, settings: IterativePrune) -> Any:
    """How important the weights of a layer are, comparable with other layers' as the settings rank them."""
    size = np.abs(kernel.astype(np.float64))
    if settings.scope == "layer" or settings.rank == "magnitude":
        return size
    if settings.rank == "deviation":
        return size / np.std(kernel)
    return lamp(size)


def lamp(size: Any) -> Any:
    """Each weight's square over the sum of all squares of the layer that are no smaller; 0 for zeros."""
    squares = np.ravel(size) ** 2
    order = np.argsort(-squares, kind="stable")
    shares = np.zeros_like(squares)
    shares[order] = squares[order] / np.maximum(np.cumsum(squares[order]), np.finfo(np.float64).tiny)
    return shares.reshape(np.shape(size))
