"""Techniques that train or store a model with few bits."""

from typing import Annotated, ClassVar, Literal, Union

from pydantic import Field, model_validator

from training.settings.base import Compress, Positive, Technique

Bits = Annotated[int, Field(ge=2, le=8)]
Format = Literal["float32", "float16", "dynamic", "int8", "int16x8"]  # see convert/scheme.py


class Qat(Compress):
    """Quantisation-aware training to int8 (Jacob et al. 2018)."""

    leaves: ClassVar[str | None] = "quantized"

    technique: Literal["qat"]


class Pqat(Compress):
    """Quantisation-aware training that leaves pruned weights at zero."""

    leaves: ClassVar[str | None] = "quantized"

    technique: Literal["pqat"]


class PostTraining(Technique):
    """Quantisation of a trained model to a format, with weights of any width."""

    leaves: ClassVar[str | None] = "rounded"

    technique: Literal["post_training"]
    format: Format = "int8"
    weight_bits: Bits = 8
    per_channel: bool = True  # a scale for each output channel of a convolution; dense layers have one
    clipping: Literal["max", "mse"] = "mse"  # grid up to the largest weight, or with the least squared error
    skip: list[str] = Field(default=[])  # layers that stay at the converter's 8 bits

    @model_validator(mode="after")
    def _widths(self) -> "PostTraining":
        if self.weight_bits < 8 and self.format not in ("int8", "int16x8"):
            raise ValueError(
                f"weight_bits = {self.weight_bits} does not go with format = {self.format!r}, whose weights have their "
                "own width; take format int8 or int16x8, or leave weight_bits out"
            )
        return self


class QatBits(Compress):
    """Training with weights rounded to few bits, steps learned (Esser et al. 2020)."""

    takes: ClassVar[tuple[str, ...]] = ("float", "rounded")

    leaves: ClassVar[str | None] = "rounded"

    technique: Literal["qat_bits"]
    format: Literal["int8", "int16x8"] = "int8"
    weight_bits: Bits = 4
    learn_scales: bool = True  # the grids' steps too; otherwise they stay as they fit the trained weights best
    per_channel: bool = True
    skip: list[str] = Field(default=[])


class MixedPrecision(Technique):
    """A width for each layer, chosen by measured sensitivity under a size budget."""

    leaves: ClassVar[str | None] = "rounded"

    technique: Literal["mixed_precision"]
    format: Literal["int8", "int16x8"] = "int8"
    bits: list[Bits] = Field(default=[2, 3, 4, 8], min_length=1)  # that a layer may have
    budget: float = Field(default=0.5, gt=0, le=1)  # of the weights' bytes at 8 bits
    samples: Positive = 512  # of the training set, on which the loss is measured
    per_channel: bool = True
    clipping: Literal["max", "mse"] = "mse"
    skip: list[str] = Field(default=[])  # layers that stay at 8 bits; they count in the budget


Step = Union[Qat, Pqat, PostTraining, QatBits, MixedPrecision]  # noqa: UP007 (recipe.py reads the members of the union)
