"""Accuracy of a classifier from the raw bytes that a runtime gave."""

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from convert.graph import Graph


def top1(graph: Graph, outputs: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer]) -> float:
    """Share of samples whose largest output is the label's; the lowest index wins a tie, as argmax on a device does.

    `outputs` is (n, output bytes) of a model with one output of one value a class; `labels` is (n,).
    """
    if len(graph.outputs) != 1:
        raise UsageError(f"accuracy needs a model with exactly 1 output; this one has {len(graph.outputs)}")
    tensor = graph.tensors[graph.outputs[0]]
    scores = outputs.view(tensor.dtype).reshape(len(outputs), -1)
    if int(labels.max()) >= scores.shape[1]:
        raise UsageError(
            f"the data set has classes up to {int(labels.max())}; the model gives {scores.shape[1]} scores"
        )
    return float(np.mean(scores.argmax(axis=1) == labels))
