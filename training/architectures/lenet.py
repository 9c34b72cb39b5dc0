"""LeNet: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, with today's parts: 3x3
kernels, batch normalisation, ReLU and max pooling.

A convolution of k x k from c_in to c_out channels holds `k*k*c_in*c_out` weights and takes that many
multiply-accumulates a pixel; a dense layer takes one a weight.
"""

from typing import Any

from convert.errors import UsageError
from training import backend
from training.architectures.parts import normalised, scores
from training.settings.architectures import LeNet


def build(settings: LeNet, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `conv1`, `pool1`, ..., `dense1`, ..., `scores`."""
    if min(shape[:2]) < 2 ** len(settings.filters):
        raise UsageError(
            f"model.filters has {len(settings.filters)} stages that halve the picture each; "
            f"{shape[0]}x{shape[1]} pixels allow {min(shape[:2]).bit_length() - 1}"
        )
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")
    x = image
    for number, filters in enumerate(settings.filters, 1):
        convolution = layers.Conv2D(filters, settings.kernel, padding="same", use_bias=False, name=f"conv{number}")
        x = normalised(x, convolution, f"conv{number}")
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate(settings.dense, 1):
        x = layers.Dense(units, activation="relu", name=f"dense{number}")(x)
    return keras.Model(image, scores(x, classes), name="lenet")
