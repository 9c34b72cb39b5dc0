"""VGG scaled down: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015;
three stages and one dense layer as in the "VGG-Small" of the quantisation literature (Zhang et al., "LQ-Nets", 2018).

`depth` 3x3 convolutions of 128, 256 and 512 times `width` filters in each of three stages, each with batch
normalisation and ReLU, 2x2 max pooling behind each stage. A convolution from c_in to c_out channels has
`9*c_in*c_out + c_out` parameters and takes `h*w*9*c_in*c_out` multiply-accumulates; the dense layer sees
`floor(H/8)*floor(W/8)*c3` features.

With width = 0.0625 and depth = 2, 28x28x1 pixels and ten classes: 20,930 parameters and 1,865,664 multiply-accumulates.
"""

from typing import Any

from training import backend
from training.architectures.blocks import filters, require_image
from training.architectures.parts import normalised, scores
from training.settings.architectures import VggSmall

STAGES = (128, 256, 512)


def build(settings: VggSmall, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stage1_conv1`, ..., `stage1_pool`, ..., `scores`; raises UsageError below 8x8 pixels."""
    require_image("vgg_small", shape, len(STAGES), "choose lenet")
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")
    x = image
    for stage, count in enumerate(STAGES, 1):
        for number in range(1, settings.depth + 1):
            name = f"stage{stage}_conv{number}"
            convolution = layers.Conv2D(filters(count, settings.width), 3, padding="same", use_bias=False, name=name)
            x = normalised(x, convolution, name)
        x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
    return keras.Model(image, scores(layers.Flatten(name="features")(x), classes), name="vgg_small")
