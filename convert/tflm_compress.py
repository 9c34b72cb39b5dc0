"""Weights as TFLite Micro's own compressed tensors: look-up tables and bitmaps, behind its operator TFLM_DECODE.

The format is that of the decoder in TFLite Micro (tensorflow/lite/micro/kernels/decode.cc, decode_state_lut.cc and
decode_state_prune.cc, upstream 90b983c, and the notes in micro/compression/decode.py), which has an encoder for look-up
tables only. In front of each layer that reads compressed weights stands one custom operator TFLM_DECODE. For each
tensor it has two inputs and one output:

- the encoded tensor, a constant of bytes: a number of 1 to 7 bits for each weight (1 bit in a bitmap), in the weights'
  own order, the most significant bit first, without gaps;
- the ancillary tensor, a constant of bytes: 16 bytes of header, then values. Header: byte 0 is the type (0 look-up
  table, 2 bitmap), byte 1 the version 1, byte 4 the type's version 1, all others 0; of a look-up table byte 5 is the
  number of bits, with the axis of the channels in the upper half (15: one table), and byte 6 the stride;
- the decoded tensor, with the weights' type, shape and quantisation, which the layer then reads.

codebook (look-up table): the numbers index a table of values. Of a tensor that is quantised per channel each channel
has a table of its own, `stride` values behind the one before; stride 0 makes it one table for all. The decoder of
90b983c takes the channels from the decoded tensor's own quantisation and does not look at the header's axis, which the
notes of October 2026 have: a table per channel for weights quantised per tensor, or the other way round, would decode
without an error to other values. What is written here is the same in both readings.

bitmap (pruning): a 1 stands for the next of the values, a 0 for the zero point (of the weight's channel).

Decoded weights lie in the arena, for the time of their layer; or in an alternate memory of `decompression_bytes`, one
layer's after the other, which the interpreter is given (MicroInterpreter::SetDecompressionMemory) before it allocates.
"""

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from convert import golden, graph, tflm, vectors
from convert.boards import Board
from convert.compress import NONE, Compress
from convert.errors import OutputsDifferError, UsageError
from convert.golden import DECODE, ArenaUse
from convert.graph import Graph, Tensor
from convert.tflm_arena import TflmArena, plan_arena

CODEBOOK, BITMAP, PLAIN = "codebook", "bitmap", "none"

_TYPES = {CODEBOOK: 0, BITMAP: 2}
_HEADER_BYTES = 16
_VERSION = 1
_MOST_BITS = 7
_ONE_TABLE = 15  # in the place of an axis
_ALIGNMENT = 16  # of every buffer in the file: the decoder reads numbers of 4 bits by 64-bit words

# Layers whose kernels, in TFLite Micro's reference and in CMSIS-NN, do not read the weights before the first inference;
# those of SVDF and LSTM do, and ask for constants.
_LAYERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
_WEIGHTS = 1  # their position among the inputs


@dataclass(frozen=True)
class Stored:
    """What became of a layer's weights."""

    tensor: int  # index in the graph
    name: str
    scheme: str  # "codebook", "bitmap", or "none" where the file would grow
    before: int  # bytes of the values as they were
    after: int  # bytes that stand for them now: encoded and ancillary tensor


@dataclass(frozen=True)
class Compressed:
    """A model with compressed weights; `data` is a .tflite file that TFLite Micro alone can run.

    Tensors keep their indices; what is new stands behind them. `tensors` are the int8 weights of convolutions and
    dense layers; `decompression_bytes` is what the layer with the largest compressed weights needs beside the arena.
    """

    data: bytes
    tensors: tuple[Stored, ...]
    decompression_bytes: int

    @cached_property
    def graph(self) -> Graph:
        """The file's graph."""
        return graph.load(self.data)


@dataclass(frozen=True)
class Encoding:
    """The two constants that stand for a tensor."""

    scheme: str
    encoded: bytes
    ancillary: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return len(self.encoded) + len(self.ancillary)

    @property
    def bits(self) -> int:
        """Bits of each number of a look-up table; 0 of a bitmap."""
        return self.ancillary[5] & _MOST_BITS

    @property
    def cost(self) -> int:
        """Bytes of both with their alignment."""
        return _aligned(len(self.encoded)) + _aligned(len(self.ancillary))


# Encoders


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _header(scheme: str, table: Sequence[int] = ()) -> bytes:
    header = bytes([_TYPES[scheme], _VERSION, 0, 0, _VERSION, *table])
    return header.ljust(_HEADER_BYTES, b"\0")


