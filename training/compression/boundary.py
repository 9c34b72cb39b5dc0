"""Boundary supporting samples: training samples moved to where the teacher changes its mind.

Heo, Lee, Yun and Choi, "Knowledge Distillation with Adversarial Samples Supporting Decision Boundary", AAAI 2019. A
sample of class b moves towards another class k along the gradient of the gap L = t_b - t_k between the teacher's
scores,

    x <- x - rate * (L + e) / ||dL/dx||^2 * dL/dx

until k has overtaken b, or the steps are used up. It counts where b and k are the two most probable classes in the end
and nearly equal; one that strayed to a third class's boundary, or is still on its way, does not. Base samples are those
of a batch that teacher and student both classify rightly, and of these the ones where the two differ most in the other
classes. Class k is drawn with the probability that the teacher gives it, class b left out. The weight of the samples'
loss falls linearly to zero before training ends.

The paper takes 10 steps of rate 0.3; that leaves a network with steep scores on its way, so the default rate is higher.
"""

from collections.abc import Sequence
from typing import Any

from training import backend
from training.compression.answers import logits
from training.fitting import TrainingData
from training.settings.distillation import Distill

BEYOND = 1e-3  # e: how far the gap is to turn, so that the boundary is crossed and not only approached
NEAR = 0.2  # largest difference between the two classes' probabilities at which a sample counts as at the boundary


class Samples:
    """Makes boundary samples of batches."""

    def __init__(self, teachers: Sequence[Any], data: TrainingData, settings: Distill) -> None:
        if settings.boundary is None:
            raise ValueError("the settings ask for no boundary samples")
        self.settings, self.seed = settings.boundary, data.seed
        self.models = [logits(teacher) for teacher in teachers]
        self.low, self.high = float(data.dataset.x_train.min()), float(data.dataset.x_train.max())
        self.count = max(1, round(self.settings.share * data.batch_size(settings)))
        self.last = self.settings.until * data.steps(settings)

    def weight(self, step: Any) -> Any:
        """Of the samples' loss at an optimiser step, a scalar."""
        tf = backend.tensorflow()
        return self.settings.weight * tf.maximum(1 - tf.cast(step, tf.float32) / self.last, 0.0)

    def scores(self, x: Any) -> Any:
        """The teachers' scores (n, classes): one's logits, or the logarithm of several's mean probabilities."""
        tf = backend.tensorflow()
        if len(self.models) == 1:
            return self.models[0](x, training=False)
        answers = [tf.nn.log_softmax(model(x, training=False)) for model in self.models]
        return tf.reduce_logsumexp(tf.stack(answers), axis=0)

    def make(self, x: Any, labels: Any, student: Any, step: Any) -> tuple[Any, Any]:
        """Boundary samples (count, *shape) of a batch and 1 for each that counts, 0 for the others, (count,).

        `labels` and the student's probabilities `student` are (n, classes).
        """
        tf = backend.tensorflow()
        teacher = tf.nn.softmax(self.scores(x))
        chosen, eligible = self.bases(labels, teacher, student)
        base = tf.argmax(tf.gather(labels, chosen), axis=1, output_type=tf.int32)
        target = self.targets(tf.gather(teacher, chosen), base, step)
        made, reached = self.move(tf.gather(x, chosen), base, target)
        return made, tf.cast(eligible & reached, tf.float32)

    def bases(self, labels: Any, teacher: Any, student: Any) -> tuple[Any, Any]:
        """Indices of `count` samples to start from, (count,), and whether both networks classify them rightly."""
        tf = backend.tensorflow()
        right = tf.argmax(labels, axis=1)
        both = (tf.argmax(teacher, axis=1) == right) & (tf.argmax(student, axis=1) == right)
        apart = tf.reduce_sum(tf.math.squared_difference(teacher, student) * (1 - labels), axis=1)
        best = tf.math.top_k(tf.where(both, apart, -1.0), self.count)
        return best.indices, best.values >= 0

    def targets(self, teacher: Any, base: Any, step: Any) -> Any:
        """A class other than `base` for each sample, drawn by the teacher's probabilities, (count,)."""
        tf = backend.tensorflow()
        others = tf.where(tf.one_hot(base, teacher.shape[1]) > 0, -1e9, tf.math.log(teacher + 1e-12))
        drawn = tf.random.stateless_categorical(others, 1, [self.seed, tf.cast(step, tf.int32)], tf.int32)
        return drawn[:, 0]

    def move(self, x: Any, base: Any, target: Any) -> tuple[Any, Any]:
        """Samples moved towards the boundary between two classes each, and whether they lie at it."""
        tf = backend.tensorflow()
        x = tf.convert_to_tensor(x)
        own, other = tf.one_hot(base, self.classes), tf.one_hot(target, self.classes)
        axes = list(range(1, len(x.shape)))

        def towards(done: Any, x: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                tape.watch(x)
                gap = tf.reduce_sum(self.scores(x) * (own - other), axis=1)
            slope = tape.gradient(gap, x)
            length = tf.where(gap > 0, self.settings.rate * (gap + BEYOND), 0.0)
            length = tf.math.divide_no_nan(length, tf.reduce_sum(slope**2, axis=axes))
            moved = x - tf.reshape(length, [-1] + [1] * len(axes)) * slope
            return done + 1, tf.clip_by_value(moved, self.low, self.high)

        _, x = tf.while_loop(lambda done, _: done < self.settings.steps, towards, (0, x))
        found = tf.math.top_k(tf.nn.softmax(self.scores(x)), 2)
        between = tf.reduce_all(tf.reduce_sum(tf.one_hot(found.indices, self.classes), axis=1) == own + other, axis=1)
        return x, between & (found.values[:, 0] - found.values[:, 1] < NEAR)

    @property
    def classes(self) -> int:
        """How many."""
        found: int = self.models[0].output_shape[-1]
        return found
