"""The family: networks of other kinds than the three that the project was tuned with.

Built with tf_keras from seeded random weights and quantised by convert.quantize: what a network computes is nonsense,
what it costs is not. Kept in the cache, so that the same files are measured every time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convert import keras_import, quantize
from convert.cache import Cache, code_version, digest
from training import backend

_SEED = 7
_SAMPLES = 64


def _normalised(x: Any, layers: Any, activation: str | None = "relu") -> Any:
    x = layers.BatchNormalization()(x)
    return x if activation is None else layers.Activation(activation)(x)


def _conv(x: Any, layers: Any, filters: int, size: Any, stride: Any = 1, activation: str | None = "relu") -> Any:
    return _normalised(layers.Conv2D(filters, size, stride, "same", use_bias=False)(x), layers, activation)


def resnet8(keras: Any) -> Any:
    """ResNet-8 of MLPerf Tiny's image classification: 32x32x3, three stages of 16, 32 and 64 channels with sums."""
    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = _conv(image, layers, 16, 3)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = _conv(_conv(x, layers, filters, 3, stride), layers, filters, 3, activation=None)
        if stride > 1:
            x = layers.Conv2D(filters, 1, stride, "same")(x)
        x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def temporal_cnn(keras: Any) -> Any:
    """A 1-D CNN along time: 128 steps of 9 axes, as for inertial activity recognition."""
    layers = keras.layers
    window = keras.Input((128, 1, 9))
    x = window
    for filters, size, stride in ((32, 5, 1), (32, 5, 2), (64, 5, 2), (64, 3, 2)):
        x = _conv(x, layers, filters, (size, 1), (stride, 1))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(window, layers.Dense(6, activation="softmax")(x))


def lenet5(keras: Any) -> Any:
    """LeNet-5: 28x28 grey, 5x5 convolutions, pooling, three dense layers."""
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    x = layers.Conv2D(6, 5, padding="same", activation="relu")(image)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(16, 5, activation="relu")(x)
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    x = layers.Dense(84, activation="relu")(layers.Dense(120, activation="relu")(x))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def mobilenet_v2(keras: Any) -> Any:
    """Inverted bottlenecks with sums, after MobileNetV2 (width 0.35, 48x48x3): expansion, depthwise 3x3, projection."""
    layers = keras.layers
    image = keras.Input((48, 48, 3))
    x = _conv(image, layers, 16, 3, 2)
    channels = 16
    for filters, stride, expansion in ((8, 1, 1), (16, 2, 6), (16, 1, 6), (24, 2, 6), (24, 1, 6), (32, 2, 6)):
        y = _conv(x, layers, channels * expansion, 1, activation="relu6") if expansion > 1 else x
        y = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(y)
        y = _normalised(y, layers, "relu6")
        y = _conv(y, layers, filters, 1, activation=None)
        x = layers.Add()([x, y]) if stride == 1 and channels == filters else y
        channels = filters
    x = layers.GlobalAveragePooling2D()(_conv(x, layers, 96, 1, activation="relu6"))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def autoencoder(keras: Any) -> Any:
    """A deep autoencoder, narrower at both ends than MLPerf Tiny's: 256 - 96 - 48 - 8 - 48 - 96 - 256."""
    layers = keras.layers
    x = frame = keras.Input((256,))
    for units in (96, 48, 8, 48, 96):
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(frame, layers.Dense(256)(x))


def conv_autoencoder(keras: Any) -> Any:
    """A convolutional autoencoder: two strided convolutions and two transposed ones, 24x24x1."""
    layers = keras.layers
    image = keras.Input((24, 24, 1))
    x = layers.Conv2D(8, 3, 2, "same", activation="relu")(image)
    x = layers.Conv2D(16, 3, 2, "same", activation="relu")(x)
    x = layers.Conv2DTranspose(8, 3, 2, "same", activation="relu")(x)
    return keras.Model(image, layers.Conv2DTranspose(1, 3, 2, "same")(x))


def lstm(keras: Any) -> Any:
    """A small recurrent network: 32 steps of 6 features, an LSTM of 24 units, a dense layer."""
    layers = keras.layers
    window = keras.Input((32, 6))
    return keras.Model(window, layers.Dense(4, activation="softmax")(layers.LSTM(24)(window)))


FAMILY: dict[str, Callable[[Any], Any]] = {
    make.__name__: make for make in (resnet8, temporal_cnn, lenet5, mobilenet_v2, autoencoder, conv_autoencoder, lstm)
}


def tflite(name: str) -> bytes:
    """The int8 model of that name, from the cache or made."""

    def make(folder: Path) -> None:
        keras = backend.keras()
        keras.utils.set_random_seed(_SEED)
        model = FAMILY[name](keras)
        _trained_looking(keras, model)
        samples = np.random.default_rng(_SEED).normal(0, 1, (_SAMPLES, *model.input_shape[1:])).astype(np.float32)
        (folder / "model.tflite").write_bytes(quantize.to_int8(model, samples))

    source = Path(__file__).read_bytes()
    key = digest(name, source, code_version("tensorflow", quantize, keras_import))
    folder, _ = Cache().get("benchmark-models", key, make)
    return (folder / "model.tflite").read_bytes()


def _trained_looking(keras: Any, model: Any) -> None:
    """Statistics of batch normalisation as after training: without them it would be the identity."""
    rng = np.random.default_rng(_SEED)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    rng.uniform(0.5, 1.5, gamma.shape),
                    rng.normal(0, 0.3, beta.shape),
                    rng.normal(0, 0.2, mean.shape),
                    rng.uniform(0.5, 1.5, variance.shape),
                ]
            )


def recipes() -> dict[str, bytes]:
    """The int8 models of the recipes that were trained and built here: model.tflite in build/<board>/<recipe>/."""
    from convert.paths import ROOT

    found: dict[str, bytes] = {}
    for recipe in sorted((ROOT / "training" / "recipes").glob("*.toml")):
        made = sorted((ROOT / "build").glob(f"*/{recipe.stem}/model.tflite"), key=lambda path: path.stat().st_mtime)
        if made:
            found[recipe.stem] = made[-1].read_bytes()
    return found
