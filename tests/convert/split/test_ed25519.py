"""Ed25519: RFC 8032's own vectors, OpenSSL's signatures, and the device's C against the Python."""

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.compiled import host
from convert.paths import FIRMWARE
from convert.split import ed25519

LIBRARY = FIRMWARE / "lib" / "slots"
ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, 7.1, tests 1 to 3: secret key, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]

Verify = Callable[[bytes, bytes, list[bytes]], bool]


class Piece(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_char_p), ("count", ctypes.c_size_t)]


@pytest.fixture(scope="module")
def verify_in_c(tmp_path_factory: pytest.TempPathFactory) -> Verify:
    library = tmp_path_factory.mktemp("ed25519") / "ed25519.so"
    flags = ["-std=c99", "-O2", *host.WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC"]
    sources = [str(LIBRARY / "src" / name) for name in ("ed25519.c", "sha512.c")]
    host.call([host.compiler(), *flags, f"-I{LIBRARY / 'include'}", *sources, "-o", str(library)], "compiling")
    loaded = ctypes.CDLL(str(library))

    def verify(key: bytes, signature: bytes, parts: list[bytes]) -> bool:
        pieces = (Piece * len(parts))(*(Piece(part, len(part)) for part in parts))
        return bool(loaded.ed25519_verify(signature, key, pieces, len(parts)))

    return verify


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_the_standards_vectors(verify_in_c: Verify, secret: str, public: str, message: str, signature: str) -> None:
    key, text, made = (bytes.fromhex(part) for part in (public, message, signature))
    assert ed25519.public_key(bytes.fromhex(secret)) == key
    assert ed25519.sign(bytes.fromhex(secret), text) == made
    assert ed25519.verify(key, text, made)
    assert verify_in_c(key, made, [text])


@settings(max_examples=40, deadline=None)
@given(secret=st.binary(min_size=32, max_size=32), message=st.binary(max_size=400), cut=st.integers(0, 400))
def test_c_takes_what_python_signs(verify_in_c: Verify, secret: bytes, message: bytes, cut: int) -> None:
    key, signature = ed25519.public_key(secret), ed25519.sign(secret, message)
    assert verify_in_c(key, signature, [message[:cut], b"", message[cut:]])


@settings(max_examples=60, deadline=None)
@given(flip=st.integers(0, 8 * (64 + 32 + 50) - 1))
def test_one_changed_bit_is_refused_by_both(verify_in_c: Verify, flip: int) -> None:
    secret, message = bytes(range(32)), bytes(range(50))
    whole = bytearray(ed25519.sign(secret, message) + ed25519.public_key(secret) + message)
    whole[flip // 8] ^= 1 << flip % 8
    signature, key, text = bytes(whole[:64]), bytes(whole[64:96]), bytes(whole[96:])
    assert not ed25519.verify(key, text, signature)
    assert not verify_in_c(key, signature, [text])


@settings(max_examples=60, deadline=None)
@given(key=st.binary(min_size=32, max_size=32), signature=st.binary(min_size=64, max_size=64))
def test_both_say_the_same_of_anything(verify_in_c: Verify, key: bytes, signature: bytes) -> None:
    assert verify_in_c(key, signature, [b"text"]) == ed25519.verify(key, b"text", signature)


@pytest.mark.parametrize("y", [0, 1, 2, 2**255 - 20, 2**255 - 19, 2**255 - 18, 2**255 - 1])
@pytest.mark.parametrize("odd", [0, 1])
def test_keys_at_the_edges(verify_in_c: Verify, y: int, odd: int) -> None:
    """Points of small order, numbers that are not below p: S = 0 and R = neutral would be right for some of them."""
    key = (y | odd << 255).to_bytes(32, "little")
    for point in (bytes([1]) + bytes(31), key):
        assert verify_in_c(key, point + bytes(32), [b"text"]) == ed25519.verify(key, b"text", point + bytes(32))


def test_a_signature_has_no_second_form(verify_in_c: Verify) -> None:
    secret, message = hashlib.sha256(b"key").digest(), b"message"
    signature = ed25519.sign(secret, message)
    other = signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    assert not ed25519.verify(ed25519.public_key(secret), message, other)
    assert not verify_in_c(ed25519.public_key(secret), other, [message])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_signs_the_same(tmp_path: Path, verify_in_c: Verify) -> None:
    secret, message = hashlib.sha256(b"another key").digest(), bytes(range(256)) * 9
    head = bytes.fromhex("302e020100300506032b657004220420")  # PKCS #8 of RFC 8410
    (tmp_path / "key.der").write_bytes(head + secret)
    (tmp_path / "message").write_bytes(message)
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", "key.der", "-in", "message"]
    subprocess.run([*command, "-out", "signature"], cwd=tmp_path, check=True)
    signature = (tmp_path / "signature").read_bytes()
    assert signature == ed25519.sign(secret, message)
    assert verify_in_c(ed25519.public_key(secret), signature, [message])
