"""Build a network for a bare Cortex-M and run it: in QEMU for its scores, a Cortex-M4 in Unicorn for its counts."""

import shutil
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convert import compilers, emit
from convert.binary import source
from convert.binary.host import RUNTIME
from convert.binary.net import Int8, Int32, Net
from convert.compiled import Target
from convert.compiled.device import CORTEX_M4, PORT, PREFIX, QEMU, Core, flags
from convert.compiled.host import KERNELS, call, kernels
from convert.emulate import cortex_m
from convert.errors import ToolError

_CORE = (0xE000E000, 0x1000)  # the core's own registers, plain memory in Unicorn


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
    places = {"flash_origin": core.flash, "flash_size": core.memory, "ram_origin": core.ram, "ram_size": core.memory}
    own = [*options, "-I", str(folder / "src"), "--specs=nano.specs", "-nostartfiles", "-T", str(PORT / "link.ld")]
    own += ["-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments"]
    own += [f"-Wl,--defsym=__{name}={value:#x}" for name, value in places.items()]
    sources = [folder / "src" / "binary_model.c", folder / "src" / "device_main.c", RUNTIME / "inference.c"]
    elf = folder / "binary.elf"
    everything = map(str, [*sources, *sorted(PORT.glob("*.c")), *objects])
    call([f"{PREFIX}gcc", *own, *everything, "-o", str(elf)], f"compiling for {core.cpu[0]}")
    return elf


def run(net: Net, x: Int8, target: Target = "cortex_m4", core: Core = CORTEX_M4, *, timeout: float = 600.0) -> Int32:
    """Scores int32 (n, classes) of samples int8 (n, features), from a machine of QEMU's.

    Raises ToolError if the compiler or QEMU is missing, or the program fails.
    """
    tool = shutil.which(QEMU)
    if tool is None:
        raise ToolError(f"{QEMU} is not on the PATH; on Debian or Ubuntu run: apt-get install qemu-system-arm")
    with tempfile.TemporaryDirectory(prefix="binary-") as name:
        folder = Path(name)
        elf = build(net, folder, target, core)
        (folder / "in").write_bytes(x.tobytes())
        command = [tool, *core.machine, "-display", "none", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as e:
            raise ToolError(f"the binary network did not end within {timeout:g} s in QEMU") from e
        raw = (folder / "out").read_bytes() if (folder / "out").exists() else b""
    if done.returncode or len(raw) != 4 * net.classes * len(x):
        reason = done.stderr.decode(errors="replace")[-4000:]
        raise ToolError(f"the binary network failed with exit code {done.returncode} in QEMU: {reason}")
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
        try:
            import capstone
            import unicorn
            import unicorn.arm_const as arm
        except ImportError as e:
            raise ToolError("the unicorn and capstone packages are missing; run: pip install unicorn capstone") from e
        self.net, self.unicorn, self.arm, self.timeout = net, unicorn, arm, timeout
        self.disassembler = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
        self.sizes: dict[tuple[int, int], int] = {}
        with tempfile.TemporaryDirectory(prefix="binary-") as name:
            self.program = cortex_m.load(build(net, Path(name)))
        memory = [
            (CORTEX_M4.flash, CORTEX_M4.memory, True),
            (CORTEX_M4.ram, CORTEX_M4.memory, False),
            (*_CORE, False),
        ]
        self.uc = cortex_m.machine(unicorn, self.program, memory)
        self.uc.reg_write(arm.UC_ARM_REG_SP, int.from_bytes(self.uc.mem_read(CORTEX_M4.flash, 4), "little"))
        self.back = self._address("app_run")
        self._go(self._address("Reset_Handler"), self.back)

    def _address(self, name: str) -> int:
        found = self.program.address(name)
        if found is None:
            raise ToolError(f"the image has no symbol {name}")
        return found

    def _go(self, start: int, until: int) -> None:
        with cortex_m.stopping(self.uc, time.monotonic() + self.timeout):
            try:
                self.uc.emu_start(start | 1, until)
            except self.unicorn.UcError as e:
                raise ToolError(f"fault in the emulator: {e}") from e
        if self.uc.reg_read(self.arm.UC_ARM_REG_PC) & ~1 != until:
            raise ToolError("the binary network did not end in time in Unicorn")

    def count(self, x: Int8) -> Count:
        """Run one sample int8 (features,)."""
        uc, arm = self.uc, self.arm
        plan, arena = source.arena(self.net, "cortex_m4"), self._address("arena")
        entry = self._address("binary_model_run")
        end = entry + self.program.places["binary_model_run"][1]
        uc.mem_write(arena + plan.places[0], x.tobytes())
        runs: list[Counter[tuple[int, int]]] = [Counter()]
        inside = True

        def block(_uc: Any, address: int, size: int, _data: Any) -> None:
            nonlocal inside
            here = entry <= address < end
            if inside and not here:
                runs.append(Counter())
            inside = here
            runs[0 if here else -1][address, size] += 1

        hook = uc.hook_add(self.unicorn.UC_HOOK_BLOCK, block)
        uc.ctl_flush_tb()
        uc.reg_write(arm.UC_ARM_REG_R0, arena)
        uc.reg_write(arm.UC_ARM_REG_LR, self.back | 1)
        self._go(entry, self.back)
        uc.hook_del(hook)
        counts = [sum(n * self._size(*key) for key, n in part.items()) for part in runs]
        raw = bytes(uc.mem_read(arena + plan.places[-1], 4 * self.net.classes))
        return Count(sum(counts), tuple(counts[1:]), np.frombuffer(raw, "<i4"))

    def _size(self, address: int, size: int) -> int:
        """Instructions of a straight run."""
        key = address, size
        if key not in self.sizes:
            code = bytes(self.uc.mem_read(address, size))
            listing = list(self.disassembler.disasm(code, address))
            if sum(i.size for i in listing) != size:
                raise ToolError(f"capstone cannot decode the instructions at {address:#x}: {code.hex()}")
            self.sizes[key] = len(listing)
        return self.sizes[key]
