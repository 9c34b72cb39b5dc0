"""A firmware whose weights lie apart, compiled for this machine over a simulated flash; models with the same graph."""

import ctypes
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from models import pack, unpack

from convert import compiled, emit
from convert.compiled import host
from convert.graph import Graph
from convert.paths import FIRMWARE
from convert.split import ed25519, header, image
from convert.split.build import Place, config
from convert.split.model import Plan, SplitModel

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parents[1] / "fuzz" / "corpus"  # a tiny model for each kind of operator
MODELS = sorted(CORPUS.glob("*.tflite"))
RUNTIME = FIRMWARE / "runtimes" / "split"
PAGE = 256
DARK = -1
CUTS = 7  # before, after, either half done, and three times random bits


def split(graph: Graph) -> tuple[SplitModel, Plan]:
    model = SplitModel.of(compiled.compile_model(graph))
    return model, model.plan_of(image.this_machine().abi, {})


def pack_image(graph: Graph, sequence: int, secret: bytes | None = None) -> bytes:
    model, plan = split(graph)
    payload = image.payload(model, plan, image.this_machine())
    return header.make(payload, sequence, bytes.fromhex(graph.sha256), plan.hash, secret)


def other_weights(data: bytes, seed: int) -> bytes:
    """The same model with its int8 and int32 constants shuffled within each tensor, and other scales of the former."""
    m = unpack(data)
    source = np.random.default_rng(seed)
    for t in m.subgraphs[0].tensors:
        raw = m.buffers[t.buffer].data
        if (
            raw is None
            or not len(raw)
            or t.type not in (9, 2)
            or t.quantization is None
            or t.quantization.scale is None
        ):
            continue
        values = np.array(raw, np.uint8).view(np.int8 if t.type == 9 else np.int32)
        m.buffers[t.buffer].data = source.permutation(values).view(np.uint8)
        if t.type == 9:
            t.quantization.scale = t.quantization.scale * np.float32(1.01)
    return pack(m)


class Firmware:
    """The firmware of a graph; its flash lies in this process."""

    def __init__(
        self, graph: Graph, folder: Path, slot_bytes: int, secret: bytes | None = None, sanitize: bool = False
    ) -> None:
        _, plan = split(graph)
        key = None if secret is None else ed25519.public_key(secret)
        emit.write_tree(
            folder / "src", {**plan.render(), "split_config.h": config(Place(0x1000, slot_bytes, PAGE), plan, key)}
        )
        flags = ["-std=c99", "-O1", *host.WARNINGS, "-fPIC"]
        flags += ["-fsanitize=undefined", "-fno-sanitize-recover=all"] if sanitize else []
        include = [f"-I{path}" for path in (folder / "src", host.KERNELS / "include", image.LIBRARY / "include")]
        include += [f"-I{path}" for path in (RUNTIME, FIRMWARE / "include", HERE)]
        objects = host.kernels(host.compiler(), [*flags[:2], *host.WARNINGS, "-fPIC", include[1]], _kernels())
        sources = [folder / "src" / "compiled_model.c", RUNTIME / "inference.c", HERE / "split_host.c"]
        sources += [HERE / "simulated_flash.c", *sorted((image.LIBRARY / "src").glob("*.c"))]
        library = folder / f"firmware-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}.so"
        slots = ["-DTINYML_SLOTS=simulated_flash", "-include", str(HERE / "simulated_flash.h")]
        command = [host.compiler(), *flags, *slots, *include, "-shared", *map(str, sources), *map(str, objects)]
        host.call([*command, "-lm", "-o", str(library)], "compiling the firmware for this machine")
        self.library = ctypes.CDLL(str(library))
        self.library.host_flash.restype = ctypes.POINTER(ctypes.c_uint8)
        self.library.host_flash_bytes.restype = ctypes.c_size_t
        self.library.host_operations.restype = ctypes.c_ulong
        self.library.host_message.restype = ctypes.c_char_p
        self.library.inference_message.restype = ctypes.c_char_p
        self.library.host_update.argtypes = (ctypes.c_char_p, ctypes.c_uint32, ctypes.c_long, ctypes.c_uint)
        self.output_bytes = sum(graph.tensors[i].nbytes for i in graph.outputs)
        self.flash = np.ctypeslib.as_array(self.library.host_flash(), (self.library.host_flash_bytes(),))
        self.slot_bytes = slot_bytes

    def clear(self, *slots: bytes) -> None:
        """Erase everything and put images into the slots."""
        self.flash[:] = 0xFF
        for k, content in enumerate(slots):
            at = k * self.slot_bytes
            self.flash[at : at + len(content)] = np.frombuffer(content, np.uint8)

    def update(self, content: bytes, after: int = -1, how: int = 0) -> int:
        """A slots_status, or DARK where the power went."""
        return int(self.library.host_update(content, len(content), after, how))

    def message(self, status: int) -> str:
        return bytes(self.library.host_message(status)).decode()

    def boot(self) -> str:
        """What the firmware says where no model is whole, else nothing."""
        if self.library.host_boot() == 0:
            return ""
        return bytes(self.library.inference_message()).decode()

    def infer(self, inputs: npt.NDArray[np.uint8]) -> bytes:
        outputs = ctypes.create_string_buffer(self.output_bytes)
        assert self.library.host_infer(inputs.tobytes(), outputs) == 0
        return outputs.raw


def _kernels() -> list[Path]:
    return sorted((host.KERNELS / "src").glob("*.c"))
