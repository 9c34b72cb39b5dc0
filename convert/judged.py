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
from convert.source import Answers, Bytes

Model = TypeVar("Model")
Scores = Callable[[Model, npt.NDArray[np.int8]], npt.NDArray[np.int32]]


def ask(of: Callable[[Graph], Model], reference: Scores[Model]) -> Callable[[Graph, Bytes, Progress, bool], Answers]:
    """A family's `ask`: every vector at once, each apart from the others."""

    def answer(g: Graph, inputs: Bytes, progress: Progress, _apart: bool) -> Answers:
        scores = reference(of(g), inputs.view(np.int8))
        progress(len(inputs), len(inputs))
        return Answers(np.ascontiguousarray(scores).view(np.uint8), None, False)

    return answer


def locate(
    of: Callable[[Graph], Model], reference: Scores[Model], on_host: Scores[Model], same: str
) -> Callable[[Graph, Bytes], str]:
    """A family's `locate`: whether the C differs on this machine as it does on a device; `same` where it does not."""

    def where(g: Graph, inputs: Bytes) -> str:
        model, x = of(g), inputs.view(np.int8)
        try:
            agrees = np.array_equal(on_host(model, x), reference(model, x))
        except PipelineError as e:
            return f"(The same C could not be run here: {e})"
        return same if agrees else "The C differs on this machine too."

    return where
