"""QEMU's xtensa machine "sim" with an LX106 core: semihosting on the console, the instructions of gcc's call0 ABI.

It starts at the first byte of its ROM, 0x50000000, whatever the ELF file's entry is. With `-icount shift=0` emulated
time advances 1 ns an instruction, so the firmware counts them with CCOUNT: a tick is 25, the resolution of the figure.
"""

from convert.emulate import qemu

NAME = "qemu_xtensa"

# With a serial port the semihosting's console would be that, and QEMU loses bytes which come while the firmware reads
# (qemu 7.2: two threads, one buffer, no lock). Without one it is QEMU's own standard input and output.
_CONSOLE = ("-icount", "shift=0", "-display", "none", "-monitor", "none", "-serial", "none", "-semihosting")
_OPTIONS = ("-M", "sim", "-cpu", "lx106", *_CONSOLE)

_MACHINE = qemu.Machine(NAME, "qemu-system-xtensa", "qemu-system-misc", lambda _: _OPTIONS)
run, connect = _MACHINE.run, _MACHINE.connect
