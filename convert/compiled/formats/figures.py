"""What a way to store a layer's weights costs, for a choice and for the report on it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """One way; sizes in bytes."""

    format: str
    bytes: int  # of the layer's constants: weights, tables, biases, multipliers
    instructions: int | None  # of the layer in one inference; None: not counted here


@dataclass(frozen=True)
class LayerChoice:
    """What became of a layer, and what could have."""

    op: int
    name: str
    chosen: str
    dense: Figures
    formats: tuple[Figures, ...]  # all that hold its weights, dense not among them

    @property
    def taken(self) -> Figures:
        """The figures of the format that was taken."""
        return next((f for f in self.formats if f.format == self.chosen), self.dense)
