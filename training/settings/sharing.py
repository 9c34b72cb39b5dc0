"""Techniques that put weights on a codebook, and the one that codes what they leave."""

from typing import Annotated, ClassVar, Literal, Union

from pydantic import Field

from training.settings.base import Compress, Positive, Technique

Entries = Annotated[int, Field(ge=2, le=256)]


class Share(Compress):
    """Weight sharing by k-means or a Gaussian mixture (Han, Mao and Dally 2016)."""

    leaves: ClassVar[str | None] = "shared"

    technique: Literal["share"]
    epochs: int = Field(default=3, ge=0)  # in which the codebooks are trained; 0: they stay as they were found
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    method: Literal["kmeans", "mixture"] = "kmeans"
    initialization: Literal["linear", "random", "density"] = "linear"  # where the search for entries starts
    entries: Entries = 32  # in a codebook, beside zero, which a pruned layer keeps for itself
    layers: dict[str, Entries] = Field(default={})  # entries of single layers, by name
    codebooks: Literal["layer", "channel"] = "layer"  # one for each layer, or one for each of its output channels
    biases: Annotated[int, Field(ge=0, le=256)] = 0  # entries of each layer's biases; 0: they are not shared
    precision: Literal["float32", "float16"] = "float32"  # of the entries
    skip: list[str] = Field(default=[])  # layers, by name, whose weights stay as they are


class Cluster(Compress):
    """TFMOT's weight clustering, for comparison with `share`."""

    leaves: ClassVar[str | None] = "shared"

    technique: Literal["cluster"]
    epochs: Positive = 3
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    entries: Entries = 16  # with zero, where zeros are kept
    initialization: Literal["linear", "random", "density", "kmeans++"] = "kmeans++"
    keep_zeros: bool = True  # weights that are zero stay zero
    skip: list[str] = Field(default=[])  # layers, by name, whose weights stay as they are


class Cqat(Compress):
    """Quantisation-aware training that leaves shared weights shared."""

    takes: ClassVar[tuple[str, ...]] = ("shared",)
    leaves: ClassVar[str | None] = "quantized"

    technique: Literal["cqat"]
    epochs: Positive = 3
    learning_rate: float = Field(default=1e-4, gt=0, le=1)


class Pcqat(Compress):
    """Quantisation-aware training that leaves shared weights shared and pruned ones at zero."""

    takes: ClassVar[tuple[str, ...]] = ("shared",)
    leaves: ClassVar[str | None] = "quantized"

    technique: Literal["pcqat"]
    epochs: Positive = 3
    learning_rate: float = Field(default=1e-4, gt=0, le=1)


class Huffman(Technique):
    """Weights coded by position, codebook and Huffman codes: the model answers as before."""

    takes: ClassVar[tuple[str, ...]] = ("float", "shared", "rounded")

    technique: Literal["huffman"]


Step = Union[Share, Cluster, Cqat, Pcqat, Huffman]  # noqa: UP007 (recipe.py reads the members of the union)
