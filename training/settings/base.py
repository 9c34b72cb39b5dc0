"""What all sections of a recipe share."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A table of the TOML file: unknown keys and wrong types are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Architecture(Section):
    """What every model family says of itself."""

    leaves: ClassVar[str] = "float"  # the state that its models are in: see Technique


class Fit(Section):
    """What every training phase needs to know."""

    epochs: Positive
    batch_size: Positive = 128
    learning_rate: float = Field(default=1e-3, gt=0, le=1)  # at its peak
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Share = 0.1  # share of the steps in which the learning rate rises linearly
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class Augment(Section):
    """Random changes of training samples, drawn anew for every sample and epoch."""

    flip: bool = False  # mirror left and right, every second sample
    shift: int = Field(default=0, ge=0, le=16)  # at most so many positions along each axis, zeros move in
    noise: float = Field(default=0.0, ge=0)  # standard deviation, in the input's unit
    scale: float = Field(default=0.0, ge=0, lt=1)  # amplitude times 1 +- this


class Train(Fit):
    """The float model's training."""

    augment: Augment = Augment()


class Technique(Section):
    """What every compression step says of itself: which models it takes and what it leaves.

    States: "float" (plain Keras layers with any weights), "quantized" (TFMOT's quantisation-aware layers), "rounded"
    (weights on a grid of few bits), "shared" (weights on a codebook), "binary" (layers with binary weights), "tree"
    (Bonsai and ProtoNN), "decision tree".
    """

    takes: ClassVar[tuple[str, ...]] = ("float",)
    leaves: ClassVar[str | None] = None  # None: the state that it found
    makes_zeros: ClassVar[bool] = False  # whether it is there to make weights zero

    @property
    def teachers(self) -> int:
        """How many float models the step learns from; all but the recipe's own are trained from following seeds."""
        return 1


class Compress(Fit, Technique):
    """What every compression step that trains can do."""

    distillation: Share = 0.0  # weight of the float model's answers in the targets, beside the labels
