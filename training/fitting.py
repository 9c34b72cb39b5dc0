"""The training loop's surroundings: batches, augmentation, learning rate, progress.

All randomness is stateless: batch k of a phase is a function of (seed, phase, k) alone, so the same seed gives the same
weights, and a phase does not depend on what ran before it in the process.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from training import backend
from training.datasets import Dataset
from training.progress import Reporter, Update
from training.settings.base import Augment, Fit

Floats = npt.NDArray[np.float32]

BATCH = 500  # samples at once where nothing is learned


@dataclass(frozen=True)
class TrainingData:
    """What a training phase works on besides the model and its settings."""

    dataset: Dataset
    augment: Augment
    seed: int
    reporter: Reporter
    teacher: Any | None = None  # the float model, for steps that distil from it
    ensemble: tuple[Any, ...] = ()  # several float models, the recipe's own first, for steps that ask for them

    def steps(self, settings: Fit) -> int:
        """Optimiser steps of the whole phase; an incomplete last batch is left out."""
        return settings.epochs * self.steps_per_epoch(settings)

    def steps_per_epoch(self, settings: Fit) -> int:
        """Optimiser steps of an epoch, at least one."""
        return max(1, len(self.dataset.y_train) // self.batch_size(settings))

    def batch_size(self, settings: Fit) -> int:
        """The settings' batch size, or all samples where there are fewer."""
        return min(settings.batch_size, len(self.dataset.y_train))

    def with_teacher(self, teacher: Any) -> "TrainingData":
        """The same data with a model to distil from."""
        return replace(self, teacher=teacher)


def predict(model: Any, x: Floats, reporter: Reporter | None = None, name: str = "predicting") -> Floats:
    """Class probabilities float32 (n, classes); with a reporter, shown there as `name`."""
    answers = []
    with (reporter or Reporter()).task(name, len(x)) as update:
        for start in range(0, len(x), BATCH):
            answers.append(np.asarray(model(x[start : start + BATCH], training=False)))
            update(min(start + BATCH, len(x)), "")
    return np.concatenate(answers)


def accuracy(model: Any, data: Dataset, reporter: Reporter | None = None) -> float:
    """Share of test samples whose most probable class is the label."""
    answers = predict(model, data.x_test, reporter, "testing")
    return float(np.mean(answers.argmax(axis=1) == data.y_test))


def targets(data: TrainingData, distillation: float) -> Floats:
    """Class probabilities to learn, (n, classes): the labels, mixed with the teacher's answers.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, at temperature 1. The teacher
    sees the plain samples, so its answers are computed once.
    """
    labels = np.eye(len(data.dataset.class_names), dtype=np.float32)[data.dataset.y_train]
    if data.teacher is None or distillation == 0:
        return labels
    answers = predict(data.teacher, data.dataset.x_train, data.reporter, "asking the float model")
    return ((1 - distillation) * labels + distillation * answers).astype(np.float32)


def fit(
    model: Any, data: TrainingData, settings: Fit, phase: str, distillation: float = 0.0, callbacks: Sequence[Any] = ()
) -> None:
    """Train `model` in place with Adam and cross-entropy.

    `phase` names the step on the screen and separates its random numbers from the other phases'.
    """
    keras = backend.keras()
    optimizer = keras.optimizers.Adam(_learning_rate(settings, data.steps(settings)))
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    model.compile(optimizer, loss, metrics=["accuracy"])
    seed = zlib.crc32(f"{phase} {data.seed}".encode()) & 0x7FFFFFFF
    batches = _batches(data, settings, targets(data, distillation), seed)
    per_epoch = data.steps_per_epoch(settings)
    with data.reporter.task(phase, data.steps(settings)) as update:
        model.fit(
            batches,
            epochs=settings.epochs,
            steps_per_epoch=per_epoch,
            verbose=0,
            callbacks=[*callbacks, _show(update, settings.epochs, per_epoch)],
        )


