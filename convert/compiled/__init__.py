"""The compiled runtime: a .tflite becomes plain C99 that answers like TFLite Micro on every layer.

`compile_model` lowers the graph to kernel calls (lowering, one module an operator family), places all tensors in a
static arena (memory) and renders the C source (render). `host` builds and runs the result on this machine.
"""

from convert.compiled.compiling import compile_model
from convert.compiled.lowering import supported
from convert.compiled.model import CompiledModel, LayerInfo, Optimize, Target

__all__ = ["CompiledModel", "LayerInfo", "Optimize", "Target", "compile_model", "supported"]
