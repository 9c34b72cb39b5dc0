import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from convert import image
from convert.emulate import Transcript, closed
from convert.emulate.cortex_m import thumb_instructions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("#vector 0 00\n", False),
        ("#done 3", False),  # the line is not whole
        ("#vector 0 00\n#done 3\n", True),
        ("#error no arena\n", True),
        ("#donee\n", False),
        ("x #done 3\n", False),
    ],
)
def test_closing_line(text: str, expected: bool) -> None:
    assert closed(text) is expected


def test_the_error_of_a_transcript() -> None:
    assert Transcript("e", "#vector 0 00\n#error no arena\n", True, None, 0.1).error == "no arena"
    assert Transcript("e", "#done 1\n", True, None, 0.1).error is None


@pytest.mark.parametrize(
    ("halfwords", "count"),
    [
        ([0xBF00, 0xBF00], 2),  # nop, nop
        ([0xF7FF, 0xFFFE], 1),  # bl
        ([0xE92D, 0x4FF0, 0xBF00], 2),  # push.w, nop
        ([0xE7FE], 1),  # b: 0b11100 is short
        ([0xFB10, 0xF001, 0x4770], 2),  # smulbb, bx lr
    ],
)
def test_thumb_instructions(halfwords: list[int], count: int) -> None:
    assert thumb_instructions(struct.pack(f"<{len(halfwords)}H", *halfwords)) == count


@pytest.mark.parametrize(
    ("defect", "content"),
    [("empty", b""), ("not_elf", b"MZ" * 40), ("elf64", b"\x7fELF\x02\x01" + bytes(60)), ("cut", b"\x7fELF\x01\x01")],
)
def test_a_file_that_is_no_image(tmp_path: Path, defect: str, content: bytes) -> None:
    path = tmp_path / defect
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a 32-bit little-endian ELF"):
        image.sizes(path)


def test_data_that_holds_code_is_ram(tmp_path: Path) -> None:
    """Code that runs from RAM makes of .data a section that is not writable, as in the RP2040's Arduino core."""
    for tool in ("arm-none-eabi-gcc", "arm-none-eabi-ld"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on the PATH")
    source, linked, script = tmp_path / "a.s", tmp_path / "a.elf", tmp_path / "a.ld"
    source.write_text(
        '.thumb\n.section .text,"ax"\n.space 100\n.section .data,"ax",%progbits\n.space 40\n.bss\n.space 8\n'
        '.section ._user_heap_stack,"aw",%nobits\n.space 200\n'
    )
    script.write_text(
        "MEMORY { FLASH : ORIGIN = 0x10000000, LENGTH = 4K RAM : ORIGIN = 0x20000000, LENGTH = 4K }\n"
        "SECTIONS { .text : { *(.text) } > FLASH .data : { *(.data) } > RAM AT > FLASH .bss : { *(.bss) } > RAM\n"
        "._user_heap_stack : { *(._user_heap_stack) } > RAM }\n"
    )
    gcc = ["arm-none-eabi-gcc", "-nostdlib", f"-Wl,-T,{script}", "-Wl,-e,0", str(source), "-o", str(linked)]
    subprocess.run(gcc, check=True)
    (data,) = [s for s in image.sections(linked.read_bytes()) if s.name == ".data"]
    assert data.in_ram and data.size == 40
    assert image.sizes(linked) == image.Sizes(flash=140, static_ram=48, weights=0, vectors=0)


def test_an_esp_idf_image_s_constants_are_not_ram(tmp_path: Path) -> None:
    """Its sections by name and flags; .flash.rodata is writable there, and the dummy before it is in no memory."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not on the PATH")
    made = {
        ".iram0.text": ('"awx"', "%progbits", 64),
        ".dram0.data": ('"aw"', "%progbits", 16),
        ".dram0.bss": ('"aw"', "%nobits", 32),
        ".flash_rodata_dummy": ('"aw"', "%nobits", 512),
        ".flash.rodata": ('"aw"', "%progbits", 256),
        ".flash.text": ('"ax"', "%progbits", 128),
    }
    source, made_elf = tmp_path / "a.s", tmp_path / "a.o"
    source.write_text("".join(f".section {n},{f},{t}\n.space {size}\n" for n, (f, t, size) in made.items()))
    subprocess.run(["arm-none-eabi-gcc", "-c", str(source), "-o", str(made_elf)], check=True)
    sizes = image.sizes(made_elf)
    assert (sizes.flash, sizes.static_ram) == (64 + 16 + 256 + 128, 16 + 32)