def _table_header(bits: int, axis: int, stride: int) -> bytes:
    return _header(CODEBOOK, (axis << 4 | bits, stride))


def _packed(numbers: npt.NDArray[Any], bits: int) -> bytes:
    """Numbers of `bits` bits each, one behind the other, the most significant bit first."""
    wide = numbers.reshape(-1, 1).astype(np.uint8)
    return np.packbits((wide >> np.arange(bits - 1, -1, -1, dtype=np.uint8)) & 1).tobytes()


def _table_bits(entries: int) -> int:
    return max(1, (entries - 1).bit_length())


def _one_table(values: npt.NDArray[np.int8], axis: int | None) -> Encoding | None:
    """One table, for all channels; None where there are more values than numbers."""
    table, numbers = np.unique(values, return_inverse=True)
    bits = _table_bits(len(table))
    if bits > _MOST_BITS:
        return None
    stride = len(table) if axis is None else 0
    return Encoding(CODEBOOK, _packed(numbers, bits), _table_header(bits, _ONE_TABLE, stride) + table.tobytes())


def _table_per_channel(values: npt.NDArray[np.int8], axis: int) -> Encoding | None:
    """A table for each slice along `axis`; None where a slice has more values than there are numbers."""
    channels = np.moveaxis(values, axis, 0)
    numbers = np.empty(channels.shape, np.uint8)
    tables = []
    for k, channel in enumerate(channels):
        table, found = np.unique(channel, return_inverse=True)
        if _table_bits(len(table)) > _MOST_BITS:
            return None
        numbers[k] = found.reshape(channel.shape)
        tables.append(table)
    stride = max(map(len, tables))
    bits = _table_bits(stride)
    values_ = b"".join(np.pad(table, (0, stride - len(table))).tobytes() for table in tables)
    ancillary = _table_header(bits, axis, stride) + values_
    return Encoding(CODEBOOK, _packed(np.moveaxis(numbers, 0, axis), bits), ancillary)


def codebook(values: npt.NDArray[np.int8], axis: int | None) -> Encoding | None:
    """Look-up tables for weights that are quantised along `axis` (None: per tensor), the smaller form that they allow.

    None where a table would have more than 128 entries.
    """
    forms = [_one_table(values, axis), None if axis is None else _table_per_channel(values, axis)]
    return min((form for form in forms if form is not None), key=lambda form: form.cost, default=None)


def bitmap(values: npt.NDArray[np.int8], zero_points: npt.NDArray[Any]) -> Encoding:
    """A bit for each weight and the values that are not the zero point; `zero_points` broadcasts to the weights."""
    kept = values != zero_points
    return Encoding(BITMAP, np.packbits(kept).tobytes(), _header(BITMAP) + values[kept].tobytes())


def _as_codebook(tensor: Tensor) -> Encoding | None:
    assert tensor.data is not None and tensor.quantization is not None
    return codebook(tensor.data, tensor.quantization.axis)


def _as_bitmap(tensor: Tensor) -> Encoding | None:
    assert tensor.data is not None and tensor.quantization is not None
    q = tensor.quantization
    along = [1] * tensor.data.ndim
    if q.axis is not None:
        along[q.axis] = -1
    return bitmap(tensor.data, q.zero_points.reshape(along))


_ENCODERS = MappingProxyType({CODEBOOK: _as_codebook, BITMAP: _as_bitmap})

# Bytes of the decoders' code: the operator, and each form. 2026-11-23, linked firmware for Cortex-M4 (upstream 90b983c,
# GCC 12.2.1) grows by 3,072 B with bitmaps alone and by 6,336 B with codebooks alone, of which the forms' own
# objects take 1,268 and 4,586 B. Other processors were not measured.
_OPERATOR_CODE = 1_780
_DECODER_CODE = MappingProxyType({CODEBOOK: 4_570, BITMAP: 1_280})


@dataclass(frozen=True)
class _Mode:
    """A way to store weights: the sets of forms to choose from, and the code that counts when choosing."""

    forms: tuple[tuple[str, ...], ...]
    operator_code: int
    decoder_code: Mapping[str, int]

    def flash(self, data: bytes, found: Mapping[int, "Encoding"]) -> int:
        """Bytes of a file with these encodings, and of the code that counts."""
        used = {form.scheme for form in found.values()}
        code = self.operator_code if used else 0
        return len(data) + code + sum(self.decoder_code.get(name, 0) for name in used)


