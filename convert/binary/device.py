"""Build a network for a bare Cortex-M and run it: in QEMU for its scores, a Cortex-M4 in Unicorn for its counts."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convert import compilers, emit
from convert.binary import source
from convert.binary.host import RUNTIME
from convert.binary.net import Int8, Int32, Net
from convert.compiled import Target
from convert.compiled.device import CORTEX_M4, PREFIX, Core, Machine, flags, in_qemu, link
from convert.compiled.host import KERNELS, kernels
from convert.emulate import cortex_m
from convert.errors import ToolError


def build(
    net: Net, folder: Path, target: Target = "cortex_m4", core: Core = CORTEX_M4, optimize: str = "speed"
) -> Path:
    """Build the image that runs the network on samples from a file; return its ELF file in `folder`.

    Raises ToolError if the cross compiler is missing or fails.
    """
    if lacking := compilers.missing("armv7e-m"):
        raise ToolError(lacking)
    main = emit.render("compiled/device_main.c.j2", {})
    emit.write_tree(folder / "src", {**source.render(net, "device", target), "device_main.c": main})
    options = flags(optimize, core)
    parts = [KERNELS / "src" / "bits.c"]
    if target == "cortex_m4":
        parts += sorted((KERNELS / "src" / "cortex_m4").glob("bits*.[cS]"))
    objects = kernels(f"{PREFIX}gcc", options, parts)
    sources = [folder / "src" / "binary_model.c", folder / "src" / "device_main.c", RUNTIME / "inference.c"]
    return link(folder, sources, objects, options, core)


def run(net: Net, x: Int8, target: Target = "cortex_m4", core: Core = CORTEX_M4, *, timeout: float = 600.0) -> Int32:
    """Scores int32 (n, classes) of samples int8 (n, features), from a machine of QEMU's.

    Raises ToolError if the compiler or QEMU is missing, or the program fails.
    """
    raw = in_qemu(lambda folder: build(net, folder, target, core), x.tobytes(), core, "the binary network", timeout)
    if len(raw) != 4 * net.classes * len(x):
        raise ToolError(
            f"the binary network wrote {len(raw)} bytes in QEMU for {len(x)} samples of {net.classes} scores"
        )
    return np.frombuffer(raw, "<i4").reshape(len(x), net.classes)


@dataclass(frozen=True)
class Count:
    """What an inference executed on a Cortex-M4."""

    instructions: int
    layers: tuple[int, ...]  # of each layer's kernel
    scores: Int32  # (classes,)


class Counter4:
    """A network in Unicorn's Cortex-M4, whose inferences are counted instruction by instruction."""

    def __init__(self, net: Net, *, timeout: float = 600.0) -> None:
        """Raises ToolError if a tool is missing or the program fails."""
        self.net, self.timeout = net, timeout
        with tempfile.TemporaryDirectory(prefix="binary-") as name:
            program = cortex_m.load(build(net, Path(name)))
        self.machine = Machine(program, "the binary network", time.monotonic() + timeout)

    def count(self, x: Int8) -> Count:
        """Run one sample int8 (features,)."""
        machine = self.machine
        plan, arena = source.arena(self.net, "cortex_m4"), machine.address("arena")
        machine.uc.mem_write(arena + plan.places[0], x.tobytes())
        runs = machine.trace("binary_model_run", arena, time.monotonic() + self.timeout)
        whole, parts = machine.count("binary_model_run", runs)
        raw = bytes(machine.uc.mem_read(arena + plan.places[-1], 4 * self.net.classes))
        return Count(whole.instructions, tuple(part.instructions for part in parts), np.frombuffer(raw, "<i4"))
