"""Ed25519 (RFC 8032, 5.1) in plain Python: keys, signing, checking.

For signing on a workstation that is trusted: nothing here takes the same time whatever the key is, so that whoever can
measure the signing closely could learn of it. The device's check is firmware/lib/slots/src/ed25519.c.
"""

import hashlib

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493  # the order of the base point
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # of -1

# (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z.
_Point = tuple[int, int, int, int]
_NEUTRAL: _Point = (0, 1, 1, 0)


def public_key(secret: bytes) -> bytes:
    """The public key (32 bytes) of a secret one (32 random bytes)."""
    return _write(_times(_scalar(secret), _BASE))


def sign(secret: bytes, message: bytes) -> bytes:
    """The signature (64 bytes) of a message; the same for the same message."""
    key = public_key(secret)
    r = _hash(hashlib.sha512(secret).digest()[32:], message)
    point = _write(_times(r, _BASE))
    s = (r + _hash(point, key, message) * _scalar(secret)) % _L
    return point + s.to_bytes(32, "little")


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is that of a public key for a message."""
    a = _read(key)
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or s >= _L:
        return False
    minus = (-a[0] % _P, a[1], a[2], -a[3] % _P)
    k = _hash(signature[:32], key, message)
    return _write(_add(_times(s, _BASE), _times(k, minus))) == signature[:32]


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _L


def _scalar(secret: bytes) -> int:
    low = int.from_bytes(hashlib.sha512(secret).digest()[:32], "little")
    return low & ((1 << 254) - 8) | 1 << 254


def _add(p: _Point, q: _Point) -> _Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: _Point) -> _Point:
    total = _NEUTRAL
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _write(p: _Point) -> bytes:
    inverse = pow(p[2], -1, _P)
    x, y = p[0] * inverse % _P, p[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _read(data: bytes) -> _Point | None:
    """The point that 32 bytes stand for, or None where they stand for none."""
    value = int.from_bytes(data, "little")
    y, odd = value & ((1 << 255) - 1), value >> 255
    if len(data) != 32 or y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and odd):
        return None
    if x & 1 != odd:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE_Y = 4 * pow(5, -1, _P) % _P
_FOUND = _read(_BASE_Y.to_bytes(32, "little"))
assert _FOUND is not None
_BASE: _Point = _FOUND
