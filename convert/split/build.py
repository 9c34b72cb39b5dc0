"""A split build: the firmware's sources, the first weights image, and what later ones must keep to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convert import compiled, compression_report, emit
from convert.boards import Board, Environment, Slots, names
from convert.boards import load as load_board
from convert.cache import atomic_write
from convert.compiled import Optimize, lowering
from convert.compress import Compress
from convert.errors import DoesNotFitError, UsageError, one_of
from convert.graph import Graph
from convert.paths import BOARDS
from convert.project import Image, layers_json, plan_of
from convert.split import ed25519, header, image
from convert.split.model import Plan, SplitModel

WEIGHTS, MANIFEST = "weights.bin", "firmware.json"
FIRST_SEQUENCE = 1
_SCHEMA = 1
# What a slot has room for beyond its first image: retrained weights have the same size, compressed ones may grow.
_SPARE = 0.25


@dataclass(frozen=True)
class Split:
    """What the user asked for."""

    key: Path | None = None  # a file to sign with; None: no signatures
    slot_bytes: int | None = None  # None: computed
    any_weights: bool = False  # portable kernels, which take whatever weights a later model has

    def check(self, compress: Compress) -> None:
        """Raise UsageError for formats that are not for any weights."""
        if self.any_weights and compress.mode != "none":
            raise UsageError(
                f"--any-weights takes whatever weights a later model has, and --compress {compress.mode} those of this "
                "one; leave one of them out"
            )


@dataclass(frozen=True)
class Firmware:
    """What a later weights image must keep to: OUTPUT/firmware.json of a split build."""

    board: str
    optimize: Optimize
    compress: Compress
    slot_bytes: int
    key: bytes | None  # public
    plan: Plan

    def dump(self) -> str:
        """As JSON."""
        values = {
            "schema": _SCHEMA,
            "board": self.board,
            "optimize": self.optimize,
            "compress": [self.compress.mode, self.compress.max_instructions],
            "slot_bytes": self.slot_bytes,
            "key": None if self.key is None else self.key.hex(),
            "graph": self.plan.hash.hex(),
            "plan": self.plan.fixed,
        }
        return json.dumps(values, indent=1) + "\n"


def load(output: Path) -> Firmware:
    """What a split build left in its output folder.

    Raises UsageError where there is none, or one of another version.
    """
    path = output / MANIFEST
    try:
        values = json.loads(path.read_text())
        key = values["key"]
        found = Firmware(
            values["board"],
            values["optimize"],
            Compress(*values["compress"]),
            values["slot_bytes"],
            None if key is None else bytes.fromhex(key),
            Plan(values["plan"]),
        )
        if values["schema"] != _SCHEMA or values["graph"] != found.plan.hash.hex():
            raise ValueError("it is of another version, or was changed by hand")
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UsageError(
            f"{path} does not tell of a firmware whose weights lie apart ({e}); give the output folder of "
            "python convert/build.py --split-weights"
        ) from None
    return found


def check(board: Board, environment: Environment | None, runtime: str) -> None:
    """Raise UsageError, one sentence, unless weights can lie apart in this environment (None: none can be built)."""
    able = [name for name in names(BOARDS) if load_board(name, BOARDS).tinyml.slots is not None]
    written = environment is None or (image.LIBRARY / "ports" / environment.port).is_dir()
    if board.tinyml.slots is None or not written:
        where = f"board {board.id}" if environment is None else f"board {board.id}, environment {environment.name},"
        raise UsageError(
            f"{where} cannot keep weights apart from the firmware; "
            f"--split-weights goes with the bare environments of {one_of(able)}"
        )
    if runtime not in ("compiled", "auto"):
        raise UsageError(f"--split-weights goes with the compiled runtime, not with {runtime}; add --runtime compiled")


def pack(firmware: Firmware, graph: Graph, sequence: int, features: Mapping[str, str], key: Path | None) -> bytes:
    """A weights image for a firmware that is there, from another model of the same graph.

    Kernels are those of the firmware wherever the new weights allow it. `features` are the sources that prepare the
    model's inputs, `key` a file to sign with. Raises UsageError where the model needs new firmware, or the signature
    would not be the firmware's; DoesNotFitError where it is larger than a slot.
    """
    board = load_board(firmware.board, BOARDS)
    secret = None if key is None else header.load_key(key)
    if firmware.key is not None and (secret is None or ed25519.public_key(secret) != firmware.key):
        raise UsageError(
            f"the firmware takes only weights signed with the key whose public half is {firmware.key.hex()[:16]}...; "
            + ("give it with --sign KEYFILE" if secret is None else f"{key} holds another one")
        )
    model = compile_split(board, graph, firmware.optimize, firmware.compress, firmware.plan.kernels)
    machine = image.processor(board)
    plan = model.plan_of(machine.abi, features)
    firmware.plan.require(plan)
    payload = image.payload(model, plan, machine)
    weights = header.make(payload, sequence, bytes.fromhex(graph.sha256), plan.hash, secret)
    if len(weights) > firmware.slot_bytes:
        raise DoesNotFitError(
            f"the weights image has {len(weights):,} B and a slot of the firmware {firmware.slot_bytes:,} B; take "
            "smaller weights, or build the firmware again with a larger --slot-bytes"
        )
    return weights


def features_of(output: Path) -> dict[str, str]:
    """The sources in an output folder that prepare a model's inputs; none where its recipe has no preprocessing."""
    folder = output / "generated" / "features"
    return {path.name: path.read_text() for path in sorted(folder.glob("*"))} if folder.is_dir() else {}


