"""How each architecture is compiled and linked; plain data for the builder."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Architecture:
    """Options of the cross compiler for code of one architecture."""

    cpu: tuple[str, ...]  # for compiler, assembler and linker
    link: tuple[str, ...] = ("-nostartfiles",)
    standard: str = "c99"
    cxx_standard: str = "c++17"
    warnings: tuple[str, ...] = ("-Wl,--no-warn-rwx-segments",)  # of the linker; its older versions know none
    c_options: tuple[str, ...] = ()
    defines: tuple[tuple[str, str], ...] = field(default=())
    linker: str = "g++"  # the driver that links; gcc where there is no C++ library
    libraries: tuple[str, ...] = ("m",)


def _arm(cpu, fpu):
    floats = ("-mfpu=auto", "-mfloat-abi=hard") if fpu else ("-mfloat-abi=soft",)
    return Architecture((f"-mcpu={cpu}", "-mthumb", *floats), ("--specs=nano.specs", "-nostartfiles"))


def _riscv(_cpu, _fpu):
    # The specs bring the headers as well as the library.
    return Architecture(("-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs"), linker="gcc")


def _xtensa(_cpu, _fpu):
    # The compiler comes without a C library; the port brings what is needed of one.
    return Architecture(("-mtext-section-literals", "-mlongcalls"), ("-nostdlib",), linker="gcc", libraries=("gcc",))


def _avr(cpu, _fpu):
    # GNU C has the address space for constants in flash; a pointer to the wrong memory is an error with -Werror.
    warnings = ("-Waddr-space-convert",)
    # The linker's own limit is raised: what exceeds the board is found after linking, with a message that says more.
    room = ("-Wl,--defsym=__TEXT_REGION_LENGTH__=0x20000",)
    return Architecture((f"-mmcu={cpu}",), room, "gnu99", "gnu++11", (), c_options=warnings)


_FAMILIES = {
    **dict.fromkeys(("armv6-m", "armv7-m", "armv7e-m", "armv8-m"), _arm),
    "rv32imc": _riscv,
    "xtensa": _xtensa,
    "avr": _avr,
}


def of(architecture, cpu, fpu):
    """The options for a board's architecture, core (build.cpu) and whether it has an FPU."""
    return _FAMILIES[architecture](cpu, fpu)
