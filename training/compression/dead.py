"""Units and filters that pruning has killed, taken out of the model.

Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015, section 3.5: a neuron without
inputs or without outputs can go. One without inputs still says something, its bias after the activation, to all that
read it; that constant goes into their biases, so that the smaller model answers as before.

Looked at are pairs of layers, convolution or dense, where the second alone reads the first and all that stands between
them works on each channel by itself (activations, pooling, flattening, dropout, batch normalisation, depthwise
convolutions). Elsewhere, such as before a sum of two branches, every unit stays.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training import backend, surgery

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_ELEMENTWISE = ("linear", "relu", "elu", "selu", "gelu", "tanh", "sigmoid", "hard_sigmoid", "swish", "softplus")
_TOLERANCE = 1e-6  # relative; average pooling of a constant rounds


@dataclass(frozen=True)
class _Pair:
    first: Any
    between: tuple[Any, ...]
    second: Any


def remove(model: Any) -> Any:
    """A model without the dead units, with the same answers; the model itself where there are none."""
    while True:
        replacements = _pass(model)
        if not replacements:
            return model
        # What goes may have been all that another unit was read by, or all that it read.
        model = surgery.rebuild(model, replacements)


def _pass(model: Any) -> dict[str, Any]:
    """Copies of all layers that lose a channel, by name."""
    stay: dict[str, Flags] = {}  # output channels
    reads: dict[str, Flags] = {}  # input channels, after flattening every one of its positions
    constants: dict[str, Floats] = defaultdict(lambda: np.zeros(1, np.float32))  # for the biases
    middle: dict[str, Any] = {}
    for pair in _pairs(model):
        dead, folded = _dead(pair)
        if not dead.any():
            continue
        stay[pair.first.name] = ~dead
        reads[pair.second.name] = _spread(~dead, _rows(pair.second))
        constants[pair.second.name] = folded
        middle |= {layer.name: _sliced(layer, ~dead) for layer in pair.between if layer.weights}
    changed = {
        name: _smaller(model.get_layer(name), reads.get(name), stay.get(name), constants[name])
        for name in {**stay, **reads}
    }
    return middle | changed


def _dead(pair: _Pair) -> tuple[Flags, Floats]:
    """Channels between two layers that can go, and what the second's bias gains (its units,)."""
    kernel = np.asarray(pair.first.get_weights()[0])
    silent = ~_any(kernel, -1)
    for layer in pair.between:
        if isinstance(layer, backend.keras().layers.DepthwiseConv2D):
            silent |= ~_any(np.asarray(layer.get_weights()[0]), 2)
    reader = np.asarray(pair.second.get_weights()[0])
    channels = len(silent)
    unread = ~_any(reader, -2).reshape(-1, channels).any(axis=0)
    values = _constant(pair)
    foldable = _foldable(pair.second, values, channels)
    dead = unread | (silent & foldable)
    if dead.all():
        dead[int(np.argmax(~unread))] = False
    gone = _spread(dead & ~unread, reader.shape[-2])
    if _dense(pair.second):
        folded = (values.reshape(-1, len(gone))[0] * gone) @ reader
    else:
        folded = np.einsum("c,hwcf->f", values.reshape(-1, channels)[0] * gone, reader)
    return dead, folded.astype(np.float32)


def _constant(pair: _Pair) -> Floats:
    """What the second layer reads of channels without inputs: (1, ..., channels), or (1, positions * channels)."""
    first, weights = pair.first, pair.first.get_weights()
    bias = weights[1] if first.use_bias else np.zeros(weights[0].shape[-1], np.float32)
    x = first.activation(backend.tensorflow().constant(np.broadcast_to(bias, (1, *first.output_shape[1:]))))
    for layer in pair.between:
        x = layer(x)
    return np.asarray(x)


def _foldable(second: Any, values: Floats, channels: int) -> Flags:
    """Channels whose constant the second layer's bias can take over."""
    if _dense(second):
        # Of more than one row a sample, each gets the same bias.
        rows = values.reshape(-1, values.shape[-1])
        alike = np.isclose(rows, rows[:1], _TOLERANCE, 0).all(axis=0)
        return np.asarray(alike.reshape(-1, channels).all(axis=0))
    flat = values.reshape(-1, channels)
    alike = np.isclose(flat, flat[:1], _TOLERANCE, 0).all(axis=0)
    if second.padding == "same" and max(second.kernel_size) > 1:
        # At the borders zeros stand beside it, which a bias cannot say.
        alike &= (flat == 0).all(axis=0)
    return np.asarray(alike)


