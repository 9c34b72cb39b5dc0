"""Which layer feeds which: pairs of layers with weights between which a channel can be scaled without a trace.

That is so where everything between them is positively homogeneous, f(s x) = s f(x) for s > 0, works on each channel by
itself and is read by nothing else: ReLU, pooling, flattening, dropout (at inference).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training import backend, grids

# Layers that treat every channel by itself and f(s x) = s f(x).
_ALIKE = (
    *("LeakyReLU", "PReLU", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "Flatten", "Reshape"),
    *("ZeroPadding1D", "ZeroPadding2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    *("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"),
)


@dataclass(frozen=True)
class Link:
    """A layer, the one that alone reads its output, and what stands between them."""

    first: Any
    between: tuple[Any, ...]
    second: Any

    @property
    def channels(self) -> int:
        """Channels of the first layer's output."""
        return int(self.first.output_shape[-1])


def weighted(layer: Any) -> bool:
    """Whether it is a convolution or dense layer with one input, called once, its channels last.

    Exactly these: subclasses, such as transposed convolutions, lay their kernels out otherwise.
    """
    layers = backend.keras().layers
    kinds = (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
    last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return type(layer) in kinds and last and len(layer.inbound_nodes) == 1


def depthwise(layer: Any) -> bool:
    """Whether each channel has a kernel of its own."""
    return isinstance(layer, backend.keras().layers.DepthwiseConv2D)


def inputs(layer: Any, kernel: Any, channels: int) -> Any:
    """A layer's kernel as (weights a channel, input channels): column c is all that multiplies channel c.

    A dense layer after flattening has several rows a channel: row r belongs to channel r modulo `channels`.
    """
    if depthwise(layer):  # (height, width, inputs, multiplier)
        return np.moveaxis(kernel, 2, -1).reshape(-1, channels)
    # (..., inputs, outputs), inputs a multiple of the channels
    split = kernel.reshape(*kernel.shape[:-2], -1, channels, kernel.shape[-1])
    return np.moveaxis(split, -2, -1).reshape(-1, channels)


def scale_inputs(layer: Any, kernel: Any, scales: Any) -> Any:
    """The kernel that answers to input channels divided by `scales` as the given one does to the channels."""
    if depthwise(layer):
        return kernel * scales[:, np.newaxis]
    return kernel * np.tile(scales, kernel.shape[-2] // len(scales))[:, np.newaxis]


def scale_outputs(layer: Any, kernel: Any, scales: Any) -> Any:
    """The kernel whose output channels are `scales` times the given one's."""
    return (grids.columns(kernel, depthwise(layer)) * scales).reshape(kernel.shape)


def links(model: Any) -> list[Link]:
    """All such pairs of a model that shares its layers with no other, from the input to the output.

    A layer may be the first of one pair and the second of another. Batch normalisation ends a chain: fold it first.
    """
    ends = {id(tensor) for tensor in model.outputs}
    found = (_link(layer, ends) for layer in model.layers if weighted(layer) and homogeneous(layer))
    return [link for link in found if link is not None]


def _link(first: Any, ends: set[int]) -> Link | None:
    between: list[Any] = []
    layer, channels = first, int(first.output_shape[-1])
    while True:
        if len(layer.inbound_nodes) != 1 or len(layer.outbound_nodes) != 1 or id(layer.output) in ends:
            return None
        layer = layer.outbound_nodes[0].layer
        if weighted(layer):
            # A grouped convolution's kernel knows only its group's inputs.
            fits = getattr(layer, "groups", 1) == 1 or depthwise(layer)
            return Link(first, tuple(between), layer) if fits else None
        if not homogeneous(layer) or isinstance(layer.output_shape, list) or layer.output_shape[-1] % channels:
            return None
        between.append(layer)


def homogeneous(layer: Any) -> bool:
    """Whether a layer's function, or a weighted layer's activation, passes a channel's positive scale on."""
    layers, activations = backend.keras().layers, backend.keras().activations
    if type(layer) is layers.ReLU:
        return layer.max_value is None and float(layer.threshold) == 0
    if type(layer) is layers.Activation or weighted(layer):
        return layer.activation in (activations.relu, activations.linear)
    return type(layer) in [getattr(layers, name) for name in _ALIKE]


def cuts_at_zero(layer: Any) -> bool:
    """Whether a layer is a plain ReLU or has one as its activation."""
    layers, activations = backend.keras().layers, backend.keras().activations
    if type(layer) is layers.ReLU:
        return layer.max_value is None and float(layer.threshold) == 0 and float(layer.negative_slope) == 0
    return getattr(layer, "activation", None) is activations.relu


def relu_after(layer: Any) -> bool:
    """Whether all that reads a layer's linear answer reads it through a plain ReLU."""
    if cuts_at_zero(layer):
        return True
    if layer.activation is not backend.keras().activations.linear:
        return False
    return len(layer.outbound_nodes) == 1 and cuts_at_zero(layer.outbound_nodes[0].layer)
