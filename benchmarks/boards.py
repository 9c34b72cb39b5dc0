"""Builds models for every board, runs each image in its emulator, and writes down what came of it.

    python benchmarks/boards.py [MODEL.tflite...] [--recipe NAME...] [--board NAME...] [--record]

Every environment that is built in this repository takes every model through convert/build.py, as a user would call
it. Prints a line a run, then a table; writes boards.md and boards.json. A model that does not fit, or that a board's
runtime refuses, is a line of the table; bytes that differ, or a tool that fails, end the command with exit code 4 or 5
when all runs are through. --record keeps the runs as what `--list-boards` calls verified, and writes all that is kept
into docs/boards_results.md.
"""

import datetime
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
from rich.console import Console
from rich.table import Table

from convert import boards, verified
from convert.cache import atomic_write
from convert.console import Ui
from convert.errors import PipelineError
from convert.paths import ROOT

# What build.py's exit codes mean for the table; others stop the benchmark.
VERDICTS = {0: "equal", 2: "refused", 3: "does not fit", 4: "DIFFERENT", 5: "FAILED", 6: "FAILED"}
COLUMNS = (
    "board",
    "environment",
    "model",
    "emulator",
    "flash B",
    "static RAM B",
    "arena B",
    "stack B",
    "instructions",
    "cycles",
    "verdict",
)
RESULT_COLUMNS = (
    "environment",
    "model",
    "runtime",
    "emulator",
    "flash B",
    "static RAM B",
    "arena B",
    "stack B",
    "instructions",
    "cycles",
    "equal vectors",
    "date",
)
_PAGE = """# Every board, built and run

Written by `python benchmarks/boards.py --recipe NAME... --record`; a line is what

    python convert/build.py --board BOARD --environment ENVIRONMENT --recipe MODEL

printed and wrote into `report.json`. Flash holds code, constants and test vectors; static RAM holds the arena (a tree's
inputs and scores); the stack is the deepest use, painted. Instructions are those of one inference, as the emulator or
the firmware in it counts them ([how, by emulator](adding_a_board.md)); cycles stand only where the emulator's are the
hardware's. Equal is every output byte of a vector, with TensorFlow Lite Micro on the host, or for trees with the same
integers in NumPy. No board was attached. `fashion` does not fit an Uno, and `motion` only with fewer test vectors.

"""


@dataclass(frozen=True)
class Task:
    """One environment and one model: a recipe's name or a file."""

    board: boards.Board
    environment: boards.Environment
    recipe: str | None
    file: Path | None

    @property
    def model(self) -> str:
        """The model's name in tables."""
        return self.recipe or (self.file.stem if self.file else "")

    def command(self, output: Path) -> list[str]:
        """The command that a user would run."""
        source = ["--recipe", self.recipe] if self.recipe else ["--model", str(self.file)]
        command = [sys.executable, str(ROOT / "convert" / "build.py"), "--board", self.board.id]
        return [*command, "--environment", self.environment.name, *source, "--output", str(output)]


@dataclass(frozen=True)
class Outcome:
    """What came of a task; sizes in bytes, unknown is None."""

    task: Task
    exit_code: int
    reason: str  # the error's first line, "" where all went well
    report: dict[str, Any]  # report.json, empty where none was written
    seconds: float

    @property
    def verdict(self) -> str:
        """`equal` where every output byte was the golden reference's."""
        smoke = self.report.get("smoke", {})
        if self.exit_code == 0 and not smoke.get("passed"):
            return "not run"
        return VERDICTS.get(self.exit_code, "FAILED")

    def cells(self) -> tuple[str, ...]:
        """The table's row, in the order of COLUMNS."""
        memory, smoke = self.report.get("memory", {}), self.report.get("smoke", {})
        figures = [memory.get(key) for key in ("flash", "static_ram", "arena", "stack")]
        figures += [smoke.get(key) for key in ("instructions_per_inference", "cycles_per_inference")]
        return (
            self.task.board.id,
            self.task.environment.name,
            self.task.model,
            smoke.get("emulator") or "",
            *("" if value is None else f"{value:,}" for value in figures),
            self.verdict,
        )

    def record(self, date: str) -> verified.Record | None:
        """The run as a record of verification; None where nothing was run."""
        memory, smoke = self.report.get("memory", {}), self.report.get("smoke", {})
        if not smoke.get("vectors"):
            return None
        return verified.Record(
            board=self.task.board.id,
            environment=self.task.environment.name,
            runtime=self.report["runtime"],
            model=self.task.model,
            sha256=self.report["model"]["sha256"],
            date=date,
            emulator=smoke["emulator"],
            vectors=smoke["vectors"],
            equal=smoke["vectors"] - smoke["mismatches"],
            instructions=smoke["instructions_per_inference"],
            cycles=smoke["cycles_per_inference"],
            **{key: memory[key] for key in ("flash", "static_ram", "arena", "stack")},
        )


