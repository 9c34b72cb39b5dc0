"""A process that runs one firmware in LabWired: standard input goes to its UART 0, what that sends to standard output.

    python -m convert.emulate.labwired_worker IMAGE CHIP

Ends when standard input is closed. A fault of the emulated core becomes an #error line.
"""

import os
import sys
from typing import Any

# Emulated time between two looks at standard input: 20 to 80 ms of wall time.
_SLICE = "1ms"


def _input() -> bytes | None:
    """What has come on standard input; None where it is closed."""
    try:
        return os.read(0, 65536) or None
    except BlockingIOError:
        return b""


def _output(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _serve(sim: Any) -> None:
    while (received := _input()) is not None:
        if received:
            sim.send_bytes(received)
        fault = ""
        try:
            stop = sim.run_for(_SLICE)
        except RuntimeError as e:
            fault = str(e)
        else:
            if stop.kind != "reached":
                fault = f"the core stopped ({stop.kind})"
        _output(sim.read_uart_bytes())
        if fault:
            _output(f"\n#error fault in the emulator: {fault}\n".encode())
            return


def main() -> int:
    """Run the image until standard input is closed; returns the exit code."""
    image, chip = sys.argv[1:]
    from labwired import Sim

    os.set_blocking(0, False)
    try:
        sim = Sim(image, chip=chip)
    except (OSError, RuntimeError, ValueError) as e:
        sys.stderr.write(f"{e}\n")
        return 1
    with sim:
        try:
            _serve(sim)
        except BrokenPipeError:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
