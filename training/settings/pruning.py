"""Techniques that make weights zero."""

from typing import Annotated, ClassVar, Literal, Union

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


class Rounds(Compress):
    """Pruning in rounds: remove the least important weights, train what is left, go on from there."""

    makes_zeros: ClassVar[bool] = True

    # Every round's; the learning rate's schedule starts anew in each.
    epochs: Positive
    final_epochs: int = Field(default=0, ge=0)  # of the last round; 0: as the others
    rounds: Positive = 4
    scope: Literal["layer", "global"] = "layer"  # global: one target for all layers together
    layers: dict[str, Annotated[float, Field(ge=0, lt=1)]] = Field(default={})  # sparsity of single layers, by name
    regularizer: Literal["l1", "l2"] = "l2"
    regularization: float = Field(default=0.0, ge=0)  # weight of the regulariser in the retraining's loss
    reduce_dropout: bool = True  # with the square root of the connections that are left
    remove_dead: bool = True  # take units and filters out that nothing reads or that read nothing
    depthwise: bool = False  # prune depthwise kernels too
    skip: list[str] = Field(default=[])  # layers, by name, that stay dense

    @model_validator(mode="after")
    def _apart(self) -> "Rounds":
        if twice := sorted(set(self.layers) & set(self.skip)):
            raise ValueError(
                f"layers and skip both name {', '.join(map(repr, twice))}; take them out of one of the two"
            )
        return self


class IterativePrune(Rounds):
    """Magnitude pruning and retraining by turns (Han et al. 2015)."""

    technique: Literal["iterative_prune"]
    sparsity: float | None = Field(default=None, gt=0, lt=1)  # share of zeros at the end, in each layer or in all
    quality: float | None = Field(default=None, gt=0, le=10)  # instead: thresholds in standard deviations of a layer
    # Global scope only, how weights of different layers compare: by magnitude, by magnitude in standard deviations of
    # their layer, or by their share of the squares that are left of it (LAMP).
    rank: Literal["magnitude", "deviation", "lamp"] = "lamp"

    @model_validator(mode="after")
    def _target(self) -> "IterativePrune":
        if (self.sparsity is None) == (self.quality is None):
            both = "both sparsity and quality" if self.quality is not None else "neither sparsity nor quality"
            raise ValueError(f"iterative_prune has {both}; give one of the two")
        if self.quality is not None and (self.scope == "global" or self.layers):
            raise ValueError('quality sets thresholds, not targets; leave scope = "global" and layers out')
        return self


class Obd(Rounds):
    """Optimal Brain Damage: pruning by second derivatives (LeCun, Denker and Solla 1990)."""

    technique: Literal["obd"]
    sparsity: float = Field(gt=0, lt=1)  # share of zeros at the end, in each layer or in all
    scope: Literal["layer", "global"] = "global"
    samples: Positive = 1000  # training samples that the second derivatives are averaged over


class StructuredSparsity(Compress):
    """Zeros in a pattern that kernels and hardware can skip: n of m neighbours, or whole blocks."""

    makes_zeros: ClassVar[bool] = True

    # Every round's; the learning rate's schedule starts anew in each.
    epochs: Positive
    technique: Literal["structured_sparsity"]
    pattern: Literal["n_of_m", "blocks"] = "n_of_m"
    n: Positive = 2  # weights that stay of m neighbours along the input channels
    m: Annotated[int, Field(ge=2, le=64)] = 4
    block: list[Annotated[int, Field(gt=0, le=64)]] = Field(
        default=[4, 1], min_length=2, max_length=2
    )  # inputs, outputs
    sparsity: float = Field(default=0.5, gt=0, lt=1)  # share of zero blocks in each layer at the end
    rounds: Positive = 1  # 1: all at once; more: the pattern fills up, with retraining after each round
    depthwise: bool = False  # prune depthwise kernels too; they have blocks only
    skip: list[str] = Field(default=[])  # layers, by name, that stay dense

    @model_validator(mode="after")
    def _pattern(self) -> "StructuredSparsity":
        if self.pattern == "n_of_m" and self.n >= self.m:
            raise ValueError(f"n = {self.n} of m = {self.m} leaves no zeros; n must be less than m")
        if self.pattern == "n_of_m" and self.depthwise:
            raise ValueError('depthwise kernels have one input channel and no n of m; use pattern = "blocks"')
        if self.pattern == "blocks" and self.block == [1, 1]:
            raise ValueError("block = [1, 1] is no block; use prune or iterative_prune for single weights")
        return self


Step = Union[Prune, IterativePrune, Obd, StructuredSparsity]  # noqa: UP007 (recipe.py reads the members of the union)
