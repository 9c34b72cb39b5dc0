"""A compiled model in two parts: what the firmware fixes, and what a weights image brings.

The firmware's part is written from a `Plan` alone, and the graph hash is that of the plan: two models with the same
hash have the same firmware, byte for byte. Parameters (multipliers, shifts, zero points, sizes) and constants are the
image's, with offsets from the image's start in place of pointers, so that one file serves either slot.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convert import emit
from convert.cache import digest
from convert.compiled import memory
from convert.compiled.layer import Constant, Layer, Value
from convert.compiled.model import CompiledModel
from convert.errors import UsageError
from convert.paths import FIRMWARE
from convert.split import header

# Of what the generated code of both parts agrees on beside the plan; to be raised when a template changes it.
_AGREEMENT = 1

Json = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a firmware fixes, as JSON: kernels, their order, types of parameters, places in the arena."""

    fixed: Json

    @property
    def hash(self) -> bytes:
        """The graph hash: 32 bytes."""
        return hashlib.sha256(json.dumps(self.fixed, sort_keys=True).encode()).digest()

    def render(self) -> dict[str, str]:
        """The firmware's C by file name."""
        names = ("compiled_model.c", "compiled_model.h", "compiled_weights.h")
        return {name: emit.render(f"split/{name}.j2", {**self.fixed, "offset": header.BYTES}) for name in names}

    @property
    def kernels(self) -> dict[int, str | None]:
        """The kernel of each operator."""
        return {layer["index"]: layer["kernel"] for layer in self.fixed["layers"]}

    def require(self, new: "Plan") -> None:
        """Raise UsageError, naming the first difference, unless a model with the plan `new` runs in this firmware."""
        if self.hash != new.hash:
            raise UsageError(
                f"this model needs new firmware: {_difference(self.fixed, new.fixed)}; build it with: "
                "python convert/build.py --split-weights"
            )


class SplitModel(CompiledModel):
    """A compiled model whose constants and parameters go into an image of their own."""

    @classmethod
    def of(cls, model: CompiledModel) -> "SplitModel":
        """The same model. Raises UsageError for a target whose flash pointers do not reach."""
        if model.target == "avr":
            raise UsageError(
                "weights apart from the firmware need flash that is read like RAM, which an AVR has not; "
                "leave --split-weights out"
            )
        return cls(**{f.name: getattr(model, f.name) for f in dataclasses.fields(model)})

    def plan_of(self, abi: str, features: Mapping[str, str]) -> Plan:
        """What the firmware fixes; `abi` names the architecture, `features` the sources that prepare its inputs."""
        # The recording is data, and comments name the model.
        sources = sorted((n, without_comments(text)) for n, text in features.items() if not n.startswith("recording"))
        prepared = hashlib.sha256(json.dumps(sources).encode()).hexdigest() if sources else None
        return Plan(
            {
                "agreement": _AGREEMENT,
                "abi": abi,
                "target": self.target,
                "headers": self.headers,
                "definitions": self.definitions,
                "library": _library(),
                "features": prepared,
                "arena_bytes": self.arena_bytes,
                "alignment": memory.ARENA_ALIGNMENT,
                "inputs": [self._slot(i) for i in self.graph.inputs],
                "outputs": [self._slot(i) for i in self.graph.outputs],
                "resets": self._resets(),
                "apart": sorted(self._apart()),
                "layers": [self._fixed(place, layer) for place, layer in enumerate(self.lowered)],
            }
        )

    def render_weights(self) -> str:
        """The C of the payload; the same model gives the same bytes."""
        context = {
            "alignment": memory.ARENA_ALIGNMENT,
            "arrays": list(self._arrays.values()),
            "layers": [
                {"index": layer.op.index, "name": layer.op.name, "fields": self._fields(layer.params)}
                for layer in self.lowered
                if layer.kernel
            ],
            "apart": sorted(self._apart().items()),
        }
        return emit.render("split/compiled_weights.c.j2", context)

    def _apart(self) -> dict[str, str]:
        """Arrays that no parameters point to (operands, first values of variables): the pointer's name, the array's."""
        operands = {t.index for layer in self.lowered for t in self._constant_inputs(layer)}
        found = {f"tensor{i}": super(SplitModel, self)._argument(i) for i in operands}
        firsts = {f"initial{t.index}": super(SplitModel, self)._resets()[k] for k, t in enumerate(self._variables)}
        return found | {name: str(first["array"]) for name, first in firsts.items() if first["array"] is not None}

    def _argument(self, tensor: int) -> str:
        apart = self.graph.tensors[tensor].data is not None
        return f"constant(params()->tensor{tensor})" if apart else super()._argument(tensor)

    def _resets(self) -> list[dict[str, object]]:
        return [
            {**reset, "array": None if reset["array"] is None else f"constant(params()->initial{t.index})"}
            for t, reset in zip(self._variables, super()._resets(), strict=True)
        ]

    def _fixed(self, place: int, layer: Layer) -> Json:
        pointers = _pointers(layer.params)
        return {
            "index": layer.op.index,
            "name": layer.op.name,
            "kernel": layer.kernel,
            "params_type": layer.params_type,
            "fields": [path for path, _ in self._fields(layer.params)],
            "pointers": {path: [c.role, c.values.dtype.name, c.layout] for path, c in pointers.items()},
            "arguments": self._call(place, layer),
            "outputs": [
                {"tensor": i, "pointer": self._argument(i), "bytes": self.graph.tensors[i].nbytes}
                for i in layer.outputs
            ],
        }


