"""Techniques that make weights zero."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from training.settings.base import Compress, Positive, Share


class Prune(Compress):
    """Magnitude pruning with a polynomial schedule (Zhu and Gupta 2017)."""

    makes_zeros: ClassVar[bool] = True

    technique: Literal["prune"]
    sparsity: float = Field(gt=0, lt=1)  # share of zeros in each pruned kernel at the end
    initial_sparsity: Share = 0.0
    begin: Share = 0.0  # share of the steps after which pruning starts
    end: Share = 0.6  # share of the steps after which the final sparsity is reached; the rest recovers accuracy
    power: float = Field(default=3.0, gt=0)
    updates: Positive = 50  # how often masks are drawn anew between begin and end
    depthwise: bool = False  # prune depthwise kernels too
    skip: list[str] = Field(default=[])  # layers, by name, that stay dense

    @model_validator(mode="after")
    def _order(self) -> "Prune":
        if self.begin >= self.end:
            raise ValueError(f"begin = {self.begin} is not before end = {self.end}")
        if self.initial_sparsity > self.sparsity:
            raise ValueError(f"initial_sparsity = {self.initial_sparsity} is above sparsity = {self.sparsity}")
        return self


Step = Prune
