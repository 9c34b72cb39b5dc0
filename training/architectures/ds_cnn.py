"""Depthwise-separable CNN: Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers", 2017, after MobileNet
(Howard et al. 2017).

A convolution as stem, then blocks of depthwise 3x3 and pointwise 1x1 convolutions, each with batch normalisation and
ReLU, global average pooling and one dense layer. For an output of h x w pixels a block takes `h*w*c_in*(9 + c_out)`
multiply-accumulates and holds `c_in*(9 + c_out)` weights.
"""

from typing import Any

from training import backend
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import DsCnn


def build(settings: DsCnn, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stem`, `block1_depthwise`, `block1_pointwise`, ..., `scores`."""
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")
    stem = layers.Conv2D(
        settings.stem_filters, settings.stem_kernel, settings.stem_stride, "same", use_bias=False, name="stem"
    )
    x = normalised(image, stem, "stem")
    for number, block in enumerate(settings.blocks, 1):
        name = f"block{number}"
        depthwise = layers.DepthwiseConv2D(3, block.stride, "same", use_bias=False, name=f"{name}_depthwise")
        x = normalised(x, depthwise, f"{name}_depthwise")
        pointwise = layers.Conv2D(block.filters, 1, use_bias=False, name=f"{name}_pointwise")
        x = normalised(x, pointwise, f"{name}_pointwise")
    return keras.Model(image, scores(average(x), classes), name="ds_cnn")
