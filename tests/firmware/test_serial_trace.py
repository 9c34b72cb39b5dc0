"""The application `profile` with a runtime of a few lines that calls its hook like TFLite Micro's tracer."""

from pathlib import Path

import pytest
from fake import INPUT_BYTES, OUTPUT_BYTES, generate, need, outputs, vectors

from convert import boards, layers, toolchain
from convert.emulate import cortex_m, unicorn_nrf52840
from convert.layers import Operator
from convert.serial_client import Client
from convert.serial_protocol import Flags

# Before and after each of two layers; the second one loops.
BODY = """
  void inference_trace(unsigned op, unsigned tensor, const void *data, size_t bytes);
  inference_trace(~0u, 0, NULL, 0);
  inference_trace(0, 0, NULL, 0);
  inference_trace(~0u, 0, NULL, 0);
  for (unsigned i = 0; i < 1000; i++) sink = i;
  inference_trace(1, 0, NULL, 0);
"""
RESET = "int inference_reset(void);\nint inference_reset(void) { return 0; }\n"


@pytest.mark.parametrize("rounds", [1000, 3000])
def test_ends_of_layers_are_seen_from_outside(tmp_path: Path, rounds: int) -> None:
    need("arm-none-eabi-gcc")
    body = BODY.replace("1000", str(rounds))
    output = generate(tmp_path, "nano33", "nano33_bare", body=body, extra=RESET)
    config = output / "generated" / "common" / "model_config.h"
    config.write_text(config.read_text() + "#define TINYML_OPERATORS 2u\n")
    image = toolchain.build("nano33_bare", output, application="profile").elf
    board = boards.load("nano33")
    environment = next(e for e in board.environments if e.name == "nano33_bare")
    with unicorn_nrf52840.connect(image, board, environment) as link:
        client = Client(link, "here")
        info = client.hello()
        assert info.flags == Flags.TRACES and info.input_bytes == INPUT_BYTES
        link.counting = True
        ran = client.infer(bytes(vectors()[0]), OUTPUT_BYTES)
        assert ran.outputs.hex() == outputs()[0]
        counted = link.counted
        # What the firmware itself sees: a clock that stands still, but every call of the hook.
        client.trace(True)
        client.infer(bytes(vectors()[0]), OUTPUT_BYTES)
        raw = client.figures(12 + 8 * 3)
    assert counted is not None
    known = [Operator(k, "X", None, True, 0, 0, 0) for k in range(2)]
    amounts, between = layers.by_hooks(counted, cortex_m.load(image), known)
    assert 0 <= amounts[0] < 10
    # A round is a store, an addition, a comparison and a branch.
    assert 4 * rounds - 10 < amounts[1] < 4 * rounds + 20
    assert sum(amounts.values()) + between == counted.instructions
    calls = [int.from_bytes(raw[at : at + 4], "little") for at in (16, 24, 32)]
    assert calls == [1, 1, 2]
