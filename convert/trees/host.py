"""Build a tree's C for this machine and run it: for tests, and to tell the model from compiler, port and emulator."""

import tempfile
from pathlib import Path

from convert import emit
from convert.compiled.host import KERNELS, SANITIZERS, WARNINGS, call, compiler, scores
from convert.paths import FIRMWARE
from convert.trees import source
from convert.trees.coding import Int8
from convert.trees.container import Model
from convert.trees.reference import Int32

RUNTIME = FIRMWARE / "runtimes" / "tree"


def build(tree: Model, folder: Path, *, sanitize: bool = False, tool: str | None = None) -> Path:
    """Build the program that runs the tree on samples from standard input; returns its path in `folder`.

    `sanitize` adds the address and undefined-behaviour sanitizers. Raises ToolError where the compiler is missing or
    fails.
    """
    main = emit.render("trees/host_main.c.j2", {})
    emit.write_tree(folder / "src", {**source.render(tree, "host"), "host_main.c": main})
    flags = ["-std=c99", "-O2", *WARNINGS, *(SANITIZERS if sanitize else ())]
    flags += [f"-I{path}" for path in (KERNELS / "include", FIRMWARE / "include", folder / "src")]
    sources = [folder / "src" / "tree_model.c", folder / "src" / "host_main.c", RUNTIME / "inference.c"]
    program = folder / "tree"
    call([tool or compiler(), *flags, *map(str, sources), "-o", str(program)], "compiling the tree for this machine")
    return program


def call_program(program: Path, tree: Model, x: Int8, timeout: float = 60.0) -> Int32:
    """Scores int32 (n, classes) of samples int8 (n, features) from a program that `build` made."""
    return scores(program, x, tree.classes, "the tree", timeout)


def run(tree: Model, x: Int8, *, sanitize: bool = False) -> Int32:
    """Scores int32 (n, classes) of samples int8 (n, features), computed by the C on this machine."""
    with tempfile.TemporaryDirectory(prefix="tree-") as folder:
        return call_program(build(tree, Path(folder), sanitize=sanitize), tree, x)