def compile_split(
    board: Board, graph: Graph, optimize: Optimize, compress: Compress, pinned: Mapping[int, str | None] | None = None
) -> SplitModel:
    """Compile a graph for an image of its own; see compiled.compile_model for `pinned`."""
    return SplitModel.of(compiled.compile_model(graph, board.target, optimize, compress, pinned))


def produce(
    board: Board,
    graph: Graph,
    optimize: Optimize,
    compress: Compress,
    features: Mapping[str, str],
    split: Split,
    output: Path,
) -> tuple[Image, dict[str, Any]]:
    """Write OUTPUT/weights.bin and OUTPUT/firmware.json; returns the firmware's sources and build.json's key "split".

    Raises UsageError where the image does not go into the slots, or the key is none.
    """
    assert board.tinyml.slots is not None
    machine = image.processor(board)
    split.check(compress)
    pinned = {layer.op.index: layer.kernel for layer in lowering.lower(graph)} if split.any_weights else None
    model = compile_split(board, graph, optimize, compress, pinned)
    plan = model.plan_of(machine.abi, features)
    secret = None if split.key is None else header.load_key(split.key)
    payload = image.payload(model, plan, machine)
    weights = header.make(payload, FIRST_SEQUENCE, bytes.fromhex(graph.sha256), plan.hash, secret)
    place = Place.of(board, board.tinyml.slots, len(weights), split.slot_bytes)
    key = None if secret is None else ed25519.public_key(secret)
    firmware = Firmware(board.id, optimize, compress, place.slot_bytes, key, plan)
    atomic_write(output / WEIGHTS, weights)
    atomic_write(output / MANIFEST, firmware.dump())
    files = {
        **plan.render(),
        "layers.json": layers_json(model),
        "split_config.h": config(place, plan, key),
        "weights_slots.c": emit.render(
            "split/weights_slots.c.j2", {"words": np.frombuffer(weights, "<u4").astype(np.uint32)}
        ),
    }
    known = {"slots_origin": place.origin, "slot_bytes": place.slot_bytes, "image_bytes": len(weights)}
    stored = compression_report.of(model, compress)
    return Image(files, model.arena_bytes, 2 * place.slot_bytes, plan_of(model), stored), known


@dataclass(frozen=True)
class Place:
    """Two slots of equal size, one after the other, at the end of the flash."""

    origin: int
    slot_bytes: int
    page: int

    @staticmethod
    def of(board: Board, slots: Slots, image_bytes: int, wanted: int | None) -> "Place":
        """Room for an image and a quarter more, or what is wanted; whole pages."""
        least = -(-image_bytes // slots.page) * slots.page
        size = -(-int(image_bytes * (1 + _SPARE)) // slots.page) * slots.page if wanted is None else wanted
        if size % slots.page or size < least:
            raise UsageError(
                f"a slot of {size:,} B is none: the image has {image_bytes:,} B and the flash pages of "
                f"{slots.page:,} B; take --slot-bytes {least} or a larger multiple of the page"
            )
        origin = max(e.flash_origin or 0 for e in board.environments if e.flash_origin is not None)
        return Place(origin + board.upload.maximum_size - 2 * size, size, slots.page)


def config(place: Place, plan: Plan, key: bytes | None) -> str:
    """The firmware's split_config.h."""
    values = {"origin": place.origin, "slot_bytes": place.slot_bytes, "page_bytes": place.page}
    return emit.render("split/split_config.h.j2", {**values, "graph": plan.hash, "key": key})
