"""Resource variables of a .tflite: what VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE and CALL_ONCE say of them.

A variable has no tensor in the file; here it gets one, so that the stages behind the graph see memory that lives
throughout. It starts as in TFLite Micro (micro_resource_variable.cc): with the constant that the subgraph of a
CALL_ONCE assigns, otherwise with every byte equal to the low byte of the first assigned tensor's zero point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from convert.errors import UsageError

if TYPE_CHECKING:
    from convert.graph import Operator, Tensor

_CONTROL_FLOW = ("IF", "WHILE")
INITIALISATION = ("ASSIGN_VARIABLE", "VAR_HANDLE")  # operators that an initialisation may use
_INPUTS = {"VAR_HANDLE": 0, "READ_VARIABLE": 1, "ASSIGN_VARIABLE": 2, "CALL_ONCE": 0}
_OUTPUTS = {"VAR_HANDLE": 1, "READ_VARIABLE": 1, "ASSIGN_VARIABLE": 0, "CALL_ONCE": 0}


class Part(NamedTuple):
    """A subgraph."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]


def check_subgraphs(main: Part, count: int) -> None:
    """Raise UsageError unless each of the subgraphs 1 to `count` - 1 is named by a CALL_ONCE of the first."""
    for op in main.operators:
        if op.name in _CONTROL_FLOW:
            raise UsageError(
                f"operator {op.index} is {op.name}, and control flow is not supported; convert the model without "
                "tf.cond and tf.while_loop. A Keras LSTM converts to one operator if the batch size is fixed to 1; "
                "other recurrent layers need unroll=True"
            )
    named = {_initialiser(op, count) for op in main.operators if op.name == "CALL_ONCE"}
    unnamed = [i for i in range(1, count) if i not in named]
    if unnamed:
        raise UsageError(
            f"the model has {count} subgraphs and nothing runs subgraph {unnamed[0]}: a model has 1, and those that "
            "CALL_ONCE names; convert it without control flow (tf.cond, tf.while_loop), one signature at a time"
        )


def _initialiser(op: Operator, count: int) -> int:
    index = int(op.options.get("initSubgraphIndex", -1))
    if not 1 <= index < count:
        raise UsageError(f"damaged TFLite model: operator {op.index} (CALL_ONCE) names subgraph {index} of {count}")
    return index


def find(parts: Sequence[Part]) -> tuple[list[Tensor], Mapping[int, int]]:
    """The model's variables as tensors numbered on from the first part's, and which one each of its handles means.

    `parts` are the main subgraph and those that initialise. Raises UsageError for variables that are used in a way
    that TFLite Micro does not run, or before they have a value.
    """
    keys: list[str] = []  # in the order in which TFLite Micro meets them
    handles = [_handles(part, number, keys) for number, part in enumerate(parts)]
    kinds: dict[str, Tensor] = {}
    for part, named in zip(parts, handles, strict=True):
        for op in part.operators:
            if op.name == "ASSIGN_VARIABLE":
                value = part.tensors[op.inputs[1]]
                known = kinds.setdefault(named[op.inputs[0]], value)
                _same(op, named[op.inputs[0]], known, value)
    initial = {}
    for part, named in zip(parts[1:], handles[1:], strict=True):
        for op in part.operators:
            if op.name == "ASSIGN_VARIABLE":
                initial[named[op.inputs[0]]] = _constant(part, op)
    _check_order(parts, handles)
    found = []
    for number, key in enumerate(keys):
        if key not in kinds:
            raise UsageError(f"variable {key!r} is never assigned; assign it or remove it from the model")
        kind = kinds[key]
        zero_point = 0 if kind.quantization is None else int(kind.quantization.zero_points[0])
        first = initial.get(key)
        if first is None and kind.dtype != np.int8 and zero_point & 255:
            first = np.frombuffer(bytes([zero_point & 255]) * kind.nbytes, kind.dtype).reshape(kind.shape)
        index = len(parts[0].tensors) + number
        found.append(replace(kind, index=index, name=key, data=None, is_variable=True, initial=first))
    numbers = {key: t.index for key, t in zip(keys, found, strict=True)}
    return found, {handle: numbers[key] for handle, key in handles[0].items()}


