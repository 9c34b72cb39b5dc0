"""What a device answered to a test set: kept sample by sample, and summed up.

Figures that nobody measured are None. Latencies are instructions where the device or its emulator counts them, else
microseconds of the device's clock.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from convert.cache import atomic_write
from convert.report import percent
from convert.samples import Samples

FILE, PAGE, CONFUSION = "evaluation.json", "evaluation.md", "confusion.csv"
CONFUSION_PICTURE, LATENCY_PICTURE = "confusion.png", "latency.png"

_SHOWN_DIFFERENCES = 20
_BINS = 40

Unit = Literal["instructions", "cycles", "microseconds"]
Bytes = npt.NDArray[np.uint8]


# What was answered so far


class Log:
    """Answers on disk, one record each, in the order of the samples; a whole record is there or none.

    A file of another evaluation (`identity`) is put away.
    """

    def __init__(self, path: Path, identity: str, output_bytes: int) -> None:
        self._path = path
        self._kind = np.dtype([("amount", "<i8"), ("outputs", "u1", (output_bytes,))])
        head = (json.dumps({"identity": identity}) + "\n").encode()
        self._start = len(head)
        kept = path.read_bytes() if path.is_file() else b""
        if not kept.startswith(head):
            atomic_write(path, head)
            kept = head
        whole = (len(kept) - len(head)) // self._kind.itemsize
        self.records = np.frombuffer(kept, self._kind, whole, len(head))
        self._file = path.open("r+b")
        self._file.truncate(len(head) + whole * self._kind.itemsize)
        self._file.seek(0, 2)

    def add(self, amount: int | None, outputs: bytes) -> None:
        """Keep an answer; `amount` is what the inference took, None where nobody measured it."""
        record = np.zeros((), self._kind)
        record["amount"] = -1 if amount is None else amount
        record["outputs"] = np.frombuffer(outputs, np.uint8)
        self._file.write(record.tobytes())
        self._file.flush()

    def forget(self) -> None:
        """Begin anew."""
        self._file.truncate(self._start)
        self._file.seek(0, 2)
        self.records = self.records[:0]

    def close(self) -> None:
        """Stop writing; the file stays."""
        self._file.close()

    def all(self) -> tuple[Bytes, npt.NDArray[np.int64]]:
        """Outputs (n, output bytes), and what each inference took (n,), -1 where unknown."""
        self._file.flush()
        records = np.fromfile(self._path, self._kind, offset=self._start)
        return records["outputs"], records["amount"].astype(np.int64)

    def remove(self) -> None:
        """Forget it: the evaluation is complete."""
        self.close()
        self._path.unlink(missing_ok=True)


# The sum


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Latency(_Section):
    """What an inference takes, over those that were measured."""

    unit: Unit
    source: str
    samples: int
    min: int
    median: float
    mean: float
    p95: float
    max: int
    bins: tuple[int, ...]  # a histogram's counts
    edges: tuple[float, ...]  # one more than bins


class Difference(_Section):
    """A sample whose outputs are not the golden ones: the first byte that differs."""

    sample: int
    byte: int
    expected: int
    actual: int


class Line(_Section):
    """What happened between host and device."""

    requests: int
    repeated: int
    damaged: int


class Evaluation(_Section):
    """What evaluation.json holds."""

    schema_: Literal[1] = Field(1, alias="schema")
    board: str
    environment: str
    runtime: str
    port: str
    emulator: str | None
    model: str
    model_sha256: str
    samples: int
    of: int  # samples that the test set has
    labelled: bool
    accuracy_host: float | None  # of the golden outputs, over the same samples
    accuracy_device: float | None
    differing: int  # samples
    differences: tuple[Difference, ...]  # the first ones
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()  # rows: labels, columns: what the device said
    latency: Latency | None
    line: Line
    seconds: float  # of this run

    @property
    def equal(self) -> bool:
        """Whether every output byte is the golden one."""
        return self.differing == 0

    def write(self, folder: Path) -> None:
        """Write JSON, Markdown, the confusion matrix and the pictures."""
        from convert import pictures

        atomic_write(folder / FILE, self.model_dump_json(by_alias=True, indent=2) + "\n")
        for name in (CONFUSION, CONFUSION_PICTURE, LATENCY_PICTURE):
            (folder / name).unlink(missing_ok=True)
        if self.confusion:
            atomic_write(folder / CONFUSION, _csv([["label", *self.classes], *self._rows()]))
            atomic_write(folder / CONFUSION_PICTURE, pictures.confusion(self.classes, self.confusion, self.title))
        if self.latency is not None:
            atomic_write(
                folder / LATENCY_PICTURE,
                pictures.histogram(self.latency.bins, self.latency.edges, self.latency.unit, self.title),
            )
        atomic_write(folder / PAGE, self.markdown())

    @property
    def title(self) -> str:
        """`digits on nano33, nano33_bare in unicorn_nrf52840`."""
        where = f"in {self.emulator}" if self.emulator else f"on {self.port}"
        return f"{self.model} on {self.board}, {self.environment} {where}"

    def _rows(self) -> list[list[object]]:
        return [[name, *row] for name, row in zip(self.classes, self.confusion, strict=True)]

    def facts(self) -> list[tuple[str, str]]:
        """A label and a sentence each."""
        facts = [("samples", f"{self.samples:,} of {self.of:,}")]
        if self.accuracy_device is not None:
            facts.append(
                ("accuracy", f"device {percent(self.accuracy_device)}, host int8 {percent(self.accuracy_host)}")
            )
        same = "every byte of every output equal to the golden reference"
        facts.append(("outputs", same if self.equal else f"{self.differing:,} of {self.samples:,} samples DIFFER"))
        if self.latency is not None:
            x = self.latency
            facts.append((x.unit, f"min {x.min:,}, median {x.median:,.0f}, p95 {x.p95:,.0f}, max {x.max:,}"))
            facts.append(("", f"an inference, over {x.samples:,} of them; {x.source}"))
        else:
            facts.append(("latency", "unknown: neither the device nor the emulator measures it"))
        facts.append(
            ("line", f"{self.line.requests:,} requests, {self.line.repeated:,} repeated, {self.line.damaged:,} damaged")
        )
        return facts

    def matrix(self) -> Table | None:
        """The confusion matrix for a console; None without labels."""
        if not self.confusion:
            return None
        short = [name if len(name) <= 9 else f"{name[:8]}…" for name in self.classes]
        table = Table("label \\ device", *short, "recall", title=None, show_lines=False, pad_edge=False)
        for k, row in enumerate(self.confusion):
            cells = [
                f"[bold green]{n}[/]" if j == k else (f"[red]{n}[/]" if n else "[dim]·[/]") for j, n in enumerate(row)
            ]
            total = sum(row)
            table.add_row(self.classes[k], *cells, percent(row[k] / total) if total else "–")
        return table

    def markdown(self) -> str:
        """The page."""
        lines = [f"# {self.title}", "", f"Model SHA-256 `{self.model_sha256}`, {self.runtime} runtime.", ""]
        lines += ["| | |", "|---|---|", *(f"| {label} | {text} |" for label, text in self.facts()), ""]
        if self.differences:
            lines += [
                "First byte that differs, a sample each:",
                "",
                "| sample | byte | golden | device |",
                "|---|---|---|---|",
            ]
            lines += [f"| {d.sample} | {d.byte} | {d.expected} | {d.actual} |" for d in self.differences]
            lines += [""]
        if self.confusion:
            lines += ["Rows are labels, columns what the device said.", ""]
            lines += [f"| | {' | '.join(self.classes)} |", f"|---|{'---:|' * len(self.classes)}"]
            lines += [f"| {row[0]} | {' | '.join(str(n) for n in row[1:])} |" for row in self._rows()]
            lines += ["", f"![Confusion matrix]({CONFUSION_PICTURE})", ""]
        if self.latency is not None:
            lines += [f"![{self.latency.unit} an inference]({LATENCY_PICTURE})", ""]
        return "\n".join(lines)


def _csv(rows: list[list[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def latency(amounts: npt.NDArray[np.int64], unit: Unit, source: str) -> Latency | None:
    """The distribution of what inferences took, -1 where it was not measured; None where it never was."""
    known = amounts[amounts >= 0]
    if not len(known):
        return None
    low, high = int(known.min()), int(known.max())
    bins = min(_BINS, max(1, high - low))
    counts, edges = np.histogram(known, bins, (low, max(high, low + 1)))
    return Latency(
        unit=unit,
        source=source,
        samples=len(known),
        min=low,
        median=float(np.median(known)),
        mean=float(known.mean()),
        p95=float(np.percentile(known, 95, method="inverted_cdf")),
        max=high,
        bins=tuple(counts.tolist()),
        edges=tuple(edges.tolist()),
    )


@dataclass(frozen=True)
class Score:
    """What outputs are worth beside the golden ones."""

    accuracy_host: float | None
    accuracy_device: float | None
    confusion: tuple[tuple[int, ...], ...]
    differences: tuple[Difference, ...]
    differing: int


def score(samples: Samples, outputs: Bytes) -> Score:
    """Compare a device's outputs (n, output bytes) with the golden ones, and its classes with the labels."""
    differs = (outputs != samples.outputs).any(axis=1)
    places = np.flatnonzero(differs)
    first = tuple(_difference(samples, outputs, int(k)) for k in places[:_SHOWN_DIFFERENCES])
    said, golden = samples.predicted(outputs), samples.predicted(samples.outputs)
    if samples.labels is None or said is None or golden is None:
        return Score(None, None, (), first, len(places))
    names = len(samples.class_names)
    matrix = np.zeros((names, names), np.int64)
    np.add.at(matrix, (samples.labels, said), 1)
    return Score(
        float((golden == samples.labels).mean()),
        float((said == samples.labels).mean()),
        tuple(tuple(row) for row in matrix.tolist()),
        first,
        len(places),
    )


def _difference(samples: Samples, outputs: Bytes, k: int) -> Difference:
    byte = int(np.argmax(outputs[k] != samples.outputs[k]))
    return Difference(sample=k, byte=byte, expected=int(samples.outputs[k, byte]), actual=int(outputs[k, byte]))


def counted_from_outside(total: int, count: int | None, resumed: int) -> Iterator[bool]:
    """For each sample from `resumed` on, whether its inference is one of the `count` that are counted."""
    chosen = set(range(total)) if count is None else {k * total // count for k in range(count)} if count else set()
    return (k in chosen for k in range(resumed, total))
