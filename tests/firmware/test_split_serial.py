"""The device's end of an update on this machine, with sanitizers: requests of any length and content."""

import random
import struct
from pathlib import Path

import pytest
import serial_device
from split_host import CORPUS, PAGE, RUNTIME, other_weights, pack_image, split
from split_host import HERE as SIMULATED

from convert import emit, graph, vectors
from convert.compiled import compile_model, host
from convert.paths import FIRMWARE
from convert.serial_client import Client, DeviceError
from convert.serial_protocol import Command
from convert.split import client
from convert.split.build import Place, config
from convert.split.image import LIBRARY

OLD = (CORPUS / "convolution.tflite").read_bytes()
SLOT = 2 * PAGE

# The flash as it is when power comes: the first slot holds what the generated array says.
_FLASH = """
#include "simulated_flash.h"
#include <string.h>
static uint8_t flash[2 * SLOT] __attribute__((aligned(4096)));
static const uint8_t first[] = {BYTES};
uint8_t *simulated_flash = flash;
size_t simulated_bytes = sizeof flash;
__attribute__((constructor)) static void begin(void) {
  memset(flash, 0xFF, sizeof flash);
  memcpy(flash, first, sizeof first);
  simulated_arm(-1, 0, NULL, 0);
}
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`serve` of a split build, as a program on standard input and output."""
    folder = tmp_path_factory.mktemp("device")
    g = graph.load(OLD)
    _, plan = split(g)
    first = ", ".join(map(str, pack_image(g, 1)))
    emit.write_tree(
        folder,
        {
            **plan.render(),
            "split_config.h": config(Place(0, SLOT, PAGE), plan, None),
            "model_config.h": serial_device.CONFIG,
            "port.c": serial_device.PORT.replace("COUNT", "1"),
            "flash.c": _FLASH.replace("SLOT", str(SLOT)).replace("BYTES", first),
        },
    )
    includes = [folder, RUNTIME, LIBRARY / "include", serial_device.SERIAL / "include", FIRMWARE / "include", SIMULATED]
    flags = ["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-O1", *host.WARNINGS, *host.SANITIZERS]
    flags += [
        "-DTINYML_SPLIT_WEIGHTS",
        "-DTINYML_SLOTS=simulated_flash",
        "-include",
        str(SIMULATED / "simulated_flash.h"),
    ]
    flags += [f"-I{path}" for path in (*includes, host.KERNELS / "include")]
    sources = [*folder.glob("*.c"), *RUNTIME.glob("*.c"), SIMULATED / "simulated_flash.c"]
    sources += [*(LIBRARY / "src").glob("*.c"), *(serial_device.SERIAL / "src").glob("*.c")]
    sources += [FIRMWARE / "src" / "serve" / "app.c", *(host.KERNELS / "src").glob("*.c")]
    program = folder / "device"
    host.call([host.compiler(), *flags, *map(str, sorted(sources)), "-lm", "-o", str(program)], "compiling the device")
    return program


def answers(to: Client, data: bytes) -> bool:
    """Whether the device answers like a model."""
    g = graph.load(data)
    inputs = vectors.computed(g, 1).inputs
    expected, _ = host.run(compile_model(g), inputs)
    return all(
        to.infer(row.tobytes(), len(out)).outputs == out.tobytes() for row, out in zip(inputs, expected, strict=True)
    )


def test_an_update_and_back(device: Path) -> None:
    new = other_weights(OLD, 1)
    with serial_device.Process(device) as link:
        to = Client(link, "test")
        to.hello()
        assert answers(to, OLD)
        assert client.send(to, pack_image(graph.load(new), 2), lambda _: None).present == 1
        assert answers(to, new)
        assert client.send(to, pack_image(graph.load(OLD), 3), lambda _: None).present == 0
        assert answers(to, OLD)


def test_requests_of_any_kind(device: Path) -> None:
    source = random.Random(3)
    image = pack_image(graph.load(other_weights(OLD, 1)), 2)
    refused = 0
    with serial_device.Process(device) as link:
        to = Client(link, "test")
        to.hello()
        for _ in range(400):
            command = source.choice([Command.SLOTS, Command.BEGIN, Command.DATA, Command.FINISH])
            offset, count = (
                source.choice([0, 4, 2**32 - 4, source.randrange(400)]),
                source.choice([0, 4, 256, 257, 65535]),
            )
            body = source.choice(
                [
                    b"",
                    image[:128],
                    source.randbytes(source.choice([1, 5, 127, 129, 262, 263, 3000])),
                    struct.pack("<IH", offset, count) + source.randbytes(count if source.random() < 0.5 else 8),
                    image[16:20],
                ]
            )
            try:
                to.ask(command, body)
            except DeviceError as e:
                assert "keeps the model it has" in str(e)
                refused += 1
        assert 100 < refused < 400
        assert answers(to, OLD)
        client.send(to, image, lambda _: None)
        assert answers(to, other_weights(OLD, 1))