def without_comments(source: str) -> str:
    """C without comments, and without spaces that mean nothing."""
    return " ".join(re.sub(r"/\*.*?\*/|//[^\n]*", " ", source, flags=re.DOTALL).split())


def _library() -> str:
    """Hash of the kernel library's headers, whose structures firmware and image share; comments may change."""
    folder = FIRMWARE / "lib" / "kernels" / "include"
    headers = sorted(folder.rglob("*.h"), key=lambda path: path.relative_to(folder).as_posix())
    return digest(*(part for h in headers for part in (h.name, without_comments(h.read_text()))))


def _pointers(params: Mapping[str, Value], prefix: str = "") -> dict[str, Constant]:
    """The parameters that point to constants, by designator."""
    found: dict[str, Constant] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            found |= _pointers(value, f"{prefix}.{name}")
        elif isinstance(value, Constant):
            found[f"{prefix}.{name}"] = value
    return found


def _difference(old: Json, new: Json) -> str:
    """The first thing that differs, as part of a sentence."""
    for key, text in _WHOLE.items():
        if old[key] != new[key]:
            return text.format(old=old[key], new=new[key])
    if len(old["layers"]) != len(new["layers"]):
        return f"it has {len(new['layers'])} operators and the firmware {len(old['layers'])}"
    for before, after in zip(old["layers"], new["layers"], strict=True):
        if before != after:
            return f"operator {after['index']} ({after['name']}) {_layer_difference(before, after)}"
    for key in ("inputs", "outputs"):
        if old[key] != new[key]:
            return f"its {key} are {_slots(new[key])} and the firmware's {_slots(old[key])}"
    sizes = f"{new['arena_bytes']:,} B and the firmware's {old['arena_bytes']:,} B"
    return f"its arena takes {sizes}, or is laid out otherwise"


_WHOLE = {
    "agreement": "the firmware is of another version of this project",
    "abi": "it is compiled for {new} and the firmware for {old}",
    "target": "it takes the kernels of {new} and the firmware those of {old}",
    "library": "the firmware was built with another version of the kernel library",
    "features": "its inputs are prepared in another way than the firmware does (a .tflite alone does not say how: give "
    "the build's output folder)",
}


def _layer_difference(before: Json, after: Json) -> str:
    if (before["index"], before["name"]) != (after["index"], after["name"]):
        return f"stands where the firmware has operator {before['index']} ({before['name']})"
    if before["kernel"] != after["kernel"]:
        return f"takes the kernel {after['kernel']} and the firmware calls {before['kernel']}"
    for path, kept in after["pointers"].items():
        if before["pointers"].get(path) != kept:
            return f"keeps its {kept[0]} in another way ({kept[2]})"
    if (before["params_type"], before["fields"]) != (after["params_type"], after["fields"]):
        return "has other parameters"
    return "has its tensors in other places of the arena"


def _slots(slots: list[Json]) -> str:
    return ", ".join(f"{s['text']} at {s['offset']}" for s in slots)
