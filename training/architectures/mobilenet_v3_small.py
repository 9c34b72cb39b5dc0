"""MobileNetV3-Small: Howard et al., "Searching for MobileNetV3", 2019.

Inverted residuals as in mobilenet_v2, some with ReLU and some with hard swish, most with squeeze and excitation (Hu et
al., "Squeeze-and-Excitation Networks", 2018). Blocks are the paper's with filters times `width`; `depth` scales how
often those repeat that keep the shape. In int8 hard swish is one operator, HARD_SWISH.
The gate of squeeze and excitation is the paper's hard sigmoid, relu6(x + 3) / 6, without the division and with the 3 in
its layer's first bias: the convolution behind it learns weights a sixth as large, the network is the same, and the gate
costs one FULLY_CONNECTED with RELU6 and one MUL.

A block of e expanded channels from c_in to c_out and kernel k has `e*(c_in + k*k + c_out + 2) + c_out` parameters and,
with s = max(1, e // 4) squeezed channels, `2*e*s + e + s` more; from h x w to h' x w' pixels it takes
`h*w*e*c_in + h'*w'*e*(k*k + c_out) + 2*e*s` multiply-accumulates. The first block has no expansion.

Quantisation-aware training: TFMOT does not know the layers of hard swish and of the gate and refuses this family;
quantise after training.

With width = 0.125 and depth = 0.5, 28x28x1 pixels and ten classes: 24,293 parameters and 119,767 multiply-accumulates.
"""

from typing import Any

from training import backend
from training.architectures.blocks import filters, linear, require_image
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import MobileNetV3Small

# (kernel, expanded channels, filters, squeeze and excitation, hard swish, stride), the paper's table 2
BLOCKS = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
LAST, HEAD = 576, 1024


def build(settings: MobileNetV3Small, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stem`, `block1_depthwise`, `block1_squeeze`, `block1_excite`, ..., `last`, `head`, `scores`.

    Raises UsageError below 16x16 pixels, or 32x32 with a stem of stride 2.
    """
    require_image("mobilenet_v3_small", shape, 3 + settings.stem_stride, "set stem_stride = 1 or choose ds_cnn")
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")

    def convolve(x: Any, layer: Any, name: str, swish: bool) -> Any:
        return hard_swish(linear(x, layer, name), name) if swish else normalised(x, layer, name)

    def pointwise(count: int, name: str) -> Any:
        return layers.Conv2D(count, 1, use_bias=False, name=name)

    first = filters(16, settings.width)
    stem = layers.Conv2D(first, 3, settings.stem_stride, "same", use_bias=False, name="stem")
    x = convolve(image, stem, "stem", swish=True)
    for number, (kernel, expanded, count, gated, swish, stride) in enumerate(_blocks(settings.depth), 1):
        name, channels = f"block{number}", x.shape[-1]
        expanded, count = filters(expanded, settings.width), filters(count, settings.width)
        y = x
        if number > 1:
            y = convolve(y, pointwise(expanded, f"{name}_expand"), f"{name}_expand", swish)
        depthwise = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise")
        y = convolve(y, depthwise, f"{name}_depthwise", swish)
        if gated:
            y = excited(y, name)
        y = linear(y, pointwise(count, f"{name}_project"), f"{name}_project")
        x = layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == count else y
    x = average(convolve(x, pointwise(filters(LAST, settings.width), "last"), "last", swish=True))
    x = hard_swish(layers.Dense(filters(HEAD, settings.width), name="head")(x), "head")
    return keras.Model(image, scores(x, classes), name="mobilenet_v3_small")


def _blocks(depth: float) -> list[tuple[int, int, int, bool, bool, int]]:
    """The table's rows with each run of equal rows `depth` times as long, at least one; other rows once."""
    rows: list[tuple[int, int, int, bool, bool, int]] = []
    for row in dict.fromkeys(BLOCKS):
        rows += [row] * max(1, round(BLOCKS.count(row) * depth)) if row[-1] == 1 else [row]
    return rows


def hard_swish(x: Any, name: str) -> Any:
    """x * relu6(x + 3) / 6; the converter makes one HARD_SWISH of the four layers."""
    layers = backend.keras().layers
    gate = layers.ReLU(6.0, name=f"{name}_clip")(layers.Rescaling(1.0, 3.0, name=f"{name}_offset")(x))
    product = layers.Multiply(name=f"{name}_product")([x, gate])
    return layers.Rescaling(1 / 6, name=f"{name}_swish")(product)


def excited(x: Any, name: str) -> Any:
    """Feature maps times a gate of 0 to 6 a channel, which sees all channels' means."""
    keras = backend.keras()
    layers = keras.layers
    channels = x.shape[-1]
    mean = layers.Flatten(name=f"{name}_means")(layers.AveragePooling2D(x.shape[1:3], name=f"{name}_mean")(x))
    y = layers.Dense(max(1, channels // 4), activation="relu", name=f"{name}_squeeze")(mean)
    three = keras.initializers.Constant(3.0)
    y = layers.Dense(channels, bias_initializer=three, name=f"{name}_excite")(y)
    y = layers.ReLU(6.0, name=f"{name}_gate")(y)
    return layers.Multiply(name=f"{name}_excited")([x, layers.Reshape((1, 1, channels), name=f"{name}_gates")(y)])
