"""QEMU's riscv32 machine "virt" with an ESP32-C3's instructions (RV32IMC): 16550 on the console, another memory map.

With `-icount shift=0` minstret counts the instructions exactly and emulated time advances 1 ns an instruction.
"""

from convert.emulate import qemu

NAME = "qemu_virt"
_OPTIONS = ("-M", "virt", "-cpu", "rv32,f=off,d=off,a=off", *qemu.OPTIONS, "-bios", "none")

_MACHINE = qemu.Machine(NAME, "qemu-system-riscv32", "qemu-system-misc", lambda _: _OPTIONS)
run, connect = _MACHINE.run, _MACHINE.connect
