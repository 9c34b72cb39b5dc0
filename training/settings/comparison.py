"""[comparison]: what training/compare.py measures side by side."""

from typing import Annotated

from pydantic import Field, model_validator

from training.settings.architectures import Model
from training.settings.base import Section, Share, Train
from training.settings.compression import Step


class Variant(Section):
    """One line of the comparison: another way to make the recipe's model."""

    name: str = Field(min_length=1)
    group: str = ""  # variants of a group stand together and share a colour; "" is the first technique's name
    model: Model | None = None  # None: the recipe's
    train: Train | None = None  # None: the recipe's
    compress: list[Step] = Field(default=[])


class Comparison(Section):
    """Variants of a recipe; its float model as int8 is the baseline and is always there."""

    limit: Share = 0.01  # a larger drop in accuracy below the recipe's float model is marked
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(default=[1], min_length=1)
    variants: list[Variant] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> "Comparison":
        names = [variant.name for variant in self.variants]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"variants {', '.join(map(repr, twice))} are listed twice; give each a name of its own")
        return self
