"""ProtoNN: Gupta et al., "ProtoNN: Compressed and Accurate kNN for Resource-scarce Devices", ICML 2017.

A sample x of D features is projected to W x, where m learned prototypes b_j stand, each with a row z_j of scores of the
classes; a prototype counts with `exp(-|W x - b_j|^2)`, and the scores are `sum_j z_j exp(-|W x - b_j|^2)`. The paper's
gamma is part of W and b here, where learning sets it; `gamma` is what it begins with. W, b and z are learned together,
by cross-entropy where the paper takes the squared error, and hard thresholding ([[compress]] technique = "iht") makes
them sparse.

With a projection to d dimensions and L classes W has `D*d` weights, the prototypes have `m*d` and their scores `m*L`; a
sample takes one multiply-accumulate for each that is not zero in W and z, and `m*d` for the distances.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from training import backend
from training.settings.architectures import ProtoNN

PROTOTYPES = "prototypes"


def build(settings: ProtoNN, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `features`, `prototypes`, `probabilities`."""
    keras = backend.keras()
    layers = keras.layers
    sample = layers.Input(shape, name="sample")
    x = layers.Flatten(name="features")(sample)
    options = settings.model_dump(exclude={"architecture"})
    x = layer_class()(classes=classes, **options, name=PROTOTYPES)(x)
    return keras.Model(sample, layers.Softmax(name="probabilities")(x), name="protonn")


def custom_layers() -> dict[str, Any]:
    """What Keras needs to load a model of this family."""
    return {"Prototypes": layer_class()}


def parameters(model: Any) -> dict[str, npt.NDArray[np.float32]]:
    """What was trained: w (D, projection), b (prototypes, projection), z (prototypes, classes)."""
    layer = model.get_layer(PROTOTYPES)
    return {name: np.asarray(getattr(layer, name)) for name in ("w", "b", "z")}


@cache
def layer_class() -> Any:
    """The layer: (n, D) features to (n, classes) scores."""
    tf, keras = backend.tensorflow(), backend.keras()

    class Prototypes(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(
            self,
            classes: int,
            prototypes: int,
            projection: int,
            gamma: float,
            regularization: float,
            **kwargs: Any,
        ) -> None:
            super().__init__(**kwargs)
            self.classes, self.prototypes, self.projection = classes, prototypes, projection
            self.gamma, self.regularization = gamma, regularization

        def get_config(self) -> dict[str, Any]:
            names = ("classes", "prototypes", "projection", "gamma", "regularization")
            return {**super().get_config(), **{name: getattr(self, name) for name in names}}

        def build(self, shape: Any) -> None:
            features = int(shape[-1])
            normal, penalty = keras.initializers.RandomNormal, keras.regularizers.L2(self.regularization)

            def weight(name: str, shape: tuple[int, ...], start: Any) -> Any:
                return self.add_weight(name, shape, initializer=start, regularizer=penalty if penalty.l2 else None)

            self.w = weight("w", (features, self.projection), normal(stddev=self.gamma * features**-0.5))
            self.b = weight("b", (self.prototypes, self.projection), normal(stddev=self.gamma))
            # Every class begins with its share of the prototypes.
            owner = keras.utils.to_categorical(np.arange(self.prototypes) % self.classes, self.classes)
            self.z = weight("z", (self.prototypes, self.classes), keras.initializers.Constant(owner))

        def sparse_weights(self) -> dict[str, Any]:
            """What hard thresholding works on, by name."""
            return {"projection": self.w, "prototypes": self.b, "labels": self.z}

        def call(self, x: Any) -> Any:
            z = x @ self.w
            return tf.exp(-tf.reduce_sum(tf.square(z[:, None] - self.b), 2)) @ self.z

    return Prototypes
