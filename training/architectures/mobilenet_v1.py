"""MobileNet: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017;
width 0.25 and stem_stride 2 on 96x96x3 pixels are MLPerf Tiny's visual wake words (Banbury et al. 2021).

A 3x3 stem, then depthwise-separable blocks as in ds_cnn; filters are the paper's times `width`, and `depth` is the
number of repeated blocks of 512 filters, 5 in the paper. A block from c_in to c_out channels on h x w output pixels has
`c_in*(9 + c_out) + c_in + c_out` parameters and takes `h*w*c_in*(9 + c_out)` multiply-accumulates.

With width = 0.125 and depth = 1, 28x28x1 pixels and ten classes: 38,130 parameters and 514,192 multiply-accumulates.
"""

from typing import Any

from training import backend
from training.architectures.blocks import filters, require_image
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import MobileNetV1


def build(settings: MobileNetV1, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stem`, `block1_depthwise`, `block1_pointwise`, ..., `scores`.

    Raises UsageError below 16x16 pixels, or 32x32 with a stem of stride 2.
    """
    require_image("mobilenet_v1", shape, 3 + settings.stem_stride, "set stem_stride = 1 or choose ds_cnn")
    keras = backend.keras()
    layers = keras.layers
    repeated = [(512, 1)] * settings.depth
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *repeated, (1024, 2), (1024, 1)]
    image = layers.Input(shape, name="image")
    first = filters(32, settings.width)
    x = normalised(image, layers.Conv2D(first, 3, settings.stem_stride, "same", use_bias=False, name="stem"), "stem")
    for number, (count, stride) in enumerate(blocks, 1):
        name = f"block{number}_depthwise"
        x = normalised(x, layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=name), name)
        name = f"block{number}_pointwise"
        x = normalised(x, layers.Conv2D(filters(count, settings.width), 1, use_bias=False, name=name), name)
    return keras.Model(image, scores(average(x), classes), name="mobilenet_v1")
