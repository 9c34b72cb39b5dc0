"""What each layer of a model takes on a device: from the firmware's own counters, or from an emulator's trace.

Everything of an inference is somebody's: what is no layer's (the interpreter between two operators, the calls of the
compiled model) has a line of its own, so that the lines add up to the inference.
"""

import csv
import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from convert import latency
from convert.built import Built, Session
from convert.cache import atomic_write
from convert.emulate import cortex_m, unicorn_link
from convert.errors import ToolError
from convert.evaluation import Unit
from convert.report import percent
from convert.samples import Samples
from convert.serial_protocol import Counters

FILE, TABLE, PICTURE, DRAWING = "profile.json", "profile.csv", "profile.png", "profile.svg"

_CALIBRATIONS = 64  # calls of the hook that the firmware measures
_HEAD, _PLACE = struct.Struct("<III"), struct.Struct("<II")
_REPEATS = 9  # of a measurement in microseconds


@dataclass(frozen=True)
class Operator:
    """What is known of a layer before it runs; sizes in bytes."""

    index: int
    name: str
    kernel: str | None  # the compiled runtime's; None: another runtime, or no code
    runs: bool  # False: no code, the output is the input's memory
    macs: int
    weight_bytes: int
    output_bytes: int


@dataclass(frozen=True)
class Measured:
    """Amounts by operator, of everything between them, and of the inference as a whole, measured apart."""

    unit: Unit
    amounts: Mapping[int, float]
    between: float
    whole: float
    step: float  # the counter's resolution
    how: str


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Line(_Section):
    """A layer; `amount` is in the profile's unit."""

    index: int
    operator: str
    kernel: str | None
    amount: float
    share: float
    macs: int
    per_mac: float | None
    weight_bytes: int
    output_bytes: int


