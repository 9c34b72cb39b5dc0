"""live_motion's sensor file in an environment that is not Arduino's: stand-ins for the core and for the IMU's libraries
have the calls that the sketch makes, and play a recording in floats. The real core and libraries are not built here."""

from pathlib import Path

import numpy as np
import pytest
from fake import need
from features_reference import resample
from test_official import build

from convert import boards, project, smoke, vectors
from convert.compiled import compile_model
from convert.features import Normalise, Preprocessed, Series, SeriesPath, int8_values
from convert.live import files
from convert.vectors import fnv1a32

# What Arduino_LSM9DS1 1.1.1 and Arduino_BMI270_BMM150 1.2.3 declare, as far as it is used.
HEADER = """
#ifndef IMU_H
#define IMU_H
struct Imu {
  int begin();
  void setContinuousMode();
  int accelerationAvailable();
  int readAcceleration(float &x, float &y, float &z);
  int readGyroscope(float &x, float &y, float &z);
};
extern Imu IMU_STANDIN;
#define IMU IMU_STANDIN
#endif
"""

# Every third question finds a sample; after the last one an error line ends the emulation.
SOURCE = """
#include "NAME.h"
#include <stdint.h>
#include "port.h"
static const int16_t recording[COUNT][6] = {ROWS};
static unsigned position, asked;
Imu IMU_STANDIN;
int Imu::begin() { return 1; }
void Imu::setContinuousMode() {}
int Imu::accelerationAvailable() {
  if (position == COUNT) {
    const char end[] = "#done 0\\n";
    port_write(end, sizeof end - 1);
    for (;;) {
    }
  }
  return ++asked % 3 == 0;
}
int Imu::readGyroscope(float &x, float &y, float &z) {
  const int16_t *s = recording[position];
  x = s[3] * 2000.0 / 32768.0;
  y = s[4] * 2000.0 / 32768.0;
  z = s[5] * 2000.0 / 32768.0;
  return 1;
}
int Imu::readAcceleration(float &x, float &y, float &z) {
  const int16_t *s = recording[position++];
  x = s[0] * 4.0 / 32768.0;
  y = s[1] * 4.0 / 32768.0;
  z = s[2] * 4.0 / 32768.0;
  return 1;
}
"""

SERIES = Series(6, 50_000, 10, 5, Normalise((0,) * 6, (0.01, 0.02, 0.015, 0.01, 0.02, 0.03)))


@pytest.mark.parametrize(("library", "rate"), [("Arduino_LSM9DS1", 119), ("Arduino_BMI270_BMM150", 100)])
def test_the_imu_s_floats_become_the_training_data_s_integers(library: str, rate: int, tmp_path: Path) -> None:
    """All int16 values come back from the library's floats, axes are turned, the rate becomes 50 a second."""
    need("arm-none-eabi-gcc")
    rng = np.random.default_rng(8)
    recording = rng.integers(-32768, 32768, (120, 6)).astype(np.int16)
    recording[0], recording[1] = -32768, 32767
    generate(tmp_path)
    rows = ",".join("{" + ",".join(map(str, row)) + "}" for row in recording.tolist())
    source = SOURCE.replace("NAME", library).replace("COUNT", str(len(recording))).replace("ROWS", rows)
    manifest = f'{{"name": "{library}", "version": "1.0.0"}}'
    texts = {"library.json": manifest, f"src/{library}.h": HEADER, "src/imu.cpp": source}
    for name, text in texts.items():
        path = tmp_path / library / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    flags = "-DLIVE_AXES={1,0,2} -DLIVE_SIGNS={-1,1,1}" + (" -DLIVE_SENSE_REV2" if rate == 100 else "")
    result = build(
        tmp_path,
        libraries=("library", library),
        TINYML_APPLICATION="live_motion",
        PLATFORMIO_BUILD_FLAGS=flags,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    board = boards.load("nano33")
    entry = board.tinyml.bare
    assert entry is not None
    text = smoke.emulate(tmp_path / "pio" / "nano33" / "firmware.elf", board, entry, 60).text
    assert f"sensor={library[8:].partition('_')[0]} millihertz={rate * 1000}" in text
    turned = recording[:, [1, 0, 2, 4, 3, 5]].astype(np.int32) * [-1, 1, 1, -1, 1, 1]
    turned = np.clip(turned, -32768, 32767).astype(np.int16)
    slow = np.stack([resample(turned[:, c], rate, 50) for c in range(6)], axis=1)
    windows = SeriesPath(SERIES).windows(slow)
    assert len(windows) > 5
    hashes = [f"input={fnv1a32(w.tobytes()):08x}" for w in windows]
    assert [line.split(" input=")[1][:8] for line in text.splitlines() if line.startswith("#answer")] == [
        h[6:] for h in hashes
    ]


def generate(folder: Path) -> None:
    """A model whose input is the feature bytes themselves."""
    from test_live import LABELS, model

    g = model(60, 5 / 128, 0)
    board = boards.load("nano33")
    compiled = compile_model(g, board.target, "speed")
    image = project.Image(dict(compiled.render()), compiled.arena_bytes, compiled.weight_bytes)
    test = vectors.computed(g, 0)
    manifest = project.build_json(board, "small", {"nano33": "compiled"}, {"compiled": image}, test, "speed", None)
    known = Preprocessed(SERIES, int8_values(5 / 128), np.zeros((1, 6), np.int16))
    project.write(folder / "output" / "generated", g, test, {"compiled": image}, manifest, files(g, known, LABELS))
