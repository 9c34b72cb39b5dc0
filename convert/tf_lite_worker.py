"""The process in which tf.lite runs; started by convert.executors: FOLDER.

The folder holds model.tflite and, but for a trial, real-valued samples in inputs.npy; this adds outputs.npy, float32
(n, values). XNNPACK stays off: its answers are farther from TFLite Micro's than those of tf.lite's own kernels.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from convert import tf_setup


def _stored(real: Any, details: Any) -> Any:
    """Real numbers as an input's type; halves are rounded away from zero as TFLite's reference quantiser rounds."""
    scale, zero_point = details["quantization"]
    if not scale or details["dtype"] == np.float32:
        return real.astype(details["dtype"])
    scaled = real / np.float32(scale)
    limits = np.iinfo(details["dtype"])
    q = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)) + zero_point
    return np.clip(q, limits.min, limits.max).astype(details["dtype"])


def main() -> None:
    """Answer all samples, or zeros where there are none."""
    folder = Path(sys.argv[1])
    lite = tf_setup.tensorflow().lite
    kernels = lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = lite.Interpreter(str(folder / "model.tflite"), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    inputs, (output, *_) = interpreter.get_input_details(), interpreter.get_output_details()
    if (folder / "inputs.npy").is_file():
        if len(inputs) != 1:
            raise SystemExit(f"the model has {len(inputs)} inputs; samples of a data set fit models with exactly 1")
        samples = np.load(folder / "inputs.npy")
    else:
        samples = [None]
    scale, zero_point = output["quantization"]
    answers = []
    for sample in samples:
        for details in inputs:
            shape = details["shape"]
            value = np.zeros(shape, np.float32) if sample is None else sample.reshape(shape)
            interpreter.set_tensor(details["index"], _stored(value, details))
        interpreter.invoke()
        answer = interpreter.get_tensor(output["index"]).reshape(-1).astype(np.float32)
        answers.append((answer - zero_point) * np.float32(scale) if scale else answer)
    np.save(folder / "outputs.npy", np.stack(answers).astype(np.float32))


if __name__ == "__main__":
    main()
