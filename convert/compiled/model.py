"""A compiled model: its layers, its arena and its C source."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from convert import emit
from convert.compiled import memory
from convert.compiled.formats.figures import LayerChoice
from convert.compiled.layer import Array, Constant, Layer, Value
from convert.graph import Graph, Tensor

Target: TypeAlias = Literal["portable", "cortex_m4", "avr"]
Optimize: TypeAlias = Literal["speed", "size"]

_HEADERS = {
    "portable": ["kernels/kernels.h"],
    "cortex_m4": ["kernels/kernels.h", "kernels/cortex_m4.h"],
    "avr": ["kernels/flash.h", "kernels/kernels.h"],
}
# Where constants stay in a flash that pointers to RAM do not reach: see kernels/flash.h.
_FLASH: Mapping[Target, str] = {"avr": "KERNELS_FLASH "}
_C_TYPES = {name: f"{name}_t" for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")}


@dataclass(frozen=True)
class LayerInfo:
    """An operator of the compiled model, for a report; sizes in bytes."""

    op: int
    name: str
    kernel: str | None  # None: no code, the output is the input's memory
    macs: int
    weight_bytes: int  # constants that this layer reads; one that two layers share counts for both
    output_bytes: int
    scratch_bytes: int


@dataclass(frozen=True)
class _Array:
    """A constant as it stands in the source."""

    name: str
    c_type: str
    values: Array
    comment: str
    aligned: bool
    in_ram: bool  # copied there at the start, where kernels cannot read flash like any other input


class _Key(NamedTuple):
    """What two constants must share to be one array."""

    aligned: bool
    in_ram: bool
    dtype: str
    content: bytes


@dataclass(frozen=True)
class CompiledModel:
    """A model as a list of kernel calls with a static memory plan."""

    graph: Graph
    lowered: tuple[Layer, ...]
    plan: memory.ModelPlan
    target: Target = "portable"
    optimize: Optimize = "speed"
    formats: tuple[LayerChoice, ...] = ()  # how weights are stored, of layers that had a choice
    decoder_bytes: int | None = 0  # code of the kernels that decode them; None: not counted
    dense: "CompiledModel | None" = None  # the same with dense weights, where they are stored otherwise

    @property
    def arena_bytes(self) -> int:
        """The arena: variables, activations and scratch."""
        return self.plan.arena_bytes

    @property
    def lower_bound(self) -> int:
        """The largest live set in bytes: no plan in which outputs do not reach into inputs has a smaller arena."""
        return self.plan.lower_bound

    @property
    def weight_bytes(self) -> int:
        """Constants in flash (weights, biases, multipliers, tables), each counted once, without alignment gaps."""
        return sum(a.values.nbytes for a in self._arrays.values())

    @property
    def ram_bytes(self) -> int:
        """Constants that must be copied to RAM, besides the arena: operands, on processors with a separate flash."""
        return sum(a.values.nbytes for a in self._arrays.values() if a.in_ram)

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """What each operator became, in execution order."""
        return tuple(
            LayerInfo(
                layer.op.index,
                layer.op.name,
                layer.kernel,
                layer.macs,
                layer.weight_bytes + sum(t.nbytes for t in self._constant_inputs(layer)),
                sum(self.graph.tensors[i].nbytes for i in layer.outputs),
                layer.scratch_bytes,
            )
            for layer in self.lowered
        )

    @property
    def definitions(self) -> list[str]:
        """C that defines the kernels which are made for their layers' formats."""
        return sorted({layer.definition for layer in self.lowered if layer.definition})

    @property
    def headers(self) -> list[str]:
        """What the generated source includes of the kernel library."""
        return _HEADERS[self.target]

    @property
    def _variables(self) -> list[Tensor]:
        """Tensors that are kept from one run to the next, as far as they are used."""
        return [t for t in self.graph.tensors if t.is_variable and t.index in self.plan.tensors]

    def _resets(self) -> list[dict[str, object]]:
        """What brings each variable to its first value."""
        return [
            {
                "pointer": f"at(arena, {self.plan.tensors[t.index]})",
                "bytes": t.nbytes,
                "array": None if (value := _initial(t)) is None else self._pointer(value),
                "value": t.reset_byte,
            }
            for t in self._variables
        ]

    def _constant_inputs(self, layer: Layer) -> list[Any]:
        return [self.graph.tensors[i] for i in layer.inputs if self.graph.tensors[i].data is not None]

    @cached_property
    def _arrays(self) -> dict[_Key, _Array]:
        """Distinct constants by place, alignment, type and content, in order of first use."""
        arrays: dict[_Key, _Array] = {}

        def keep(constant: Constant, name: str, comment: str) -> None:
            key = self._key(constant)
            if key not in arrays:
                c_type = _C_TYPES[constant.values.dtype.name]
                text = f"{comment}, {constant.layout}"
                arrays[key] = _Array(name, c_type, constant.values, text, key.aligned, key.in_ram)

        for t in self._variables:
            if (value := _initial(t)) is not None:
                keep(value, f"initial{t.index}", f"variable {t.index}")  # not its name, which may end a comment
        for layer in self.lowered:
            for constant in layer.constants:
                of = f"operator {layer.op.index} ({layer.op.name}): {constant.role}"
                keep(constant, f"layer{layer.op.index}_{constant.role}", of)
            for t in self._constant_inputs(layer):
                keep(_operand(t.data), f"tensor{t.index}", f"operator {layer.op.index} ({layer.op.name}): input")
        return arrays

    def _pointer(self, constant: Constant) -> str:
        return self._arrays[self._key(constant)].name

    def _key(self, constant: Constant) -> _Key:
        # Only weights and operands are read in wide words; aligning the rest would waste flash.
        separate = self.target in _FLASH
        aligned = constant.role in ("weights", "operand") and not separate
        in_ram = constant.role == "operand" and separate
        return _Key(aligned, in_ram, constant.values.dtype.name, constant.values.tobytes())

    def _argument(self, tensor: int) -> str:
        data = self.graph.tensors[tensor].data
        return f"at(arena, {self.plan.tensors[tensor]})" if data is None else self._pointer(_operand(data))

    def _fields(self, params: Mapping[str, Value], prefix: str = "") -> list[tuple[str, str]]:
        """Parameters as designators and C expressions."""
        fields: list[tuple[str, str]] = []
        for name, value in params.items():
            path = f"{prefix}.{name}"
            if isinstance(value, Mapping):
                fields.extend(self._fields(value, path))
            elif isinstance(value, Constant):
                fields.append((path, self._pointer(value)))
            elif isinstance(value, tuple):
                fields.append((path, "{" + ", ".join(str(v) for v in value) + "}"))
            elif isinstance(value, float):
                fields.append((path, emit.c_array(np.array([value], np.float32)).strip()))
            else:
                fields.append((path, str(value)))
        return fields

    def _call(self, place: int, layer: Layer) -> str | None:
        """The kernel call's arguments after the parameters."""
        if layer.kernel is None:
            return None
        scratch = self.plan.scratch[place]
        if layer.grouped:
            inputs, outputs = (", ".join(map(self._argument, t)) for t in (layer.inputs, layer.outputs))
            return f"(const void *const[]){{{inputs}}}, (void *const[]){{{outputs}}}"
        arguments = [self._argument(i) for i in layer.inputs]
        arguments += [] if scratch is None else [f"at(arena, {scratch})"]
        arguments += [self._argument(i) for i in layer.outputs]
        return ", ".join(arguments)

    def _slot(self, tensor: int) -> dict[str, object]:
        t = self.graph.tensors[tensor]
        return {"offset": self.plan.tensors[tensor], "bytes": t.nbytes, "text": f"{t.dtype.name}{list(t.shape)}"}

    def render(self) -> dict[str, str]:
        """The C source by file name; the same model gives the same bytes."""
        tensors = self.graph.tensors
        context = {
            "headers": self.headers,
            "flash": _FLASH.get(self.target, ""),
            "sha256": self.graph.sha256,
            "arena_bytes": self.arena_bytes,
            "lower_bound": self.lower_bound,
            "weight_bytes": self.weight_bytes,
            "macs": self.graph.macs,
            "alignment": memory.ARENA_ALIGNMENT,
            "plan_status": self.plan.status,
            "inputs": [self._slot(i) for i in self.graph.inputs],
            "outputs": [self._slot(i) for i in self.graph.outputs],
            "resets": self._resets(),
            "definitions": self.definitions,
            "arrays": list(self._arrays.values()),
            "layers": [
                {
                    "index": layer.op.index,
                    "name": layer.op.name,
                    "kernel": layer.kernel,
                    "params_type": layer.params_type,
                    "fields": self._fields(layer.params),
                    "arguments": self._call(place, layer),
                    "outputs": [
                        {"tensor": i, "pointer": self._argument(i), "bytes": tensors[i].nbytes} for i in layer.outputs
                    ],
                }
                for place, layer in enumerate(self.lowered)
            ],
        }
        names = ("compiled_model.c", "compiled_model.h")
        return {name: emit.render(f"compiled/{name}.j2", context) for name in names}


def _initial(variable: Tensor) -> Constant | None:
    """The first value of a variable that is not one byte throughout."""
    if variable.initial is None:
        return None
    return Constant("initial", np.frombuffer(variable.initial.tobytes(), np.uint8), "raw bytes")


def _operand(values: Array) -> Constant:
    """A constant tensor that a kernel reads like any other input."""
    return Constant("operand", values, "C order")
