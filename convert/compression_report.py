"""How a model's weights are stored in flash: what each layer took, what it could have taken, and what that costs."""

from pydantic import BaseModel, ConfigDict
from rich import box
from rich.table import Table

from convert import pictures
from convert.compiled import CompiledModel
from convert.compiled.formats.figures import Figures
from convert.compress import Compress

PICTURE = "weights.png"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Way(_Section):
    """A way to store a layer's constants; sizes in bytes."""

    format: str
    bytes: int
    instructions: int | None  # of the layer in one inference, counted in the emulator; None: not counted

    @staticmethod
    def of(figures: Figures) -> "Way":
        """The same figures for the report."""
        return Way(format=figures.format, bytes=figures.bytes, instructions=figures.instructions)


class Layer(_Section):
    """A layer whose weights can be stored in other ways than dense."""

    index: int
    operator: str
    dense: Way
    taken: Way
    formats: tuple[Way, ...]  # all that hold its weights


class Compression(_Section):
    """What --compress did in the compiled runtime; sizes in bytes, of the whole model."""

    mode: str
    max_instructions: float | None  # bound of auto
    weights: int  # all constants
    weights_dense: int
    arena: int
    arena_dense: int
    decoders: int | None  # code of the kernels that decode; None: not counted
    layers: tuple[Layer, ...]

    @property
    def slowdown(self) -> float | None:
        """Instructions of the layers that had a choice, over those of dense weights."""
        dense = [layer.dense.instructions for layer in self.layers]
        taken = [layer.taken.instructions for layer in self.layers]
        if not self.layers or None in dense or None in taken:
            return None
        return sum(n for n in taken if n is not None) / sum(n for n in dense if n is not None)


def of(compiled: CompiledModel, compress: Compress) -> Compression | None:
    """The section for a compiled model, or None where weights were left as they are."""
    if compiled.dense is None:
        return None
    return Compression(
        mode=compress.mode,
        max_instructions=compress.max_instructions if compress.mode == "auto" else None,
        weights=compiled.weight_bytes,
        weights_dense=compiled.dense.weight_bytes,
        arena=compiled.arena_bytes,
        arena_dense=compiled.dense.arena_bytes,
        decoders=compiled.decoder_bytes,
        layers=tuple(
            Layer(
                index=layer.op,
                operator=layer.name,
                dense=Way.of(layer.dense),
                taken=Way.of(layer.taken),
                formats=tuple(Way.of(figures) for figures in layer.formats),
            )
            for layer in compiled.formats
        ),
    )


def sentence(c: Compression) -> str:
    """What came of it, in a line."""
    text = f"{c.weights:,} B, {100 * c.weights / c.weights_dense:.0f} % of {c.weights_dense:,} B dense"
    if c.decoders:
        text += f", {c.decoders:,} B of code to decode them"
    if c.slowdown is not None:
        text += f"; {c.slowdown:.2f} times the instructions in these layers"
    return text


def table(c: Compression) -> Table:
    """A line a layer."""
    found = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("layer", "format"):
        found.add_column(name)
    for name in ("bytes dense", "stored", "instructions dense", "stored"):
        found.add_column(name, justify="right")
    for layer in c.layers:
        figures = [layer.dense.bytes, layer.taken.bytes, layer.dense.instructions, layer.taken.instructions]
        cells = ["–" if n is None else f"{n:,}" for n in figures]
        found.add_row(f"{layer.index} {layer.operator}", layer.taken.format, *cells)
    return found


def picture(c: Compression, title: str) -> bytes | None:
    """Flash against instructions of all formats, a plot a layer, as PNG; None where nothing was counted."""
    counted = [layer for layer in c.layers if layer.dense.instructions]
    if not counted:
        return None
    panels = [
        (
            f"{layer.index} {layer.operator}",
            [
                (way.format, way.bytes, way.instructions or 0, way.format == layer.taken.format)
                for way in (layer.dense, *layer.formats)
            ],
        )
        for layer in counted
    ]
    return pictures.trade_offs(panels, title)
