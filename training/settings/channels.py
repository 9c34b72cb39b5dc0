"""Techniques that remove whole channels."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from training.settings.base import Compress, Positive

Removed = Annotated[float, Field(ge=0, lt=1)]  # share of a layer's channels


class Finetuned(Compress):
    """What changes the model in one go and then trains it on; 0 epochs leave it as it is after the change."""

    epochs: int = Field(default=3, ge=0)


class PruneChannels(Finetuned):
    """Filters and units removed with everything that belongs to them (Mittal et al. 2018)."""

    leaves: ClassVar[str | None] = None

    technique: Literal["prune_channels"]
    criterion: Literal["random", "mean_activation", "entropy", "scaled_entropy", "l1", "apoz", "sensitivity"] = (
        "l1"  # what the channels that go have least of; apoz: those with the most zeros go
    )
    share: Removed = 0.5  # of the channels of each layer
    layers: dict[str, Removed] = Field(default={})  # shares of single layers, by name, instead of `share`
    skip: list[str] = Field(default=[])  # layers, by name, that keep their channels, with those tied to them
    dense: bool = True  # remove units of dense layers too
    samples: Positive = 1024  # training samples that activations and gradients are measured on
    bins: int = Field(default=32, ge=2)  # of the histograms that entropies are computed from

    @model_validator(mode="after")
    def _something_to_do(self) -> "PruneChannels":
        if both := sorted(set(self.layers) & set(self.skip)):
            raise ValueError(f"{', '.join(map(repr, both))} stands in layers and in skip; take it out of one of them")
        if not self.share and not any(self.layers.values()):
            raise ValueError("share = 0 and no share in layers above 0: nothing would be removed; give one of them")
        return self


Step = PruneChannels
