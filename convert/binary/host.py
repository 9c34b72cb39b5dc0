"""Build a network's C for this machine and run it: for tests, and to tell it from compiler, port and emulator."""

import tempfile
from pathlib import Path

from convert import emit
from convert.binary import source
from convert.binary.net import Int8, Int32, Net
from convert.compiled.host import KERNELS, SANITIZERS, WARNINGS, call, compiler, kernels, scores
from convert.paths import FIRMWARE

RUNTIME = FIRMWARE / "runtimes" / "binary"


def build(net: Net, folder: Path, *, sanitize: bool = False) -> Path:
    """Build the program that runs the network on samples from standard input; returns its path in `folder`.

    `sanitize` adds the address and undefined-behaviour sanitizers. Raises ToolError where the compiler is missing or
    fails.
    """
    main = emit.render("trees/host_main.c.j2", {})
    emit.write_tree(folder / "src", {**source.render(net, "host", "portable"), "host_main.c": main})
    flags = ["-std=c99", "-O2", *WARNINGS, *(SANITIZERS if sanitize else ()), "-I", str(KERNELS / "include")]
    objects = kernels(compiler(), flags, [KERNELS / "src" / "bits.c"])
    flags += ["-I", str(FIRMWARE / "include"), "-I", str(folder / "src")]
    sources = [folder / "src" / "binary_model.c", folder / "src" / "host_main.c", RUNTIME / "inference.c"]
    program = folder / "binary"
    call(
        [compiler(), *flags, *map(str, [*sources, *objects]), "-o", str(program)],
        "compiling the binary network for this machine",
    )
    return program


def call_program(program: Path, net: Net, x: Int8, timeout: float = 600.0) -> Int32:
    """Scores int32 (n, classes) of samples int8 (n, features) from a program that `build` made."""
    return scores(program, x, net.classes, "the binary network", timeout)


def run(net: Net, x: Int8, *, sanitize: bool = False) -> Int32:
    """Scores int32 (n, classes) of samples int8 (n, features), computed by the C on this machine."""
    with tempfile.TemporaryDirectory(prefix="binary-") as folder:
        return call_program(build(net, Path(folder), sanitize=sanitize), net, x)
