"""What the families share."""

from typing import Any

from training import backend


def normalised(x: Any, layer: Any, name: str) -> Any:
    """A convolution without bias, batch normalisation and ReLU; conversion folds the three into one operator."""
    layers = backend.keras().layers
    x = layers.BatchNormalization(name=f"{name}_norm")(layer(x))
    return layers.ReLU(name=f"{name}_relu")(x)


def scores(x: Any, classes: int) -> Any:
    """Class probabilities (n, classes) of feature vectors."""
    layers = backend.keras().layers
    return layers.Softmax(name="probabilities")(layers.Dense(classes, name="scores")(x))