_MODES = MappingProxyType(
    {
        "auto": _Mode(((CODEBOOK, BITMAP), (CODEBOOK,), (BITMAP,)), _OPERATOR_CODE, _DECODER_CODE),
        CODEBOOK: _Mode(((CODEBOOK,),), 0, {}),
        BITMAP: _Mode(((BITMAP,),), 0, {}),
    }
)


# Which tensors, and which form


def check_mode(mode: str) -> None:
    """Raise UsageError for a way to store weights that TFLite Micro has no decoder for."""
    if mode != PLAIN and mode not in _MODES:
        raise UsageError(
            f"--compress {mode}: TFLite Micro has no decoder for it; the tflm runtime has "
            f"{', '.join((*_MODES, PLAIN))}. Take one of these, or --runtime compiled"
        )


def compress(view: Graph, mode: str, most_decoded: int | None = None, max_instructions: float = math.inf) -> Compressed:
    """Compress a model's int8 weights: "auto", "codebook" or "bitmap"; "none" leaves them.

    A tensor stays as it is where the file would grow by its compression, and so does the whole file. "auto" takes for
    each tensor what is less, and counts the decoders' code too: it leaves a model whose file would not shrink by more.
    With `most_decoded` tensors that take more bytes of memory when decoded stay. With "auto" an inference takes at most
    about `max_instructions` times those of the plain model; an estimate. Biases, weights of other types and of other
    layers are left alone. The same arguments give the same bytes.

    Raises UsageError for another mode, and for a model that brings a memory plan of its own, which knows no decoded
    tensors.
    """
    check_mode(mode)
    plain = Compressed(view.data, tuple(_stored(tensor, None) for tensor in _weights(view)), 0)
    if mode == PLAIN:
        return plain
    root = schema.Model.GetRootAs(view.data, 0)
    _check_no_plan(root)
    candidates = [t for t in _candidates(view, root) if most_decoded is None or t.nbytes <= most_decoded]
    flash = _MODES[mode].flash
    budget = max(0.0, max_instructions - 1) * _MAC_INSTRUCTIONS * view.macs if mode == "auto" else math.inf
    ways = [_worth_their_place(view, _chosen(view, candidates, forms, budget)) for forms in _MODES[mode].forms]
    files = [(found, _file(view, found)) for found in ways if found]
    found, data = min(files, key=lambda file: flash(file[1], file[0]), default=({}, view.data))
    if flash(data, found) >= len(view.data):
        return plain
    stored = tuple(_stored(tensor, found.get(tensor.index)) for tensor in _weights(view))
    return Compressed(data, stored, max(view.tensors[i].nbytes for i in found))


def _chosen(view: Graph, tensors: Sequence[Tensor], names: Sequence[str], budget: float) -> dict[int, Encoding]:
    """The smallest encoding of each tensor that has one smaller than itself, as long as decoding stays in `budget`.

    Above it, a smaller gain is taken step by step, where it costs the fewest bytes for an instruction that is saved;
    what is then left of the budget goes to the largest gains that it holds.
    """
    gains: dict[int, dict[Encoding, int]] = {}
    for tensor in tensors:
        forms = [form for name in names if (form := _ENCODERS[name](tensor)) is not None]
        gains[tensor.index] = {f: less for f in forms if (less := _aligned(tensor.nbytes) - f.cost) > 0}

    def gain(i: int, form: Encoding | None) -> int:
        return 0 if form is None else gains[i][form]

    def spent(i: int, form: Encoding | None) -> int:
        return 0 if form is None else _instructions(view, i, form)

    chosen: dict[int, Encoding | None] = {
        i: max(found, key=lambda form: found[form]) for i, found in gains.items() if found
    }
    moves = [(i, k, form) for i in chosen for k, form in enumerate((None, *gains[i]))]
    while sum(spent(i, form) for i, form in chosen.items()) > budget:
        steps = [
            ((gain(i, chosen[i]) - gain(i, form)) / saved, i, k, form)
            for i, k, form in moves
            if (saved := spent(i, chosen[i]) - spent(i, form)) > 0
        ]
        _, i, _, form = min(steps, key=lambda step: step[:3])
        chosen[i] = form
    for i, k, form in sorted(moves, key=lambda move: (-gain(move[0], move[2]), move[:2])):
        others = sum(spent(k, other) for k, other in chosen.items() if k != i)
        if gain(i, form) > gain(i, chosen[i]) and others + spent(i, form) <= budget:
            chosen[i] = form
    return {i: form for i, form in chosen.items() if form is not None}


