"""Hints: a layer in the middle of the student learns to say what one of the teacher's says, before the whole learns.

Romero et al., "FitNets: Hints for Thin Deep Nets", 2015. The two layers need not have the same size: a linear
regressor between them learns along and is thrown away. Between feature maps it is a convolution, with a kernel as large
as makes the student's map as small as the teacher's, 1x1 where they are alike; otherwise a dense layer.
"""

from typing import Any

from convert.errors import UsageError, one_of
from training import backend
from training.fitting import TrainingData, fit
from training.settings import distillation
from training.settings.base import Fit


class Hint:
    """The teacher's layer, the student up to its own, and the regressor between them."""

    def __init__(self, teacher: Any, student: Any, settings: distillation.Hint) -> None:
        """Raises UsageError where a layer does not exist or the student's map is smaller than the teacher's."""
        keras = backend.keras()
        self.settings = settings
        self.hint = keras.Model(teacher.input, _output(teacher, settings.teacher, "teacher"))
        self.guided = keras.Model(student.input, _output(student, settings.student, "student"))
        wanted, given = self.hint.output_shape[1:], self.guided.output_shape[1:]
        self.regressor = _regressor(wanted, given, settings)
        self.regressor.build((None, *given))

    @property
    def variables(self) -> list[Any]:
        """The regressor's."""
        found: list[Any] = self.regressor.trainable_variables
        return found

    def loss(self, x: Any, training: bool) -> Any:
        """Half the mean squared difference between hint and regressor, a scalar."""
        tf = backend.tensorflow()
        told = self.regressor(self.guided(x, training=training))
        heard = tf.reshape(tf.stop_gradient(self.hint(x, training=False)), tf.shape(told))
        return 0.5 * tf.reduce_mean(tf.math.squared_difference(heard, told))

    def train(self, data: TrainingData, settings: Fit) -> None:
        """The first stage: the student up to its layer, from the hint alone."""
        if self.settings.epochs:
            fit(self._learner(), data, settings.model_copy(update={"epochs": self.settings.epochs}), "hint")

    def _learner(self) -> Any:
        hint, tf = self, backend.tensorflow()

        class Learner(backend.keras().Model):  # type: ignore[misc]
            def train_step(self, batch: Any) -> dict[str, Any]:
                x, _ = batch
                variables = [*hint.guided.trainable_variables, *hint.variables]
                with tf.GradientTape() as tape:
                    loss = hint.loss(x, training=True)
                self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
                return {}  # no accuracy yet to show

        return Learner()


def _output(model: Any, name: str, whose: str) -> Any:
    layers = {layer.name: layer for layer in model.layers}
    if name not in layers:
        raise UsageError(f"hint.{whose} = {name!r} is no layer of the {whose}; it has {one_of(list(layers))}")
    return layers[name].output


def _regressor(wanted: tuple[int, ...], given: tuple[int, ...], settings: distillation.Hint) -> Any:
    """A linear layer from the student's features `given` to the teacher's `wanted`, shapes without the batch."""
    keras = backend.keras()
    if len(wanted) == len(given) == 3:
        kernel = tuple(own - other + 1 for own, other in zip(given[:2], wanted[:2], strict=True))
        if min(kernel) < 1:
            raise UsageError(
                f"hint.student = {settings.student!r} gives maps of {given[0]}x{given[1]}, smaller than the "
                f"{wanted[0]}x{wanted[1]} of hint.teacher = {settings.teacher!r}; name an earlier layer of the student "
                "or a later one of the teacher"
            )
        return keras.layers.Conv2D(wanted[2], kernel, name="hint_regressor")
    units = 1
    for size in wanted:
        units *= size
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(units, name="hint_regressor")])
