"""How a model's numbers are to be stored: what training tells conversion beside the model itself."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

Format = Literal["float32", "float16", "dynamic", "int8", "int16x8"]


@dataclass(frozen=True)
class Grid:
    """Weights that lie on multiples of a scale: q * scale with a signed q of `bits` bits.

    `scales` holds one number for the tensor, or one for each output channel.
    """

    bits: int
    scales: tuple[float, ...]


@dataclass(frozen=True)
class Scheme:
    """Format of the whole model, and grids of single layers by Keras layer name where they are coarser."""

    format: Format = "int8"  # weights and activations: int8 both, int16x8 is 16-bit activations and 8-bit weights
    grids: Mapping[str, Grid] = field(default_factory=dict)
    coded: bool = False  # whether weights are to be entropy-coded

    def to_json(self) -> str:
        """One line, the same for equal schemes."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "Scheme":
        """What `to_json` wrote."""
        found = json.loads(text)
        grids = {name: Grid(g["bits"], tuple(g["scales"])) for name, g in found["grids"].items()}
        return Scheme(found["format"], grids, found["coded"])