# Instructions, counted in QEMU's Cortex-M4 on 2026-11-23: for a weight that is decoded (tables have fast loops for 2
# to 4 bits where channels do not alternate), and for a multiply-accumulate, the fewest of three models.
_BITMAP_INSTRUCTIONS = 14
_TABLE_INSTRUCTIONS = 4
_SLOW_TABLE_INSTRUCTIONS = 28
_FAST_BITS = (2, 3, 4)
_MAC_INSTRUCTIONS = 2


def _instructions(view: Graph, index: int, form: Encoding) -> int:
    """About what decoding a tensor takes in an inference."""
    tensor = view.tensors[index]
    assert tensor.quantization is not None
    alternating = tensor.quantization.axis not in (None, 0)
    if form.scheme == BITMAP:
        each = _BITMAP_INSTRUCTIONS
    else:
        each = _TABLE_INSTRUCTIONS if form.bits in _FAST_BITS and not alternating else _SLOW_TABLE_INSTRUCTIONS
    return each * tensor.elements * sum(index in op.inputs for op in view.operators)


def _worth_their_place(view: Graph, found: Mapping[int, Encoding]) -> dict[int, Encoding]:
    """Those whose operator and tensors do not take more than they save, found by leaving one out, the worst first."""
    kept = dict(found)
    for index in sorted(found, key=lambda i: (view.tensors[i].nbytes - found[i].cost, i)):
        without = {i: form for i, form in kept.items() if i != index}
        if len(_file(view, without)) > len(_file(view, kept)):
            break
        kept = without
    return kept


def _stored(tensor: Tensor, form: Encoding | None) -> Stored:
    scheme, after = (PLAIN, tensor.nbytes) if form is None else (form.scheme, form.nbytes)
    return Stored(tensor.index, tensor.name, scheme, tensor.nbytes, after)


def _weights(view: Graph) -> Iterator[Tensor]:
    """The int8 weights of the layers that may read decoded ones, in the tensors' order."""
    used = {op.inputs[_WEIGHTS] for op in view.operators if op.name in _LAYERS and len(op.inputs) > _WEIGHTS}
    for i in sorted(used - {-1}):
        tensor = view.tensors[i]
        if tensor.data is not None and tensor.dtype == np.int8 and tensor.packed_bits is None and tensor.elements:
            yield tensor


def _candidates(view: Graph, root: Any) -> Iterator[Tensor]:
    """Those of the weights that nothing else reads and that the decoder takes."""
    buffers = [s.Tensors(i).Buffer() for s in _subgraphs(root) for i in range(s.TensorsLength())]
    buffers += [root.Metadata(i).Buffer() for i in range(root.MetadataLength())]
    first = root.Subgraphs(0)
    for tensor in _weights(view):
        alone = buffers.count(first.Tensors(tensor.index).Buffer()) == 1
        only_weights = all(
            position == _WEIGHTS and op.name in _LAYERS
            for op in view.operators
            for position, i in enumerate(op.inputs)
            if i == tensor.index
        )
        if alone and only_weights and tensor.index not in view.outputs and _axis_is_taken(first, tensor):
            yield tensor


def _axis_is_taken(first: Any, tensor: Tensor) -> bool:
    """The decoder takes weights quantised per tensor, along the first axis, or along the last one.

    The axis is looked at even where there is one scale.
    """
    if tensor.quantization is None:
        return False
    axis = first.Tensors(tensor.index).Quantization().QuantizedDimension()
    return bool(axis == 0 or (tensor.quantization.axis is not None and axis == len(tensor.shape) - 1))


def _subgraphs(root: Any) -> Iterator[Any]:
    return (root.Subgraphs(i) for i in range(root.SubgraphsLength()))


def _check_no_plan(root: Any) -> None:
    if any(root.Metadata(i).Name() == b"OfflineMemoryAllocation" for i in range(root.MetadataLength())):
        raise UsageError(
            "the model brings a memory plan of its own (OfflineMemoryAllocation), which has no place for decoded "
            "weights; leave --compress out, or convert the model without the plan"
        )


# The file


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns vectors of bytes as the schema asks for buffers, which flatbuffers' Python does not know of."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
        return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)


