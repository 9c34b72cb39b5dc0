"""Techniques that train or store a model with few bits."""

from typing import ClassVar, Literal, Union

from training.settings.base import Compress


class Qat(Compress):
    """Quantisation-aware training to int8 (Jacob et al. 2018)."""

    leaves: ClassVar[str | None] = "quantized"

    technique: Literal["qat"]


class Pqat(Compress):
    """Quantisation-aware training that leaves pruned weights at zero."""

    leaves: ClassVar[str | None] = "quantized"

    technique: Literal["pqat"]


Step = Union[Qat, Pqat]  # noqa: UP007 (recipe.py reads the members of the union)
