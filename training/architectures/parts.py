"""What the families share."""

from typing import Any

from training import backend


def normalised(x: Any, layer: Any, name: str) -> Any:
    """A convolution without bias, batch normalisation and ReLU; conversion folds the three into one operator."""
    layers = backend.keras().layers
    x = layers.BatchNormalization(name=f"{name}_norm")(layer(x))
    return layers.ReLU(name=f"{name}_relu")(x)


def average(x: Any) -> Any:
    """Mean of each channel (n, channels) of feature maps (n, height, width, channels).

    A pooling window as large as the map, and not GlobalAveragePooling2D: TFLite's AVERAGE_POOL_2D is computed alike by
    every release of TFLite Micro, while MEAN rounds otherwise in the one that Arduino's library carries.
    """
    layers = backend.keras().layers
    return layers.Flatten(name="features")(layers.AveragePooling2D(x.shape[1:3], name="pool")(x))


def scores(x: Any, classes: int) -> Any:
    """Class probabilities (n, classes) of feature vectors."""
    layers = backend.keras().layers
    return layers.Softmax(name="probabilities")(layers.Dense(classes, name="scores")(x))


def dropped(x: Any, rate: float, name: str) -> Any:
    """Features with dropout before layer `name` (Srivastava et al. 2014), or as they are where the rate is 0."""
    return backend.keras().layers.Dropout(rate, name=f"{name}_dropout")(x) if rate else x
