"""Atomic outputs and a content-addressed cache of finished stages.

A stage's result is a folder that appears under its final name only when it is whole: it is written beside it
and renamed. An interrupted run therefore leaves either a whole entry or none.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType

from convert.paths import ROOT


def default_root() -> Path:
    """The cache's folder: $TINYML_CACHE, or .cache in the project."""
    return Path(os.environ.get("TINYML_CACHE") or ROOT / ".cache")


def digest(*parts: object) -> str:
    """SHA-256 (hex) over bytes and JSON-able values, each framed by its length so that no two lists collide."""
    h = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        h.update(len(raw).to_bytes(8, "little"))
        h.update(raw)
    return h.hexdigest()


def digest_files(paths: Iterable[Path], root: Path = ROOT) -> str:
    """SHA-256 (hex) over files' names, relative to `root`, and contents: the version of a piece of code."""
    files = sorted((p.resolve().relative_to(root).as_posix(), p.read_bytes()) for p in paths)
    return digest(*(item for pair in files for item in pair))


def code_version(package: str, *modules: ModuleType) -> str:
    """Key of the code that makes a result: a package's version and the sources of our modules around it."""
    return digest(metadata.version(package), digest_files(Path(str(module.__file__)) for module in modules))


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file so that it is seen whole or not at all; a file with the same bytes is left untouched."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
        # mkstemp makes the file private; outputs are ordinary files.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


_STALE_SECONDS = 24 * 3600.0


def _sweep(folder: Path) -> None:
    """Remove what killed runs left: work folders that nobody has touched for a day."""
    for path in folder.glob(".*"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


class Cache:
    """Finished stages by name and key, each a folder."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def entry(self, stage: str, key: str) -> Path | None:
        """The folder of a finished stage, or None."""
        path = self.root / stage / key
        return path if path.is_dir() else None

    def get(self, stage: str, key: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
        """Return (folder, was cached) of a stage; `make(folder)` fills a new one.

        Whatever `make` raises leaves no entry behind. Two runs that make the same entry both succeed; the first
        one's stays.
        """
        if (found := self.entry(stage, key)) is not None:
            return found, True
        final = self.root / stage / key
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep(final.parent)
        work = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{key[:12]}."))
        try:
            make(work)
            try:
                work.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return final, False
