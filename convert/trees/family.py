"""Trees of both kinds and ProtoNN as a family of models: their files, their reference, and the runtime of their own."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from convert import cache, graph
from convert.errors import PipelineError, UsageError
from convert.golden import Progress
from convert.source import Answers, Bytes, Family, Floats, Source
from convert.trees import bonsai, coding, container, decision, host, protonn, reference, view
from convert.trees.container import Model

_QUANTIZE: Mapping[str, Callable[..., Model]] = {
    "bonsai": bonsai.quantize,
    "protonn": protonn.quantize,
    "decision_tree": decision.quantize,
}


def _ask(g: graph.Graph, inputs: Bytes, progress: Progress, _apart: bool) -> Answers:
    scores = reference.run(view.tree_of(g), inputs.view(np.int8))
    progress(len(inputs), len(inputs))
    return Answers(np.ascontiguousarray(scores).view(np.uint8), None, False)


def _locate(g: graph.Graph, inputs: Bytes) -> str:
    """Whether the C that differs on a device differs here too."""
    tree, x = view.tree_of(g), inputs.view(np.int8)
    try:
        same = np.array_equal(host.run(tree, x), reference.run(tree, x))
    except PipelineError as e:
        return f"(The same C could not be run here: {e})"
    if same:
        return "The same C agrees on this machine, so compiler, port or emulator is at fault."
    return "The C differs on this machine too."


def _version() -> str:
    return cache.code_version("numpy", bonsai, coding, container, decision, protonn, reference)


def from_trained(architecture: str, weights: Mapping[str, Floats], classes: int, x: Floats) -> bytes:
    """The file of a trained model, by its architecture; `x` are training samples (n, ...), from which ranges come.

    Raises UsageError for weights that have no place in the integers.
    """
    return container.pack(_QUANTIZE[architecture](weights, classes, x))


def is_tree(path: Path) -> bool:
    """Whether a model's file is meant to be a tree, by its name."""
    return path.suffix == Path(TREE.file).suffix


def from_file(path: Path) -> Source:
    """The tree that an earlier build left. Raises UsageError where the file cannot be read."""
    try:
        return Source(path.stem, path.read_bytes(), family=TREE)
    except OSError as e:
        raise UsageError(f"tree {path} cannot be read ({e.strerror}); give the model.tree of a build's folder") from e


TREE = Family("tree", "model.tree", "the NumPy reference", view.load, _ask, _version, _locate)
