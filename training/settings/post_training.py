"""Techniques that rescue a model from being rounded, without training it again."""

from typing import ClassVar, Literal, Union

from pydantic import Field

from training.settings.base import Positive, Technique


class Equalize(Technique):
    """Cross-layer equalisation and high-bias absorption (Nagel et al. 2019)."""

    technique: Literal["equalize"]
    iterations: Positive = 100  # at most so often over all pairs of layers
    tolerance: float = Field(default=1e-3, gt=0)  # done when no channel is scaled by more than this share
    absorb_bias: bool = True  # move what a ReLU never cuts off into the next layer's bias
    replace_relu6: bool = False  # make ReLU6 a plain ReLU first: the answers change where 6 was reached
    samples: Positive = 512  # training samples that biases to absorb are measured on


class Rounding(Technique):
    """What every step that rounds weights after training can do."""

    leaves: ClassVar[str | None] = "rounded"

    weight_bits: int = Field(default=4, ge=2, le=8)
    per_channel: bool = True  # a scale for each output channel of a convolution; dense layers have one
    clipping: Literal["max", "mse"] = "mse"  # grid up to the largest weight, or with the least squared error
    skip: list[str] = Field(default=[])  # layers, by name, that stay float and become int8 at conversion
    samples: Positive = 1024  # training samples to calibrate on


class CorrectBias(Rounding):
    """Rounding to nearest, then biases that undo its mean error (Nagel et al. 2019)."""

    technique: Literal["correct_bias"]
    statistics: Literal["samples", "batch_norm"] = "samples"  # where a layer's mean input is taken from


class AdaRound(Rounding):
    """Adaptive rounding, layer by layer (Nagel et al. 2020)."""

    technique: Literal["adaround"]
    iterations: Positive = 1000  # optimiser steps a layer
    batch_size: Positive = 256  # rows of a layer's input at once
    positions: Positive = 16  # places of a picture that a convolution is looked at in
    learning_rate: float = Field(default=3e-2, gt=0, le=1)
    regularization: float = Field(default=10.0, gt=0)  # weight of the pull towards rounding up or down
    first_beta: float = Field(default=20.0, gt=0)  # of that pull: weak at first except near the middle
    last_beta: float = Field(default=2.0, gt=0)
    warmup: float = Field(default=0.2, ge=0, lt=1)  # share of the iterations without the pull
    correct_bias: bool = True  # then undo the mean error that is left


Step = Union[Equalize, CorrectBias, AdaRound]  # noqa: UP007 (recipe.py reads the members of the union)
