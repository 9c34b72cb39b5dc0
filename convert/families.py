"""Families of models that no .tflite can hold: each has a file, a judge of its bytes and a runtime of its own."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from convert.binary.family import BINARY
from convert.boards import Runtime
from convert.errors import UsageError
from convert.source import TFLITE, Family, Source
from convert.trees.family import TREE


@dataclass(frozen=True)
class Own:
    """A family and the runtime that it comes with."""

    family: Family
    runtime: Runtime
    what: str
    states: Collection[str]  # of a recipe's last model: see training/recipe.py


OWN = (
    Own(TREE, "tree", "a tree", ("tree", "decision tree")),
    Own(BINARY, "binary", "a binary network", ("binary",)),
)


def of_file(path: Path) -> Own | None:
    """What a model's file is meant to be, by its name; None for one that becomes a .tflite."""
    return next((own for own in OWN if path.suffix == Path(own.family.file).suffix), None)


def of_state(state: str) -> Own | None:
    """What a recipe makes whose last step leaves a model in this state; None for a .tflite."""
    return next((own for own in OWN if state in own.states), None)


def of_runtime(runtime: str) -> Family:
    """The family that a runtime runs."""
    return next((own.family for own in OWN if own.runtime == runtime), TFLITE)


def from_file(path: Path, own: Own) -> Source:
    """The model that an earlier build left. Raises UsageError where the file cannot be read."""
    try:
        return Source(path.stem, path.read_bytes(), family=own.family)
    except OSError as e:
        what = own.what.removeprefix("a ")
        raise UsageError(
            f"{what} {path} cannot be read ({e.strerror}); give the {own.family.file} of a build's folder"
        ) from e
