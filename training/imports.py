"""Which of this package's files a module depends on, from its import statements: the version of a piece of code."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "training"


def closure(modules: Iterable[str]) -> set[Path]:
    """Source files of modules of this package and of all that they import of it, also inside functions.

    Modules that are imported by a computed name are not found; name them. Raises ValueError for an unknown module.
    """
    files: dict[Path, None] = {}
    waiting = sorted(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path is None:
            raise ValueError(f"there is no module {name}")
        if path not in files:
            files[path] = None
            waiting.extend(n for n in _imported(path) if _file(n) is not None)
            if "." in name:
                waiting.append(name.rpartition(".")[0])  # importing a.b runs a/__init__.py
    return set(files)


def _imported(path: Path) -> Iterator[str]:
    """Names that may be modules of this package; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.split(".")[0] == PACKAGE)


def _file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)
