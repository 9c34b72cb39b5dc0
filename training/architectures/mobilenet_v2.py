"""MobileNetV2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.

A 3x3 stem, then inverted residuals: a 1x1 convolution to t = `expansion` times the channels, a depthwise 3x3 one and a
linear 1x1 one, with a shortcut where the shape stays. Stages, filters and strides are the paper's, filters times
`width`; `depth` scales the number of repetitions. ReLU stands where the paper has ReLU6: int8 bounds activations by
their scale. A block from c_in to c_out channels and from h x w to h' x w' pixels has
`t*c_in*(c_in + 9 + c_out + 2) + c_out` parameters and takes `h*w*t*c_in*c_in + h'*w'*t*c_in*(9 + c_out)`
multiply-accumulates; where t = 1, the first convolution is left out.

With width = 0.125 and depth = 0.67, 28x28x1 pixels and ten classes: 34,259 parameters and 367,738 multiply-accumulates.
"""

from typing import Any

from training import backend
from training.architectures.blocks import filters, linear, require_image
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import MobileNetV2

# (filters, repetitions, stride of the first), the first stage without expansion
STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
LAST = 1280


def build(settings: MobileNetV2, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stem`, `stage1_block1_depthwise`, `stage1_block1_project`, `stage2_block1_expand`, ..., `last`, `scores`.

    Raises UsageError below 16x16 pixels, or 32x32 with a stem of stride 2.
    """
    require_image("mobilenet_v2", shape, 3 + settings.stem_stride, "set stem_stride = 1 or choose ds_cnn")
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")

    def pointwise(count: int, name: str) -> Any:
        return layers.Conv2D(count, 1, use_bias=False, name=name)

    first = filters(32, settings.width)
    x = normalised(image, layers.Conv2D(first, 3, settings.stem_stride, "same", use_bias=False, name="stem"), "stem")
    for stage, (count, repetitions, stage_stride) in enumerate(STAGES, 1):
        count = filters(count, settings.width)
        for block in range(1, max(1, round(repetitions * settings.depth)) + 1):
            name, stride, channels = f"stage{stage}_block{block}", stage_stride if block == 1 else 1, x.shape[-1]
            y = x
            if stage > 1:
                y = normalised(y, pointwise(settings.expansion * channels, f"{name}_expand"), f"{name}_expand")
            depthwise = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")
            y = normalised(y, depthwise, f"{name}_depthwise")
            y = linear(y, pointwise(count, f"{name}_project"), f"{name}_project")
            x = layers.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == count else y
    # The paper widens the last layer with width > 1 alone; a small model cannot afford 1280 channels.
    x = normalised(x, pointwise(filters(LAST, settings.width), "last"), "last")
    return keras.Model(image, scores(average(x), classes), name="mobilenet_v2")
