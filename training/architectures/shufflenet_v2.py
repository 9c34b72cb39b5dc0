"""ShuffleNetV2: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", 2018.

A 3x3 stem of 24 * `width` filters, then three stages of 48, 96 and 192 * `width` channels (the paper's 0.5x), each a
unit that halves the picture and `depth` units that split the channels, work on one half and join. One 1x1 convolution
to 1024 * `width` stands before the average.

Shuffle and split are one strided slice a half: the even channels stay, the odd ones go through the branch. That is the
paper's shuffle of two groups in the other direction: every half gets half of each side, which is what it is for, and
neither a transposition nor an operator outside of TFLite Micro's is needed.

With q = c / 2, a unit on c channels and h x w pixels has `2*q*q + 12*q` parameters and takes `h*w*q*(2*q + 9)`
multiply-accumulates; one that goes from c_in channels and h x w pixels to c and h' x w' has
`2*c_in*(q + 5) + q*q + 13*q` and takes `h*w*c_in*q + h'*w'*(9*c_in + c_in*q + 9*q + q*q)`.

With width = 0.25 and depth = 1, 28x28x1 pixels and ten classes: 20,424 parameters and 477,484 multiply-accumulates.
"""

from typing import Any

from training import backend
from training.architectures.blocks import every, filters, linear, require_image
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import ShuffleNetV2

STAGES = (48, 96, 192)


def build(settings: ShuffleNetV2, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stem`, `stage1_down_...`, `stage1_unit1_expand`, ..., `last`, `scores`.

    Raises UsageError below 8x8 pixels, or 16x16 with a stem of stride 2.
    """
    require_image("shufflenet_v2", shape, 2 + settings.stem_stride, "set stem_stride = 1 or choose ds_cnn")
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")

    def pointwise(x: Any, count: int, name: str) -> Any:
        return normalised(x, layers.Conv2D(count, 1, use_bias=False, name=name), name)

    def depthwise(x: Any, stride: int, name: str) -> Any:
        return linear(x, layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=name), name)

    def branch(x: Any, count: int, stride: int, name: str) -> Any:
        x = pointwise(x, count, f"{name}_expand")
        return pointwise(depthwise(x, stride, f"{name}_depthwise"), count, f"{name}_project")

    first = filters(24, settings.width)
    x = normalised(image, layers.Conv2D(first, 3, settings.stem_stride, "same", use_bias=False, name="stem"), "stem")
    for stage, count in enumerate(STAGES, 1):
        half = filters(count, settings.width, 2) // 2
        name = f"stage{stage}_down"
        other = pointwise(depthwise(x, 2, f"{name}_other_depthwise"), half, f"{name}_other_project")
        x = layers.Concatenate(name=f"{name}_join")([other, branch(x, half, 2, name)])
        for unit in range(1, settings.depth + 1):
            name = f"stage{stage}_unit{unit}"
            kept, worked = every(x, 2, 0, f"{name}_kept"), every(x, 2, 1, f"{name}_worked")
            x = layers.Concatenate(name=f"{name}_join")([kept, branch(worked, half, 1, name)])
    x = pointwise(x, filters(1024, settings.width), "last")
    return keras.Model(image, scores(average(x), classes), name="shufflenet_v2")
