"""Residual network: He et al., "Deep Residual Learning for Image Recognition", 2016, in the shape of MLPerf Tiny's
ResNet-8 (Banbury et al., "MLPerf Tiny Benchmark", 2021).

A 3x3 stem, then three stages of 16, 32 and 64 times `width` filters with `depth` blocks each; the first block of stages
two and three has stride 2 and a 1x1 convolution as shortcut. A block from c_in to c_out channels on h x w output pixels
has `9*c_in*c_out + 9*c_out*c_out + 2*c_out` parameters and takes `h*w*9*c_out*(c_in + c_out)` multiply-accumulates;
a shortcut `c_in*c_out + c_out` and `h*w*c_in*c_out`. depth = 1 is ResNet-8, depth = 3 ResNet-20.

With width = 1.0 and depth = 1, 32x32x3 pixels and ten classes: 77,706 parameters and 12,501,632 multiply-accumulates.
"""

from typing import Any

from training import backend
from training.architectures.blocks import filters, linear, require_image
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import ResNet


def build(settings: ResNet, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stem`, `stage1_block1_conv1`, ..., `stage2_block1_shortcut`, ..., `scores`; UsageError below 4x4."""
    require_image("resnet", shape, 2, "choose lenet_300_100")
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")

    def convolution(count: int, size: int, stride: int, name: str) -> Any:
        return layers.Conv2D(count, size, stride, "same", use_bias=False, name=name)

    x = normalised(image, convolution(filters(16, settings.width), 3, 1, "stem"), "stem")
    for stage, count in enumerate((16, 32, 64), 1):
        count = filters(count, settings.width)
        for block in range(1, settings.depth + 1):
            name, stride = f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1
            y = normalised(x, convolution(count, 3, stride, f"{name}_conv1"), f"{name}_conv1")
            y = linear(y, convolution(count, 3, 1, f"{name}_conv2"), f"{name}_conv2")
            if stride == 2:
                x = layers.Conv2D(count, 1, 2, "same", name=f"{name}_shortcut")(x)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
    return keras.Model(image, scores(average(x), classes), name="resnet")