def tasks(names: tuple[str, ...], recipes: tuple[str, ...], files: tuple[Path, ...]) -> Iterator[Task]:
    """Every environment of the bare platform of the named boards (all of them by default) with every model."""
    for name in names or boards.names():
        board = boards.load(name)
        for environment in board.environments:
            if environment.platform == "bare" and environment.emulator:
                yield from (Task(board, environment, recipe, None) for recipe in recipes)
                yield from (Task(board, environment, None, file) for file in files)


def run(task: Task, folder: Path) -> Outcome:
    """Run one task; what fails is an outcome, too."""
    output = folder / task.environment.name / task.model
    report = output / "report.json"
    report.unlink(missing_ok=True)
    start = time.monotonic()
    done = subprocess.run(task.command(output), capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    reason = "" if done.returncode == 0 else (errors or done.stderr.splitlines() or ["no message"])[-1]
    found = json.loads(report.read_text()) if report.is_file() else {}
    return Outcome(task, done.returncode, reason.removeprefix("error: "), found, time.monotonic() - start)


def markdown(outcomes: list[Outcome]) -> str:
    """The table, and the reasons of what was not run."""
    rows = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    rows += ["| " + " | ".join(outcome.cells()) + " |" for outcome in outcomes]
    reasons = [f"- {o.task.environment.name}, {o.task.model}: {o.reason}" for o in outcomes if o.reason]
    return "\n".join([*rows, "", *reasons]) + "\n"


def results(records: list[verified.Record]) -> str:
    """All kept runs as a page, a line a board, environment and model."""
    rows = ["| " + " | ".join(RESULT_COLUMNS) + " |", "|" + "---|" * len(RESULT_COLUMNS)]
    for r in records:
        figures = (r.flash, r.static_ram, r.arena, r.stack, r.instructions, r.cycles)
        texts = ("" if value is None else f"{value:,}" for value in figures)
        cells = (r.environment, r.model, r.runtime, r.emulator, *texts, f"{r.equal} of {r.vectors}", r.date)
        rows.append("| " + " | ".join(cells) + " |")
    return _PAGE + "\n".join(rows) + "\n"


def _line(outcome: Outcome) -> str:
    """One run on one line."""
    memory, smoke = outcome.report.get("memory", {}), outcome.report.get("smoke", {})
    figures = [(memory.get("flash"), "B flash"), (memory.get("static_ram"), "B static RAM")]
    figures += [(smoke.get(f"{unit}_per_inference"), unit) for unit in ("instructions", "cycles")]
    known = ", ".join(f"{value:,} {unit}" for value, unit in figures if value is not None)
    return f"{outcome.task.environment.name}, {outcome.task.model}: {outcome.verdict}; {outcome.reason[:100] or known}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", metavar="MODEL.tflite...", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--recipe", "recipes", multiple=True, help="Recipe; may be given more than once.  [default: digits]")
@click.option("--board", "names", multiple=True, help="Board; may be given more than once.  [default: all]")
@click.option("--record", is_flag=True, help="Keep the runs as the boards' verification.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / "build" / "boards",
    help="Output folder.  [default: build/boards]",
)
def main(files: tuple[Path, ...], recipes: tuple[str, ...], names: tuple[str, ...], record: bool, output: Path) -> None:
    """Build models for every board, run each image in its emulator and compare every byte."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        todo = list(tasks(names, recipes or (() if files else ("digits",)), files))
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)
    ui, outcomes = Ui(console), list[Outcome]()
    for number, task in enumerate(todo, 1):
        with ui.stage(f"{number}/{len(todo)}") as stage:
            outcomes.append(run(task, output.resolve()))
            stage.detail = _line(outcomes[-1])
    table = Table(*COLUMNS)
    for outcome in outcomes:
        table.add_row(*outcome.cells(), style="red" if outcome.verdict.isupper() else None)
    console.print(table)
    atomic_write(output / "boards.md", markdown(outcomes))
    atomic_write(output / "boards.json", json.dumps([o.report for o in outcomes], indent=2) + "\n")
    if record:
        today = datetime.date.today().isoformat()
        verified.save(r for r in (o.record(today) for o in outcomes) if r is not None)
        atomic_write(ROOT / "docs" / "boards_results.md", results(verified.load()))
    sys.exit(max((o.exit_code for o in outcomes if o.verdict.isupper()), default=0))


if __name__ == "__main__":
    main()
