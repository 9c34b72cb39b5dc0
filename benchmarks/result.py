"""A model's result: what was measured here beside what is known of others; and its forms as JSON and CSV."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.measure import Layer, Measured
from benchmarks.peers import Published, Tflm, conditions


@dataclass(frozen=True)
class Result:
    """One model, in the configurations of measure.CONFIGURATIONS; `refused` where the runtime does not take it."""

    name: str
    sha256: str
    macs: int
    tflite_bytes: int
    expected_fnv: str | None
    measured: tuple[Measured, ...]
    tflm: Tflm | None
    published: tuple[Published, ...]
    refused: str = ""

    @property
    def best(self) -> Measured:
        """The configuration that the comparison is made with: the first one measured."""
        return self.measured[0]

    @property
    def equal(self) -> bool:
        """Whether every configuration answered like TFLite Micro."""
        return all(m.equal for m in self.measured)


def ratio(ours: int | None, theirs: int | None) -> str:
    """`0.34x`, or nothing where one of them is not known."""
    return f"{ours / theirs:.2f}x" if ours is not None and theirs else ""


def as_json(results: Sequence[Result]) -> str:
    """Everything that was measured."""
    whole = {"conditions": conditions(), "models": [asdict(r) for r in results]}
    return json.dumps(whole, indent=1) + "\n"


LAYER_COLUMNS = (
    "operator",
    "kernel",
    "output",
    "MACs",
    "instructions",
    "a MAC",
    "cycles (est.)",
    "weights B",
    "scratch B",
)


def layer_cells(layer: Layer) -> tuple[str, ...]:
    """A layer's line, in LAYER_COLUMNS; empty where there is nothing."""
    rate = layer.instructions_per_mac
    return (
        f"{layer.index} {layer.operator}",
        (layer.kernel or "no code").removeprefix("kernels_"),
        "x".join(map(str, layer.output)),
        _number(layer.macs or None),
        _number(layer.instructions),
        "" if rate is None else f"{rate:.2f}",
        _number(layer.cycles),
        _number(layer.weight_bytes),
        _number(layer.scratch_bytes or None),
    )


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


SUMMARY_COLUMNS = (
    *("model", "configuration", "instructions", "a MAC", "cycles (est.)", "arena B", "largest live set B"),
    *("arena plan", "static RAM B", "stack B", "code B", "weights B", "outputs"),
)


def summary_rows(result: Result) -> list[tuple[str, ...]]:
    """A line for each configuration and each peer, in SUMMARY_COLUMNS."""
    rows: list[tuple[str, ...]] = [
        (
            result.name,
            m.configuration.name,
            _number(m.instructions),
            f"{m.instructions / m.macs:.2f}" if m.macs else "",
            _number(m.cycles),
            _number(m.arena),
            _number(m.live_set),
            m.status,
            _number(m.static_ram),
            _number(m.stack),
            _number(m.code),
            _number(m.weights),
            ("equal " if m.equal else "DIFFERENT ") + m.fnv,
        )
        for m in result.measured
    ]
    if (peer := result.tflm) is not None:
        rows.append(
            (
                result.name,
                f"TFLite Micro + CMSIS-NN ({'recorded' if peer.recorded else 'measured'})",
                _number(peer.instructions),
                f"{peer.instructions / result.macs:.2f}" if result.macs else "",
                "",
                _number(peer.arena),
                "",
                "greedy",
                _number(peer.static_ram),
                _number(peer.stack),
                _number(peer.code),
                f"{result.tflite_bytes:,} (.tflite)",
                peer.fnv or "",
            )
        )
    for p in result.published:
        cycles = f"{p.megacycles:.2f} M ({p.milliseconds:g} ms)"
        rows.append((result.name, p.entry, "", "", cycles, *[""] * 7, "published"))
    return rows


def as_csv(results: Sequence[Result]) -> str:
    """The summary's lines, numbers plain."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    for result in results:
        writer.writerows(tuple(cell.replace(",", "") for cell in row) for row in summary_rows(result))
    return out.getvalue()


def as_markdown(results: Sequence[Result]) -> str:
    """A comparison, the summary, a line a layer of the first configuration, and the conditions."""
    parts = ["# Benchmarks", "", "Made by `python benchmarks/run.py`; how to read them: docs/benchmarks.md.", ""]
    parts += _table(_COMPARISON, [_comparison(r) for r in results if r.measured])
    parts += ["", "## All configurations", ""]
    parts += _table(SUMMARY_COLUMNS, [row for r in results for row in summary_rows(r)])
    for r in results:
        if r.measured:
            parts += ["", f"## {r.name}, {r.best.configuration.name}: a line a layer", ""]
            parts += _table(LAYER_COLUMNS, [layer_cells(layer) for layer in r.best.layers])
        if r.refused:
            parts += ["", f"## {r.name}: not taken", "", r.refused]
    parts += ["", "## Conditions of the peers' figures", ""]
    parts += [f"- {name}: {text}" for name, text in conditions().items()]
    return "\n".join(parts) + "\n"


_COMPARISON = (
    *("model", "MACs", "instructions", "a MAC", "TFLite Micro + CMSIS-NN", "", "cycles (est.)", "best published"),
    *("arena B", "TFLite Micro", "code B", "TFLite Micro"),
)


def _comparison(r: Result) -> tuple[str, ...]:
    m, peer = r.best, r.tflm
    fastest = min(r.published, key=lambda p: p.megacycles, default=None)
    return (
        r.name,
        _number(r.macs),
        _number(m.instructions),
        f"{m.instructions / m.macs:.2f}" if m.macs else "",
        _number(peer.instructions) if peer else "",
        ratio(m.instructions, peer.instructions) if peer else "",
        _number(m.cycles),
        f"{fastest.megacycles:g} M, {fastest.entry}" if fastest else "",
        _number(m.arena),
        _number(peer.arena) if peer else "",
        _number(m.code),
        _number(peer.code) if peer else "",
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]
