"""AdaRound: each weight is rounded up or down so that its layer's answers, not the weights, stay as they were.

Nagel, Amjad, van Baalen, Louizos and Blankevoort, "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020.
Rounding to nearest is the best for weights one at a time; together their errors can cancel. Layer by layer,

    minimise  |f(W x + b) - f(W~ x^ + b)|^2 / E + lambda mean(1 - |2 h(V) - 1|^beta)
    W~ = s clip(floor(W / s) + h(V)),  h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1)

over V with Adam: x are the layer's inputs in the float model, x^ those behind the layers that are rounded already, and
f is the ReLU where one follows. beta falls from 20 to 2, so that h ends at 0 or 1. Unlike the paper the error is
divided by E, that of rounding to nearest, and the pull by the number of weights: one lambda then serves layers of any
range and size. Weights that are zero stay zero: an earlier step may have made them so. A layer that came out no better
than with rounding to nearest is rounded to nearest.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from convert.scheme import Grid
from training import backend, calibration, chains, correction, folding, grids, surgery
from training.calibration import Rows
from training.fitting import Floats, TrainingData
from training.grids import Integers
from training.settings.post_training import AdaRound

ZETA, GAMMA = 1.1, -0.1  # how far the sigmoid is stretched, so that 0 and 1 are reached
_STEPS = 100  # of the optimiser between two signs of progress


def apply(model: Any, data: TrainingData, settings: AdaRound) -> Any:
    """A copy of `model`, batch normalisation folded, with weights on the grids that its scheme says.

    Raises UsageError where `settings.skip` leaves no layer or names an unknown one, and for grouped convolutions.
    """
    folded = folding.fold(model)
    names = [layer.name for layer in calibration.layers_to_round(folded, settings)]
    reference = correction.with_biases(folded, names if settings.correct_bias else [])
    rounded = surgery.rebuild(reference, {})
    x = correction.samples(data, settings.samples)
    chosen: dict[str, Grid] = {}
    with data.reporter.task("adaround", len(names) * settings.iterations) as update:
        for done, name in enumerate(names):

            def show(step: int, words: str, done: int = done, name: str = name) -> None:
                update(done * settings.iterations + step, f"layer {done + 1}/{len(names)} {name}, {words}")

            twin = rounded.get_layer(name)
            seed = zlib.crc32(f"adaround {name} {data.seed}".encode()) & 0x7FFFFFFF
            task = _task(reference, rounded, name, x, settings, seed)
            integers = optimize(task, settings, seed, show)
            calibration.set_matrix(twin, grids.values(integers, task.scales))
            if settings.correct_bias:
                correction.correct(twin, task.target - task.bias, task.rows.answers(calibration.matrix(twin)))
            chosen[name] = grids.grid(task.scales, settings.weight_bits)
    return correction.marked(rounded, chosen)


@dataclass(frozen=True)
class Task:
    """One layer's rounding: rows behind the rounded layers, and what its answers should be before the activation."""

    rows: Rows
    target: Floats  # (n, channels), bias included
    weights: Floats  # (weights a channel, channels)
    bias: Floats  # (channels,), zeros where the layer has none
    scales: Floats  # (1,) or (channels,)
    relu: bool  # whether only what a ReLU lets through counts


def _task(reference: Any, rounded: Any, name: str, x: Floats, settings: AdaRound, seed: int) -> Task:
    layer = reference.get_layer(name)
    weights = calibration.matrix(layer)
    bias = layer.get_weights()[1] if layer.use_bias else np.zeros(weights.shape[1], np.float32)
    before = calibration.rows(reference, layer, x, settings.positions, seed)
    return Task(
        rows=calibration.rows(rounded, rounded.get_layer(name), x, settings.positions, seed),
        target=before.answers(weights) + bias,
        weights=weights,
        bias=bias,
        scales=calibration.scales(layer, settings),
        relu=chains.relu_after(layer),
    )


