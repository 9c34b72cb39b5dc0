"""Techniques for trees."""

from typing import ClassVar, Literal

from training.settings.base import Compress, Positive, Share


class Iht(Compress):
    """Bonsai's and ProtoNN's iterative hard thresholding, then training on the support that it left."""

    takes: ClassVar[tuple[str, ...]] = ("tree",)
    makes_zeros: ClassVar[bool] = True

    technique: Literal["iht"]
    sparsity_z: Share = 0.5  # share of zeros in Bonsai's projection
    sparsity_w: Share = 0.5  # in the nodes' predictors W
    sparsity_v: Share = 0.5  # in the nodes' predictors V
    sparsity_theta: Share = 0.0  # in the branches
    sparsity_projection: Share = 0.5  # in ProtoNN's projection
    sparsity_prototypes: Share = 0.0  # in its prototypes
    sparsity_labels: Share = 0.0  # in their scores
    every: Positive = 10  # steps between two thresholdings
    settle: Share = 0.5  # share of the steps after which the support stays as it is


Step = Iht
