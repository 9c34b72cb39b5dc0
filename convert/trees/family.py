"""Trees of both kinds and ProtoNN as a family of models: their files, their reference, and the runtime of their own."""

from collections.abc import Callable, Mapping

from convert import cache, judged
from convert.source import Floats
from convert.trees import bonsai, coding, container, decision, host, protonn, reference, view
from convert.trees.container import Model

_QUANTIZE: Mapping[str, Callable[..., Model]] = {
    "bonsai": bonsai.quantize,
    "protonn": protonn.quantize,
    "decision_tree": decision.quantize,
}


def _version() -> str:
    return cache.code_version("numpy", bonsai, coding, container, decision, protonn, reference)


def from_trained(architecture: str, weights: Mapping[str, Floats], classes: int, x: Floats) -> bytes:
    """The file of a trained model, by its architecture; `x` are training samples (n, ...), from which ranges come.

    Raises UsageError for weights that have no place in the integers.
    """
    return container.pack(_QUANTIZE[architecture](weights, classes, x))


TREE = judged.family(
    "tree",
    "model.tree",
    view.load,
    view.tree_of,
    reference.run,
    lambda tree, x: host.run(tree, x),
    "The same C agrees on this machine, so compiler, port or emulator is at fault.",
    _version,
)
