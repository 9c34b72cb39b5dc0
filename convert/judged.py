"""What families with a NumPy reference share: how it judges outputs, and how the blame for a difference is found.

`model` is the family's own kind: a tree, a network of bits. References and C give scores int32 (n, classes) of samples
int8 (n, features).
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from convert.errors import PipelineError
from convert.golden import Progress
from convert.graph import Graph
from convert.source import Answers, Bytes, Family

Model = TypeVar("Model")
Scores = Callable[[Model, npt.NDArray[np.int8]], npt.NDArray[np.int32]]


def family(
    title: str,
    file: str,
    read: Callable[[bytes], Graph],
    of: Callable[[Graph], Model],
    reference: Scores[Model],
    on_host: Scores[Model],
    same: str,
    version: Callable[[], str],
) -> Family:
    """A family whose judge is `reference`; `of` gives the model that `read` made a graph of.

    `same` says where to look for a difference that the C does not show on this machine, where `on_host` runs it.
    """

    def ask(g: Graph, inputs: Bytes, progress: Progress, _apart: bool) -> Answers:
        scores = reference(of(g), inputs.view(np.int8))
        progress(len(inputs), len(inputs))
        return Answers(np.ascontiguousarray(scores).view(np.uint8), None, False)

    def locate(g: Graph, inputs: Bytes) -> str:
        model, x = of(g), inputs.view(np.int8)
        try:
            agrees = np.array_equal(on_host(model, x), reference(model, x))
        except PipelineError as e:
            return f"(The same C could not be run here: {e})"
        return same if agrees else "The C differs on this machine too."

    return Family(title, file, "the NumPy reference", read, ask, version, locate)