class Profile(_Section):
    """What profile.json holds."""

    schema_: Literal[1] = Field(1, alias="schema")
    board: str
    environment: str
    runtime: str
    emulator: str | None
    model: str
    model_sha256: str
    unit: Unit
    how: str
    layers: tuple[Line, ...]
    between: float  # what is no layer's
    total: float  # of the layers and between them
    whole: float  # of an inference that was measured as one
    resolution: float
    latency: str | None  # of the board: an estimate, or the device's own microseconds; None: unknown

    @property
    def agrees(self) -> bool:
        """Whether the lines add up to the whole inference within the counter's resolution."""
        return abs(self.total - self.whole) <= self.resolution

    @property
    def title(self) -> str:
        """`digits on nano33, nano33_bare in unicorn_nrf52840`."""
        where = f"in {self.emulator}" if self.emulator else "on the board"
        return f"{self.model} on {self.board}, {self.environment} {where}"

    @property
    def sum_text(self) -> str:
        """How the sum of the lines compares with the whole."""
        verdict = "agree" if self.agrees else "DO NOT AGREE"
        return (
            f"layers and between them {self.total:,.0f}, one inference {self.whole:,.0f} {self.unit}: "
            f"{verdict} within {self.resolution:,.0f}"
        )

    def table(self) -> Table:
        """A line a layer, for a console."""
        table = Table(title=None, pad_edge=False, box=None, header_style="bold")
        for name, justify in (("#", "right"), ("operator", "left"), ("kernel", "left")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for name in (self.unit, "share", "", "MACs", "a MAC", "weights"):
            table.add_column(name, justify="left" if not name else "right")
        most = max((line.share for line in self.layers), default=1) or 1
        for line in self.layers:
            bar = "█" * round(16 * line.share / most)
            a_mac = "" if line.per_mac is None else f"{line.per_mac:.2f}"
            macs = f"{line.macs:,}" if line.macs else ""
            table.add_row(
                *(str(line.index), line.operator, line.kernel or "", f"{line.amount:,.0f}", percent(line.share)),
                *(f"[cyan]{bar}[/]", macs, a_mac, f"{line.weight_bytes:,} B"),
            )
        share = self.between / self.total if self.total else 0
        table.add_row("", "between layers", "", f"{self.between:,.0f}", percent(share), style="dim")
        macs_all = sum(line.macs for line in self.layers)
        a_mac = f"{self.total / macs_all:.2f}" if macs_all else ""
        weights = sum(line.weight_bytes for line in self.layers)
        table.add_row(
            *("", "sum", "", f"{self.total:,.0f}", percent(1.0), "", f"{macs_all:,}", a_mac, f"{weights:,} B"),
            style="bold",
        )
        return table

    def write(self, folder: Path) -> None:
        """Write JSON, CSV and the pictures."""
        from convert import pictures

        atomic_write(folder / FILE, self.model_dump_json(by_alias=True, indent=2) + "\n")
        out = io.StringIO()
        rows = csv.writer(out, lineterminator="\n")
        names = ("index", "operator", "kernel", self.unit, "share", "macs", "per_mac", "weight_bytes", "output_bytes")
        rows.writerow(names)
        for line in self.layers:
            kept = line.model_dump()
            rows.writerow([kept.get("amount" if name == self.unit else name) for name in names])
        rows.writerow(["", "between layers", "", self.between, self.between / self.total if self.total else 0])
        atomic_write(folder / TABLE, out.getvalue())
        for name, form in ((PICTURE, "png"), (DRAWING, "svg")):
            atomic_write(folder / name, pictures.layers(self, form))


# Measuring


def operators(built: Built) -> tuple[Operator, ...]:
    """The layers in the order in which they run, as `convert/build.py` noted them."""
    if built.runtime == "compiled":
        text = (built.output / "generated" / "compiled" / "layers.json").read_text()
        return tuple(
            Operator(
                k["op"],
                k["name"],
                k["kernel"],
                k["kernel"] is not None,
                k["macs"],
                k["weight_bytes"],
                k["output_bytes"],
            )
            for k in json.loads(text)
        )
    found = json.loads((built.output / "report.json").read_text())["layers"]
    return tuple(
        Operator(k["index"], k["operator"], None, True, k["macs"], k["weight_bytes"], k["output_bytes"]) for k in found
    )


def application(built: Built, port: str) -> str:
    """Which firmware is measured: from outside the compiled runtime needs no hook, and so no cost of one."""
    outside = port == "emulator" and built.emulator.startswith("unicorn")
    return "serve" if outside and built.runtime == "compiled" else "profile"


def measure(session: Session, known: Sequence[Operator], test: Samples) -> Measured:
    """Run the first sample and say what each layer took.

    Raises ToolError where neither the firmware nor the emulator can count.
    """
    if session.counts_from_outside:
        return _from_outside(session, known, test)
    instructions = Counters.INSTRUCTIONS in session.info.counters
    if not instructions and not session.clock_is_true:
        raise ToolError(
            f"the firmware counts no instructions on this board, and the clock of {session.emulator} is not the "
            "hardware's; take another environment (--environment), or the board itself (--port)"
        )
    unit: Unit = "instructions" if instructions else "microseconds"
    runs = [_from_inside(session, known, test, unit) for _ in range(1 if instructions else _REPEATS)]
    middle = {op: float(np.median([run.amounts[op] for run in runs])) for op in runs[0].amounts}
    between, whole = (float(np.median([getattr(run, name) for run in runs])) for name in ("between", "whole"))
    return replace(runs[0], amounts=middle, between=between, whole=whole)


def _infer(session: Session, test: Samples) -> tuple[int, int]:
    if test.about.reset or test.about.sequence:
        session.client.reset()
    ran = session.client.infer(test.inputs[0].tobytes(), test.outputs.shape[1], again=False)
    return ran.instructions, ran.microseconds


def _from_inside(session: Session, known: Sequence[Operator], test: Samples, unit: Unit) -> Measured:
    which = 0 if unit == "instructions" else 1
    session.client.trace(False)
    whole = _infer(session, test)[which]
    session.client.trace(True)
    _infer(session, test)
    count = max((op.index for op in known), default=-1) + 1
    raw = session.client.figures(_HEAD.size + _PLACE.size * (count + 1))
    return inside(raw, [op.index for op in known], float(whole), unit, session.emulator)


def inside(raw: bytes, indices: Sequence[int], whole: float, unit: Unit, emulator: str | None) -> Measured:
    """What the firmware's figures say; the cost of its hook is taken off. docs/serial_protocol.md, FIGURES."""
    cost, step, _ = _HEAD.unpack_from(raw)
    places = list(_PLACE.iter_unpack(raw[_HEAD.size :]))
    net = [max(0.0, amount - calls * cost / _CALIBRATIONS) for amount, calls in places]
    calls = sum(n for _, n in places)
    # The whole holds hooks that do nothing, a few instructions each, and by a clock one reading of it, which is slow.
    idle = 12 * calls if unit == "instructions" else cost / _CALIBRATIONS
    where = f"in {emulator}" if emulator else "on the board"
    how = f"by the firmware {where}; its hook's {cost / _CALIBRATIONS:.1f} {unit} a layer are taken off"
    return Measured(unit, {i: net[i] for i in indices}, net[-1], whole, float(2 * step + idle), how)


def _from_outside(session: Session, known: Sequence[Operator], test: Samples) -> Measured:
    session.count(True)
    _infer(session, test)
    counted: unicorn_link.Count | None = session.counted
    link = session.link
    if counted is None or not isinstance(link, unicorn_link.UnicornLink):
        raise ToolError(f"{session.emulator} did not count the inference to its end")
    program = link.machine.program
    if "inference_trace" in program.places:
        amounts, between = by_hooks(counted, program, known)
    else:
        amounts, between = by_calls(counted, program, known)
    how = f"every instruction counted by {session.emulator}, from outside"
    return Measured("instructions", amounts, between, float(counted.instructions), 0.0, how)


def _inside(counted: unicorn_link.Count, program: cortex_m.Program, name: str) -> np.ndarray:
    start, size = program.places[name]
    address = counted.blocks >> 16
    found: np.ndarray = (address >= start) & (address < start + size)
    return found


def _amounts(counted: unicorn_link.Count) -> np.ndarray:
    keys, places = np.unique(counted.blocks, return_inverse=True)
    return np.array([counted.sizes[int(key)] for key in keys], np.int64)[places]


def _copies(counted: unicorn_link.Count, program: cortex_m.Program, own: np.ndarray) -> np.ndarray:
    """Stretches outside of `own` that are memcpy's alone: parameters, where weights lie apart (convert/split)."""
    if "memcpy" not in program.places:
        return np.zeros_like(own)
    stretch = np.cumsum(~own & np.append(False, own[:-1]))
    others = np.unique(stretch[~own & ~_inside(counted, program, "memcpy")])
    found: np.ndarray = ~own & ~np.isin(stretch, others)
    return found


def by_calls(
    counted: unicorn_link.Count, program: cortex_m.Program, known: Sequence[Operator]
) -> tuple[dict[int, float], float]:
    """Amounts by operator of a compiled model: each stretch outside of compiled_model_run() is a kernel's."""
    own = _inside(counted, program, "compiled_model_run") | _inside(counted, program, "inference_run")
    own |= _copies(counted, program, own)
    starts = ~own & np.append(False, own[:-1])
    stretch = np.cumsum(starts)
    called = [op.index for op in known if op.runs]
    if int(stretch[-1]) != len(called):
        raise ToolError(f"{int(stretch[-1])} kernel calls were counted where {len(called)} are expected")
    amounts = _amounts(counted)
    sums = np.bincount(np.where(own, 0, stretch), amounts, len(called) + 1)
    found = dict.fromkeys((op.index for op in known), 0.0)
    found |= {op: float(n) for op, n in zip(called, sums[1:], strict=True)}
    return found, float(sums[0])


def by_hooks(
    counted: unicorn_link.Count, program: cortex_m.Program, known: Sequence[Operator]
) -> tuple[dict[int, float], float]:
    """Amounts by operator of TFLite Micro, whose profiler calls inference_trace() before and after each."""
    hook = _inside(counted, program, "inference_trace")
    enters = (counted.blocks >> 16) == program.places["inference_trace"][0]
    stretch = np.cumsum(enters)
    if int(stretch[-1]) != 2 * len(known):
        raise ToolError(f"{int(stretch[-1])} ends of layers were counted where {2 * len(known)} are expected")
    sums = np.bincount(stretch, np.where(hook, 0, _amounts(counted)), 2 * len(known) + 1)
    hooks = float(np.where(hook, _amounts(counted), 0).sum())
    found = {op.index: float(sums[2 * k + 1]) for k, op in enumerate(known)}
    return found, float(sums[::2].sum()) + hooks


def profile(built: Built, session: Session, known: Sequence[Operator], measured: Measured, test: Samples) -> Profile:
    """The lines of a measurement."""
    total = sum(measured.amounts[op.index] for op in known) + measured.between
    lines = tuple(
        Line(
            index=op.index,
            operator=op.name,
            kernel=op.kernel,
            amount=measured.amounts[op.index],
            share=measured.amounts[op.index] / total if total else 0.0,
            macs=op.macs,
            per_mac=measured.amounts[op.index] / op.macs if op.macs else None,
            weight_bytes=op.weight_bytes,
            output_bytes=op.output_bytes,
        )
        for op in known
    )
    return Profile(
        board=built.board.id,
        environment=built.environment.name,
        runtime=session.info.runtime,
        emulator=session.emulator,
        model=test.about.model,
        model_sha256=test.about.sha256,
        unit=measured.unit,
        how=measured.how,
        layers=lines,
        between=measured.between,
        total=total,
        whole=measured.whole,
        resolution=measured.step,
        latency=_latency(built, session, measured),
    )


def _latency(built: Built, session: Session, measured: Measured) -> str | None:
    if measured.unit == "instructions":
        return latency.text(latency.of(built.board, round(measured.whole)))
    if session.emulator is None:
        return f"{measured.whole / 1000:.3f} ms, measured by the board's clock"
    return f"{measured.whole / 1000:.3f} ms by the clock in {session.emulator}"
