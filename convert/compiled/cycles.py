"""Estimated cycles of Cortex-M4 code, from executed instructions.

Timings: Arm, "Cortex-M4 Technical Reference Manual" r0p1, 3.3.1 (instruction set summary) and 3.3.2 (load/store
timings). What they leave open is taken so: a division (2 to 12) is 7; IT, which may fold into the instruction before
it, is 1; refilling the pipeline (P, 1 to 3) after a taken branch to an address in the instruction is 1, since Nordic's
delay loop of SUBS and BHI takes 3 cycles on an nRF52 (nrfx, nrfx_coredep.h), and 2 after one to an address in a
register or in memory. Memory answers without wait states, so that a
flash slower than the core, and any cache in front of it, are left out. This is an estimate, not a measurement.
"""

from collections.abc import Sequence
from typing import Any

REFILL = 1
INDIRECT_REFILL = 2
_DIVISION = 7
_ALWAYS = 15  # capstone.arm.ARM_CC_AL
_MULTIPLE = ("ldm", "stm", "push", "pop", "ldrd", "strd", "vldm", "vstm", "vpush", "vpop")


def base(instruction: Any) -> str:
    """The mnemonic without width suffix and condition: `ldrbne.w` is `ldrb`; capstone's object with details."""
    name = str(instruction.mnemonic).split(".")[0]
    conditional = 0 < instruction.cc < _ALWAYS
    return name[:-2] if conditional and len(name) > 2 else name


def _transfers(instruction: Any) -> int:
    """Words that an instruction with a register list moves."""
    name = base(instruction)
    if name in ("ldrd", "strd"):
        return 2
    listed = instruction.op_str.split("{")[-1].split("}")[0]
    total = 0
    for part in listed.split(","):
        first, _, last = part.strip().partition("-")
        total += int(last[1:]) - int(first[1:]) + 1 if last else 1
    return total


def _is_single_load(name: str) -> bool:
    return (name.startswith("ldr") and name != "ldrd") or name in ("vldr",)


def _is_single_store(name: str) -> bool:
    return (name.startswith("str") and name != "strd") or name in ("vstr",)


def cycles(instructions: Sequence[Any]) -> list[int]:
    """Cycles of each instruction (capstone's objects) of a straight run of code; taken branches cost their refill more.

    A load or store that directly follows another one is pipelined with it and costs 1, unless its address comes from
    what the one before it loads.
    """
    result = []
    before: Any = None
    for instruction in instructions:
        result.append(_one(instruction, before))
        before = instruction
    return result


def _one(instruction: Any, before: Any) -> int:
    name = base(instruction)
    if name.startswith(_MULTIPLE):
        return 1 + _transfers(instruction)
    if _is_single_load(name):
        return 1 if _pipelined(instruction, before) else 2
    if _is_single_store(name):
        return 1  # the write buffer takes it
    if name in ("sdiv", "udiv"):
        return _DIVISION
    if name in ("vdiv", "vsqrt"):
        return 14
    if name in ("vmla", "vmls", "vfma", "vfms", "vnmla", "vnmls"):
        return 3
    return 1


def _pipelined(instruction: Any, before: Any) -> bool:
    if before is None:
        return False
    name = base(before)
    if not (_is_single_load(name) or _is_single_store(name)):
        return False
    loaded = before.op_str.split(",")[0].strip() if _is_single_load(name) else ""
    address = instruction.op_str.split("[")[-1].split("]")[0].replace(",", " ").split()
    return loaded not in address


def refill(instruction: Any) -> int:
    """Cycles that refilling the pipeline takes if this instruction, the last of a straight run, branches."""
    name = base(instruction)
    indirect = name in ("bx", "blx", "tbb", "tbh", "pop", "ldm", "ldr", "mov")
    return INDIRECT_REFILL if indirect else REFILL
