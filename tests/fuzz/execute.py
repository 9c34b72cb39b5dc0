"""Accepted models are built with sanitizers, run, and compared with TFLite Micro where that takes them too."""

import numpy as np
from target import Finding, memory_unlimited
from tflite_builder import vectors

from convert import golden, graph
from convert.compiled import compile_model, host
from convert.errors import ToolError, UsageError

_WORK = 20_000_000  # multiply-accumulates or bytes, above which a run says little for its time
_FINE = 1e-4  # float32 over a smaller scale may leave int32, where TFLite Micro's cast is undefined


def execute(data: bytes) -> str:
    """Run an accepted model, see `_execute`."""
    with memory_unlimited():
        return _execute(data)


def _execute(data: bytes) -> str:
    """Run an accepted model; returns what came of it.

    "equal", "refused" or "crashed" (by TFLite Micro), "large", "overflows in TFLite Micro": nothing to compare.
    Raises Finding where the C code does not compile, does something undefined or gives other outputs.
    """
    g = graph.load(data)
    compiled = compile_model(g)
    if g.macs + sum(t.nbytes for t in g.tensors) > _WORK:
        return "large"
    for op in g.operators:
        x, out = (g.tensors[i] for i in (op.inputs[0] if op.inputs else 0, op.outputs[0] if op.outputs else 0))
        if op.name == "QUANTIZE" and x.dtype.kind == "f" and out.quantization and out.quantization.scale < _FINE:
            return "overflows in TFLite Micro"
    inputs = vectors(g, 2)
    try:
        outputs, layers = host.run(compiled, inputs, layers=True, sanitize=True, timeout=60)
    except ToolError as e:
        raise Finding(str(e)[-1500:]) from e
    try:
        reference = golden.run(g, inputs, layers=True, timeout=20)
    except UsageError:
        return "refused"
    except ToolError:
        return "crashed"
    assert layers is not None
    assert reference.layers is not None
    for layer in compiled.lowered:
        for i in layer.outputs:
            if not np.array_equal(layers[i], reference.layers[i], equal_nan=layers[i].dtype.kind == "f"):
                raise Finding(f"operator {layer.op.index} ({layer.op.name}) differs from TFLite Micro")
    return "equal" if outputs.tobytes() == reference.outputs.tobytes() else "equal but for NaNs"
