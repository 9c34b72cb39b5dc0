"""SqueezeNet: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
2016.

A 3x3 stem of 64 * `width` filters, then three stages of `depth` fire modules with 2x2 max pooling before each. A fire
module of stage i squeezes by a 1x1 convolution to s = 16 * i * `width` channels and expands them by 1x1 and by 3x3
convolutions to e = 4 * s each, side by side: from c channels `c*s + s + 10*s*e + 2*e` parameters and
`h*w*(c*s + 10*s*e)` multiply-accumulates. One dense layer behind the average stands for the paper's last convolution
before it; the two are the same arithmetic but for a ReLU.

With width = 0.25 and depth = 1, 28x28x1 pixels and ten classes: 11,394 parameters and 448,576 multiply-accumulates.
"""

from typing import Any

from training import backend
from training.architectures.blocks import filters, require_image
from training.architectures.parts import average, normalised, scores
from training.settings.architectures import SqueezeNet

STAGES = 3


def build(settings: SqueezeNet, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `stem`, `fire1_1_squeeze`, `fire1_1_expand1`, `fire1_1_expand3`, ..., `scores`; UsageError below 8x8."""
    require_image("squeezenet", shape, STAGES, "choose lenet")
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")

    def convolve(x: Any, count: int, size: int, name: str) -> Any:
        return normalised(x, layers.Conv2D(count, size, padding="same", use_bias=False, name=name), name)

    x = convolve(image, filters(64, settings.width), 3, "stem")
    for stage in range(1, STAGES + 1):
        x = layers.MaxPooling2D(2, name=f"pool{stage}")(x)
        for number in range(1, settings.depth + 1):
            name, few = f"fire{stage}_{number}", filters(16 * stage, settings.width)
            x = convolve(x, few, 1, f"{name}_squeeze")
            sides = [convolve(x, 4 * few, size, f"{name}_expand{size}") for size in (1, 3)]
            x = layers.Concatenate(name=f"{name}_join")(sides)
    return keras.Model(image, scores(average(x), classes), name="squeezenet")
