"""Keras layers with binary weights and activations, and how a graph of layers in a row is read.

Courbariaux, Bengio and David, "BinaryConnect: Training Deep Neural Networks with binary weights during propagations",
2015; Hubara, Courbariaux, Soudry, El-Yaniv and Bengio, "Binarized Neural Networks", 2016; Rastegari, Ordonez, Redmon
and Farhadi, "XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks", 2016.

In training a layer holds latent weights in [-1, 1] and computes with their signs. When training is over `finished`
gives the layer that is kept: its kernel is +1 and -1, and its scales, if it has any, are a weight of their own. Sums of
+-1 are whole numbers and exact in float32, so that Keras and integers on a device agree to the bit.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from convert.errors import UsageError
from training import backend, surgery

STEP = np.float32(1 / 255)  # of an input in [0, 1]
EDGE = -1.0  # beyond the edge of a binary map: a 0 bit


def sign(x: Any) -> Any:
    """+1 where x >= 0 and -1 elsewhere; the gradient passes where |x| <= 1 and is 0 elsewhere.

    The straight-through estimator (Hubara et al. 2016, section 1.3).
    """
    tf = backend.tensorflow()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def straight_through(x: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            return tf.where(tf.abs(x) <= 1, upstream, tf.zeros_like(upstream))

        return tf.where(x >= 0, tf.ones_like(x), -tf.ones_like(x)), gradient

    return straight_through(x)


def ternary(kernel: Any) -> Any:
    """-1, 0 and +1: 0 where |w| <= 0.7 of the mean |w|; the gradient passes where |w| <= 1.

    Li, Zhang and Liu, "Ternary Weight Networks", 2016, equation 6.
    """
    tf = backend.tensorflow()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def straight_through(w: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            return tf.where(tf.abs(w) <= 1, upstream, tf.zeros_like(upstream))

        return tf.where(tf.abs(w) > 0.7 * tf.reduce_mean(tf.abs(w)), tf.sign(w), tf.zeros_like(w)), gradient

    return straight_through(kernel)


def scales(kernel: Any) -> Any:
    """Mean magnitude (outputs,) of each output channel of a kernel (..., outputs).

    Of all scales a, it is the one with which a * sign(W) is nearest to W (Rastegari et al. 2016, equation 6).
    """
    tf = backend.tensorflow()
    return tf.reduce_mean(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))


def finished(layer: Any) -> Any:
    """An unbuilt copy of a binary layer that keeps what its latent weights come to, and no longer learns."""
    weights = [layer.binary_kernel().numpy()] + ([scales(layer.kernel).numpy()] if layer.scaled else [])
    return surgery.copy(layer, weights, latent=False, kernel_constraint=None, trainable=False)


def custom_layers() -> dict[str, Any]:
    """What Keras needs to load a binary model."""
    return {kind.__name__: kind for kind in _classes()}


def layer(name: str) -> Any:
    """A class of `custom_layers`, by its name."""
    return custom_layers()[name]


def chain(model: Any) -> list[Any]:
    """The layers of a model without branches in order, input layers left out; raises UsageError for another graph."""
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    layers = [node.layer for node in nodes if not node.is_input]
    in_a_row = len(model._nodes_by_depth) == len(nodes) and all(len(node.parent_nodes) < 2 for node in nodes)
    if not in_a_row or len({id(layer) for layer in layers}) < len(layers):
        raise UsageError(
            f"model {model.name} has branches or a layer that is used twice; binary networks are made of layers in a "
            "row: take an architecture such as lenet, lenet_5 or lenet_300_100"
        )
    return layers


def edges(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """How many positions TensorFlow's "same" padding adds before and after an axis of so many."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@cache
def _classes() -> Sequence[Any]:
    tf, keras = backend.tensorflow(), backend.keras()

    class Sign(keras.layers.Layer):  # type: ignore[misc,name-defined]
        """Binary activation: +1 or -1."""

        def call(self, x: Any) -> Any:
            return sign(x)

    class Clip(keras.constraints.Constraint):  # type: ignore[misc,name-defined]
        """Keeps latent weights in [-1, 1], where a sign can still change."""

        def __call__(self, w: Any) -> Any:
            return tf.clip_by_value(w, -1.0, 1.0)

    class Binary:
        """What convolutions and dense layers share; neither has a bias: batch normalisation follows.

        `levels` of a weight are 2, -1 and +1, or 3, with 0 between them.
        """

        def __init__(
            self, *args: Any, scaled: bool = False, latent: bool = True, levels: int = 2, **kwargs: Any
        ) -> None:
            if latent:
                kwargs["kernel_constraint"] = Clip()
            super().__init__(*args, **{**kwargs, "use_bias": False, "activation": None})
            self.scaled, self.latent, self.levels = scaled, latent, levels

        def get_config(self) -> dict[str, Any]:
            own = {"scaled": self.scaled, "latent": self.latent, "levels": self.levels}
            return {**super().get_config(), **own}  # type: ignore[misc]

        def build(self, shape: Any) -> None:
            super().build(shape)  # type: ignore[misc]
            if self.scaled:
                outputs = (self.kernel.shape[-1],)  # type: ignore[attr-defined]
                self.scale = self.add_weight("scale", outputs, initializer="ones", trainable=False)  # type: ignore[attr-defined]

        def binary_kernel(self) -> Any:
            """The kernel, +1 and -1 and with 3 levels 0."""
            kernel = self.kernel  # type: ignore[attr-defined]
            if not self.latent:
                return kernel
            return sign(kernel) if self.levels == 2 else ternary(kernel)

        def finish(self, sums: Any) -> Any:
            """Sums of inputs times +-1, scaled where the layer has scales."""
            if not self.scaled:
                return sums
            return sums * (scales(self.kernel) if self.latent else self.scale)  # type: ignore[attr-defined]

    class BinaryDense(Binary, keras.layers.Dense):  # type: ignore[misc,name-defined]
        """A dense layer with weights of +-1, or +-alpha per output."""

        def call(self, x: Any) -> Any:
            return self.finish(x @ self.binary_kernel())

    class BinaryConv2D(Binary, keras.layers.Conv2D):  # type: ignore[misc,name-defined]
        """A convolution with weights of +-1, or +-alpha per output channel; `edge` is what lies beyond the map."""

        def __init__(self, *args: Any, edge: float = 0.0, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.edge = edge

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "edge": self.edge}

        def call(self, x: Any) -> Any:
            padding = self.padding.upper()
            if self.edge and padding == "SAME":
                sizes = zip(x.shape[1:3], self.kernel_size, self.strides, strict=True)
                x = tf.pad(x, [(0, 0), *(edges(*axis) for axis in sizes), (0, 0)], constant_values=self.edge)
                padding = "VALID"
            return self.finish(tf.nn.conv2d(x, self.binary_kernel(), self.strides, padding))

    class InputScale(keras.layers.Layer):  # type: ignore[misc,name-defined]
        """XNOR-Net's K: mean magnitude of the inputs that an output sees, (n, h, w, 1), or (n, 1) before dense layers.

        Positions beyond the edge count as zeros, as in the paper.
        """

        def __init__(self, window: Sequence[int], strides: Sequence[int], padding: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.window, self.strides, self.padding = tuple(window), tuple(strides), padding

        def get_config(self) -> dict[str, Any]:
            own = {"window": self.window, "strides": self.strides, "padding": self.padding}
            return {**super().get_config(), **own}

        def call(self, x: Any) -> Any:
            if not self.window:
                return tf.reduce_mean(tf.abs(x), axis=list(range(1, len(x.shape))))[:, tf.newaxis]
            means = tf.reduce_mean(tf.abs(x), axis=-1, keepdims=True)
            box = tf.ones((*self.window, 1, 1)) / (self.window[0] * self.window[1])
            return tf.nn.conv2d(means, box, self.strides, self.padding.upper())

    class Steps(keras.layers.Layer):  # type: ignore[misc,name-defined]
        """Real numbers in [0, 1] as the whole numbers 0 to 255 that a device gets."""

        def call(self, x: Any) -> Any:
            # Divided and rounded as convert/vectors.py does: the same float32 operations.
            return tf.clip_by_value(tf.floor(x / tf.constant(STEP) + 0.5), 0.0, 255.0)

    class IntegerScores(keras.layers.Layer):  # type: ignore[misc,name-defined]
        """Scores (x * factor + offset) * 2^exponent of whole numbers x, factor and offset: exact below 2^24."""

        def build(self, shape: Any) -> None:
            super().build(shape)
            self.factors, self.offsets = (
                self.add_weight(name, (shape[-1],), initializer="zeros", trainable=False)
                for name in ("factors", "offsets")
            )
            self.exponent = self.add_weight("exponent", (), initializer="zeros", trainable=False)

        def call(self, x: Any) -> Any:
            return (x * self.factors + self.offsets) * tf.pow(2.0, self.exponent)

    return Sign, Clip, BinaryDense, BinaryConv2D, InputScale, Steps, IntegerScores