def _smaller(layer: Any, reads: Flags | None, stay: Flags | None, constant: Floats) -> Any:
    """A copy of a layer with some of its input and output channels, `constant` added to its bias."""
    weights = layer.get_weights()
    kernel = weights[0]
    bias = (weights[1] if layer.use_bias else np.zeros(kernel.shape[-1], np.float32)) + constant
    biased = bool(layer.use_bias or constant.any())
    if reads is not None:
        kernel = kernel[..., reads, :]
    if stay is not None:
        kernel, bias = kernel[..., stay], bias[stay]
    size = "units" if _dense(layer) else "filters"
    return surgery.copy(layer, [kernel, bias] if biased else [kernel], **{size: kernel.shape[-1], "use_bias": biased})


def _sliced(layer: Any, stay: Flags) -> Any:
    """A copy of a layer between two others with some of its channels."""
    if isinstance(layer, backend.keras().layers.DepthwiseConv2D):
        kernel, *bias = layer.get_weights()
        return surgery.copy(layer, [kernel[:, :, stay], *(b[stay] for b in bias)])
    return surgery.copy(layer, [w[_spread(stay, len(w))] for w in layer.get_weights()])


def _any(kernel: Any, axis: int) -> Flags:
    """Whether any weight along all other axes is not zero."""
    others = tuple(a for a in range(kernel.ndim) if a != axis % kernel.ndim)
    return np.asarray((kernel != 0).any(axis=others))


def _spread(flags: Flags, size: int) -> Flags:
    """Channels' flags for every position: a flattened map has its channels innermost."""
    return np.tile(flags, size // len(flags))


def _rows(layer: Any) -> int:
    return int(layer.get_weights()[0].shape[-2])


def _pairs(model: Any) -> list[_Pair]:
    ends = {id(tensor) for tensor in model.outputs}
    found = [_pair(layer, ends) for layer in model.layers if _weighted(layer) and _elementwise(layer.activation)]
    return [pair for pair in found if pair is not None]


def _pair(first: Any, ends: set[int]) -> _Pair | None:
    between: list[Any] = []
    layer = first
    while len(layer.inbound_nodes) == len(layer.outbound_nodes) == 1 and id(layer.output) not in ends:
        layer = layer.outbound_nodes[0].layer
        if _weighted(layer):
            flat = any(isinstance(each, backend.keras().layers.Flatten) for each in between)
            fits = len(layer.inbound_nodes) == 1 and (_dense(layer) or not flat)
            return _Pair(first, tuple(between), layer) if fits else None
        if not _per_channel(layer):
            return None
        between.append(layer)
    return None


def _weighted(layer: Any) -> bool:
    layers = backend.keras().layers
    if type(layer) is layers.Dense:
        return True
    return type(layer) is layers.Conv2D and layer.groups == 1 and layer.data_format == "channels_last"


def _dense(layer: Any) -> bool:
    return isinstance(layer, backend.keras().layers.Dense)


def _elementwise(activation: Any) -> bool:
    activations = backend.keras().activations
    return activation in [getattr(activations, name) for name in _ELEMENTWISE]


def _per_channel(layer: Any) -> bool:
    """Whether a layer works on each channel by itself."""
    layers = backend.keras().layers
    if type(layer) is layers.Activation:
        return _elementwise(layer.activation)
    if type(layer) is layers.BatchNormalization:
        return list(layer.axis) == [len(layer.output_shape) - 1]
    if type(layer) is layers.DepthwiseConv2D:
        last = layer.data_format == "channels_last"
        return last and layer.depth_multiplier == 1 and _elementwise(layer.activation)
    names = ("ReLU", "LeakyReLU", "Dropout", "Flatten", "ZeroPadding2D", "MaxPooling2D", "AveragePooling2D")
    return type(layer) in [getattr(layers, name) for name in (*names, "GlobalAveragePooling2D", "GlobalMaxPooling2D")]
