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


class Scaled(Architecture):
    """What the scaled-down image networks share; their files give parameters and multiply-accumulates."""

    width: float = Field(default=0.25, gt=0, le=4)  # times the filters of every layer


class VggSmall(Scaled):
    """Three stages of 3x3 convolutions with max pooling behind each (Simonyan and Zisserman 2015)."""

    architecture: Literal["vgg_small"]
    width: float = Field(default=0.125, gt=0, le=4)
    depth: int = Field(default=2, ge=1, le=4)  # convolutions a stage


class ResNet(Scaled):
    """Residual network (He et al. 2016), MLPerf Tiny's ResNet-8 by default."""

    architecture: Literal["resnet"]
    width: float = Field(default=1.0, gt=0, le=4)
    depth: int = Field(default=1, ge=1, le=9)  # residual blocks a stage


class DenseNet(Scaled):
    """Layers that see all layers before them (Huang et al. 2017)."""

    architecture: Literal["densenet"]
    width: float = Field(default=1.0, gt=0, le=4)  # growth rate is 12 times this
    depth: int = Field(default=4, ge=1, le=12)  # layers a block


class SqueezeNet(Scaled):
    """Fire modules (Iandola et al. 2016)."""

    architecture: Literal["squeezenet"]
    width: float = Field(default=0.5, gt=0, le=4)
    depth: int = Field(default=2, ge=1, le=4)  # fire modules a stage


class MobileNetV1(Scaled):
    """Depthwise-separable blocks (Howard et al. 2017)."""

    architecture: Literal["mobilenet_v1"]
    depth: int = Field(default=5, ge=0, le=8)  # repeated blocks in the middle
    stem_stride: int = Field(default=1, ge=1, le=2)  # 2 in the paper, for pictures of 96x96 pixels and more


class MobileNetV2(Scaled):
    """Inverted residuals with linear bottlenecks (Sandler et al. 2018)."""

    architecture: Literal["mobilenet_v2"]
    depth: float = Field(default=1.0, gt=0, le=2)  # times the paper's repetitions of each stage
    expansion: int = Field(default=6, ge=1, le=8)
    stem_stride: int = Field(default=1, ge=1, le=2)  # 2 in the paper, for pictures of 96x96 pixels and more


class MobileNetV3Small(Scaled):
    """Inverted residuals with hard swish and squeeze-and-excitation (Howard et al. 2019)."""

    architecture: Literal["mobilenet_v3_small"]
    depth: float = Field(default=1.0, gt=0, le=2)  # times the repetitions of the blocks that keep the shape
    stem_stride: int = Field(default=1, ge=1, le=2)  # 2 in the paper, for pictures of 96x96 pixels and more


class ShuffleNetV1(Scaled):
    """Grouped 1x1 convolutions and channel shuffle (Zhang et al. 2018)."""

    architecture: Literal["shufflenet_v1"]
    depth: int = Field(default=1, ge=0, le=7)  # units a stage behind the one that halves the picture
    groups: int = Field(default=2, ge=1, le=4)
    stem_stride: int = Field(default=1, ge=1, le=2)


class ShuffleNetV2(Scaled):
    """Units that work on half of the channels, and shuffle (Ma et al. 2018)."""

    architecture: Literal["shufflenet_v2"]
    width: float = Field(default=0.5, gt=0, le=4)
    depth: int = Field(default=1, ge=0, le=7)  # units a stage behind the one that halves the picture
    stem_stride: int = Field(default=1, ge=1, le=2)


class Recurrent(Scaled):
    """Gated recurrence over the sample's rows, written out step by step (Bradbury et al. 2017)."""

    architecture: Literal["recurrent"]
    width: float = Field(default=1.0, gt=0, le=4)  # times 32 units
    depth: int = Field(default=1, ge=1, le=3)  # recurrent layers
    kernel: int = Field(default=3, ge=1, le=15)  # rows that candidates and gates see
    stride: int = Field(default=2, ge=1, le=16)  # rows a step of the first layer


class Autoencoder(Scaled):
    """Deep autoencoder for anomaly detection, MLPerf Tiny's by default; no recipe trains it."""

    architecture: Literal["autoencoder"]
    width: float = Field(default=1.0, gt=0, le=4)  # times 128 units
    depth: int = Field(default=4, ge=1, le=8)  # layers on either side of the code
    code: Positive = 8  # units in the middle


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


class ProtoNN(Architecture):
    """Learned prototypes in a sparse projection (Gupta et al. 2017); [[compress]] makes it sparse."""

    leaves: ClassVar[str] = "tree"

    architecture: Literal["protonn"]
    prototypes: int = Field(default=40, ge=1, le=255)
    projection: int = Field(default=10, ge=1, le=127)  # dimension of the space that the prototypes stand in
    gamma: float = Field(default=0.5, gt=0)  # how narrow the prototypes' bells are at first
    regularization: float = Field(default=0.0, ge=0)  # weight of the squared parameters in the loss


class DecisionTree(Architecture):
    """One decision tree, grown by scikit-learn (Breiman et al. 1984)."""

    leaves: ClassVar[str] = "decision tree"

    architecture: Literal["decision_tree"]
    max_leaves: int = Field(default=64, ge=2, le=4096)
    max_depth: int = Field(default=12, ge=1, le=32)  # comparisons on a path
    min_samples_leaf: Positive = 1
    criterion: Literal["gini", "entropy"] = "gini"


Model = Annotated[
    Union[  # noqa: UP007 (recipe.py reads the members of the union)
        DsCnn,
        LeNet,
        LeNet300,
        LeNet5,
        TemporalCnn,
        VggSmall,
        ResNet,
        DenseNet,
        SqueezeNet,
        MobileNetV1,
        MobileNetV2,
        MobileNetV3Small,
        ShuffleNetV1,
        ShuffleNetV2,
        Recurrent,
        Autoencoder,
        Bonsai,
        ProtoNN,
        DecisionTree,
    ],
    Field(discriminator="architecture"),
]
