"""Trees of both kinds and ProtoNN as a family of models: their files, their reference, and the runtime of their own."""

from collections.abc import Callable, Mapping

import numpy as np

from convert import cache, graph
from convert.errors import PipelineError
from convert.golden import Progress
from convert.source import Answers, Bytes, Family, Floats
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


TREE = Family("tree", "model.tree", "the NumPy reference", view.load, _ask, _version, _locate)
