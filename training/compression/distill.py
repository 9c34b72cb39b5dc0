"""Distillation: a small network learns from a large one's answers to the training samples, not from the labels alone.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015. With logits s of the student and t of
the teacher, temperature T and weight w the loss of a sample is

    (1 - w) * CE(label, softmax(s)) + w * T^2 * KL(softmax(t / T) || softmax(s / T))

where T^2 keeps the two gradients' proportion at any temperature. Several teachers answer with the mean of their
softened probabilities. The student starts from the weights that it would start from as a recipe's own model with the
same seed.

Where training samples are augmented, the teacher answers every changed sample as the student sees it, which is worth
more than answers to the plain ones (Beyer et al., "Knowledge Distillation: A Good Teacher Is Patient and Consistent",
2022). Without augmentation the answers stay the same, so they are computed once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convert.errors import UsageError
from training import architectures, backend
from training.compression import boundary, hints
from training.compression.answers import Function, divergence, logits, softened
from training.fitting import TrainingData, fit
from training.settings.base import Augment
from training.settings.distillation import Distill

if TYPE_CHECKING:
    # architectures.build finds a family by a computed name; the key of the finished step covers what is imported here.
    from training.architectures import (  # noqa: F401
        autoencoder,
        densenet,
        ds_cnn,
        lenet,
        lenet_5,
        lenet_300_100,
        mobilenet_v1,
        mobilenet_v2,
        mobilenet_v3_small,
        recurrent,
        resnet,
        shufflenet_v1,
        shufflenet_v2,
        squeezenet,
        temporal_cnn,
        vgg_small,
    )

SOFT = 1 / 3  # share of the answers where they travel with the labels: the label's entry alone is above a half


def apply(model: Any, data: TrainingData, settings: Distill) -> Any:
    """A student trained from scratch with `model`, and the ensemble's others, as teachers.

    Raises UsageError where the student cannot be built for the data, or a hint's layers do not exist or do not match.
    """
    teachers = [model, *data.ensemble[1:]]
    if len(teachers) < settings.ensemble:
        raise UsageError(f"distill asks for ensemble = {settings.ensemble} and there is one teacher; set ensemble = 1")
    backend.keras().utils.set_random_seed(data.seed)
    student = architectures.build(settings.student, data.dataset.card.shape, len(data.dataset.class_names))
    hint = hints.Hint(model, student, settings.hint) if settings.hint else None
    if hint is not None:
        hint.train(data, settings)
    once = data.augment == Augment()
    answers = softened(teachers, settings.temperature)
    learner = _learner(student, answers, teachers, hint, data, settings, once)
    if once:
        fit(learner, data.with_teacher(answers), settings, "distill", SOFT)
    else:
        fit(learner, data, settings, "distill")
    return student


def unmixed(targets: Any) -> tuple[Any, Any]:
    """Labels and answers, each (n, classes), of what `fitting.targets` mixed of them with share SOFT of answers."""
    tf = backend.tensorflow()
    labels = tf.cast(targets > 0.5, targets.dtype)
    return labels, tf.nn.relu(targets - (1 - SOFT) * labels) / SOFT


def _learner(
    student: Any,
    answers: Function,
    teachers: Sequence[Any],
    hint: hints.Hint | None,
    data: TrainingData,
    settings: Distill,
    once: bool,
) -> Any:
    """A Keras model around the student whose training step is distillation's; `once`: targets hold the answers."""
    keras, tf = backend.keras(), backend.tensorflow()
    scores = logits(student)
    samples = boundary.Samples(teachers, data, settings) if settings.boundary else None

    class Learner(keras.Model):  # type: ignore[misc,name-defined]
        def call(self, x: Any, training: Any = None) -> Any:
            return student(x, training=training)

        def train_step(self, batch: Any) -> dict[str, Any]:
            x, targets = batch
            labels, soft = unmixed(targets) if once else (targets, answers(x))
            step = self.optimizer.iterations
            variables = [*student.trainable_variables, *(hint.variables if hint else [])]
            with tf.GradientTape() as tape:
                own = scores(x, training=True)
                probabilities = tf.nn.softmax(own)
                loss = (1 - settings.weight) * self.compiled_loss(labels, probabilities)
                loss += settings.weight * tf.reduce_mean(divergence(soft, own, settings.temperature))
                if samples is not None:
                    with tape.stop_recording():
                        made, used = samples.make(x, labels, tf.nn.softmax(own), step)
                        their = answers(made)
                    apart = divergence(their, scores(made, training=True), settings.temperature)
                    loss += samples.weight(step) * tf.math.divide_no_nan(
                        tf.reduce_sum(apart * used), tf.reduce_sum(used)
                    )
                if hint is not None and hint.settings.weight:
                    loss += hint.settings.weight * hint.loss(x, training=True)
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            self.compiled_metrics.update_state(labels, probabilities)
            return {metric.name: metric.result() for metric in self.metrics}

    return Learner()
