"""Build a compiled model for a bare Cortex-M and run it there: in QEMU for its outputs, a Cortex-M4 in Unicorn for its
counts."""

import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from convert import compilers, emit
from convert.compiled import cycles as timing
from convert.compiled import host, poison
from convert.compiled.layer import Array
from convert.compiled.model import CompiledModel
from convert.emulate import cortex_m
from convert.errors import ToolError
from convert.paths import FIRMWARE

PREFIX = compilers.COMPILERS["armv7e-m"].prefix
CPU = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
SOFT = ("-mthumb", "-mfloat-abi=soft")
HARD = ("-mthumb", "-mfpu=auto", "-mfloat-abi=hard")
PORT = FIRMWARE / "ports" / "cortex_m"
QEMU = "qemu-system-arm"

# Memory of QEMU's mps2-an386; the core's own registers are plain memory in Unicorn.
_FLASH, _RAM, _MEMORY = 0, 0x20000000, 4 << 20


@dataclass(frozen=True)
class Core:
    """A core, the machine in which QEMU has it, and where a program and its data lie there; sizes in bytes."""

    cpu: tuple[str, ...]  # options of the compiler
    machine: tuple[str, ...]  # options of QEMU
    flash: int = _FLASH
    ram: int = _RAM
    memory: int = _MEMORY  # of flash and of RAM


# The micro:bit's chip, with more memory than it has: the only Cortex-M0 of QEMU's. It faults on unaligned accesses.
_NRF51 = ("-M", "microbit", *(o for m in ("flash", "sram") for o in ("-global", f"nrf51-soc.{m}-size={_MEMORY}")))

CORTEX_M4 = Core(CPU, ("-M", "mps2-an386"))
CORES = {
    "cortex-m0": Core(("-mcpu=cortex-m0", *SOFT), _NRF51),
    "cortex-m3": Core(("-mcpu=cortex-m3", *SOFT), ("-M", "mps2-an385")),
    "cortex-m4": CORTEX_M4,
    "cortex-m7": Core(("-mcpu=cortex-m7", *HARD), ("-M", "mps2-an500")),
    "cortex-m33": Core(("-mcpu=cortex-m33", *HARD), ("-M", "mps2-an505"), 0x10000000, 0x38000000),
    "cortex-m55": Core(("-mcpu=cortex-m55", *HARD), ("-M", "mps3-an547"), memory=512 << 10),
}
_CORE = (0xE000E000, 0x1000)
_PAINT = 0xA5


def available() -> bool:
    """Whether the cross compiler and QEMU are here."""
    return compilers.missing("armv7e-m") is None and shutil.which(QEMU) is not None


def flags(optimize: str, core: Core = CORTEX_M4) -> list[str]:
    """Options of the cross compiler for the model and its kernels."""
    warnings = [w for w in host.WARNINGS if w != "-Wpedantic"]  # ports speak to the hardware in assembly
    include = ["-I", str(host.KERNELS / "include"), "-I", str(FIRMWARE / "include")]
    return [
        *core.cpu,
        "-std=c99",
        compilers.LEVELS[optimize],
        "-ffunction-sections",
        "-fdata-sections",
        *warnings,
        *include,
    ]


def kernels(compiled: CompiledModel, core: Core = CORTEX_M4) -> list[Path]:
    """Objects of the kernel library for the model's target; the linker drops what is not called."""
    sources = sorted((host.KERNELS / "src").glob("*.c"))
    if compiled.target == "cortex_m4":
        sources += sorted((host.KERNELS / "src" / "cortex_m4").glob("*.[cS]"))
    return host.kernels(f"{PREFIX}gcc", flags(compiled.optimize, core), sources)


