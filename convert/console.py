"""What the user sees while stages run: a line a stage, a bar on long work, plain text where there is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from convert.report import Stage


@dataclass
class Running:
    """A stage under way; it fills in what its closing line says."""

    cached: bool = False
    detail: str = ""


class Ui:
    """Prints stages to a console and remembers their times."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stages: list[Stage] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[Running]:
        """Time a stage; one closing line where it succeeds, none where it raises."""
        running = Running()
        start = time.monotonic()
        with self.console.status(f"{name} ...", spinner="line"):
            yield running
        seconds = time.monotonic() - start
        self.stages.append(Stage(name=name, seconds=round(seconds, 2), cached=running.cached))
        took = "cached" if running.cached else f"{seconds:.1f} s"
        self.console.print(
            f"[green]✓[/] {name:<9} [dim]{took:>8}[/]  {escape(running.detail)}", soft_wrap=True, highlight=False
        )

    def note(self, text: str) -> None:
        """A line the user should not miss."""
        self.console.print(f"[yellow]![/] {escape(text)}", soft_wrap=True, highlight=False)

    @contextmanager
    def bar(self, description: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar as a callback of (done, total); it disappears when the work is done."""
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(description, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
