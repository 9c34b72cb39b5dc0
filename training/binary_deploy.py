"""What firmware takes of a network that `binarize` made with an integer scheme, as plain arrays.

Batch normalisation and sign, with whatever pooling lies between them, are one integer threshold a channel: bit =
sum >= limit, after the weights of channels that fall with the sum were negated. It is found by asking the model's own
layers about integers, so that integers and Keras agree to the bit. Pooling before the threshold becomes pooling of
bits: OR, and AND in channels that fall.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from training import backend, binary_layers

Array = npt.NDArray[Any]
Part = Mapping[str, Any]  # "kind" and what belongs to it

EXACT = 2**24  # whole numbers below are exact in float32
WIDEST = 255  # of an input's steps


def parts(model: Any) -> tuple[Part, ...]:
    """The network's layers in order, as convert/binary/family.py takes them.

    Raises UsageError for a model that an integer scheme did not make, and for sums that float32 does not hold exactly.
    """
    layers = binary_layers.chain(model)
    steps, scores = (binary_layers.layer(name) for name in ("Steps", "IntegerScores"))
    if not isinstance(layers[0], steps) or len(layers) < 2 or not isinstance(layers[-2], scores):
        raise UsageError(
            f"model {model.name} does not run in integers throughout: give its step binarize "
            'scheme = "integer_bnn" or "integer_tnn"'
        )
    found: list[Part] = [{"kind": "input", "shape": tuple(model.inputs[0].shape[1:]), "scale": binary_layers.STEP}]
    waiting = layers[1:-2]
    while len(waiting) > 1:
        count = next(i for i, layer in enumerate(waiting) if type(layer).__name__ == "Sign") + 1
        found += _stage(waiting[:count], first=len(found) == 1)
        waiting = [layer for layer in waiting[count:] if type(layer).__name__ != "Flatten"]
    factors, offsets, exponent = layers[-2].get_weights()
    kernel = waiting[0].kernel.numpy()
    _check(layers[-2].name, len(kernel) * float(np.abs(factors).max()) + float(np.abs(offsets).max()))
    last = {"factors": factors.astype(np.int64), "offsets": offsets.astype(np.int64), "exponent": int(exponent)}
    return (*found, {"kind": "scores", "weights": kernel.T.astype(np.int8), **last})


def scores(model: Any, x: Array) -> Array:
    """The model's scores before the softmax, float32 (n, classes), of samples (n, *shape)."""
    inner = backend.keras().Model(model.inputs, binary_layers.chain(model)[-2].output)
    return np.asarray(inner.predict(x, batch_size=100, verbose=0))


def _stage(layers: Sequence[Any], first: bool) -> list[Part]:
    """A layer with weights, the pooling after it, and the threshold that the rest comes to."""
    layers = [layer for layer in layers if type(layer).__name__ != "Flatten"]
    main, after = layers[0], layers[1:-1]
    convolution = type(main).__name__ == "BinaryConv2D"
    kernel = main.kernel.numpy()
    weights = np.moveaxis(kernel, -1, 0) if convolution else kernel.T[:, np.newaxis, np.newaxis]
    reach = int(np.abs(weights).reshape(len(weights), -1).sum(1).max()) * (WIDEST if first else 1)
    _check(main.name, reach)
    limits, rising = threshold(_chain(after, convolution), len(weights), reach)
    own = {"same": convolution and main.padding == "same", "strides": tuple(main.strides) if convolution else (1, 1)}
    signed = np.where(rising.reshape(-1, 1, 1, 1), weights, -weights).astype(np.int8)
    kind = "image" if first else "bits"
    ternary = main.levels == 3
    found: list[Part] = [
        {"kind": kind, "weights": signed, "limits": limits, "ternary": ternary, "dense": not convolution, **own}
    ]
    for number, layer in enumerate(after):
        if type(layer).__name__ == "MaxPooling2D":
            if layer.padding != "valid":
                raise UsageError(f'layer {layer.name} pads its map; give it padding="valid"')
            _, up = threshold(_chain(after[number + 1 :], convolution), len(weights), reach)
            found.append({"kind": "pool", "window": layer.pool_size, "strides": layer.strides, "falling": ~up})
    return found


def threshold(ask: Callable[[Array], Array], channels: int, reach: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Per channel (limit, whether it rises): the answer is 1 from `limit` on, of the sum or, falling, of its negative.

    `ask` gives answers (n, channels) for sums (n, channels) of -reach to reach and is monotone in each channel. A
    limit of reach + 1 is never reached.
    """
    ends = ask(np.repeat(np.array([[-reach], [reach]], np.float32), channels, axis=1))
    rising = ends[1] | ~ends[0]
    sign = np.where(rising, 1, -1)
    low, high = np.full(channels, -reach), np.full(channels, reach + 1)  # the limit lies in low ... high
    while (low < high).any():
        middle = (low + high) // 2
        answers = ask((sign * np.minimum(middle, reach)).astype(np.float32)[np.newaxis])[0]
        # Beyond the reach there is nothing to ask.
        yes = answers | (middle > reach)
        low, high = np.where(yes, low, np.minimum(middle + 1, high)), np.where(yes, middle, high)
    return low.astype(np.int64), rising


def _chain(layers: Sequence[Any], maps: bool) -> Callable[[Array], Array]:
    """The sign of what channel-wise layers make of sums."""
    inner = [layer for layer in layers if type(layer).__name__ != "MaxPooling2D"]

    def ask(sums: Array) -> Array:
        x: Any = sums.reshape(len(sums), *((1, 1) if maps else ()), -1)
        for layer in inner:
            x = layer(x, training=False) if type(layer).__name__ == "BatchNormalization" else layer(x)
        return np.asarray(np.asarray(x).reshape(sums.shape) >= 0)

    return ask


def _check(name: str, reach: float) -> None:
    if reach >= EXACT:
        raise UsageError(
            f"sums of layer {name} reach {reach:,.0f}; float32, which the model is trained in, holds whole numbers up "
            f"to {EXACT:,} exactly: take fewer inputs to a channel"
        )
