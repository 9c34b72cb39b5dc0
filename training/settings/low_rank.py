"""Techniques that replace a layer by several with fewer weights."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.settings.base import Positive
from training.settings.channels import Finetuned


class LowRank(Finetuned):
    """Dense layers and convolutions as products of smaller ones (Kim et al. 2016, Lebedev et al. 2015)."""

    technique: Literal["low_rank"]
    energy: float = Field(default=0.9, gt=0, le=1)  # share of each kernel's squared weights that is kept at least
    budget: Annotated[float, Field(gt=0, lt=1)] | None = None  # instead: share of the model's parameters that may stay
    convolutions: Literal["tucker", "cp"] = "tucker"  # how kernels larger than 1x1 are taken apart
    lines: bool = True  # cp: k x 1 and 1 x k depthwise as in the paper where the stride is 1; false: one k x k
    iterations: Positive = 100  # cp: of alternating least squares, at most
    skip: list[str] = Field(default=[])  # layers, by name, that stay whole

    @model_validator(mode="after")
    def _one_aim(self) -> "LowRank":
        if self.budget is not None and "energy" in self.model_fields_set:
            raise ValueError(f"energy = {self.energy} and budget = {self.budget} both choose the ranks; give one")
        return self


Step = LowRank
