"""What a network says to samples, for others to learn from: scores, softened probabilities, and how far two differ."""

from collections.abc import Callable, Sequence
from typing import Any

from training import backend

Function = Callable[..., Any]


def logits(model: Any) -> Any:
    """A model that gives the scores (n, classes) that `model` makes probabilities of, up to a constant a sample."""
    keras, tf = backend.keras(), backend.tensorflow()
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(model.input, last.input)
    scores = keras.layers.Lambda(lambda p: tf.math.log(tf.maximum(p, 1e-30)))
    return keras.Model(model.input, scores(model.output))


def softened(teachers: Sequence[Any], temperature: float) -> Function:
    """The teachers' mean answer at a temperature as a function of samples: probabilities (n, classes)."""
    tf = backend.tensorflow()
    models = [logits(teacher) for teacher in teachers]

    def answers(x: Any, training: bool = False) -> Any:
        del training  # teachers never are; Keras' models take the argument
        return tf.add_n([tf.nn.softmax(model(x, training=False) / temperature) for model in models]) / len(models)

    return answers


def divergence(answers: Any, scores: Any, temperature: float) -> Any:
    """T^2 * KL(answers || softmax(scores / T)) a sample, (n,)."""
    tf = backend.tensorflow()
    own = tf.nn.log_softmax(scores / temperature)
    return temperature**2 * tf.reduce_sum(tf.math.xlogy(answers, answers) - answers * own, axis=1)
