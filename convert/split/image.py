"""A weights image from a model: compiled for its processor, linked for an address of its own, under a header."""

import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path

from convert import compilers, emit
from convert.boards import Board
from convert.compiled import host
from convert.errors import ToolError
from convert.paths import FIRMWARE
from convert.split import header
from convert.split.model import Plan, SplitModel

LIBRARY = FIRMWARE / "lib" / "slots"


@dataclass(frozen=True)
class Processor:
    """Whose layout of structures an image has, and what compiles for it."""

    abi: str
    tool: str  # what the programs' names begin with
    options: tuple[str, ...]


def processor(board: Board) -> Processor:
    """A board's. Raises ToolError where its compiler is missing."""
    architecture = board.tinyml.architecture
    if lacking := compilers.missing(architecture):
        raise ToolError(lacking)
    cpu = (f"-mcpu={board.build.cpu}", "-mthumb") if architecture.startswith("arm") else ()
    return Processor(architecture, compilers.COMPILERS[architecture].prefix, cpu)


def this_machine() -> Processor:
    """The machine that this runs on, for tests."""
    return Processor(platform.machine(), "", ("-fno-pic",))


def payload(model: SplitModel, plan: Plan, machine: Processor) -> bytes:
    """Parameters and constants with offsets from the image's start for pointers; a multiple of 4 bytes.

    The same model gives the same bytes. Raises ToolError where the compiler fails.
    """
    with tempfile.TemporaryDirectory(prefix="weights-") as name:
        folder = Path(name)
        emit.write_tree(folder, {**plan.render(), "compiled_weights.c": model.render_weights()})
        options = ["-std=c99", "-Os", *machine.options, *host.WARNINGS, "-fno-asynchronous-unwind-tables"]
        include = ["-I", str(host.KERNELS / "include"), "-I", name]
        source, linked = folder / "compiled_weights.o", folder / "weights.elf"
        script = [f"--defsym=__weights_offset={header.BYTES}", "-T", str(LIBRARY / "weights.ld"), "-e", "0"]
        binary = folder / "weights.raw"
        compiler = f"{machine.tool}gcc" if machine.tool else host.compiler()
        host.call(
            [compiler, *options, *include, "-c", str(folder / "compiled_weights.c"), "-o", str(source)],
            "compiling the weights",
        )
        host.call([f"{machine.tool}ld", *script, str(source), "-o", str(linked)], "linking the weights")
        host.call([f"{machine.tool}objcopy", "-O", "binary", str(linked), str(binary)], "writing the weights")
        return binary.read_bytes()
