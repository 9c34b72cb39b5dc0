"""A Keras model's weights as named arrays, for coding."""

from typing import Any

import numpy as np
import numpy.typing as npt

from training import backend
from training.compression import zeros


def keras_tensors(model: Any) -> dict[str, npt.NDArray[Any]]:
    """All that a model has to remember to answer: kernels, biases, and what batch normalisation multiplies and adds.

    Names are `<layer>/<weight>`. Batch normalisation's four vectors become two, `scale` and `shift`; they are not
    multiplied into the kernel, which would take it off its codebook. Quantisers' ranges and masks are left out. Zeros
    have no sign.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    normalisation = backend.keras().layers.BatchNormalization
    for layer in model.layers:
        inner = zeros.plain(layer)
        if isinstance(inner, normalisation):
            weights = _affine(inner)
        elif (kernel := zeros.kernel(layer)) is not None:
            weights = {"kernel": kernel}
            if getattr(inner, "bias", None) is not None:
                weights["bias"] = inner.bias
        elif type(inner).__module__.startswith("tensorflow_model_optimization"):
            continue
        else:
            weights = {w.name.split("/", 1)[-1].split(":")[0]: w for w in inner.weights}
        for name, value in weights.items():
            array = np.asarray(value)
            # -0.0 is a different word, and it is what a mask leaves of a negative weight.
            found[f"{inner.name}/{name}"] = np.where(array == 0, np.zeros((), array.dtype), array)
    return found


def _affine(layer: Any) -> dict[str, Any]:
    """Batch normalisation as a factor and a summand for each channel."""
    scale = 1 / np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
    if layer.gamma is not None:
        scale = scale * np.asarray(layer.gamma)
    shift = -np.asarray(layer.moving_mean) * scale
    if layer.beta is not None:
        shift = shift + np.asarray(layer.beta)
    return {"scale": scale.astype(np.float32), "shift": shift.astype(np.float32)}
