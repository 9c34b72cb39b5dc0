"""Does it fit? Limits of a board against what a firmware needs, before the build and after linking.

Standard library only: PlatformIO's scripts import it too, in whatever Python PlatformIO runs.

RAM holds the arena, the other static data and the stack; flash holds code and weights (and the test vectors that
travel with a firmware). What a model's firmware will need is known for its arena and weights before anything is
compiled; code and other static data are then taken from the board's measured overhead, and from the image itself
once it is linked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Part:
    """One consumer of a memory, in bytes."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Memory:
    """Use of one memory: its budget and who takes what, in bytes."""

    name: str  # "RAM" or "flash"
    budget: int
    parts: tuple[Part, ...]
    advice: str

    @property
    def used(self) -> int:
        """Sum of the parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def fits(self) -> bool:
        """Whether the parts fit into the budget."""
        return self.used <= self.budget

    @property
    def excess(self) -> int:
        """Bytes above the budget; 0 where it fits."""
        return max(0, self.used - self.budget)

    def shortage(self, board: str) -> str:
        """By how much it does not fit, and what takes the most; without a full stop."""
        ranked = sorted(self.parts, key=lambda part: -part.bytes)
        takers = ", ".join(f"{part.name} {part.bytes:,} B" for part in ranked if part.bytes)
        return (
            f"{self.name} of {board} is exceeded by {self.excess:,} B: "
            f"{self.used:,} B needed, {self.budget:,} B there ({takers})"
        )

    def message(self, board: str) -> str:
        """The shortage, and what would help."""
        return f"{self.shortage(board)}. {self.advice}"


def _advice(memory: str, runtime: str) -> str:
    """What helps; the compiled runtime is only worth naming where it is not taken already."""
    ways = {
        "RAM": (
            "a smaller input or fewer channels in the widest layers (the arena is the largest live set of activations)",
            "a board with more RAM",
        ),
        "flash": (
            "a narrower model or one with fewer layers",
            "fewer test vectors (--vectors)",
            "a board with more flash",
        ),
    }[memory]
    compiled: tuple[str, ...] = () if runtime != "tflm" else ("--runtime compiled, which needs no interpreter",)
    *first, last = (*compiled, *ways)
    return f"What helps: {', '.join(first)}, or {last}."


def _environment(board: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = board["tinyml"]
    for kind in ("official", "bare", "twin"):
        environment: Mapping[str, Any] | None = section.get(kind)
        if environment is not None and environment["name"] == name:
            return environment
    raise KeyError(f"no environment {name!r} in the board's JSON")


def _memories(
    board: Mapping[str, Any], build: Mapping[str, Any], environment: str, other_ram: Part, other_flash: Part
) -> tuple[Memory, Memory]:
    """RAM and flash from what the model needs and the two parts that only the image, or an estimate, tells."""
    runtime = build["runtimes"][environment]
    need, limits = build["memory"][runtime], board["upload"]
    ram: tuple[Part, ...] = (
        Part("arena", need["arena"]),
        other_ram,
        Part("stack reserve", board["tinyml"]["stack_reserve"]),
    )
    if decoded := need.get("decompression", 0):
        ram = (ram[0], Part("decoded weights", decoded), *ram[1:])
    flash = (Part("weights", need["weights"]), other_flash, Part("test vectors", build["vector_bytes"]))
    return (
        Memory("RAM", limits["maximum_ram_size"], ram, _advice("RAM", runtime)),
        Memory("flash", limits["maximum_size"], flash, _advice("flash", runtime)),
    )


def estimate(
    board: Mapping[str, Any], build: Mapping[str, Any], environment: str, code: int | None = None
) -> tuple[Memory, Memory]:
    """RAM and flash before anything is compiled, from arena, weights and the board's measured overhead.

    `board` is the board's JSON, `build` the generated build.json; `code` an estimate of the model's code, if any.
    """
    overhead, name = _environment(board, environment)["overhead"], "core and start-up"
    ram, flash = _memories(board, build, environment, Part(name, overhead["ram"]), Part(name, overhead["flash"]))
    # On processors with a separate flash: constants that kernels read like any other input.
    if operands := build["memory"][build["runtimes"][environment]].get("operands", 0):
        ram = replace(ram, parts=(*ram.parts, Part("constant operands", operands)))
    if code is not None:
        flash = replace(flash, parts=(*flash.parts, Part("estimated code", code)))
    return ram, flash


def measure(
    board: Mapping[str, Any], build: Mapping[str, Any], environment: str, flash: int, static_ram: int
) -> tuple[Memory, Memory]:
    """RAM and flash of a linked image: `flash` and `static_ram` (.data + .bss, the arena included) in bytes."""
    need = build["memory"][build["runtimes"][environment]]
    data = Part("other static data", static_ram - need["arena"] - need.get("decompression", 0))
    code = Part("code", flash - need["weights"] - build["vector_bytes"])
    return _memories(board, build, environment, data, code)


def _messages(board: Mapping[str, Any], memories: tuple[Memory, Memory]) -> list[str]:
    return [memory.message(board["name"]) for memory in memories if not memory.fits]


def before_build(board: Mapping[str, Any], build: Mapping[str, Any], environment: str) -> list[str]:
    """Messages of what cannot fit whatever the compiler does; empty where it may."""
    return _messages(board, estimate(board, build, environment))


def after_link(
    board: Mapping[str, Any], build: Mapping[str, Any], environment: str, flash: int, static_ram: int
) -> list[str]:
    """Messages of what the linked image exceeds; empty where it fits."""
    return _messages(board, measure(board, build, environment, flash, static_ram))
