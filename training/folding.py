"""Batch normalisation folded into the layer before it: what is rounded or balanced then is what will be stored.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018,
section 3.2: with g = gamma / sqrt(variance + epsilon) weights become w * g and the bias beta + (b - mean) * g.
"""

from typing import Any

import numpy as np

from training import backend, surgery


def fold(model: Any) -> Any:
    """The same function with each BatchNormalization in the convolution or dense layer that alone feeds it.

    Layers keep their names and gain a bias; other normalisations stay. Without any to fold it is a plain copy.
    """
    replacements: dict[str, surgery.Replacement] = {}
    for layer in model.layers:
        norm = _norm_after(layer)
        if norm is not None:
            replacements[layer.name] = surgery.copy(layer, _folded(layer, norm), use_bias=True)
            replacements[norm.name] = surgery.skip
    return surgery.rebuild(model, replacements)


def _norm_after(layer: Any) -> Any | None:
    """The normalisation of a layer's channels that is the only one to read a linear layer's output."""
    layers = backend.keras().layers
    # Exactly these: subclasses, such as transposed convolutions, lay their kernels out otherwise.
    if type(layer) not in (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv2D, layers.Dense):
        return None
    if len(layer.inbound_nodes) != 1 or len(layer.outbound_nodes) != 1 or not _is_linear(layer):
        return None
    norm = layer.outbound_nodes[0].layer
    if type(norm) is not layers.BatchNormalization or len(norm.inbound_nodes) != 1:
        return None
    last = len(layer.output_shape) - 1
    axis = list(norm.axis) if isinstance(norm.axis, list | tuple) else [norm.axis]
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return norm if channels_last and axis in ([last], [-1]) else None


def _is_linear(layer: Any) -> bool:
    return bool(layer.activation is backend.keras().activations.linear)


def _folded(layer: Any, norm: Any) -> list[Any]:
    """Kernel and bias of the layer with the normalisation in them."""
    kernel, *rest = layer.get_weights()
    mean, variance = np.float64(norm.moving_mean.numpy()), np.float64(norm.moving_variance.numpy())
    gain = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        gain = gain * norm.gamma.numpy()
    bias = ((rest[0] if rest else 0.0) - mean) * gain
    if norm.center:
        bias = bias + norm.beta.numpy()
    # A depthwise kernel (height, width, in, multiplier) has its output channels in the last two axes.
    depthwise = isinstance(layer, backend.keras().layers.DepthwiseConv2D)
    return [np.float32(kernel * gain.reshape(kernel.shape[2:] if depthwise else -1)), np.float32(bias)]
