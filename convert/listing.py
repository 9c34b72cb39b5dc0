"""The table of boards: what each has, how it is built, where it was last run and with what result."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from convert import boards, verified
from convert.boards import Board, Environment
from convert.paths import BOARDS


def show(console: Console, as_json: bool = False, folder: Path = BOARDS) -> None:
    """Print the boards of a folder. Raises UsageError for a file there that breaks its format."""
    known = [boards.load(name, folder) for name in boards.names(folder)]
    records = verified.load(folder)
    if as_json:
        entries = [_entry(board, records) for board in known]
        console.print(
            json.dumps({"schema": 1, "boards": entries}, indent=2), highlight=False, markup=False, soft_wrap=True
        )
    else:
        console.print(table(known, records))
        for line in notes(known):
            console.print(Text(line))


def table(known: Sequence[Board], records: Sequence[verified.Record]) -> Table:
    """A row a board, for 120 columns."""
    result = Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False, show_lines=True)
    for column in ("board", "core", "flash B", "RAM B", "runtimes", "official", "in-tree: emulator"):
        # A platform may be a long address.
        foldable = column == "official"
        justify: JustifyMethod = "right" if column.endswith(" B") else "left"
        result.add_column(column, no_wrap=not foldable, overflow="fold", justify=justify)
    result.add_column("last verified", min_width=26)
    for board in known:
        section = board.tinyml
        inside = [e for e in (section.bare, section.twin) if e is not None]
        result.add_row(
            Text(board.id, style="bold"),
            f"{board.build.cpu}\n{section.architecture}\n{board.build.clock_hz / 1e6:g} MHz",
            f"{board.upload.maximum_size:,}",
            f"{board.upload.maximum_ram_size:,}",
            "\n".join(runtimes(board)),
            "none" if section.official is None else _named(section.official),
            "\n".join(f"{e.name}:\n  {e.emulator or 'no emulator'}" for e in inside) or "none",
            _verdict(verified.newest(records, board.id)),
        )
    return result


def notes(known: Sequence[Board]) -> list[str]:
    """What is to be known of environments, `NAME, NAME: text`; a line a text."""
    environments = [e for board in known for e in board.environments if e.note is not None]
    texts = dict.fromkeys(e.note for e in environments)
    return [f"{', '.join(e.name for e in environments if e.note == text)}: {text}" for text in texts]


def runtimes(board: Board) -> list[str]:
    """Every runtime that one of the environments offers, in the order of their preference."""
    return list(dict.fromkeys(runtime for e in board.environments for runtime in e.runtimes))


def _named(environment: Environment) -> str:
    return "\n".join(filter(None, (f"{environment.name}:", environment.platform, environment.version)))


def _verdict(runs: Sequence[verified.Record]) -> Text:
    """When a board was last run, how many of all vectors' outputs were equal that day, and what ran."""
    if not runs:
        return Text("never", style="dim")
    failed = [r for r in runs if not r.passed]
    vectors, equal = sum(r.vectors for r in runs), sum(r.equal for r in runs)
    result = f"{vectors - equal} of {vectors} DIFFER" if vectors > equal else f"{equal} of {vectors} equal"
    if failed and vectors == equal:
        result = f"{len(failed)} of {len(runs)} STOPPED"
    text = Text(f"{runs[0].date}\n").append(result, style="bold red" if failed else "green")
    told = failed or runs
    environments, models = (
        (", ".join(dict.fromkeys(getattr(r, key) for r in told))) for key in ("environment", "model")
    )
    return text.append(f"\n{environments}\n{models}", style="dim")


def _entry(board: Board, records: Sequence[verified.Record]) -> dict[str, object]:
    return {
        "board": board.id,
        "name": board.name,
        "core": board.build.cpu,
        "architecture": board.tinyml.architecture,
        "clock_hz": board.build.clock_hz,
        "flash": board.upload.maximum_size,
        "ram": board.upload.maximum_ram_size,
        "environments": [
            {
                "name": e.name,
                "kind": next(k for k in ("official", "bare", "twin") if getattr(board.tinyml, k) == e),
                "platform": e.platform,
                "version": e.version,
                "runtimes": list(e.runtimes),
                "emulator": e.emulator,
                "note": e.note,
            }
            for e in board.environments
        ],
        "verified": [run.model_dump() for run in verified.newest(records, board.id)],
    }
