"""Techniques that leave weights of one bit."""

from typing import ClassVar, Literal

from pydantic import model_validator

from training.settings.base import Compress


class Binarize(Compress):
    """Binary networks: what has one bit and in which order a block's layers stand, as the scheme's paper has it."""

    leaves: ClassVar[str | None] = "binary"

    technique: Literal["binarize"]
    scheme: Literal["bnn", "binary_connect", "binary_weights", "xnor", "integer_bnn", "integer_tnn"] = "xnor"
    skip: list[str] | None = None  # layers, by name, with full-precision weights; None: the first and the last, or none
    scale_input: bool = False  # XNOR-Net's K: scale by the inputs' magnitudes too; needs floats on the device

    @model_validator(mode="after")
    def _goes_together(self) -> "Binarize":
        if self.scale_input and self.scheme != "xnor":
            raise ValueError(f'scale_input goes with scheme = "xnor" alone; scheme is "{self.scheme}"')
        if self.integer and self.skip:
            raise ValueError(
                f'skip has no place with scheme = "{self.scheme}", which runs in integers throughout; leave it out, or '
                "take bnn"
            )
        return self

    @property
    def integer(self) -> bool:
        """Whether the model runs in integers from its input to its scores: what firmware takes."""
        return self.scheme.startswith("integer_")


Step = Binarize
