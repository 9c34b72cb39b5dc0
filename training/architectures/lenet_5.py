"""LeNet-5: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, in the form that Caffe gave
it and that Han et al., "Deep Compression", 2016, and others measure.

Two 5x5 convolutions of 20 and 50 filters without padding, each followed by 2x2 max pooling, a dense layer of 500 units
and the classes. Weights `25*c*f1 + 25*f1*f2 + h*w*f2*u + u*classes` with h = (H - 12) / 4 and w likewise, rounded down:
430,500 for 28x28 grey pixels, 431,080 parameters with biases. Multiply-accumulates: 25*c*f1*24*24 + 25*f1*f2*8*8 +
h*w*f2*u + u*classes = 2,293,000 there.
"""

from typing import Any

from convert.errors import UsageError
from training import backend
from training.architectures.parts import dropped, scores
from training.settings.architectures import LeNet5


def build(settings: LeNet5, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `conv1`, `pool1`, `conv2`, `pool2`, `dense1`, `scores`; raises UsageError below 16x16 pixels."""
    if min(shape[:2]) < 16:
        raise UsageError(f"architecture lenet_5 needs at least 16x16 pixels; the data set has {shape[0]}x{shape[1]}")
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")
    x = image
    for number, filters in enumerate((20, 50), 1):
        x = layers.Conv2D(max(1, round(filters * settings.width)), 5, activation="relu", name=f"conv{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = dropped(layers.Flatten(name="flatten")(x), settings.dropout, "dense1")
    x = layers.Dense(max(1, round(500 * settings.width)), activation="relu", name="dense1")(x)
    return keras.Model(image, scores(dropped(x, settings.dropout, "scores"), classes), name="lenet_5")
