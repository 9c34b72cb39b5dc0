"""Measure how much flash every kernel takes on every core that a board has, for convert/compiled/code_size.py.

    python benchmarks/kernel_sizes.py [CORE...]

The kernel library is compiled as the bare platform does it, at both levels of optimisation, and linked once a kernel
with nothing else: what the linker keeps is the kernel, what it calls and what it takes from the compiler's libraries.
Run it when kernels changed; without arguments all cores are measured, which takes some minutes.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
BUILDER = ROOT / "firmware" / "pio" / "platforms" / "bare" / "builder"
sys.path[:0] = [str(ROOT), str(BUILDER)]

import architectures  # type: ignore[import-not-found]  # noqa: E402

from convert import boards, compilers  # noqa: E402
from convert.boards import Board  # noqa: E402
from convert.compiled import code_size  # noqa: E402

KERNELS = ROOT / "firmware" / "lib" / "kernels"
PORTS = ROOT / "firmware" / "ports"
# Input sections that end in flash, with size and file; those of size 0 are left out.
_PLACED = re.compile(
    r"^ (\.(?:text|rodata|literal|progmem|data)\S*)\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s+(\S+)$", re.MULTILINE
)
Sizes = dict[str, dict[str, int]]


def cores() -> dict[str, Board]:
    """One board a core that the bare platform builds for."""
    found: dict[str, Board] = {}
    for name in boards.names():
        board = boards.load(name)
        if any(e.platform == "bare" for e in board.environments):
            found.setdefault(code_size.core(board.build.cpu, board.tinyml.architecture), board)
    return found


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{command[0]} failed: {done.stderr.strip()[:400]}")
    return done.stdout


def measure(board: Board, level: str, folder: Path, sources: list[Path] | None = None) -> Sizes:
    """Bytes of every section that a kernel needs, by kernel; `sources` of the library, without: all."""
    section = board.tinyml
    arch: Any = architectures.of(section.architecture, board.build.cpu, section.fpu)
    compiler = compilers.COMPILERS[section.architecture]
    gcc = f"{compiler.prefix}gcc"
    headers = [] if compiler.shared is None else [f"-I{PORTS / compiler.shared}"]
    options = [*arch.cpu, f"-std={arch.standard}", "-ffunction-sections", "-fdata-sections", "-fno-common"]
    objects = []
    for source in sources or sorted(KERNELS.glob("src/**/*.[cS]")):
        out = folder / ("_".join(source.relative_to(KERNELS / "src").parts) + ".o")
        _run(gcc, *options, level, f"-I{KERNELS / 'include'}", *headers, "-c", source, "-o", out)
        objects.append(out)
    return {name: _linked(gcc, arch, name, objects, folder) for name in sorted(_entries(compiler.prefix, objects))}


def _entries(prefix: str, objects: list[Path]) -> Iterator[str]:
    """The kernels: functions that others can call."""
    for line in _run(f"{prefix}nm", "-A", "-g", "--defined-only", *objects).splitlines():
        *_, kind, name = line.split()
        if kind == "T" and name.startswith("kernels_"):
            yield name


def _linked(gcc: str, arch: Any, name: str, objects: list[Path], folder: Path) -> dict[str, int]:
    """What the linker takes for one kernel, by file and section."""
    listing = folder / "linked.map"
    specs = [option for option in arch.link if option.startswith("--specs")]
    # The port brings what a compiler without a C library lacks.
    alone = ["-nostdlib"] if "-nostdlib" in arch.link else []
    only = ["-Wl,--gc-sections", f"-Wl,-e,{name}", f"-Wl,-u,{name}", "-Wl,--unresolved-symbols=ignore-all"]
    command = [gcc, *arch.cpu, *specs, "-nostartfiles", *alone, *only, f"-Wl,-Map,{listing}"]
    _run(*command, "-o", folder / "linked.elf", *objects, "-lgcc")
    text = listing.read_text()
    text = text[text.index("Linker script and memory map") :]
    # A name that is too long for its column stands on a line of its own.
    text = re.sub(r"^( \.\S+)\n\s+", r"\1 ", text, flags=re.MULTILINE)
    return {f"{_file(file)}{place}": int(size, 16) for place, size, file in _PLACED.findall(text) if int(size, 16)}


def _file(path: str) -> str:
    """`add.c.o` as `add`, a library's member as `libgcc.a(_divdi3.o)`."""
    name = Path(path.split("(")[0]).name
    member = path[path.index("(") :] if "(" in path else ""
    return f"{name.removesuffix('.c.o').removesuffix('.S.o')}{member}"


def packed(sizes: Sizes) -> dict[str, Any]:
    """Sections once with their bytes, and each kernel as numbers of sections."""
    sections = sorted({key for found in sizes.values() for key in found})
    number = {key: k for k, key in enumerate(sections)}
    known = {key: size for found in sizes.values() for key, size in found.items()}
    return {
        "sections": {key: known[key] for key in sections},
        "kernels": {name: sorted(number[key] for key in found) for name, found in sizes.items()},
    }


@click.command()
@click.argument("names", nargs=-1, metavar="[CORE]...")
def main(names: tuple[str, ...]) -> None:
    """Measure the kernels' code for cores, by default all, and keep it in convert/compiled/code_sizes.json."""
    known = cores()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise click.UsageError(f"unknown core {unknown[0]!r}; allowed are {', '.join(known)}")
    console = Console()
    kept = json.loads(code_size.FILE.read_text())["cores"] if code_size.FILE.is_file() else {}
    for core in names or tuple(known):
        lacking = compilers.missing(known[core].tinyml.architecture)
        if lacking:
            raise click.ClickException(lacking)
        kept[core] = {}
        for optimize, level in compilers.LEVELS.items():
            with tempfile.TemporaryDirectory() as folder:
                sizes = measure(known[core], level, Path(folder))
            kept[core][optimize] = {"measured": date.today().isoformat(), **packed(sizes)}
            console.print(f"{core} {level}: {len(sizes)} kernels", highlight=False)
    text = json.dumps({"cores": {core: kept[core] for core in sorted(kept)}}, separators=(",", ":"))
    # A line a kernel table, for the sake of differences.
    code_size.FILE.write_text(re.sub(r'("(?:cores|speed|size|sections|kernels)":)', r"\n\1", text) + "\n")


if __name__ == "__main__":
    main()
