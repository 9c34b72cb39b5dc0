"""What executes a .tflite file, found by trying, and its answers from the best of them.

TFLite Micro has no dynamic-range ("hybrid") kernels and no float16 weights, the compiled runtime has integers alone,
and tf.lite runs everything that its converter writes. TFLite Micro comes first, since firmware answers like it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert import compiled, golden, graph, vectors
from convert.errors import PipelineError, ToolError, UsageError
from convert.paths import ROOT

Floats = npt.NDArray[np.float32]

TIMEOUT = 600.0  # seconds that tf.lite may take in all


NAMES = ("tflm", "compiled", "tf.lite")


def executors(data: bytes, names: Sequence[str] = NAMES) -> tuple[str, ...]:
    """Which of the named ones execute a file: each is tried."""
    tries: dict[str, Callable[[], object]] = {
        "tflm": lambda: _tflm(data, None),
        "compiled": lambda: compiled.compile_model(graph.load(data)).render(),
        "tf.lite": lambda: _tf_lite(data, None),
    }
    return tuple(name for name in names if _works(tries[name]))


def predict(data: bytes, x: Floats) -> Floats:
    """The model's real-valued answers (n, classes) to real-valued samples (n, *input shape).

    From TFLite Micro, or from tf.lite where that refuses the file. Raises UsageError where the samples do not fit the
    model, and ToolError where nothing executes it.
    """
    try:
        return _tflm(data, x)
    except UsageError:
        return _tf_lite(data, x)


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PipelineError:
        return False
    return True


def _tflm(data: bytes, x: Floats | None) -> Floats:
    """TFLite Micro's answers to samples, or to the probe; UsageError where it refuses the file."""
    view = graph.load(data)
    inputs = vectors.computed(view, 0).inputs if x is None else vectors.quantize_inputs(view, x)
    outputs = golden.run(view, inputs, apart=True).outputs
    tensor = view.tensors[view.outputs[0]]
    if len(view.outputs) > 1:
        return np.zeros((len(inputs), 0), np.float32)  # a probe only: samples have one answer
    values = outputs.view(tensor.dtype).reshape(len(inputs), -1).astype(np.float32)
    q = tensor.quantization
    if tensor.dtype.kind == "f" or q is None:
        return values
    return np.asarray((values - q.zero_point) * np.float32(q.scale), np.float32)


def _tf_lite(data: bytes, x: Floats | None) -> Floats:
    """The same from tf.lite, in a process of its own: it may crash where TFLite Micro refuses."""
    with tempfile.TemporaryDirectory(prefix="tf-lite-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(data)
        if x is not None:
            np.save(folder / "inputs.npy", x)
        command = [sys.executable, "-m", "convert.tf_lite_worker", str(folder)]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"},
            )
        except subprocess.TimeoutExpired as e:
            raise ToolError(f"tf.lite did not finish in {TIMEOUT:g} s and was stopped; use fewer samples") from e
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise ToolError(f"tf.lite does not execute the model: {lines[-1] if lines else f'exit {done.returncode}'}")
        return np.asarray(np.load(folder / "outputs.npy"))
