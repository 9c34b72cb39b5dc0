"""The comparison as CSV (every seed) and Markdown (means over seeds)."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from rich.markup import escape
from rich.table import Table

from training.comparison.measure import Row
from training.comparison.variants import BASELINE


@dataclass(frozen=True)
class Line:
    """A variant over all its seeds: means, and the standard deviation of the accuracy where there are several."""

    rows: tuple[Row, ...]
    baselines: tuple[float, ...]  # accuracy of the recipe's float model, seed by seed
    pareto: bool = False  # no other variant is at least as accurate and takes less flash (coded bytes without it)

    @property
    def name(self) -> str:
        """The variant."""
        return self.rows[0].variant

    @property
    def group(self) -> str:
        """The variant's group."""
        return self.rows[0].group

    @property
    def drop(self) -> float:
        """Points below the recipe's float model, mean over seeds."""
        pairs = zip(self.baselines, self.rows, strict=True)
        return 100 * float(np.mean([base - row.reached for base, row in pairs]))

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the accuracy over seeds, in points; None for one seed."""
        return 100 * float(np.std([row.reached for row in self.rows], ddof=1)) if len(self.rows) > 1 else None

    def mean(self, name: str) -> float | None:
        """Mean of a figure; None where a seed has none."""
        values = [getattr(row, name) for row in self.rows]
        return None if any(value is None for value in values) else float(np.mean(values))


def lines(rows: Sequence[Row]) -> list[Line]:
    """One line a variant, in the order of the rows, with the Pareto front of flash and accuracy marked."""
    base = {row.seed: row.float_accuracy for row in rows if row.variant == BASELINE}
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.variant, []).append(row)
    found = [Line(tuple(same), tuple(base[row.seed] for row in same)) for same in by_name.values()]
    best = front([(line.mean("flash"), line.mean("reached")) for line in found])
    return [Line(line.rows, line.baselines, k in best) for k, line in enumerate(found)]


def front(points: Sequence[tuple[float | None, float | None]]) -> set[int]:
    """Indices of the points (cost, accuracy) that no other one dominates; points without a figure are left out."""
    known = [(k, cost, value) for k, (cost, value) in enumerate(points) if cost is not None and value is not None]
    return {
        k
        for k, cost, value in known
        if not any(c <= cost and v >= value and (c, v) != (cost, value) for _, c, v in known)
    }


def to_csv(rows: Sequence[Row]) -> str:
    """Every row with every figure."""
    out = io.StringIO()
    names = [field.name for field in fields(Row)]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if value is None else value for name, value in asdict(row).items()})
    return out.getvalue()


def from_csv(text: str) -> list[Row]:
    """What `to_csv` wrote."""
    kinds = {field.name: str(field.type) for field in fields(Row)}

    def value(name: str, given: str) -> object:
        if given == "" and "None" in kinds[name]:
            return None
        return int(given) if "int" in kinds[name] else float(given) if "float" in kinds[name] else given

    return [Row(**{k: value(k, v) for k, v in row.items()}) for row in csv.DictReader(io.StringIO(text))]  # type: ignore[arg-type]


def _percent(line: Line, name: str) -> str:
    value = line.mean(name)
    return "-" if value is None else f"{100 * value:.2f}"


def _whole(name: str) -> Callable[[Line], str]:
    def text(line: Line) -> str:
        value = line.mean(name)
        return "-" if value is None else f"{value:,.0f}"

    return text


def _accuracy(line: Line) -> str:
    spread = "" if line.deviation is None else f" ± {line.deviation:.2f}"
    return _percent(line, "reached") + spread


COLUMNS: dict[str, Callable[[Line], str]] = {
    "variant": lambda line: f"{line.name} ◆" if line.pareto else line.name,
    "float %": lambda line: _percent(line, "float_accuracy"),
    "deployed %": _accuracy,
    "drop": lambda line: f"{line.drop:.2f}",
    "parameters": _whole("parameters"),
    "zeros %": lambda line: _percent(line, "sparsity"),
    "MACs": _whole("macs"),
    ".tflite B": _whole("file_bytes"),
    "coded B": _whole("compressed_bytes"),
    "bits a weight": lambda line: "-" if (bits := line.mean("bits")) is None else f"{bits:.2f}",
    "arena B": _whole("arena"),
    "flash B": _whole("flash"),
    "instructions": _whole("instructions"),
    "format": lambda line: line.rows[0].format or "-",
    "executed by": lambda line: line.rows[0].executes or "-",
}


def to_markdown(rows: Sequence[Row], limit: float) -> str:
    """A table of means; drops of more than `limit` (share) are bold with a mark, ◆ is on the Pareto front."""
    text = [f"| # | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for number, line in enumerate(lines(rows), 1):
        cells = {name: show(line) for name, show in COLUMNS.items()}
        if line.drop > 100 * limit:
            cells["drop"] = f"**{cells['drop']}** !"
        text.append(f"| {number} | {' | '.join(cells.values())} |")
    notes = dict.fromkeys(f"{row.variant}: {row.note}" for row in rows if row.note)
    return "\n".join([*text, *(f"\n{note}" for note in notes)]) + "\n"


SHORT = ("variant", "deployed %", "drop", "zeros %", "MACs", ".tflite B", "coded B", "flash B", "executed by")


def to_console(rows: Sequence[Row], limit: float, title: str) -> Table:
    """The columns that a terminal has room for."""
    table = Table(*SHORT, title=title)
    for line in lines(rows):
        cells = [COLUMNS[name](line) for name in SHORT]
        table.add_row(*map(escape, cells), style="red" if line.drop > 100 * limit else None)
    return table
