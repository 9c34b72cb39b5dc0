"""Compiled models on an emulated AVR, where int has 16 bits and constants lie in a flash of their own."""

import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import test_operators
import test_operators_binary
import test_operators_join
import test_operators_move
import test_operators_reduce
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st
from test_random_graphs import chain, without_shrinking
from tflite_builder import SAME, VALID, Sweep, assert_exact, vectors

from convert import graph
from convert.compiled import avr, compile_model, host
from convert.emulate import simavr
from convert.errors import ToolError

pytestmark = pytest.mark.skipif(not avr.available(), reason="no avr-gcc or no libsimavr")


def exact(g: graph.Graph, inputs: np.ndarray | None = None) -> None:
    assert_exact(g, inputs, target="avr", where=avr)


def small_sweep() -> Sweep:
    """What small models are made of."""
    s = Sweep(90)
    x = s.input((1, 5, 6, 3))
    for size, stride, padding, activation in (
        ((3, 3), (1, 1), SAME, "relu"),
        ((2, 3), (2, 1), VALID, "none"),
        ((1, 1), (1, 1), VALID, "relu6"),
    ):
        s.conv(x, 5, size, stride, padding=padding, activation=activation)
        s.depthwise(x, 1, size, stride, padding=padding, activation=activation)
    s.conv(x, 4, dilation=(2, 2), bias=False, per_channel=False, gain=20.0)
    s.conv(s.input((1, 4, 4, 4)), 6, groups=2)
    s.depthwise(x, 2, bias=False, per_channel=False, gain=9.0)
    for kind, padding in product(("AVERAGE", "MAX"), (SAME, VALID)):
        s.pool(x, kind, (3, 2), (2, 2), padding, "relu")
    s.mean(x, (1, 2), False, gain=0.7)
    y = s.dense(s.reshape(x, (1, 90)), 7, activation="relu")
    s.unary("SOFTMAX", y, 1 / 256, -128, beta=1.0)
    s.unary("LOGISTIC", y, 1 / 256, -128)
    s.unary("RELU", y, 0.05, 3)
    s.pad(x, ((0, 0), (1, 2), (0, 1), (2, 1)))
    s.concatenation([x, x], 3)
    s.transpose(x, (0, 2, 1, 3))
    s.slice(x, (0, 1, 2, 0), (1, 3, -1, 2))
    return s


def arithmetic_sweep() -> Sweep:
    """Two operands, constant or not, broadcast or not: offsets and products that a 16-bit int does not hold."""
    s = Sweep(91)
    place = test_operators_binary.place
    for name, scale in (("ADD", 0.2), ("MUL", 0.3), ("MAXIMUM", 0.05), ("PRELU", 0.04), ("SQUARED_DIFFERENCE", 0.2)):
        a, b, out = place(0.05, -20), place(0.05 if name == "MAXIMUM" else 0.07, -20), place(scale, -20)
        x = s.input((1, 2, 5, 3), **a)
        for shape in ((3,), (1, 2, 5, 3), (1, 1, 5, 1)):
            s.binary(name, x, s.input(shape, **b), **out)
            s.binary(name, x, s.tensor(shape, data=s.rng.integers(-128, 128, shape), **b), **out)
    return s


@pytest.mark.parametrize("sweep", [small_sweep, arithmetic_sweep])
def test_every_layer_equals_tflite_micro(sweep: object) -> None:
    exact(sweep().build())  # type: ignore[operator]


def extreme_rows() -> graph.Graph:
    """Dense layers of every rest of the unrolled loops, and of rows that a 24-bit sum does not hold."""
    s = Sweep(92)
    for depth in (1, 2, 3, 4, 5, 6, 7, 511, 512, 1023, 1100):
        x = s.input((3 if depth < 9 else 2, depth), scale=0.05, zero_point=-128)
        weights = np.full((2, depth), -128)
        weights[1] = 127
        w = s.tensor((2, depth), scale=0.01, zero_point=0, data=weights)
        out = s.tensor((s.shape(x)[0], 2), scale=0.0005 * depth, zero_point=0)
        s.op("FULLY_CONNECTED", [x, w], out, "FullyConnectedOptions", keepNumDims=True)
    return s.build()


def test_rows_of_extreme_values() -> None:
    """The first two vectors are all -128 and all 127."""
    exact(extreme_rows())


