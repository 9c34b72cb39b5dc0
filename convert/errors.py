"""Failures that a user can meet, one class an exit code.

A message is composed once, where the failure is understood, and says three things: what was wrong (with the
offending value), what is allowed or was expected, and what to do next.
"""

from typing import ClassVar


class PipelineError(Exception):
    """A failure with a message for the user; anything else that escapes is a bug."""

    exit_code: ClassVar[int] = 1


class UsageError(PipelineError):
    """Wrong use, or input that cannot be read or is not supported."""

    exit_code = 2


class DoesNotFitError(PipelineError):
    """The model does not fit the board."""

    exit_code = 3


class OutputsDifferError(PipelineError):
    """The firmware's bytes are not the golden reference's."""

    exit_code = 4


class ToolError(PipelineError):
    """An outside tool (compiler, PlatformIO, emulator) is missing or failed."""

    exit_code = 5


class AccuracyError(PipelineError):
    """Accuracy or sparsity fell below what the recipe requires."""

    exit_code = 6


def one_of(allowed: list[str]) -> str:
    """Format allowed values for a message: `a, b or c`."""
    names = sorted(allowed)
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"
