"""Masks: which weights of a kernel stay, and training that leaves the others at exactly zero.

A mask is an array of booleans in the kernel's shape, True where a weight stays. While a masked model trains, a Keras
constraint in the training step itself sets the other weights to zero again after every update, so that no forward pass
ever sees them. That is the same as masking their gradients, only that Adam counts moments for them which nothing reads:
its updates work on each weight alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training import backend, surgery
from training.compression import zeros

Mask = npt.NDArray[np.bool_]
Masks = Mapping[str, Mask]
Scores = Mapping[str, npt.NDArray[Any]]  # how important each weight is, by layer name


def present(model: Any, names: list[str]) -> dict[str, Mask]:
    """The masks that named layers have already: True where the weight is not zero."""
    return {name: np.asarray(v) != 0 for name, v in kernels(model, names).items()}


def kernels(model: Any, names: list[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Kernels of named layers."""
    found = zeros.kernels(model)
    return {name: np.asarray(found[name]) for name in names}


def largest(scores: npt.NDArray[Any], count: int, before: Mask) -> Mask:
    """True for the `count` highest scores among the weights that are present; the first wins a tie."""
    order = np.argsort(-np.where(before, scores, -np.inf), axis=None, kind="stable")
    found = np.zeros(scores.size, bool)
    found[order[:count]] = True
    return found.reshape(scores.shape) & before


def constrained(
    model: Any, masks: Masks, regularizer: Any | None = None, dropout: Mapping[str, float] | None = None
) -> Any:
    """A copy of the model that trains within the masks, with a regulariser on masked kernels and new dropout rates."""
    replacements: dict[str, Any] = {}
    for name, mask in masks.items():
        layer = model.get_layer(name)
        weights = layer.get_weights()
        weights[0] = np.where(mask, weights[0], np.float32(0))
        changes = {_key(layer, "constraint"): _constraint(mask)}
        if regularizer is not None:
            changes[_key(layer, "regularizer")] = regularizer
        replacements[name] = surgery.copy(layer, weights, **changes)
    for name, rate in (dropout or {}).items():
        replacements[name] = surgery.copy(model.get_layer(name), rate=rate)
    return surgery.rebuild(model, replacements)


def released(model: Any, original: Any, masks: Masks) -> Any:
    """The trained model without constraint, with the original's regularisers.

    Raises RuntimeError where a weight outside the masks is not zero.
    """
    for name, kernel in kernels(model, list(masks)).items():
        if revived := int(((kernel != 0) & ~masks[name]).sum()):
            raise RuntimeError(f"{revived} pruned weights of layer {name} came back in retraining")
    return surgery.rebuild(
        model,
        {name: surgery.copy(original.get_layer(name), model.get_layer(name).get_weights()) for name in masks},
    )


def _key(layer: Any, what: str) -> str:
    """The layer's argument for what goes with its kernel."""
    depthwise = isinstance(layer, backend.keras().layers.DepthwiseConv2D)
    return f"{'depthwise' if depthwise else 'kernel'}_{what}"


def _constraint(mask: Mask) -> Any:
    tf = backend.tensorflow()

    class Masked(backend.keras().constraints.Constraint):  # type: ignore[misc]
        def __call__(self, kernel: Any) -> Any:
            return tf.where(mask, kernel, tf.zeros_like(kernel))

    return Masked()