def build(compiled: CompiledModel, folder: Path, *, layers: bool = False, core: Core = CORTEX_M4) -> Path:
    """Build the image that runs the model on vectors from a file; return its ELF file in `folder`.

    Raises ToolError if the cross compiler is missing or fails.
    """
    if lacking := compilers.missing("armv7e-m"):
        raise ToolError(lacking)
    files = {**compiled.render(), "device_main.c": emit.render("compiled/device_main.c.j2", {})}
    files["poison.h"] = poison.render(compiled)
    emit.write_tree(folder / "src", files)
    sources = [folder / "src" / "compiled_model.c", folder / "src" / "device_main.c", host.RUNTIME / "inference.c"]
    options = [*flags(compiled.optimize, core), *(["-DINFERENCE_TRACE"] if layers else [])]
    return link(folder, sources, kernels(compiled, core), options, core)


def link(folder: Path, sources: Sequence[Path], objects: Sequence[Path], options: Sequence[str], core: Core) -> Path:
    """Link sources, with headers in `folder`/src, and objects for a bare core; returns the ELF file in `folder`.

    Raises ToolError if the cross compiler fails.
    """
    places = {"flash_origin": core.flash, "flash_size": core.memory, "ram_origin": core.ram, "ram_size": core.memory}
    own = [*options, "-I", str(folder / "src"), "--specs=nano.specs", "-nostartfiles", "-T", str(PORT / "link.ld")]
    own += ["-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", f"-Wl,-Map,{folder / 'model.map'}"]
    own += [f"-Wl,--defsym=__{name}={value:#x}" for name, value in places.items()]
    elf = folder / "model.elf"
    everything = map(str, [*sources, *sorted(PORT.glob("*.c")), *objects])
    host.call([f"{PREFIX}gcc", *own, *everything, "-o", str(elf)], f"compiling for {core.cpu[0]}")
    return elf


