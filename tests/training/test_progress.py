import io
import time

import pytest
from rich.console import Console

from training.progress import Reporter


def test_a_terminal_shows_a_bar_that_disappears() -> None:
    screen = io.StringIO()
    with Reporter(Console(file=screen, force_terminal=True, width=120)).task("float", 10) as update:
        update(5, "epoch 1/2")
    assert "float" in screen.getvalue()
    assert "50%" in screen.getvalue()
    # Transient: the last thing written erases the bar's line.
    assert screen.getvalue().rstrip("\r\n").endswith("\x1b[2K")


def test_lines_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lines = io.StringIO()
    with Reporter(Console(file=lines)).task("prune", 100) as update:
        for done in range(1, 101):
            now += 1.0
            update(done, "words [not markup]")
    shown = lines.getvalue().splitlines()
    assert shown[0] == "  prune  15% words [not markup]"
    assert shown[-1] == "  prune 100% words [not markup]"
    assert len(shown) == 7


def test_work_that_cannot_be_counted_is_named_when_it_starts() -> None:
    lines = io.StringIO()
    with Reporter(Console(file=lines)).task("reading"):
        assert lines.getvalue() == "  reading\n"


def test_no_console_no_output(capfd: pytest.CaptureFixture[str]) -> None:
    with Reporter().task("float", 3) as update:
        update(3, "done")
    assert capfd.readouterr() == ("", "")
