"""Binary networks: weights of one bit, and activations of one bit where the scheme has them.

The model is rebuilt in the order of the scheme's paper and trained further from its weights; its own batch
normalisation and activations make room for the scheme's:

- `bnn`: convolution, pooling, batch normalisation, sign; weights +-1. Hubara et al., "Binarized Neural Networks", 2016.
- `binary_connect`: convolution, pooling, batch normalisation, ReLU; weights +-1, activations in floating point.
  Courbariaux, Bengio and David, "BinaryConnect", 2015, with the deterministic sign.
- `binary_weights`: convolution, batch normalisation, ReLU, pooling; weights +-alpha, a channel's mean |W|.
  Rastegari et al., "XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks", 2016, section 3.1.
- `xnor`: batch normalisation, sign, convolution, pooling; weights +-alpha. The same, sections 3.2 and 3.3; its K, the
  inputs' magnitudes, comes with `scale_input`. Layers that stay in full precision get a ReLU for the sign.
- `integer_bnn`: `bnn` for firmware, integers from input to scores: every layer is binary, the input has 256 steps, and
  the last batch normalisation is rounded to integers (docs/binary.md).
- `integer_tnn`: the same with ternary weights, -1, 0 and +1, between the first and the last layer. Li, Zhang and Liu,
  "Ternary Weight Networks", 2016; Alemdar et al., "Ternary Neural Networks for Resource-Efficient AI Applications",
  2017.

The first layer always sees the real input, or its steps. Latent weights live in training only: the model that is
returned holds +1 and -1, alpha beside it, so that its file says what a device needs and training/binary_export.py
loses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convert.errors import UsageError
from training import backend, binary_layers, surgery
from training.fitting import TrainingData, fit
from training.settings.binary import Binarize

FACTOR_BITS = 9  # of the last layer's integer factors, besides the sign
MOMENTUM = 0.9  # of batch normalisation: signs flip, and statistics over many steps would be those of other weights


@dataclass
class Block:
    """A layer with weights and what goes with it."""

    layer: Any
    flatten: bool = False  # before the layer
    dropout: Any | None = None  # before the layer
    pools: list[Any] = field(default_factory=list)  # after the layer


def apply(model: Any, data: TrainingData, settings: Binarize) -> Any:
    """A binary network that starts from `model`'s weights.

    Raises UsageError for a graph that is not layers in a row, for layers that have no place in a binary network, and
    where `settings.skip` names an unknown layer or leaves none to binarise.
    """
    blocks = read(model)
    skip = [] if settings.integer else settings.skip
    network = rebuilt(model, blocks, _chosen([block.layer.name for block in blocks], skip), settings)
    if settings.integer:
        _check_range(data.dataset.x_train)
    fit(network, data, settings, "binarize", settings.distillation)
    kinds = (binary_layers.layer("BinaryDense"), binary_layers.layer("BinaryConv2D"))
    learned = [layer for layer in network.layers if isinstance(layer, kinds)]
    made = {layer.name: binary_layers.finished(layer) for layer in learned}
    if settings.integer:
        last = network.layers[-2]
        made[last.name] = integer_scores(last)
    return surgery.rebuild(network, made)


def integer_scores(norm: Any) -> Any:
    """An unbuilt layer of integers near a batch normalisation: factors of up to FACTOR_BITS bits and a common unit."""
    gamma, beta, mean, variance = (np.asarray(weight, np.float64) for weight in norm.get_weights())
    factors = gamma / np.sqrt(variance + norm.epsilon)
    exponent = int(np.ceil(np.log2(max(np.abs(factors).max(), 1e-6) / (2**FACTOR_BITS - 1))))
    integers = [np.rint(part / 2.0**exponent) for part in (factors, beta - mean * factors)]
    layer = binary_layers.layer("IntegerScores")(name=norm.name)
    return surgery.with_weights(layer, [*(part.astype(np.float32) for part in integers), np.float32(exponent)])


def _check_range(x: Any) -> None:
    """Raises UsageError for inputs that are not what Steps takes."""
    low, high = float(np.min(x)), float(np.max(x))
    if low < 0 or high > 1:
        raise UsageError(
            f"integer schemes of binarize take inputs between 0 and 1, such as images; these lie in {low:g} to "
            f"{high:g}: take scheme bnn, which stays on the host, or another technique"
        )


def custom_layers() -> dict[str, Any]:
    """What Keras needs to load a binary model."""
    return binary_layers.custom_layers()


def read(model: Any) -> list[Block]:
    """The model's layers with weights and what stands around them; raises UsageError for what has no place."""
    layers = backend.keras().layers
    blocks: list[Block] = []
    waiting: dict[str, Any] = {}
    *inner, last = binary_layers.chain(model)
    if not _is_softmax(last):
        raise UsageError(f"binarize takes a classifier that ends in a softmax; layer {last.name!r} is the last here")
    for layer in [*inner, last]:
        if type(layer) in (layers.Conv2D, layers.Dense):
            _check(layer, layer is last)
            blocks.append(Block(layer, **waiting))
            waiting = {}
        elif isinstance(layer, layers.MaxPooling2D) and blocks and not waiting:
            blocks[-1].pools.append(layer)
        elif isinstance(layer, layers.Flatten):
            waiting["flatten"] = True
        elif isinstance(layer, layers.Dropout):
            waiting["dropout"] = layer
        elif layer is not last and not isinstance(layer, layers.BatchNormalization) and not _is_relu(layer):
            raise UsageError(
                f"binarize cannot take layer {layer.name!r} of type {type(layer).__name__}; it takes Conv2D, Dense, "
                "BatchNormalization, ReLU, MaxPooling2D after a convolution, Flatten and Dropout: take an architecture "
                "such as lenet, lenet_5 or lenet_300_100"
            )
    return blocks


