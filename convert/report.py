"""report.json first; the console summary and the page are drawn from it.

Sizes in bytes, times in seconds; unknown is null, never invented.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.bar import Bar as BlockBar
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from convert import compression_report, energy, latency
from convert.cache import atomic_write
from convert.compression_report import Compression
from convert.emit import render
from convert.energy import Energy
from convert.golden import ArenaUse
from convert.graph import Graph, Operator
from convert.latency import Latency

FILE = "report.json"
PAGE = "report.html"
TFLM = "TFLite Micro"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Model(_Section):
    """The int8 model."""

    name: str
    sha256: str
    macs: int  # multiply-accumulates of convolution and dense layers
    parameters: int
    tflite_bytes: int


class Accuracy(_Section):
    """Shares between 0 and 1; `float` before compression, `device` what the emulated firmware got right."""

    metric: str | None = None
    samples: int | None = None
    float_: float | None = Field(None, alias="float")
    pruned: float | None = None
    int8: float | None = None
    device: float | None = None
    device_samples: int | None = None
    sparsity: float | None = None  # share of zeros in the pruned layers' kernels


class Memory(_Section):
    """RAM is arena + decoded weights + other static data + stack reserve; flash is code + weights + test vectors."""

    arena: int | None = None
    decompression: int | None = None  # for decoded weights, beside the arena
    arena_budget: int | None = None
    lower_bound: int | None = None  # the largest live set; an arena without outputs over inputs is no smaller
    plan: str | None = None  # "optimal", or "feasible" with a bound that no arena is below
    static_ram: int | None = None  # .data + .bss, the arena included
    stack: int | None = None  # deepest use, measured
    stack_reserve: int | None = None
    ram_budget: int | None = None
    code: int | None = None
    weights: int | None = None
    vectors: int | None = None
    flash: int | None = None
    flash_budget: int | None = None


class Smoke(_Section):
    """The run in the emulator; all None where there was none."""

    emulator: str | None = None
    passed: bool | None = None
    vectors: int | None = None
    mismatches: int | None = None
    instructions_per_inference: int | None = None
    cycles_per_inference: int | None = None  # only where the emulator's cycles are the hardware's
    probe_fnv: str | None = None


class Stage(_Section):
    """A stage of the pipeline and what it took."""

    name: str
    seconds: float
    cached: bool


class Layer(_Section):
    """An operator of the graph."""

    index: int
    operator: str
    output: tuple[int, ...]
    macs: int
    weight_bytes: int
    output_bytes: int


class Failure(_Section):
    """Why the run ended early."""

    exit_code: int
    message: str


class Report(_Section):
    """What report.json holds."""

    schema_: Literal[1] = Field(1, alias="schema")
    board: str
    board_name: str
    runtime: str | None
    environment: str | None
    environment_reason: str | None = None
    reference: str = TFLM  # what says which outputs are right
    model: Model
    accuracy: Accuracy = Accuracy()
    memory: Memory = Memory()
    smoke: Smoke = Smoke()
    latency: Latency = Latency()
    energy: Energy = Energy()
    stages: tuple[Stage, ...] = ()
    layers: tuple[Layer, ...] = ()
    artifacts: dict[str, str] = {}  # paths relative to the output folder
    compression: Compression | None = None  # of weights, in the compiled runtime
    peers: dict[str, dict[str, int | float | str | None]] = {}
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    def write(self, output: Path) -> None:
        """Write report.json and the page."""
        atomic_write(output / FILE, self.model_dump_json(by_alias=True, indent=2) + "\n")
        atomic_write(
            output / PAGE,
            render(
                "report/report.html.j2",
                {
                    "r": self,
                    "bars": _bars(self),
                    "percent": percent,
                    "plan": arena_plan(self.memory),
                    "estimates": estimates(self),
                    "picture": self._picture(output),
                    "stored": None if self.compression is None else compression_report.sentence(self.compression),
                },
            ),
        )

    def _picture(self, output: Path) -> str | None:
        """The name of the picture of weight formats in the output folder, once it is drawn."""
        title = f"{self.model.name}: ways to store each layer's weights"
        drawn = None if self.compression is None else compression_report.picture(self.compression, title)
        if drawn is None:
            return None
        atomic_write(output / compression_report.PICTURE, drawn)
        return compression_report.PICTURE


def model_of(name: str, graph: Graph) -> Model:
    """The model's section."""
    return Model(
        name=name, sha256=graph.sha256, macs=graph.macs, parameters=graph.parameters, tflite_bytes=len(graph.data)
    )


def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """A line an operator."""

    def layer(op: Operator) -> Layer:
        constants = (graph.tensors[i] for i in op.inputs if i >= 0 and graph.tensors[i].data is not None)
        return Layer(
            index=op.index,
            operator=op.name,
            output=graph.tensors[op.outputs[0]].shape if op.outputs else (),
            macs=graph.macs_of(op),
            weight_bytes=sum(t.nbytes for t in constants),
            output_bytes=sum(graph.tensors[i].nbytes for i in op.outputs if i >= 0),
        )

    return tuple(layer(op) for op in graph.operators)


