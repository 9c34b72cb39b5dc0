"""QEMU's MPS2 and MPS3 boards, one a Cortex-M core: an385 (M3), an386 (M4F), an500 (M7), an505 (M33), an547 (M55).

The board's build.mcu is the machine. The serial port is CMSDK UART 0. With `-icount shift=0` emulated time advances
1 ns an instruction, so the firmware counts instructions with a timer: a tick of it is 40 of them, 50 on an505 and 31 on
an547; that is the resolution of the figure.
"""

from convert.boards import Board
from convert.emulate import qemu

NAME = "qemu_mps2"
_LEAVING = ("-semihosting-config", "enable=on,target=native")  # how the firmware ends


def _options(board: Board) -> tuple[str, ...]:
    return ("-M", board.build.mcu, *qemu.OPTIONS, *_LEAVING)


_MACHINE = qemu.Machine(NAME, "qemu-system-arm", "qemu-system-arm", _options)
run, connect = _MACHINE.run, _MACHINE.connect
