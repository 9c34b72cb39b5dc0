"""Techniques that teach another model."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from training.settings.architectures import Model
from training.settings.base import Fit, Positive, Section, Share, Technique


class Hint(Section):
    """A layer of the student learns what a layer of the teacher says (Romero et al. 2015)."""

    teacher: str = Field(min_length=1)  # the layers' names
    student: str = Field(min_length=1)
    epochs: int = Field(default=3, ge=0)  # of the hint alone, before `epochs` with the answers
    weight: float = Field(default=0.0, ge=0)  # of the hint beside the answers; 0 is the paper's way

    @model_validator(mode="after")
    def _used(self) -> "Hint":
        if not self.epochs and not self.weight:
            raise ValueError(
                "epochs = 0 and weight = 0 leave the hint without effect; raise one, or leave the hint out"
            )
        return self


class Boundary(Section):
    """Samples at the teacher's decision boundary, made from the batch (Heo et al. 2019)."""

    weight: float = Field(default=0.3, gt=0)  # of their answers at the start, beside `weight` of the batch's
    until: float = Field(default=0.75, gt=0, le=1)  # share of the steps in which the weight falls to zero
    share: float = Field(default=0.25, gt=0, le=1)  # of a batch that they start from, at most
    steps: Positive = 10  # towards the boundary, at most
    rate: float = Field(default=0.5, gt=0, le=1)  # share of the way to the boundary a step, were the teacher linear


class Distill(Fit, Technique):
    """Another architecture learns from the model's softened answers (Hinton et al. 2015); it starts untrained."""

    technique: Literal["distill"]
    student: Model
    temperature: float = Field(default=2.0, gt=0, le=100)  # higher takes a larger student, or longer
    weight: Share = 0.7  # of the teacher's answers; the labels have the rest
    ensemble: int = Field(default=1, ge=1, le=16)  # teachers: the model, and others like it of the following seeds
    hint: Hint | None = None
    boundary: Boundary | None = None

    leaves: ClassVar[str | None] = "float"

    @property
    def teachers(self) -> int:
        """How many float models the step learns from."""
        return self.ensemble

    @model_validator(mode="after")
    def _plain_student(self) -> "Distill":
        if self.student.leaves != "float":
            raise ValueError(
                f'student.architecture = "{self.student.architecture}" cannot be a student: its layers are of its own '
                "kind; take a plain network, or make it the recipe's [model] and use distillation there"
            )
        return self


Step = Distill
