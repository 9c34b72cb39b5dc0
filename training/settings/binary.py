"""Techniques that leave weights of one bit."""

from typing import ClassVar, Literal

from pydantic import model_validator

from training.settings.base import Compress


class Binarize(Compress):
    """Binary networks: what has one bit and in which order a block's layers stand, as the scheme's paper has it."""

    leaves: ClassVar[str | None] = "binary"

    technique: Literal["binarize"]
    scheme: Literal["bnn", "binary_connect", "binary_weights", "xnor"] = "xnor"
    skip: list[str] | None = None  # layers, by name, with full-precision weights; None: the first and the last
    scale_input: bool = False  # XNOR-Net's K: scale by the inputs' magnitudes too; needs floats on the device

    @model_validator(mode="after")
    def _only_xnor(self) -> "Binarize":
        if self.scale_input and self.scheme != "xnor":
            raise ValueError(f'scale_input goes with scheme = "xnor" alone; scheme is "{self.scheme}"')
        return self


Step = Binarize
