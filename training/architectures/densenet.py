"""Densely connected network: Huang et al., "Densely Connected Convolutional Networks", 2017.

A 3x3 stem of 2k filters, then three blocks of `depth` layers; a layer is a 3x3 convolution of k = 12 * `width` filters
that sees the channels of all layers before it. Between blocks 2x2 average pooling halves the picture and a 1x1
convolution keeps half of the channels; the paper has these two, which commute, the other way round. Normalisation and
ReLU stand behind each convolution and not before it as in the paper, so that conversion folds them into it; there a
normalisation would stay two operators of its own.

The layer that sees c channels has `9*c*k + k` parameters and takes `h*w*9*c*k` multiply-accumulates; c grows by k a
layer. A transition from c channels to h x w pixels takes `h*w*c*(c//2)`.

With width = 0.5 and depth = 2, 28x28x1 pixels and ten classes: 5,866 parameters and 1,822,452 multiply-accumulates.
"""

from typing import Any

from training import backend
from training.architectures.blocks import filters, require_image
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import DenseNet

BLOCKS = 3


def build(settings: DenseNet, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stem`, `block1_conv1`, `block1_join1`, ..., `transition1`, ..., `scores`; UsageError below 4x4 pixels."""
    require_image("densenet", shape, BLOCKS - 1, "choose lenet_300_100")
    keras = backend.keras()
    layers = keras.layers
    growth = filters(12, settings.width)
    image = layers.Input(shape, name="image")

    def convolution(count: int, size: int, name: str) -> Any:
        return layers.Conv2D(count, size, padding="same", use_bias=False, name=name)

    x = normalised(image, convolution(2 * growth, 3, "stem"), "stem")
    for block in range(1, BLOCKS + 1):
        for number in range(1, settings.depth + 1):
            name = f"block{block}_conv{number}"
            new = normalised(x, convolution(growth, 3, name), name)
            x = layers.Concatenate(name=f"block{block}_join{number}")([x, new])
        if block < BLOCKS:
            name = f"transition{block}"
            # Before the convolution: a quarter of the work, and quantisation-aware training can scale what it gives.
            x = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
            x = normalised(x, convolution(x.shape[-1] // 2, 1, name), name)
    return keras.Model(image, scores(average(x), classes), name="densenet")
