"""Optimal Brain Damage: the weights whose loss of their own raises the error least become zero, in rounds.

LeCun, Denker and Solla, "Optimal Brain Damage", 1990. Near a minimum of the mean error E, deleting weight w_k costs
h_kk w_k^2 / 2 with h_kk = d^2 E / d w_k^2, if the other weights stay and mixed derivatives are left out: the saliency.
Weights of all layers are ranked by it, the lowest go, the others are retrained.

The second derivatives are the Gauss-Newton (Levenberg-Marquardt) approximation that the paper uses too, without the
term of the units' curvature, and so never negative: for softmax and cross-entropy

    h_kk = mean over samples of sum over classes c of p_c (d log p_c / d w_k)^2

with the model's own probabilities p, which is exact where the scores are linear in the weights. The paper propagates
second derivatives back and drops mixed terms at every unit and between the uses of a shared weight; here first
derivatives of every class are propagated and squared once they are summed over a weight's uses, so these terms stay.
One backward pass a class and batch; memory for a batch's patches of one convolution at a time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from training import backend, surgery
from training.compression import masks, rounds
from training.compression.masks import Mask, Masks, Scores
from training.fitting import TrainingData
from training.progress import Reporter
from training.settings.pruning import Obd

BATCH = 50  # samples at once
_LEAST = 1e-12  # probabilities below count as constant: their share of the sum is nothing


def apply(model: Any, data: TrainingData, settings: Obd) -> Any:
    """A copy of `model` with its least salient weights at zero; raises UsageError for layers that it does not have."""
    x = _samples(data, settings)

    def choose(current: Any, before: Masks, number: int) -> dict[str, Mask]:
        found = saliencies(current, x, list(before), data.reporter)
        return rounds.by_target(found, before, settings, settings.sparsity, number)

    return rounds.run(model, data, settings, "obd", choose)


def pruned(model: Any, settings: Obd) -> list[str]:
    """The layers that the settings prune."""
    return rounds.layers(model, settings)


def saliencies(model: Any, x: Any, names: list[str], reporter: Reporter | None = None) -> Scores:
    """h_kk w_k^2 / 2 of every weight of the named layers: how much the mean cross-entropy rises without it."""
    kernels = masks.kernels(model, names)
    return {name: h * kernels[name] ** 2 / 2 for name, h in curvatures(model, x, names, reporter).items()}


def curvatures(model: Any, x: Any, names: list[str], reporter: Reporter | None = None) -> Scores:
    """The diagonal h_kk of the second derivatives of the mean cross-entropy over samples x, in the kernels' shapes."""
    tf = backend.tensorflow()
    tapped = _tapped(model, names)
    layers = [model.get_layer(name) for name in names]
    shapes = [kernel.shape for kernel in masks.kernels(model, names).values()]
    squares = [_squares(layer) for layer in layers]
    classes = int(model.output_shape[-1])

    @tf.function  # type: ignore[untyped-decorator]
    def batch(samples: Any) -> list[Any]:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(samples)
            *taps, p = tapped(samples, training=False)
            logs = [tf.math.log(tf.maximum(p[:, c], _LEAST)) for c in range(classes)]
        inputs, sums = taps[: len(names)], taps[len(names) :]
        totals = [tf.zeros(shape) for shape in shapes]
        for c in range(classes):
            for k, slope in enumerate(tape.gradient(logs[c], sums)):
                weight = tf.reshape(tf.sqrt(p[:, c]), [-1] + [1] * (len(slope.shape) - 1))
                totals[k] += squares[k](inputs[k], slope * weight)
        return totals

    found = [np.zeros(shape) for shape in shapes]
    with (reporter or Reporter()).task("second derivatives", len(x)) as update:
        for start in range(0, len(x), BATCH):
            for total, part in zip(found, batch(tf.constant(x[start : start + BATCH])), strict=True):
                total += np.asarray(part)
            update(min(start + BATCH, len(x)), "")
    return {name: total / len(x) for name, total in zip(names, found, strict=True)}


def _samples(data: TrainingData, settings: Obd) -> Any:
    """Training samples drawn by the seed, in whole batches where there are enough."""
    x = data.dataset.x_train
    chosen = np.random.default_rng(data.seed).permutation(len(x))[: settings.samples]
    return x[np.sort(chosen)]


def _tapped(model: Any, names: list[str]) -> Any:
    """The model with more outputs: each named layer's input, each one's weighted sums, then the probabilities."""
    keras = backend.keras()
    taps: dict[str, tuple[Any, Any]] = {}

    def split(layer: Any) -> Callable[[Any], Any]:
        linear = surgery.copy(layer, layer.get_weights(), activation="linear")

        def call(tensor: Any) -> Any:
            sums = linear(tensor)
            taps[layer.name] = tensor, sums
            return keras.layers.Activation(layer.activation)(sums)

        return call

    again = surgery.rebuild(model, {name: split(model.get_layer(name)) for name in names})
    return keras.Model(
        again.inputs, [*(taps[name][0] for name in names), *(taps[name][1] for name in names), again.outputs[0]]
    )


def _squares(layer: Any) -> Callable[[Any, Any], Any]:
    """(inputs, slopes of weighted sums) of a batch -> sum over samples of the squared slopes of the kernel."""
    tf, layers = backend.tensorflow(), backend.keras().layers
    shape = layer.get_weights()[0].shape

    def dense(x: Any, slope: Any) -> Any:
        if len(x.shape) == 2:
            return tf.matmul(x**2, slope**2, transpose_a=True)
        x, slope = tf.reshape(x, [len(x), -1, shape[0]]), tf.reshape(slope, [len(x), -1, shape[1]])
        return tf.reduce_sum(tf.einsum("npi,npo->nio", x, slope) ** 2, axis=0)

    def patches(x: Any) -> Any:
        height, width = layer.kernel_size
        rates = layer.dilation_rate
        cut = tf.image.extract_patches(
            x, [1, height, width, 1], [1, *layer.strides, 1], [1, *rates, 1], layer.padding.upper()
        )
        return tf.reshape(cut, [tf.shape(x)[0], -1, height * width, x.shape[-1]])

    def convolution(x: Any, slope: Any) -> Any:
        slope = tf.reshape(slope, [tf.shape(x)[0], -1, shape[-1]])
        each = tf.einsum("nptc,npf->ntcf", patches(x), slope)
        return tf.reshape(tf.reduce_sum(each**2, axis=0), shape)

    def depthwise(x: Any, slope: Any) -> Any:
        slope = tf.reshape(slope, [tf.shape(x)[0], -1, shape[2], shape[3]])
        each = tf.einsum("nptc,npcm->ntcm", patches(x), slope)
        return tf.reshape(tf.reduce_sum(each**2, axis=0), shape)

    if isinstance(layer, layers.DepthwiseConv2D):
        return depthwise
    return convolution if isinstance(layer, layers.Conv2D) else dense
