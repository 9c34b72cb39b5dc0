"""Accepted models are built with sanitizers, run, and compared with TFLite Micro where that takes them too."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from target import Finding, memory_unlimited
from tflite_builder import vectors

from convert import golden, graph
from convert.compiled import CompiledModel, compile_model, device, host
from convert.errors import ToolError, UsageError

Layers = Mapping[int, Any] | None
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
    _compare("portable, here", compiled, layers, reference.layers)
    if device.available():
        special = compile_model(g, "cortex_m4")
        try:
            _, layers = device.run(special, inputs, layers=True, timeout=120)
        except ToolError as e:
            raise Finding(str(e)[-1500:]) from e
        _compare("Cortex-M4, in QEMU", special, layers, reference.layers)
    return "equal" if outputs.tobytes() == reference.outputs.tobytes() else "equal but for NaNs"


def _compare(where: str, compiled: CompiledModel, ours: Layers, expected: Layers) -> None:
    assert ours is not None
    assert expected is not None
    for layer in compiled.lowered:
        for i in layer.outputs:
            if i in ours and not np.array_equal(ours[i], expected[i], equal_nan=ours[i].dtype.kind == "f"):
                raise Finding(f"{where}: operator {layer.op.index} ({layer.op.name}, {layer.kernel}) differs")