def _file(view: Graph, encodings: Mapping[int, Encoding]) -> bytes:
    """The model with these tensors encoded and decoders before the layers that read them."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(view.data, 0))
    if encodings:
        _insert(model, view, encodings)
    builder = _Builder(len(view.data) + 1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _insert(model: Any, view: Graph, encodings: Mapping[int, Encoding]) -> None:
    first = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.version, code.customCode = 1, DECODE.encode()
    model.operatorCodes.append(code)
    originals = {i: first.tensors[i] for i in encodings}
    ancillary = {}
    for i, form in sorted(encodings.items()):
        first.tensors[i] = _constant(model, form.encoded, originals[i].buffer)
        first.tensors[i].name = originals[i].name
        ancillary[i] = len(first.tensors)
        first.tensors.append(_constant(model, form.ancillary, None))
    operators = []
    for op, known in zip(first.operators, view.operators, strict=True):
        weights = known.inputs[_WEIGHTS] if known.name in _LAYERS else -1
        if weights in encodings:
            decoded = copy.copy(originals[weights])
            decoded.buffer, decoded.name = 0, None
            decoder = schema.OperatorT()
            decoder.opcodeIndex = len(model.operatorCodes) - 1
            decoder.inputs, decoder.outputs = [weights, ancillary[weights]], [len(first.tensors)]
            op.inputs = [len(first.tensors) if k == _WEIGHTS else i for k, i in enumerate(known.inputs)]
            first.tensors.append(decoded)
            operators.append(decoder)
        operators.append(op)
    first.operators = operators


def _constant(model: Any, data: bytes, buffer: int | None) -> Any:
    """A tensor of bytes, in a buffer of the model or in a new one."""
    if buffer is None:
        buffer = len(model.buffers)
        model.buffers.append(schema.BufferT())
    model.buffers[buffer].data = np.frombuffer(data, np.uint8)
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer = [len(data)], schema.TensorType.UINT8, buffer
    return tensor


# The proof

_VECTORS = 4  # besides the probe; the decoded weights are compared themselves


@dataclass(frozen=True)
class Proof:
    """The arena of a compressed model as TFLite Micro measures it on the host, in bytes."""

    beside: ArenaUse  # decoded weights in an alternate memory of decompression_bytes
    within: ArenaUse  # decoded weights in the arena


def prove(view: Graph, compressed: Compressed) -> Proof:
    """Run a model and its compressed form in TFLite Micro and compare every byte: weights, layers and outputs.

    The compressed form runs with the alternate memory, and without it, where decoded weights can be compared with the
    model's own. The vectors are computed ones (convert/vectors.py).

    Raises OutputsDifferError, with the first tensor that differs, and what golden.run raises: UsageError where the
    interpreter refuses the compressed file, ToolError where it crashes or hangs.
    """
    inputs = vectors.computed(view, _VECTORS).inputs
    plain = golden.run(view, inputs, layers=True)
    beside = golden.run(compressed.graph, inputs, layers=True, decompression=compressed.decompression_bytes)
    within = golden.run(compressed.graph, inputs, layers=True)
    for op in compressed.graph.operators:
        for index in op.outputs:
            # A decoder's output stands for its first input, as that was before.
            expected = view.tensors[op.inputs[0]].data if op.name == DECODE else (plain.layers or {}).get(index)
            for run in (beside, within):
                found = (run.layers or {}).get(index)
                if found is not None and not _same_bytes(found, expected):
                    raise OutputsDifferError(_difference(f"tensor {index} of operator {op.index} ({op.name})"))
    if not np.array_equal(beside.outputs, plain.outputs) or not np.array_equal(within.outputs, plain.outputs):
        raise OutputsDifferError(_difference("the outputs"))
    return Proof(beside.arena, within.arena)


def _same_bytes(found: npt.NDArray[Any], expected: npt.NDArray[Any] | None) -> bool:
    """Whether every vector's values are those of `expected`, or of its own row of it; bytes, so that NaN is equal."""
    return expected is not None and found.tobytes() == np.broadcast_to(expected, found.shape).tobytes()


def _difference(what: str) -> str:
    return (
        f"with compressed weights TFLite Micro's answers on the host are not the model's: {what} should be equal and "
        "differ. Nothing was built; take --compress none"
    )


# On a board


@dataclass(frozen=True)
class Planned:
    """A model as the tflm runtime carries it on a board: its file, its arena and the memory for decoded weights.

    `decompression_bytes` is that of a buffer beside the arena; 0 where decoded weights lie in the arena.
    """

    compressed: Compressed
    arena: TflmArena
    decompression_bytes: int
    notes: tuple[str, ...]
    record: Mapping[str, Any]  # what became of each tensor, in figures

    @property
    def ram_bytes(self) -> int:
        """Arena and decoded weights."""
        return self.arena.bytes + self.decompression_bytes

    def render(self, view: Graph) -> dict[str, str | bytes]:
        """Render generated/tflm (convert/tflm.py) with the compressed file itself and the record of it."""
        files = tflm.render(self.compressed.graph, self.arena, self.decompression_bytes, view.sha256)
        files["model_compressed.tflite"] = self.compressed.data
        files["compression.json"] = json.dumps(self.record, indent=1) + "\n"
        return files