def rebuilt(model: Any, blocks: Sequence[Block], chosen: Sequence[str], settings: Binarize) -> Any:
    """The untrained binary network: the blocks in the scheme's order, latent weights where a layer is chosen."""
    keras = backend.keras()
    layers = keras.layers
    signs, scaled = (
        settings.integer or settings.scheme in ("bnn", "xnor"),
        settings.scheme in ("binary_weights", "xnor"),
    )
    before = settings.scheme == "xnor"  # batch normalisation and activation before the layer, not after it
    image = layers.Input(model.inputs[0].shape[1:], name=model.inputs[0].node.layer.name)
    x = binary_layers.layer("Steps")(name="steps")(image) if settings.integer else image

    def norm(name: str) -> Any:
        return layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")

    def activation(name: str, binary: bool) -> Any:
        return binary_layers.layer("Sign")(name=f"{name}_sign") if binary else layers.ReLU(name=f"{name}_relu")

    for number, block in enumerate(blocks):
        old, name, first, last = block.layer, block.layer.name, number == 0, number == len(blocks) - 1
        binary = name in chosen
        signed = signs and not first and (binary or not before)
        magnitude = None
        if before and not first:
            x = norm(name)(x)
            magnitude = _input_scale(old)(x) if settings.scale_input and binary else None
            x = activation(name, binary)(x)
        if block.flatten:
            x = layers.Flatten(name=f"{name}_flatten")(x)
        if block.dropout is not None and not signed:  # a dropped sign would be neither +1 nor -1
            x = surgery.copy(block.dropout)(x)
        levels = 3 if settings.scheme == "integer_tnn" and not first and not last else 2
        x = _layer(old, binary, scaled, signed, last, levels)(x)
        if magnitude is not None:
            x = layers.Multiply(name=f"{name}_scaled")([x, magnitude])
        after = [] if last else [activation(name, signs)] if not before else [activation(name, False)] if first else []
        if after or (last and binary):
            after.insert(0, norm(name if not before or first else f"{name}_output"))
        pools = [surgery.copy(pool) for pool in block.pools]
        # The papers of the sign pool before batch normalisation, the one of the scales after the ReLU.
        for step in [*after, *pools] if scaled else [*pools, *after]:
            x = step(x)
    return keras.Model(image, layers.Softmax(name="probabilities")(x), name=model.name)


def _chosen(names: Sequence[str], skip: Sequence[str] | None) -> list[str]:
    """Layers to binarise."""
    left_out = [names[0], names[-1]] if skip is None else skip
    if unknown := sorted(set(left_out) - set(names)):
        raise UsageError(
            f"compress.skip names {', '.join(map(repr, unknown))}, which the model does not have; "
            f"layers with weights are {', '.join(names)}"
        )
    chosen = [name for name in names if name not in left_out]
    if not chosen:
        raise UsageError(
            f"binarize has no layer left: of {', '.join(names)}, compress.skip keeps all in full precision (left out, "
            "it keeps the first and the last); name fewer"
        )
    return chosen


def _layer(old: Any, binary: bool, scaled: bool, signed: bool, last: bool, levels: int) -> Any:
    """An unbuilt layer that starts from the old one's weights; only a last one in full precision has a bias."""
    kernel, *bias = old.get_weights()
    if not binary:
        return surgery.copy(old, [kernel, *bias] if last else [kernel], activation=None, use_bias=last and bool(bias))
    convolution = isinstance(old, backend.keras().layers.Conv2D)
    own: dict[str, Any] = {"scaled": scaled, "levels": levels}
    if convolution and signed:
        own["edge"] = binary_layers.EDGE
    kind = binary_layers.layer("BinaryConv2D" if convolution else "BinaryDense")
    weights = [np.clip(kernel, -1, 1), *([np.ones(kernel.shape[-1], np.float32)] if scaled else [])]
    return surgery.with_weights(kind.from_config({**old.get_config(), **own}), weights)


def _input_scale(old: Any) -> Any:
    """The layer that works out K for an old layer's inputs."""
    window: dict[str, Any] = {"window": (), "strides": (), "padding": "valid"}
    if isinstance(old, backend.keras().layers.Conv2D):
        window = {"window": old.kernel_size, "strides": old.strides, "padding": old.padding}
    return binary_layers.layer("InputScale")(**window, name=f"{old.name}_magnitude")


def _check(layer: Any, last: bool) -> None:
    """Raises UsageError for a convolution or dense layer of a kind that the binary layers are not."""
    function = layer.activation.__name__
    if function not in ("linear", "relu") and not (last and function == "softmax"):
        raise UsageError(
            f"binarize cannot take layer {layer.name!r} with activation {function}; ReLU or none is allowed"
        )
    if isinstance(layer, backend.keras().layers.Dense):
        if len(layer.input.shape) != 2:
            raise UsageError(f"binarize cannot take dense layer {layer.name!r} on maps: put a Flatten layer before it")
    elif layer.groups != 1 or layer.dilation_rate != (1, 1):
        raise UsageError(f"binarize cannot take layer {layer.name!r}: its groups and dilation_rate must be 1")


def _is_softmax(layer: Any) -> bool:
    layers = backend.keras().layers
    return isinstance(layer, layers.Softmax) or getattr(getattr(layer, "activation", None), "__name__", "") == "softmax"


def _is_relu(layer: Any) -> bool:
    layers = backend.keras().layers
    if isinstance(layer, layers.Activation):
        return bool(layer.activation.__name__ in ("relu", "linear"))
    return isinstance(layer, layers.ReLU) and layer.max_value is None and not layer.negative_slope
