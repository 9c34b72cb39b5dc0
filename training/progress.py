"""What the user sees while training runs: a bar on a terminal, lines elsewhere, nothing where no console is given."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Update = Callable[[int, str], None]  # (steps done, a few words on how it goes)

PLAIN_EVERY = 15.0  # seconds between two lines where there is no terminal


class Reporter:
    """Shows long work on a console."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Update]:
        """Report a piece of work of `total` steps, None where it cannot be counted."""
        if self.console is None:
            yield lambda _done, _words: None
        elif self.console.is_terminal:
            yield from self._bar(self.console, name, total)
        else:
            yield self._lines(self.console, name, total)

    @staticmethod
    def _bar(console: Console, name: str, total: int | None) -> Iterator[Update]:
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(name, total=total, words="")
            yield lambda done, words: progress.update(task, completed=done, words=escape(words))

    @staticmethod
    def _lines(console: Console, name: str, total: int | None) -> Update:
        last = time.monotonic()
        if not total:
            console.print(f"  {name}", markup=False, highlight=False, soft_wrap=True)

        def update(done: int, words: str) -> None:
            nonlocal last
            if total and done < total and time.monotonic() - last < PLAIN_EVERY:
                return
            last = time.monotonic()
            share = f"{done / total:4.0%}" if total else str(done)
            console.print(f"  {name} {share} {words}".rstrip(), markup=False, highlight=False, soft_wrap=True)

        return update
