"""What is fuzzed: bytes to a graph, to a compiled model, to C source, within limits of time and memory."""

import contextlib
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from convert import graph
from convert.compiled import CompiledModel, Optimize, Target, compile_model
from convert.errors import UsageError

SECONDS = 30.0  # of computing, a file; most take milliseconds, a plan that CP-SAT improves some seconds a target
MEMORY = 1 << 30  # bytes beyond what the process has when it starts
SOURCE = 64 << 20  # bytes of C


class Hang(BaseException):
    """A file took more than SECONDS; no Exception, so that nothing under test swallows it."""


class Finding(AssertionError):
    """A file did what none may do."""


@dataclass(frozen=True)
class Outcome:
    """How far a file got."""

    stage: str  # "graph", "compile": refused there; "accepted"
    message: str = ""
    compiled: CompiledModel | None = None
    source: dict[str, str] | None = None


# What a model is compiled for; the first one's result is handed on.
_WAYS: tuple[tuple[Target, Optimize], ...] = (("portable", "speed"), ("cortex_m4", "speed"), ("cortex_m4", "size"))


def check(data: bytes) -> Outcome:
    """Load, compile and render; nothing but UsageError may escape from there, and no error of memory may hide in it.

    What one target takes, all take.
    """
    stage = "graph"
    accepted = []
    try:
        loaded = graph.load(data)
        stage = "compile"
        for target, optimize in _WAYS:
            compiled = compile_model(loaded, target, optimize)
            accepted.append((compiled, compiled.render()))
    except UsageError as e:
        hidden = e.__cause__
        if isinstance(hidden, MemoryError | RecursionError):
            raise Finding(f"{type(hidden).__name__} in {stage}") from hidden
        if len(str(e)) > 4000:
            raise Finding(f"a message of {len(str(e))} characters in {stage}: {str(e)[:300]}") from e
        if accepted:
            raise Finding(f"only {_WAYS[: len(accepted)]} take what is refused otherwise: {e}") from e
        return Outcome(stage, str(e))
    size = sum(len(text) for _, source in accepted for text in source.values())
    if size > SOURCE:
        raise Finding(f"{len(data)} bytes became {size} bytes of C")
    return Outcome("accepted", compiled=accepted[0][0], source=accepted[0][1])


@contextlib.contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """Raise Hang in the block after so much computing (main thread only): a busy machine makes no difference."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Hang(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def memory_unlimited() -> Iterator[None]:
    """For children that reserve much and use little: sanitizers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def limit_memory(more: int = MEMORY) -> None:
    """Let this process grow by that many bytes only, so that what takes more fails with MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
