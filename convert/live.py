"""What live applications need besides the model: its preprocessing, what its outputs mean, a recording."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from convert import emit, vectors
from convert.errors import UsageError
from convert.features.description import Preprocessed
from convert.features.source import render
from convert.graph import Graph


def to_model(graph: Graph, values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """The model's input byte of each feature byte, uint8 (256,): quantised as the test vectors are.

    Raises UsageError for a model whose only input is not of 8-bit integers.
    """
    tensors = vectors.input_tensors(graph)
    if len(tensors) != 1 or tensors[0].dtype.itemsize != 1:
        raise UsageError("live applications need a model with one int8 input; convert it to full-integer int8")
    elements = tensors[0].elements
    padded = np.zeros((math.ceil(len(values) / elements), elements), np.float32)
    padded.reshape(-1)[: len(values)] = values
    return vectors.quantize_inputs(graph, padded).reshape(-1)[: len(values)]


def files(graph: Graph, preprocessed: Preprocessed, labels: Sequence[str]) -> dict[str, str]:
    """preprocessing.{h,c} for this model, labels.h, and for a series recording.{h,c}.

    Raises UsageError for a model that live applications cannot show.
    """
    made = render(preprocessed.description, to_model(graph, preprocessed.values))
    made["labels.h"] = emit.render("features/labels.h.j2", _outputs(graph, labels))
    if preprocessed.recording is not None:
        samples, channels = preprocessed.recording.shape
        names = {"samples": samples, "channels": channels, "rows": preprocessed.recording.tolist()}
        made |= {name: emit.render(f"features/{name}.j2", names) for name in ("recording.h", "recording.c")}
    return made


def _outputs(graph: Graph, labels: Sequence[str]) -> dict[str, object]:
    tensor = graph.tensors[graph.outputs[0]]
    q = tensor.quantization
    if len(graph.outputs) != 1 or tensor.dtype != np.int8 or q is None or tensor.elements != len(labels):
        raise UsageError(
            f"live applications need a model with one int8 output of {len(labels)} classes; output {tensor.name!r} is "
            f"{tensor.dtype} of {tensor.elements}"
        )
    return {
        "labels": list(labels),
        "zero_point": q.zero_point,
        "steps": max(1, round(1 / q.scale)),
        "state": graph.has_state,
        "model_sha256": graph.sha256,
    }


def smooth(outputs: npt.NDArray[np.int8], shift: int) -> npt.NDArray[np.int16]:
    """Smoothed scores after each of the int8 outputs (n, classes), in 128ths of a step, as features_smooth() does."""
    scores = outputs.astype(np.int32) * 128
    for k in range(1, len(scores)):
        scores[k] = scores[k - 1] + ((scores[k] - scores[k - 1]) >> shift)
    return scores.astype(np.int16)