def _handles(part: Part, number: int, keys: list[str]) -> dict[int, str]:
    """The variable's name for each handle of a part; checks how handles are used. New names are added to `keys`."""
    named: dict[int, str] = {}
    for op in part.operators:
        if op.name in _INPUTS and (len(op.inputs), len(op.outputs)) != (_INPUTS[op.name], _OUTPUTS[op.name]):
            raise UsageError(
                f"damaged TFLite model: operator {op.index} ({op.name}) has {len(op.inputs)} inputs and "
                f"{len(op.outputs)} outputs"
            )
        if number > 0 and op.name not in INITIALISATION:
            raise UsageError(
                f"operator {op.index} ({op.name}) of subgraph {number}: an initialisation assigns constants to "
                "variables and nothing else; give variables constant initial values"
            )
        handle = op.inputs[0] if op.name in ("READ_VARIABLE", "ASSIGN_VARIABLE") else -1
        for i in (*op.inputs, *op.outputs):
            wanted = i == handle or op.name == "VAR_HANDLE"
            if (i < 0 and op.name in _INPUTS) or (i >= 0 and part.tensors[i].is_resource != wanted):
                raise UsageError(
                    f"damaged TFLite model: operator {op.index} ({op.name}) uses tensor {i} where a "
                    f"{'variable' if wanted else 'value'} is expected"
                )
        if op.name == "VAR_HANDLE":
            key = _key(op)
            named[op.outputs[0]] = key
            if key not in keys:
                keys.append(key)
        elif handle >= 0 and handle not in named:
            raise UsageError(
                f"damaged TFLite model: operator {op.index} ({op.name}) reads tensor {handle}, which no VAR_HANDLE "
                "before it writes"
            )
    return named


def _key(op: Operator) -> str:
    # TFLite Micro takes a missing container for any container; the converter leaves them all empty.
    name = op.options.get("sharedName")
    if name is None or op.options.get("container"):
        raise UsageError(
            f"operator {op.index} (VAR_HANDLE) has {'no name' if name is None else 'a container'}; convert the model "
            "again with tf.lite.TFLiteConverter"
        )
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _same(op: Operator, key: str, known: Tensor, value: Tensor) -> None:
    if (known.dtype, known.shape) != (value.dtype, value.shape):
        raise UsageError(
            f"operator {op.index} ({op.name}): variable {key!r} is {known.dtype.name} {list(known.shape)} and here "
            f"{value.dtype.name} {list(value.shape)}; a variable keeps one type and shape"
        )


def _constant(part: Part, op: Operator) -> np.ndarray:
    value = part.tensors[op.inputs[1]]
    if value.data is None:
        raise UsageError(
            f"operator {op.index} (ASSIGN_VARIABLE) initialises a variable with tensor {value.index}, "
            "which is not constant; give variables constant initial values"
        )
    return value.data


def _check_order(parts: Sequence[Part], handles: Sequence[Mapping[int, str]]) -> None:
    """What the main part reads is assigned somewhere and has the variable's size; nothing is used before CALL_ONCE."""
    main, named = parts[0], handles[0]
    kinds = {
        names[op.inputs[0]]: part.tensors[op.inputs[1]]
        for part, names in zip(parts, handles, strict=True)
        for op in part.operators
        if op.name == "ASSIGN_VARIABLE"
    }
    used: set[str] = set()
    for op in main.operators:
        if op.name == "CALL_ONCE":
            initialised = set(handles[_initialiser(op, len(parts))].values())
            if used & initialised:
                raise UsageError(
                    f"operator {op.index} (CALL_ONCE) initialises variable {min(used & initialised)!r} after its first "
                    "use; convert the model again"
                )
        elif op.name in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
            used.add(named[op.inputs[0]])
        if op.name == "READ_VARIABLE" and named[op.inputs[0]] in kinds:
            _same(op, named[op.inputs[0]], kinds[named[op.inputs[0]]], main.tensors[op.outputs[0]])