def in_qemu(make: Callable[[Path], Path], inputs: bytes, core: Core, what: str, timeout: float) -> bytes:
    """What an image writes to its file `out` for the file `in`, in a machine of QEMU's; `make` builds it in a folder.

    `what` names the model. Raises ToolError if QEMU is missing, or the program fails.
    """
    tool = shutil.which(QEMU)
    if tool is None:
        raise ToolError(f"{QEMU} is not on the PATH; on Debian or Ubuntu run: apt-get install qemu-system-arm")
    with tempfile.TemporaryDirectory(prefix="device-") as name:
        folder = Path(name)
        elf = make(folder)
        (folder / "in").write_bytes(inputs)
        command = [tool, *core.machine, "-display", "none", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as e:
            raise ToolError(f"{what} did not end within {timeout:g} s in QEMU") from e
        if done.returncode:
            reason = done.stderr.decode(errors="replace")[-4000:]
            raise ToolError(f"{what} failed with exit code {done.returncode} in QEMU: {reason}")
        return (folder / "out").read_bytes()


def run(
    compiled: CompiledModel,
    inputs: host.Bytes,
    *,
    layers: bool = False,
    timeout: float = 600.0,
    core: Core = CORTEX_M4,
) -> tuple[host.Bytes, Mapping[int, Array] | None]:
    """Run vectors (uint8, (n, input bytes)) in a machine of QEMU's; returns what `host.run` returns.

    Raises ToolError if the compiler or QEMU is missing, or the program fails; ValueError for vectors of the wrong size.
    """
    host.check_vectors(compiled, inputs)
    raw = in_qemu(
        lambda folder: build(compiled, folder, layers=layers, core=core),
        inputs.tobytes(),
        core,
        "the compiled model",
        timeout,
    )
    return host.split(compiled, np.frombuffer(raw, np.uint8), len(inputs), layers)


@dataclass(frozen=True)
class Count:
    """What a stretch of the program executed; cycles are an estimate, see convert.compiled.cycles."""

    instructions: int
    cycles: int
    histogram: Mapping[str, int]  # executed instructions by mnemonic


@dataclass(frozen=True)
class Profile:
    """One inference on a Cortex-M4; sizes in bytes."""

    layers: tuple[Count | None, ...]  # in execution order; None: no code, the output is the input's memory
    total: Count  # of compiled_model_run(), from its first instruction to its return
    stack: int  # deepest use below the call
    outputs: host.Bytes  # uint8 (output bytes)
    functions: Mapping[str, int]  # bytes of the image's functions


@dataclass(frozen=True)
class _Block:
    """A straight run of instructions, as Unicorn translates it."""

    instructions: int
    cycles: int
    names: Mapping[str, int]
    refill: int  # cycles more where another address than the next one follows


@lru_cache(maxsize=1)
def _capstone() -> Any:
    import capstone

    disassembler = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    disassembler.detail = True
    return disassembler


def _decode(code: bytes, address: int) -> _Block:
    listing = list(_capstone().disasm(code, address))
    if sum(i.size for i in listing) != len(code):
        raise ToolError(f"capstone cannot decode the instructions at {address:#x}: {code.hex()}")
    names = Counter(timing.base(i) for i in listing)
    return _Block(len(listing), sum(timing.cycles(listing)), names, timing.refill(listing[-1]))


def profile(compiled: CompiledModel, vector: host.Bytes, *, core: Core = CORTEX_M4, timeout: float = 600.0) -> Profile:
    """Run one vector (uint8, (input bytes)) in Unicorn, counting every instruction.

    `core` is what the code is compiled for; Unicorn's Cortex-M4 runs that of a Cortex-M3, too.

    Raises ToolError if a tool is missing or the program fails.
    """
    host.check_vectors(compiled, vector[None])
    with tempfile.TemporaryDirectory(prefix="compiled-model-") as name:
        elf = build(compiled, Path(name), core=core)
        program = cortex_m.load(elf)
    return _Run(compiled, program, timeout).profile(vector)


class Machine:
    """An image in Unicorn's Cortex-M4, started and stopped before its application; `what` names it in errors.

    Raises ToolError if Unicorn is missing, or the program fails.
    """

    def __init__(self, program: cortex_m.Program, what: str, deadline: float) -> None:
        try:
            import unicorn
            import unicorn.arm_const as arm
        except ImportError as e:
            raise ToolError("the unicorn package is missing; run: pip install unicorn") from e
        self.program, self.what, self.unicorn, self.arm = program, what, unicorn, arm
        self.blocks: dict[int, _Block] = {}
        self.uc = cortex_m.machine(unicorn, program, [(_FLASH, _MEMORY, True), (_RAM, _MEMORY, False), (*_CORE, False)])
        self.uc.reg_write(arm.UC_ARM_REG_SP, int.from_bytes(self.uc.mem_read(_FLASH, 4), "little"))
        self.back = self.address("app_run")
        self._go(self.address("Reset_Handler"), deadline)

    def address(self, name: str) -> int:
        """Where a function or a variable lies, without the Thumb bit."""
        found = self.program.address(name)
        if found is None:
            raise ToolError(f"the image has no symbol {name}")
        return found

    def _go(self, start: int, deadline: float) -> None:
        try:
            with cortex_m.stopping(self.uc, deadline):
                self.uc.emu_start(start | 1, self.back)
        except self.unicorn.UcError as e:
            pc = self.uc.reg_read(self.arm.UC_ARM_REG_PC)
            raise ToolError(f"fault in the emulator: {e} at {self.program.place(pc)}") from e
        if self.uc.reg_read(self.arm.UC_ARM_REG_PC) & ~1 != self.back:
            raise ToolError(f"{self.what} did not end in time in Unicorn")

    def call(self, name: str, argument: int, deadline: float) -> None:
        """Call a function of one argument; `deadline` is in seconds of time.monotonic()."""
        self.uc.reg_write(self.arm.UC_ARM_REG_R0, argument)
        self.uc.reg_write(self.arm.UC_ARM_REG_LR, self.back | 1)
        self._go(self.address(name), deadline)

    def trace(self, name: str, argument: int, deadline: float) -> list[int]:
        """The same; returns the straight runs that it executed, in order: address << 16 | bytes."""
        runs: list[int] = []
        append = runs.append

        def block(_uc: Any, address: int, size: int, _data: Any) -> None:
            append(address << 16 | size)

        hook = self.uc.hook_add(self.unicorn.UC_HOOK_BLOCK, block)
        self.uc.ctl_flush_tb()
        self.call(name, argument, deadline)
        self.uc.hook_del(hook)
        return runs

    def count(self, name: str, runs: Sequence[int]) -> tuple[Count, list[Count]]:
        """Of what `trace` gave for a function: the whole, and each stretch outside of it, one a call that it made."""
        trace, entry = np.array(runs, np.int64), self.address(name)
        end = entry + self.program.places[name][1]
        address, size = trace >> 16, trace & 0xFFFF
        follows = np.append(address[1:] == (address + size)[:-1], False)
        inside = (address >= entry) & (address < end)
        starts = np.flatnonzero(~inside & np.append(True, inside[:-1]))
        stretch = np.cumsum(np.bincount(starts, minlength=len(trace)))
        stretch[inside] = 0
        keys, index = np.unique(trace, return_inverse=True)
        blocks = [self._decode(int(key)) for key in keys]
        parts = []
        for k in range(int(stretch.max(initial=0)) + 1):
            chosen = stretch == k
            times = np.bincount(index[chosen], minlength=len(keys))
            taken = np.bincount(index[chosen & ~follows], minlength=len(keys))
            parts.append(_sum(blocks, times, taken))
        whole = Counter[str]()
        for part in parts:
            whole.update(part.histogram)
        total = Count(sum(p.instructions for p in parts), sum(p.cycles for p in parts), whole)
        return total, parts[1:]

    def _decode(self, run: int) -> _Block:
        """Decoded once: inferences run the same code."""
        if run not in self.blocks:
            address, size = run >> 16, run & 0xFFFF
            self.blocks[run] = _decode(bytes(self.uc.mem_read(address, size)), address)
        return self.blocks[run]


class _Run:
    """A compiled model in the machine."""

    def __init__(self, compiled: CompiledModel, program: cortex_m.Program, timeout: float) -> None:
        self.compiled, self.deadline = compiled, time.monotonic() + timeout
        self.machine = Machine(program, "the compiled model", self.deadline)

    def profile(self, vector: host.Bytes) -> Profile:
        """Run compiled_model_run() on the vector, from the model's first state."""
        machine, graph, plan = self.machine, self.compiled.graph, self.compiled.plan
        uc, arena = machine.uc, machine.address("arena")
        machine.call("compiled_model_reset", arena, self.deadline)
        at = 0
        for i in graph.inputs:
            size = graph.tensors[i].nbytes
            uc.mem_write(arena + plan.tensors[i], vector[at : at + size].tobytes())
            at += size
        sp = uc.reg_read(machine.arm.UC_ARM_REG_SP)
        paint = 16384
        uc.mem_write(sp - paint, bytes([_PAINT]) * paint)
        trace = machine.trace("compiled_model_run", arena, self.deadline)
        painted = np.frombuffer(bytes(uc.mem_read(sp - paint, paint)), np.uint8)
        used = np.flatnonzero(painted != _PAINT)
        outputs = [bytes(uc.mem_read(arena + plan.tensors[i], graph.tensors[i].nbytes)) for i in graph.outputs]
        total, parts = machine.count("compiled_model_run", trace)
        program = machine.program
        return Profile(
            self._by_layer(parts),
            total,
            paint - int(used[0]) if len(used) else 0,
            np.frombuffer(b"".join(outputs), np.uint8),
            {name: program.places[name][1] for _, name in program.symbols if name in program.places},
        )

    def _by_layer(self, parts: list[Count]) -> tuple[Count | None, ...]:
        calls = [layer for layer in self.compiled.lowered if layer.kernel is not None]
        if len(parts) != len(calls):
            raise ToolError(f"{len(parts)} kernel calls were counted where {len(calls)} are expected")
        it = iter(parts)
        return tuple(next(it) if layer.kernel is not None else None for layer in self.compiled.lowered)


def _sum(blocks: list[_Block], runs: Array, taken: Array) -> Count:
    names = Counter[str]()
    instructions = 0
    cycles = 0
    for block, n, leaves in zip(blocks, runs.tolist(), taken.tolist(), strict=True):
        if n:
            cycles += leaves * block.refill
            instructions += n * block.instructions
            cycles += n * block.cycles
            for name, count in block.names.items():
                names[name] += n * count
    return Count(instructions, cycles, dict(names))