def peers_of(arena: ArenaUse) -> dict[str, dict[str, int | float | str | None]]:
    """What others need for the same model, measured in this run."""
    source = "measured by the tflite-micro wheel on this 64-bit host, reference kernels"
    return {"tflite_micro_host": {**asdict(arena), "source": source}}


def percent(share: float | None) -> str:
    """A share as a percentage with two digits; unknown is a dash."""
    return "–" if share is None else f"{100 * share:.2f} %"


def size(count: int | None) -> str:
    """Bytes with thousands separated; unknown is a dash."""
    return "–" if count is None else f"{count:,} B"


class Bar(_Section):
    """One memory as parts of a budget."""

    name: str
    budget: int
    used: int
    parts: tuple[tuple[str, int], ...]


def _bars(r: Report) -> list[Bar]:
    m = r.memory
    bars = []
    if m.ram_budget and m.arena is not None:
        decoded = [] if m.decompression is None else [("decoded weights", m.decompression)]
        other = None if m.static_ram is None else m.static_ram - m.arena - (m.decompression or 0)
        parts = [("arena", m.arena), *decoded, ("other static data", other or 0)]
        parts.append(("stack reserve", m.stack_reserve or 0))
        bars.append(Bar(name="RAM", budget=m.ram_budget, used=sum(n for _, n in parts), parts=tuple(parts)))
    if m.flash_budget and m.weights is not None:
        parts = [("weights", m.weights), ("code", m.code or 0), ("test vectors", m.vectors or 0)]
        bars.append(Bar(name="flash", budget=m.flash_budget, used=sum(n for _, n in parts), parts=tuple(parts)))
    return bars


def _memory_rows(r: Report) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for bar in _bars(r):
        full = bar.used / bar.budget
        style = "red" if full > 1 else "yellow" if full > 0.9 else "green"
        parts = ", ".join(f"{name} {n:,}" for name, n in bar.parts)
        table.add_row(
            bar.name,
            BlockBar(bar.budget, 0, min(bar.used, bar.budget), width=20, color=style, bgcolor="grey23"),
            Text(f"{bar.used:,} of {bar.budget:,} B ({100 * full:.1f} %)"),
            Text(parts, style="dim"),
        )
    return table


def arena_plan(m: Memory) -> str | None:
    """How good the arena's plan is, where that is known."""
    if m.arena is None or m.lower_bound is None or m.plan is None:
        return None
    return f"{m.arena:,} B, {m.plan}; the largest live set is {m.lower_bound:,} B"


def _facts(r: Report) -> list[tuple[str, str]]:
    """What is known, a label and a sentence each."""
    m, a, s = r.model, r.accuracy, r.smoke
    facts = [("model", f"{m.name}: {m.parameters:,} parameters, {m.macs:,} MACs, {m.tflite_bytes:,} B")]
    if a.int8 is not None:
        pruned = "" if a.pruned is None else f", pruned {percent(a.pruned)}"
        zeros = "" if a.sparsity is None else f", {100 * a.sparsity:.0f} % zeros"
        figures = f"float {percent(a.float_)}{pruned}, int8 {percent(a.int8)} on {a.samples:,} test samples{zeros}"
        facts.append(("accuracy", figures))
    if a.device is not None:
        facts.append(("", f"emulated device {percent(a.device)} of the {a.device_samples} samples that it ran"))
    facts.append(("runtime", f"{r.runtime}, environment {r.environment}"))
    if (text := arena_plan(r.memory)) is not None:
        facts.append(("arena", text))
    if r.compression is not None:
        facts.append(("weights", compression_report.sentence(r.compression)))
    if s.passed is not None:
        verdict = "every byte equal to" if s.passed else f"{s.mismatches} vectors DIFFER from"
        facts.append(("emulator", f"{s.emulator}: {s.vectors} vectors, {verdict} {r.reference}; probe {s.probe_fnv}"))
    if s.instructions_per_inference is not None:
        ratio = f" ({s.instructions_per_inference / m.macs:.2f} a MAC)" if m.macs else ""
        facts.append(("speed", f"{s.instructions_per_inference:,} instructions an inference{ratio}"))
    return facts + estimates(r)


def estimates(r: Report) -> list[tuple[str, str]]:
    """Latency and energy of an inference with their sources, as far as they are known."""
    found = []
    if (text := latency.text(r.latency)) is not None:
        found.append(("latency", text))
        if r.latency.estimate:
            found.append(("", f"from {r.latency.source}{_of(r.latency.date)}"))
    if (text := energy.text(r.energy)) is not None:
        found += [("energy", text), ("", f"from {r.energy.source}{_of(r.energy.date)}")]
    return found


def _of(date: str | None) -> str:
    return "" if date is None else f" ({date})"


def show(report: Report, output: Path, console: Console) -> None:
    """Print the summary."""
    facts = Table.grid(padding=(0, 2))
    for label, text in _facts(report):
        facts.add_row(label, Text(text))
    notes = [Text(f"note: {note}", style="yellow") for note in report.notes]
    title = Text(f"{report.model.name} on {report.board_name}")
    stored = [] if report.compression is None else [compression_report.table(report.compression)]
    console.print(Panel(Group(facts, *stored, _memory_rows(report), *notes), title=title, title_align="left"))
    near = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
    console.print(f"report: {near / FILE} and {PAGE}", soft_wrap=True, highlight=False, markup=False)