def _learning_rate(settings: Fit, steps: int) -> Any:
    """Linear warm-up, then a half cosine to zero (Loshchilov and Hutter 2017) or a constant."""
    tf, keras = backend.tensorflow(), backend.keras()

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc,name-defined]
        def __call__(self, step: Any) -> Any:
            done = (tf.cast(step, tf.float32) + 1) / steps
            rising = done / settings.warmup if settings.warmup else 1.0
            if settings.schedule == "constant":
                return settings.learning_rate * tf.minimum(rising, 1.0)
            rest = (done - settings.warmup) / max(1 - settings.warmup, 1e-9)
            falling = 0.5 * (1 + tf.cos(np.pi * tf.clip_by_value(rest, 0.0, 1.0)))
            return settings.learning_rate * tf.minimum(rising, falling)

        def get_config(self) -> dict[str, object]:
            return {"settings": settings.model_dump(), "steps": steps}

    return Schedule()


def _batches(data: TrainingData, settings: Fit, labels: Floats, seed: int) -> Any:
    """A tf.data pipeline of all epochs' batches, each epoch a new permutation."""
    tf = backend.tensorflow()
    size = data.batch_size(settings)
    x, y = tf.constant(data.dataset.x_train), tf.constant(labels)
    change = _augmentation(data.augment, data.dataset.x_train.shape[1:], size)

    def epoch(number: Any) -> Any:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(labels)), [seed, tf.cast(number, tf.int32)])
        return tf.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=True)

    def batch(number: Any, chosen: Any) -> Any:
        return change(tf.gather(x, chosen), [seed ^ 0x5A5A5A5A, tf.cast(number, tf.int32)]), tf.gather(y, chosen)

    return tf.data.Dataset.range(settings.epochs).flat_map(epoch).enumerate().map(batch).prefetch(4)


def _augmentation(augment: Augment, shape: tuple[int, ...], size: int) -> Any:
    """(batch, seed) -> changed batch; only what the recipe asks for costs anything."""
    tf = backend.tensorflow()
    height, width = (*shape, 1)[:2]

    def geometry(x: Any, seed: Any) -> Any:
        # One affine map a sample: output (column, row) comes from input (a*column + b, row + c).
        draw = tf.random.stateless_uniform([size, 3], seed)
        mirror = tf.cast(draw[:, 0] < (0.5 if augment.flip else 0.0), tf.float32)
        offsets = tf.floor(draw[:, 1:] * (2 * augment.shift + 1)) - augment.shift
        offsets *= tf.constant([float(width > 1), float(height > 1)])
        zero = tf.zeros([size])
        columns = [1 - 2 * mirror, zero, (width - 1) * mirror + offsets[:, 0]]
        rows = [zero, zero + 1, offsets[:, 1]]
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=x,
            transforms=tf.stack([*columns, *rows, zero, zero], axis=1),
            output_shape=[height, width],
            fill_value=0.0,
            interpolation="NEAREST",
            fill_mode="CONSTANT",
        )
        return tf.ensure_shape(moved, [size, *shape])

    def change(x: Any, seed: Any) -> Any:
        if augment.flip or augment.shift:
            x = geometry(x, seed)
        if augment.scale:
            drawn = tf.random.stateless_uniform([size] + [1] * len(shape), [seed[0] ^ 1, seed[1]], -1.0, 1.0)
            x *= 1 + augment.scale * drawn
        if augment.noise:
            x += tf.random.stateless_normal([size, *shape], [seed[0] ^ 2, seed[1]], 0.0, augment.noise)
        return x

    return change


def _show(update: Update, epochs: int, per_epoch: int) -> Any:
    """A Keras callback that feeds the progress display."""

    class Show(backend.keras().callbacks.Callback):  # type: ignore[misc]
        epoch = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            del logs
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            words = f"epoch {self.epoch + 1}/{epochs}"
            if logs:
                words += f", training accuracy {logs['accuracy']:.3f}"
            update(self.epoch * per_epoch + batch + 1, words)

    return Show()
