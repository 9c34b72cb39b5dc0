"""One model in one configuration, measured on an emulated Cortex-M4.

Instructions are exact, from the first of compiled_model_run() to its return; cycles are estimated from them
(convert.compiled.cycles). Sizes are those of the linked runtime: kernels, generated code, inference.c and what they
use of the C library, without start-up code and test program. All sizes in bytes.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convert import compiled, golden, image, vectors
from convert.cache import Cache
from convert.compiled import device, host
from convert.graph import Graph

# What an application calls; the linker keeps what these need.
_ROOTS = ("inference_init", "inference_run", "inference_input", "inference_output")


@dataclass(frozen=True)
class Configuration:
    """How a model is compiled."""

    target: compiled.Target
    optimize: compiled.Optimize

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.target} -O{'2' if self.optimize == 'speed' else 's'}"


CONFIGURATIONS = (
    Configuration("cortex_m4", "speed"),
    Configuration("cortex_m4", "size"),
    Configuration("portable", "speed"),
    Configuration("portable", "size"),
)


@dataclass(frozen=True)
class Layer:
    """An operator as it runs; None where it is no code."""

    index: int
    operator: str
    kernel: str | None
    output: tuple[int, ...]
    macs: int
    instructions: int | None
    cycles: int | None
    weight_bytes: int
    scratch_bytes: int

    @property
    def instructions_per_mac(self) -> float | None:
        """None for an operator without multiplications."""
        return self.instructions / self.macs if self.instructions is not None and self.macs else None


@dataclass(frozen=True)
class Measured:
    """A model's figures in one configuration."""

    configuration: Configuration
    macs: int
    instructions: int
    cycles: int
    arena: int
    live_set: int  # the largest: no plan of separate buffers is smaller
    bound: int  # no plan with what the kernels allow is smaller, in this order of layers
    status: str  # of the solver
    static_ram: int  # .data and .bss, the arena included
    stack: int  # deepest use below the call, painted
    code: int  # flash without weights
    weights: int
    fnv: str  # FNV-1a 32 of the probe's output bytes
    equal: bool  # with TFLite Micro on the host
    layers: tuple[Layer, ...]
    histogram: dict[str, int]  # executed instructions by mnemonic


def reference(graph: Graph) -> tuple[host.Bytes, host.Bytes]:
    """The probe, uint8 (input bytes), and TFLite Micro's answer, uint8 (output bytes)."""
    probe = vectors.computed(graph, 0).inputs
    answer, _ = golden.cached(graph, probe, Cache(), lambda _done, _total: None)
    return probe[0], answer.outputs[0]


def measure(graph: Graph, configuration: Configuration, probe: host.Bytes, expected: host.Bytes) -> Measured:
    """Compile, link and run.

    Raises UsageError for a model that the compiled runtime does not take, ToolError where a tool is missing or fails.
    """
    model = compiled.compile_model(graph, configuration.target, configuration.optimize)
    run = device.profile(model, probe)
    sizes = runtime_sizes(model)
    infos = {info.op: info for info in model.layers}
    layers = tuple(
        Layer(
            layer.op.index,
            layer.op.name,
            layer.kernel,
            graph.tensors[layer.outputs[0]].shape if layer.outputs else (),
            layer.macs,
            None if count is None else count.instructions,
            None if count is None else count.cycles,
            infos[layer.op.index].weight_bytes,
            layer.scratch_bytes,
        )
        for layer, count in zip(model.lowered, run.layers, strict=True)
    )
    return Measured(
        configuration,
        graph.macs,
        run.total.instructions,
        run.total.cycles,
        model.arena_bytes,
        model.lower_bound,
        model.plan.bound,
        model.plan.status,
        sizes.static_ram,
        run.stack,
        sizes.flash - sizes.weights,
        sizes.weights,
        f"0x{vectors.fnv1a32(run.outputs.tobytes()):08x}",
        bool(np.array_equal(run.outputs, expected)),
        layers,
        dict(run.total.histogram),
    )


def runtime_sizes(model: compiled.CompiledModel) -> image.Sizes:
    """Sizes of the runtime alone, linked without start-up code and test program."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        for file, content in model.render().items():
            (folder / file).write_text(content)
        elf = folder / "runtime.elf"
        command = [f"{device.PREFIX}gcc", *device.flags(model.optimize), "-I", str(folder), "-nostartfiles"]
        command += ["--specs=nano.specs", "-T", str(device.PORT / "link.ld"), "-Wl,--gc-sections"]
        command += ["-Wl,--no-warn-rwx-segments", f"-Wl,-e,{_ROOTS[0]}", *(f"-Wl,-u,{root}" for root in _ROOTS)]
        places = {"flash_origin": 0, "flash_size": 16 << 20, "ram_origin": 0x20000000, "ram_size": 16 << 20}
        command += [f"-Wl,--defsym=__{symbol}={value:#x}" for symbol, value in places.items()]
        sources = [folder / "compiled_model.c", host.RUNTIME / "inference.c"]
        command += [*map(str, sources), *map(str, device.kernels(model)), "-o", str(elf)]
        host.call(command, "linking the runtime")
        return image.sizes(elf)
