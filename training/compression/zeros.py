"""Which kernels pruning works on, and how many of their weights are zero."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from convert.errors import UsageError
from training import backend
from training.settings.pruning import Prune


def plain(layer: Any) -> Any:
    """The layer inside TFMOT's wrappers."""
    while hasattr(layer, "layer"):
        layer = layer.layer
    return layer


def kernel(layer: Any) -> Any | None:
    """The kernel variable of a convolution or dense layer, wrapped or not; None for other layers."""
    layers = backend.keras().layers
    if not isinstance(plain(layer), layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
        return None
    # By name: in a quantisation-aware model the attribute `kernel` is the rounded tensor, not the variable.
    return next(w for w in layer.weights if w.name.split("/")[-1] in ("kernel:0", "depthwise_kernel:0"))


def kernels(model: Any) -> dict[str, Any]:
    """Kernel variables of a model by layer name; a layer with several has a name for each."""
    found = {plain(layer).name: kernel(layer) for layer in model.layers}
    for layer in model.layers:
        # Layers of our own say themselves which of their weights may be zero.
        found |= getattr(plain(layer), "sparse_weights", dict)()
    return {name: variable for name, variable in found.items() if variable is not None}


def prunable(model: Any, settings: Prune) -> list[str]:
    """Names of the layers that the settings prune; raises UsageError where `skip` names no layer with weights."""
    candidates = kernels(model)
    unknown = sorted(set(settings.skip) - set(candidates))
    if unknown:
        raise UsageError(
            f"compress.skip names {', '.join(map(repr, unknown))}, which the model does not have; "
            f"layers with weights are {', '.join(candidates)}"
        )
    depthwise = backend.keras().layers.DepthwiseConv2D
    chosen = [
        plain(layer).name
        for layer in model.layers
        if plain(layer).name in candidates and (settings.depthwise or not isinstance(plain(layer), depthwise))
    ]
    return [name for name in chosen if name not in settings.skip]


def sparsity(weights: Mapping[str, Any], names: list[str]) -> float:
    """Share of exact zeros in the named kernels together."""
    values = [np.asarray(weights[name]) for name in names]
    return sum(int((v == 0).sum()) for v in values) / sum(v.size for v in values)


def most_zeros(settings: Prune, weights: Mapping[str, Any], names: list[str]) -> float:
    """The sparsity that pruning gives where it works: in each kernel the final share, rounded to whole weights."""
    sizes = [np.asarray(weights[name]).size for name in names]
    return sum(round(size * settings.sparsity) for size in sizes) / sum(sizes)
