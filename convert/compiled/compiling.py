"""From a graph to a compiled model: lowering, choice of kernels, choice of weight formats, memory plan."""

from collections.abc import Mapping
from dataclasses import replace

from convert.compiled import cortex_m4, lowering, memory, select
from convert.compiled.formats import choose
from convert.compiled.layer import Layer, describe
from convert.compiled.model import CompiledModel, Optimize, Target
from convert.compress import NONE, Compress
from convert.errors import UsageError
from convert.graph import Graph


def compile_model(
    graph: Graph,
    target: Target = "portable",
    optimize: Optimize = "speed",
    compress: Compress = NONE,
    pinned: Mapping[int, str | None] | None = None,
) -> CompiledModel:
    """Compile a graph for the compiled runtime.

    `target` names the processors whose kernels may be used besides the portable ones; `optimize` says what counts
    among kernels that serve a layer, and how they are compiled; `compress` how weights are stored. `pinned` names the
    kernel of each operator, which is taken where the weights allow it and leaves nothing to choose (convert/split).

    Raises UsageError for an operator, type or parameter that it does not support, naming it and what is supported;
    ToolError where compress.mode is "auto" and what counts instructions is missing.
    """
    choose.check(compress.mode)
    lowered = lowering.lower(graph)
    for i in graph.outputs:
        if graph.tensors[i].data is not None:
            raise UsageError(f"output {describe(graph.tensors[i])} is constant; remove it from the model's outputs")
    layers: tuple[Layer, ...] = lowered
    if target == "cortex_m4":
        options = [_pin(cortex_m4.candidates(layer), pinned or {}) for layer in layers]
        if optimize == "speed":
            layers = select.fastest(graph, options, cortex_m4.cycles)
        else:
            layers = select.smallest(graph, options, cortex_m4.code, cortex_m4.cycles)
    if pinned is not None:
        layers = choose.pin(layers, lowered, pinned, target)
    dense = _planned(graph, layers, target, optimize)
    if compress.mode == "none" or pinned is not None:
        return dense
    choice = choose.choose(dense, lowered, compress)
    coded = _planned(graph, choice.layers, target, optimize)
    return replace(coded, formats=choice.decided, decoder_bytes=choice.code, dense=dense)


def _pin(options: list[Layer], pinned: Mapping[int, str | None]) -> list[Layer]:
    """The options that call the pinned kernel; all of them where none does, or none is pinned."""
    return [layer for layer in options if layer.kernel == pinned.get(layer.op.index, layer.kernel)] or options


def _planned(graph: Graph, layers: tuple[Layer, ...], target: Target, optimize: Optimize) -> CompiledModel:
    plan = memory.plan(graph, layers)
    return CompiledModel(graph, tuple(layers[k] for k in plan.order), plan, target, optimize)