def error(task: Task, integers: Integers, relu: bool | None = None) -> float:
    """Mean over the rows of the squared error of a layer's answers, summed over its channels."""
    answers = task.rows.answers(grids.values(integers, task.scales)) + task.bias
    target = task.target
    if task.relu if relu is None else relu:
        answers, target = np.maximum(answers, 0), np.maximum(target, 0)
    return float(np.mean(np.sum((answers.astype(np.float64) - target) ** 2, axis=1)))


def optimize(task: Task, settings: AdaRound, seed: int, show: Callable[[int, str], None]) -> Integers:
    """The integers of a layer's weights: each the one below or above the weight, cut off at the grid's ends."""
    nearest = grids.nearest(task.weights, task.scales, settings.weight_bits)
    unit = error(task, nearest)
    if unit == 0:  # all on the grid already
        return nearest
    tf = backend.tensorflow()
    exact = task.weights / task.scales
    below = np.floor(exact).astype(np.float32)
    share = np.clip((exact - below - GAMMA) / (ZETA - GAMMA), 1e-6, 1 - 1e-6)
    v = tf.Variable(np.log(share / (1 - share)), dtype=tf.float32)
    step = _stepper(task, settings, seed, unit, below, v)
    for done in range(0, settings.iterations, _STEPS):
        count = min(_STEPS, settings.iterations - done)
        loss = float(step(tf.constant(done), tf.constant(count)))
        show(done + count, f"error {loss:.3f} of nearest rounding's")
    up = (_soft(tf, v).numpy() >= 0.5) & (task.weights != 0)
    end = grids.largest(settings.weight_bits)
    integers: Integers = np.clip(below + up, -end, end).astype(np.int32)
    return integers if error(task, integers) < unit else nearest


def _soft(tf: Any, v: Any) -> Any:
    """h(V), the rectified sigmoid."""
    return tf.clip_by_value(tf.sigmoid(v) * (ZETA - GAMMA) + GAMMA, 0.0, 1.0)


def _stepper(task: Task, settings: AdaRound, seed: int, unit: float, below: Floats, v: Any) -> Any:
    """A compiled function (first step, count) -> last reconstruction error, which moves `v`."""
    tf, keras = backend.tensorflow(), backend.keras()
    rows, target = tf.constant(task.rows.values), tf.constant(task.target)
    scales, bias, base = tf.constant(task.scales), tf.constant(task.bias), tf.constant(below)
    moving = tf.constant((task.weights != 0).astype(np.float32))
    end, size = float(grids.largest(settings.weight_bits)), min(settings.batch_size, len(task.target))
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build([v])
    begin = settings.warmup * settings.iterations

    def losses(step: Any) -> tuple[Any, Any]:
        chosen = tf.random.stateless_uniform([size], [seed, step], 0, len(task.target), tf.int32)
        h = _soft(tf, v) * moving
        weights = scales * tf.clip_by_value(base + h, -end, end)
        x, y = tf.gather(rows, chosen), tf.gather(target, chosen)
        answers = (tf.matmul(x, weights) if task.rows.values.ndim == 2 else tf.einsum("nkc,kc->nc", x, weights)) + bias
        if task.relu:
            answers, y = tf.nn.relu(answers), tf.nn.relu(y)
        reconstruction = tf.reduce_mean(tf.reduce_sum(tf.square(answers - y), axis=1)) / unit
        done = tf.cast(step, tf.float32)
        rest = 1 - (done - begin) / (settings.iterations - begin)
        beta = settings.last_beta + 0.5 * (settings.first_beta - settings.last_beta) * (1 - tf.cos(np.pi * rest))
        pull = tf.reduce_mean(1 - tf.pow(tf.abs(2 * h - 1), beta))
        return reconstruction, tf.where(done < begin, 0.0, settings.regularization * pull)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def run(first: Any, count: Any) -> Any:
        last = tf.constant(0.0)
        for step in tf.range(first, first + count):
            with tf.GradientTape() as tape:
                reconstruction, pull = losses(step)
                loss = reconstruction + pull
            optimizer.apply_gradients([(tape.gradient(loss, v), v)])
            last = reconstruction
        return last

    return run
