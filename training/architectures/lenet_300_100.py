"""LeNet-300-100: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998; the fully connected
network that pruning is measured on since Han et al., "Learning both Weights and Connections for Efficient Neural
Networks", 2015.

With d inputs, hidden layers of h1 = 300 * width and h2 = 100 * width units and c classes it has
`d*h1 + h1*h2 + h2*c` weights, as many multiply-accumulates, and `h1 + h2 + c` biases: 266,610 parameters for 28x28
pixels and ten classes.
"""

from typing import Any

from training import backend
from training.architectures.parts import dropped, scores
from training.settings.architectures import LeNet300


def build(settings: LeNet300, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `dense1`, `dense2`, `scores`, with `..._dropout` before the last two where dropout is asked for."""
    keras = backend.keras()
    layers = keras.layers
    image = layers.Input(shape, name="image")
    x = layers.Flatten(name="flatten")(image)
    first, second = (max(1, round(units * settings.width)) for units in (300, 100))
    x = layers.Dense(first, activation="relu", name="dense1")(x)
    x = layers.Dense(second, activation="relu", name="dense2")(dropped(x, settings.dropout, "dense2"))
    return keras.Model(image, scores(dropped(x, settings.dropout, "scores"), classes), name="lenet_300_100")
