"""[model]: model families."""

from typing import Annotated, ClassVar, Literal, Union

from pydantic import Field

from training.settings.base import Architecture, Positive, Section


class SeparableBlock(Section):
    """A depthwise 3x3 convolution with `stride`, then a pointwise one to `filters` channels."""

    filters: Positive
    stride: int = Field(default=1, ge=1, le=2)


class DsCnn(Architecture):
    """Depthwise-separable CNN for images."""

    architecture: Literal["ds_cnn"]
    stem_filters: Positive = 16
    stem_kernel: int = Field(default=3, ge=1, le=11)
    stem_stride: int = Field(default=2, ge=1, le=4)
    blocks: list[SeparableBlock] = Field(min_length=1)


class LeNet(Architecture):
    """Convolutions with pooling between them, then dense layers."""

    architecture: Literal["lenet"]
    filters: list[Positive] = Field(default=[8, 16], min_length=1, max_length=4)
    kernel: int = Field(default=3, ge=1, le=7)
    dense: list[Positive] = Field(default=[32])


class ClassicLeNet(Architecture):
    """What LeCun et al.'s two networks share here."""

    width: float = Field(default=1.0, gt=0, le=4)  # times the units and filters of every hidden layer
    dropout: float = Field(default=0.0, ge=0, lt=1)  # before every dense layer but the first of LeNet-300-100


class LeNet300(ClassicLeNet):
    """LeNet-300-100: two hidden dense layers, as in the pruning literature."""

    architecture: Literal["lenet_300_100"]


class LeNet5(ClassicLeNet):
    """LeNet-5 as Caffe has it and the pruning literature measures it: 431,000 parameters on 28x28 pixels."""

    architecture: Literal["lenet_5"]


class TemporalBlock(Section):
    """A convolution of `kernel` samples along time to `filters` channels."""

    filters: Positive
    kernel: int = Field(default=5, ge=1, le=31)
    stride: int = Field(default=2, ge=1, le=4)


class TemporalCnn(Architecture):
    """1-D CNN along time for sensor windows."""

    architecture: Literal["temporal_cnn"]
    blocks: list[TemporalBlock] = Field(min_length=1)


class Bonsai(Architecture):
    """A shallow sparse tree over a sparse projection (Kumar, Goyal and Varma 2017); [[compress]] makes it sparse."""

    leaves: ClassVar[str] = "tree"

    architecture: Literal["bonsai"]
    depth: int = Field(default=2, ge=0, le=6)  # 2^(depth + 1) - 1 nodes
    projection: int = Field(default=10, ge=1, le=127)  # dimension of the space that the tree works in
    sigma: float = Field(default=1.0, gt=0)  # steepness of the nodes' tanh
    first_sharpness: float = Field(default=1.0, gt=0)  # of the branches: near 0 all paths count alike
    last_sharpness: float = Field(default=30.0, gt=0)  # reached at the end of [train], kept while compressing
    regularization: float = Field(default=0.0, ge=0)  # weight of the squared parameters in the loss


Model = Annotated[Union[DsCnn, LeNet, LeNet300, LeNet5, TemporalCnn, Bonsai], Field(discriminator="architecture")]  # noqa: UP007 (recipe.py reads the members of the union)