def for_board(board: Board, view: Graph, measured: ArenaUse, wanted: Compress) -> Planned:
    """Compress a model for a board, prove it, and find a place for its decoded weights.

    That is a memory beside the arena where the board's RAM has room for it, otherwise the arena. Where neither has
    room, "auto" leaves the largest tensors as they are. `measured` is the plain model's arena.

    Raises what `compress` and `prove` raise.
    """
    room = _room(board)
    plain = plan_arena(view, measured, board.build.cpu).bytes
    compressed = compress(view, wanted.mode, None, wanted.max_instructions)
    planned = _plan(board, view, measured, compressed, room)
    while wanted.mode == "auto" and compressed.decompression_bytes and planned.ram_bytes > room:
        most = max(0, min(room - plain, compressed.decompression_bytes - 1))
        compressed = compress(view, wanted.mode, most, wanted.max_instructions)
        planned = _plan(board, view, measured, compressed, room)
    return planned


def _room(board: Board) -> int:
    """RAM for arena and decoded weights, in bytes, as far as it is known before anything is linked."""
    others = max(e.overhead.ram for e in board.environments if "tflm" in e.runtimes)
    return board.upload.maximum_ram_size - board.tinyml.stack_reserve - others


def _plan(board: Board, view: Graph, measured: ArenaUse, compressed: Compressed, room: int) -> Planned:
    record: dict[str, Any] = {
        "file": {"before": len(view.data), "after": len(compressed.data)},
        "tensors": [asdict(stored) for stored in compressed.tensors],
    }
    if not compressed.decompression_bytes:
        note = (
            "no weights are compressed: that would take more flash, decoder included, or more RAM or time than there is"
        )
        return Planned(compressed, plan_arena(view, measured, board.build.cpu), 0, (note,), record)
    proof = prove(view, compressed)
    decoded = [i for op in compressed.graph.operators if op.name == DECODE for i in op.outputs]
    beside = plan_arena(compressed.graph, proof.beside, board.build.cpu, decoded)
    within = plan_arena(compressed.graph, proof.within, board.build.cpu)
    ways = ((beside, compressed.decompression_bytes), (within, 0))
    arena, extra = next(
        (way for way in ways if way[0].bytes + way[1] <= room), min(ways, key=lambda w: w[0].bytes + w[1])
    )
    record["ram"] = {"arena": within.bytes, "arena_beside": beside.bytes, "beside": compressed.decompression_bytes}
    changed = [stored.scheme for stored in compressed.tensors if stored.scheme != PLAIN]
    schemes = ", ".join(f"{changed.count(name)} as {name}" for name in _ENCODERS if name in changed)
    place = f"beside an arena of {beside.bytes:,} B" if extra else f"in the arena ({within.bytes:,} B)"
    other = f"{within.bytes:,} B in the arena" if extra else f"{beside.bytes:,} + {ways[0][1]:,} B beside it"
    note = (
        f"weights of {len(changed)} of {len(compressed.tensors)} layers are compressed ({schemes}): the model takes "
        f"{len(compressed.data):,} B of flash, not {len(view.data):,}; decoded weights lie {place}, which takes "
        f"{arena.bytes + extra:,} B of RAM (the other way: {other})"
    )
    return Planned(compressed, arena, extra, (note,), record)


_CHIRALE = "the Arduino library Chirale_TensorFLowLite 2.0.0 has no decoder of compressed weights"


def on_arduino(compress: Compress) -> tuple[Compress, tuple[str, ...]]:
    """What the Arduino library can do of what is asked for, with notes: it has no decoder.

    "auto" becomes "none" with a note. Raises UsageError where one form was asked for by name.
    """
    if compress.mode == PLAIN:
        return NONE, ()
    if compress.mode == "auto":
        return NONE, (f"weights stay as they are: {_CHIRALE}; a TFLite Micro source tree (--tflm-dir) has one",)
    raise UsageError(
        f"--compress {compress.mode}: {_CHIRALE}; take --compress none, --runtime compiled, or a TFLite Micro source "
        "tree (--tflm-dir)"
    )
