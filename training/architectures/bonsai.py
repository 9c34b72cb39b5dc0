"""Bonsai: Kumar, Goyal and Varma, "Resource-efficient Machine Learning in 2 KB RAM for the Internet of Things", ICML
2017.

A sample x of D features is projected to z = Z x + b, and one tree of the given depth works on z. Every node k on the
path of z adds `W_k z * tanh(sigma V_k z)` to the scores of the classes, and at an inner node the path goes right where
`theta_k z > 0`. All of it is learned together: while training, node k counts with the product of
`(1 +- tanh(sharpness theta z)) / 2` over the branches above it, and the sharpness grows until one path is left. Outside
of training the path is the hard one. Two classes have one column of scores s, which stands for (-s, s).

Z has D * projection weights, W and V have projection * columns a node, theta projection an inner node; a sample takes
one multiply-accumulate for each weight of Z that is not zero and of the nodes on its path.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from training import backend
from training.settings.architectures import Bonsai

TREE = "tree"


def build(settings: Bonsai, shape: tuple[int, ...], classes: int) -> Any:
    """Layers `features`, `tree`, `probabilities`."""
    keras = backend.keras()
    layers = keras.layers
    sample = layers.Input(shape, name="sample")
    x = layers.Flatten(name="features")(sample)
    columns = 1 if classes == 2 else classes
    options = settings.model_dump(exclude={"architecture", "last_sharpness"})
    x = layer_class()(columns=columns, **options, name=TREE)(x)
    return keras.Model(sample, layers.Softmax(name="probabilities")(x), name="bonsai")


def callbacks(settings: Bonsai, model: Any, steps: int) -> list[Any]:
    """Raises the sharpness geometrically, from the first step's to the last step's."""
    tree = model.get_layer(TREE)
    values = np.geomspace(settings.first_sharpness, settings.last_sharpness, steps)

    class Anneal(backend.keras().callbacks.Callback):  # type: ignore[misc]
        done = 0

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            del batch, logs
            tree.sharpness.assign(values[self.done])
            self.done += 1

    return [Anneal()]


def custom_layers() -> dict[str, Any]:
    """What Keras needs to load a model of this family."""
    return {"Tree": layer_class()}


def parameters(model: Any) -> dict[str, npt.NDArray[np.float32]]:
    """The trained tree: z (D, projection), b (projection,), w and v (nodes, projection, columns), theta (inner nodes,
    projection), sigma (). Node k has the children 2 k + 1 (left) and 2 k + 2 (right).
    """
    tree = model.get_layer(TREE)
    found = {name: np.asarray(getattr(tree, name)) for name in ("z", "b", "w", "v", "theta")}
    return {**found, "sigma": np.array(tree.sigma, np.float32)}


@cache
def layer_class() -> Any:
    """The layer: (n, D) features to (n, classes) scores."""
    tf, keras = backend.tensorflow(), backend.keras()

    class Tree(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(
            self,
            columns: int,
            depth: int,
            projection: int,
            sigma: float,
            first_sharpness: float,
            regularization: float,
            **kwargs: Any,
        ) -> None:
            super().__init__(**kwargs)
            self.columns, self.depth, self.projection = columns, depth, projection
            self.sigma, self.first_sharpness, self.regularization = sigma, first_sharpness, regularization

        def get_config(self) -> dict[str, Any]:
            names = ("columns", "depth", "projection", "sigma", "first_sharpness", "regularization")
            return {**super().get_config(), **{name: getattr(self, name) for name in names}}

        def build(self, shape: Any) -> None:
            inner, features = 2**self.depth - 1, int(shape[-1])
            nodes = 2 * inner + 1
            penalty = keras.regularizers.L2(self.regularization) if self.regularization else None

            def weight(name: str, shape: tuple[int, ...], fan_in: int) -> Any:
                start = keras.initializers.RandomNormal(stddev=fan_in**-0.5)
                return self.add_weight(name, shape, initializer=start, regularizer=penalty)

            self.z = weight("z", (features, self.projection), features)
            self.b = self.add_weight("b", (self.projection,), initializer="zeros")
            self.w = weight("w", (nodes, self.projection, self.columns), self.projection)
            self.v = weight("v", (nodes, self.projection, self.columns), self.projection)
            self.theta = weight("theta", (inner, self.projection), self.projection)
            sharpness = keras.initializers.Constant(self.first_sharpness)
            self.sharpness = self.add_weight("sharpness", (), initializer=sharpness, trainable=False)

        def sparse_weights(self) -> dict[str, Any]:
            """What hard thresholding works on, by name."""
            return {"z": self.z, "w": self.w, "v": self.v} | ({"theta": self.theta} if self.depth else {})

        def call(self, x: Any, training: Any = None) -> Any:
            z = x @ self.z + self.b
            branch = tf.einsum("np,kp->nk", z, self.theta)
            right = tf.nn.sigmoid(2 * self.sharpness * branch) if training else tf.cast(branch > 0, z.dtype)
            # A node's share is its parent's, split between left (2 k + 1) and right (2 k + 2).
            shares = [tf.ones_like(z[:, 0])]
            for k in range(2**self.depth - 1):
                shares += [shares[k] * (1 - right[:, k]), shares[k] * right[:, k]]
            predictions = tf.einsum("np,kpc->nkc", z, self.w)
            predictions *= tf.tanh(self.sigma * tf.einsum("np,kpc->nkc", z, self.v))
            scores = tf.einsum("nk,nkc->nc", tf.stack(shares, 1), predictions)
            return tf.concat([-scores, scores], 1) if self.columns == 1 else scores

    return Tree
