"""What a kernel call costs: instructions executed and bytes of code, counted in an emulator, not estimated.

All ways to store all layers' weights are linked into one image, several calls for one operator after each other, and
run once. On processors with Arm's DSP extension that is the code that the board runs. Elsewhere the same portable C
is counted on a Cortex-M3: its instructions stand in for the board's own, whose emulator cannot count by call.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convert import vectors
from convert.cache import Cache, digest, digest_files
from convert.compiled import cortex_m4, device, host, memory
from convert.compiled.formats import catalogue, depthwise
from convert.compiled.formats.catalogue import stored
from convert.compiled.layer import Layer
from convert.compiled.model import CompiledModel, Target
from convert.compiled.placement import align
from convert.graph import Graph
from convert.paths import ROOT

_IMAGE = 2 << 20  # bytes of constants that go into one image
_TIMEOUT = 600.0  # seconds


@dataclass(frozen=True)
class Counted:
    """One call of a kernel on the probe, and the code it needs."""

    instructions: int
    code: Mapping[str, int]  # bytes of functions by name, as far as they are known; kernels may share some


def count(compiled: CompiledModel, alternatives: Sequence[Sequence[Layer]]) -> list[list[Counted]]:
    """The cost of each layer of a model, first, and of other layers for the same operators, in their order.

    `compiled` is the model without them. Raises ToolError if the cross compiler or the emulator is missing.
    """
    found: list[list[Counted]] = [[] for _ in compiled.lowered]
    for number, batch in enumerate(_batches(alternatives)):
        layers, owners = [], []
        for k, (layer, others) in enumerate(zip(compiled.lowered, batch, strict=True)):
            layers += [layer, *others]
            owners += [k] * (1 + len(others))
        counts = _run(_spread_out(compiled, layers))
        seen: set[int] = set()
        for k, counted in zip(owners, counts, strict=True):
            if k in seen or number == 0:
                found[k].append(counted)
            seen.add(k)
    return found


def _batches(alternatives: Sequence[Sequence[Layer]]) -> list[list[list[Layer]]]:
    """The alternatives in as many images as they need; there is at least one."""
    batches: list[list[list[Layer]]] = [[[] for _ in alternatives]]
    room = _IMAGE
    for k, others in enumerate(alternatives):
        for layer in others:
            if stored(layer) > room and room < _IMAGE:
                batches.append([[] for _ in alternatives])
                room = _IMAGE
            batches[-1][k].append(layer)
            room -= stored(layer)
    return batches


def _spread_out(compiled: CompiledModel, layers: Sequence[Layer]) -> CompiledModel:
    """The calls in a model of their own, in which every tensor has its own memory."""
    owner = memory.roots(compiled.lowered)
    tensors, at = {}, 0
    for i in compiled.plan.tensors:
        if i not in owner:
            tensors[i] = at
            at += align(compiled.graph.tensors[i].nbytes)
    tensors |= {i: tensors[root] for i, root in owner.items() if root in tensors}
    scratch = tuple(at if layer.scratch_bytes else None for layer in layers)
    at += max(align(layer.scratch_bytes) for layer in layers)
    everything = tuple(range(len(layers)))
    plan = memory.ModelPlan(tensors, scratch, at, at, at, everything, ())
    # Numbers of their own, or their constants would share names.
    calls = tuple(replace(layer, op=replace(layer.op, index=k)) for k, layer in enumerate(layers))
    # An AVR's stand-in reads flash as it reads RAM.
    target: Target = "portable" if compiled.target == "avr" else compiled.target
    return replace(compiled, lowered=calls, plan=plan, target=target)


def _run(compiled: CompiledModel) -> list[Counted]:
    def make(folder: Path) -> None:
        profile = device.profile(compiled, _probe(compiled.graph), core=_core(compiled), timeout=_TIMEOUT)
        calls = [0 if layer is None else layer.instructions for layer in profile.layers]
        (folder / "counts.json").write_text(json.dumps({"calls": calls, "functions": dict(profile.functions)}))

    code = digest_files([*host.KERNELS.rglob("*.[chS]"), *host.KERNELS.rglob("*.inc"), Path(device.__file__)], ROOT)
    key = digest(compiled.render()["compiled_model.c"], code, compiled.optimize, _core(compiled).cpu)
    folder, _ = Cache().get("format-counts", key, make)
    known = json.loads((folder / "counts.json").read_text())
    return [
        Counted(calls, _code(layer, known["functions"]))
        for layer, calls in zip(compiled.lowered, known["calls"], strict=True)
    ]


# What the kernels that a format defines call, by the prefix of their names; and the same without a fast output stage.
_HELPERS = {
    "coded_row_": ("kernels_coded_row", "pixels"),
    "coded_matmul_": ("kernels_coded_matmul", "pixels", "kernels_coded_spread"),
    "coded_conv_": ("kernels_coded_conv", "pixels", "kernels_coded_spread", "kernels_coded_gather", "fill"),
}
_COMPACT = ("image", "one_by_one", "expand", "kernels_m4_clamp_s8", "kernels_m4_depthwise_copy")


def _code(layer: Layer, functions: Mapping[str, int]) -> Mapping[str, int]:
    if layer.kernel is None:
        return {}
    if layer.definition:
        helpers = next(names for prefix, names in _HELPERS.items() if layer.kernel.startswith(prefix))
        slow = tuple(f"{name}_left" for name in helpers) if layer.kernel.endswith("_0") else ()
        called = (layer.kernel, f"{layer.kernel}_channel", *helpers, *slow)
    elif layer.kernel.startswith(catalogue.INT4):
        called = (layer.kernel, "arrange", "four", "kernels_coded_spread", "kernels_coded_gather", "fill")
    elif layer.kernel.startswith(depthwise.PREFIX):
        core = layer.kernel.removeprefix(depthwise.PREFIX).removesuffix("_s8")
        called = (layer.kernel, *_COMPACT, f"compact_{core}", f"kernels_m4_depthwise_3x3_{core}_linear")
    elif layer.kernel in cortex_m4.FEATURES:
        called = tuple(name.split(".", 1)[1] for name in cortex_m4.code(layer))
    else:
        return {}  # a kernel without alternatives
    return {name: functions[name] for name in called if name in functions}


def _core(compiled: CompiledModel) -> device.Core:
    return device.CORTEX_M4 if compiled.target == "cortex_m4" else device.CORES["cortex-m3"]


def _probe(graph: Graph) -> host.Bytes:
    probe: host.Bytes = vectors.computed(graph, 0).inputs[0]
    return probe
