"""Deep autoencoder for anomaly detection: Koizumi et al., "Description and Discussion on DCASE2020 Challenge Task 2:
Unsupervised Anomalous Sound Detection for Machine Condition Monitoring", 2020, its baseline; MLPerf Tiny's ad01
(Banbury et al. 2021) with width = 1, depth = 4 and 640 values.

`depth` dense layers of h = 128 * `width` units, one of `code` units, `depth` layers of h units again, each with batch
normalisation and ReLU, and a dense layer that gives the sample back. What a sample differs from what comes out, squared
and averaged, says how unusual it is. d values a sample: `2*(d*h + (depth - 1)*h*h + h*code)` weights and as many
multiply-accumulates, and `2*depth*h + code + d` biases.

It has no classes. Recipes train classifiers, by cross-entropy, so that none can train this family: a recipe that names
it is refused when its training begins. `architectures.build` and conversion serve it like the others.

With width = 1.0 and depth = 4, 640x1x1 values: 265,864 parameters and 264,192 multiply-accumulates.
"""

from math import prod
from typing import Any

from convert.errors import UsageError
from training import backend
from training.architectures.blocks import filters
from training.settings.architectures import Autoencoder


def build(settings: Autoencoder, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `encode1`, ..., `code`, `decode1`, ..., `values`, `reconstruction` of the sample's shape."""
    del classes
    keras = backend.keras()
    layers = keras.layers
    sample = layers.Input(shape, name="sample")
    units = filters(128, settings.width)
    around = [f"encode{n}" for n in range(1, settings.depth + 1)], [f"decode{n}" for n in range(1, settings.depth + 1)]
    x = layers.Flatten(name="features")(sample)
    for name in (*around[0], "code", *around[1]):
        x = layers.Dense(settings.code if name == "code" else units, use_bias=False, name=name)(x)
        x = layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_norm")(x))
    x = layers.Dense(prod(shape), name="values")(x)
    return keras.Model(sample, layers.Reshape(shape, name="reconstruction")(x), name="autoencoder")


def callbacks(settings: Autoencoder, model: Any, steps: int) -> list[Any]:
    """Asked for when a recipe's training begins; raises UsageError, since recipes train classifiers."""
    del settings, model, steps
    raise UsageError(
        "architecture autoencoder gives its sample back and has no classes, and a recipe trains classifiers; "
        "choose another architecture, or build and train it in Python: training.architectures.build"
    )
