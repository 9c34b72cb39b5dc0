"""ShuffleNet: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices", 2018.

A 3x3 stem of 24 * `width` filters, then three stages of units: a 1x1 convolution in `groups` groups to a quarter of the
channels, a channel shuffle, a depthwise 3x3 one and a 1x1 one in groups, added to the unit's input; the first unit of a
stage has stride 2 and joins its result with the averaged input. Stages have 200, 400 and 800 * `width` channels and
1 + `depth` units each. The very first convolution of a unit sees so few channels that it has no groups, as in the
paper.

A convolution in groups is one convolution a group here, each on a slice of the channels, since TensorFlow has no
gradient of CONV_2D in groups on processors, and the compiled runtime no kernel. The shuffle costs nothing: the second
convolution's group k takes channels k, k + g, k + 2g, ..., as a strided slice, where the first took consecutive ones;
with g dividing a group's channels that is the paper's network, its filters numbered otherwise.

A grouped convolution from c_in to c_out channels has `c_in*c_out/g + c_out` parameters and takes `h*w*c_in*c_out/g`
multiply-accumulates; a depthwise one of c channels `10*c` and `h*w*9*c`.

With width = 0.2 and depth = 1, 28x28x1 pixels and ten classes: 15,974 parameters and 555,464 multiply-accumulates.
"""

from typing import Any

from training import backend
from training.architectures.blocks import consecutive, every, filters, linear, require_image
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import ShuffleNetV1

STAGES = (200, 400, 800)


def build(settings: ShuffleNetV1, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stem`, `stage1_unit0_squeeze`, `stage1_unit1_squeeze1`, `..._squeeze2`, ..., `scores`.

    Raises UsageError below 8x8 pixels, or 16x16 with a stem of stride 2.
    """
    require_image("shufflenet_v1", shape, 2 + settings.stem_stride, "set stem_stride = 1 or choose ds_cnn")
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")
    groups = settings.groups

    def grouped(slices: list[Any], count: int, name: str, part: Any) -> Any:
        """One convolution a slice, to `count` channels together."""
        names = [f"{name}{k}" for k in range(1, len(slices) + 1)]
        share = count // len(slices)
        sides = [
            part(x, layers.Conv2D(share, 1, use_bias=False, name=side), side)
            for x, side in zip(slices, names, strict=True)
        ]
        return sides[0] if len(sides) == 1 else layers.Concatenate(name=f"{name}_join")(sides)

    # Channels come in multiples of 4 * groups * groups: the quarter in groups divides by the groups once more.
    step = 4 * groups * groups
    # What the first unit's result is joined with must leave a multiple of the groups.
    first = filters(24, settings.width, groups)
    x = normalised(image, layers.Conv2D(first, 3, settings.stem_stride, "same", use_bias=False, name="stem"), "stem")
    for stage, stage_count in enumerate(STAGES, 1):
        count = filters(stage_count, settings.width, step)
        for unit in range(settings.depth + 1):
            name, down = f"stage{stage}_unit{unit}", unit == 0
            whole = groups == 1 or (stage == 1 and down)
            slices = [x] if whole else [consecutive(x, groups, k, f"{name}_part{k + 1}") for k in range(groups)]
            y = grouped(slices, count // 4, f"{name}_squeeze", normalised)
            depthwise = layers.DepthwiseConv2D(3, 2 if down else 1, "same", use_bias=False, name=f"{name}_depthwise")
            y = linear(y, depthwise, f"{name}_depthwise")
            new = count - x.shape[-1] if down else count
            slices = [y] if groups == 1 else [every(y, groups, k, f"{name}_shuffled{k + 1}") for k in range(groups)]
            y = grouped(slices, new, f"{name}_expand", normalised if down else linear)
            if down:
                # The average of what ReLU left needs no ReLU: the paper's, behind the join, is the convolutions' own.
                x = layers.AveragePooling2D(3, 2, "same", name=f"{name}_pool")(x)
                x = layers.Concatenate(name=f"{name}_join")([x, y])
            else:
                x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
    return keras.Model(image, scores(average(x), classes), name="shufflenet_v1")