PRODUCTS = """
#include <avr/io.h>
#include <avr/pgmspace.h>
#include "kernels/fixed_point.h"
static const int32_t ends[] = {INT32_MIN, INT32_MIN + 1, -65536, -257, -256, -1, 0, 1, 127, 128, 255, 256, 32767, 32768,
                               65535, 65536, 0x3FFFFFFF, 0x40000000, INT32_MAX - 1, INT32_MAX};
enum { ENDS = sizeof ends / sizeof ends[0] };
static void put(const char *text) {
  for (char c; (c = (char)pgm_read_byte(text)) != 0; text++) {
    while ((UCSR0A & _BV(UDRE0)) == 0) {
    }
    UDR0 = (uint8_t)c;
  }
}
static uint32_t state = 1;
static int32_t random(void) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return (int32_t)state >> (state & 15); /* small ones too */
}
static int wrong(int32_t a, int32_t b) {
  const int64_t sum = (int64_t)a * b + ((int64_t)1 << 30);
  if (a == INT32_MIN && b == INT32_MIN) return 0;
  return fixed_high_mul(a, b) != (int32_t)(sum >> 31);
}
static int wrong_shift(int32_t x, uint8_t exponent) {
  const int64_t half = exponent ? (int64_t)1 << (exponent - 1) : 0;
  const int64_t y = x < 0 ? -((-(int64_t)x + half) >> exponent) : ((int64_t)x + half) >> exponent;
  return fixed_rounding_shift(x, exponent) != (int32_t)y;
}
int main(void) {
  UCSR0B = _BV(TXEN0);
  for (uint8_t i = 0; i < ENDS; i++) {
    for (uint8_t j = 0; j < ENDS; j++) {
      if (wrong(ends[i], ends[j])) put(PSTR("#error product of ends\\n"));
    }
    for (uint8_t e = 0; e < 32; e++) {
      if (i > 0 && i < ENDS - 2 && wrong_shift(ends[i], e)) put(PSTR("#error shift\\n"));
    }
  }
  for (uint16_t i = 0; i < 3000; i++) {
    if (wrong(random(), random())) put(PSTR("#error product\\n"));
    if (wrong_shift(random() >> 1, (uint8_t)i & 31)) put(PSTR("#error shift\\n"));
  }
  put(PSTR("#done 1\\n"));
  for (;;) {
  }
}
"""


def test_fixed_point_arithmetic(tmp_path: Path) -> None:
    source, elf = tmp_path / "products.c", tmp_path / "products.elf"
    source.write_text(PRODUCTS)
    own = sorted((host.KERNELS / "src" / "avr").glob("*.[cS]"))
    command = ["avr-gcc", *avr.flags("speed"), "-Wl,--gc-sections", *map(str, [source, *own]), "-o", str(elf)]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""
    with simavr.Simulation(elf, avr.MCU, avr.CLOCK_HZ, "closing") as simulation:
        text = b""
        while not simulation.ended:
            text += simulation.read(10)
    assert text == b"#done 1\n"


ALL = {
    f"{module.__name__}-{name}": sweep
    for module, left_out in (
        (test_operators, ("add",)),  # sums of all pairs, for which no AVR has the memory
        (test_operators_reduce, ()),
        (test_operators_join, ()),
        (test_operators_move, ()),
    )
    for name, sweep in module.SWEEPS.items()
    if name not in left_out
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ALL)
def test_the_sweeps_equal_tflite_micro(name: str) -> None:
    exact(ALL[name]().build())


@pytest.mark.exhaustive
@without_shrinking
@given(st.lists(st.builds(chain, st.integers(0, 2**32), st.integers(4, 12)), min_size=2, max_size=4))
def test_random_chains_equal_tflite_micro(builders: list[object]) -> None:
    s = Sweep()
    for build in builders:
        build(s)  # type: ignore[operator]
    exact(s.build(ends_only=True))


def with_operand() -> graph.Graph:
    s = Sweep(93)
    x = s.input((1, 12))
    y = s.dense(x, 6)
    operand = s.tensor((1, 6), scale=0.05, zero_point=1, data=s.rng.integers(-128, 128, (1, 6)))
    s.add(y, operand, 0.1)
    return s.build(ends_only=True)


def test_constants_stay_in_flash_but_operands(tmp_path: Path) -> None:
    compiled = compile_model(with_operand(), "avr")
    assert compiled.ram_bytes == 6
    with avr.build(compiled, tmp_path).open("rb") as f:
        table = ELFFile(f).get_section_by_name(".symtab")
        places = {s.name: s["st_value"] for s in table.iter_symbols() if s["st_info"]["type"] == "STT_OBJECT"}
    in_ram = {name for name, place in places.items() if place >= 0x800000}
    constants = {name for name in places if name.startswith(("layer", "tensor", "compiled_model_"))}
    assert len(constants) > 5
    assert constants & in_ram == {name for name in constants if name.startswith("tensor")}


def test_other_processors_get_the_same_source_as_ever() -> None:
    source = compile_model(with_operand(), "portable").render()["compiled_model.c"]
    assert "FLASH" not in source.upper().replace("IN FLASH", "")
    assert compile_model(with_operand()).ram_bytes == 0


def test_what_is_generated_for_avr_is_c99_elsewhere() -> None:
    """KERNELS_FLASH is nothing there, and the answers are the same."""
    g = with_operand()
    inputs = vectors(g)
    outputs, _ = host.run(compile_model(g, "avr"), inputs, sanitize=True)
    assert np.array_equal(outputs, host.run(compile_model(g), inputs)[0])


WRONG_MEMORY = """
#include "kernels/flash.h"
static int8_t in_ram[4];
int8_t first(const KERNELS_FLASH int8_t *w);
int8_t first(const KERNELS_FLASH int8_t *w) { return w[0]; }
int8_t wrong(void);
int8_t wrong(void) { return first(in_ram); }
"""


def test_a_pointer_to_the_other_memory_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text(WRONG_MEMORY)
    command = ["avr-gcc", *avr.flags("size"), "-c", str(source), "-o", str(tmp_path / "wrong.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "address space" in done.stderr


def test_a_model_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    s = Sweep(94)
    s.unary("RELU", s.input((1, 40000)), 0.05, 3)
    with pytest.raises(ToolError, match="has 40,000 B; the kernels' integers reach to 32,767"):
        avr.build(compile_model(s.build(), "avr"), tmp_path)
