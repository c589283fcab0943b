"""What an audit log is, from its documents alone: RFC 6962 trees, C2SP notes, and ECDSA on P-256 without OpenSSL.

`docs/AUDIT_LOG.md` names the documents. Only Python's standard library is used: who wants to check a log without any of
fedtune's code may begin here.
"""

import base64
import hashlib
import re

FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
GENERATOR = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
# A SubjectPublicKeyInfo of a P-256 key, up to the two coordinates of its point.
SPKI_START = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")

Point = tuple[int, int] | None


def sha256(content: bytes) -> bytes:
    """Its digest."""
    return hashlib.sha256(content).digest()


def leaf(entry: bytes) -> bytes:
    """The hash of an entry."""
    return sha256(b"\0" + entry)


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\1" + left + right)


def split(count: int) -> int:
    """The largest power of two below count."""
    return 1 << (count - 1).bit_length() - 1


def root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    left = split(len(leaves))
    return node(root(leaves[:left]), root(leaves[left:]))


def inclusion(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(leaves) == 1:
        return []
    left = split(len(leaves))
    if index < left:
        return [*inclusion(index, leaves[:left]), root(leaves[left:])]
    return [*inclusion(index - left, leaves[left:]), root(leaves[:left])]


def consistency(old: int, leaves: list[bytes], known: bool = True) -> list[bytes]:
    """PROOF of section 2.1.2; of an empty log, nothing has to be shown."""
    if old == 0:
        return []
    if old == len(leaves):
        return [] if known else [root(leaves)]
    left = split(len(leaves))
    if old <= left:
        return [*consistency(old, leaves[:left], known), root(leaves[left:])]
    return [*consistency(old - left, leaves[left:], known=False), root(leaves[:left])]


def add(one: Point, other: Point) -> Point:
    """The sum of two points of the curve."""
    if one is None or other is None:
        return one or other
    if one[0] == other[0]:
        if (one[1] + other[1]) % FIELD == 0:
            return None
        slope = (3 * one[0] ** 2 - 3) * pow(2 * one[1], -1, FIELD)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, FIELD)
    x = (slope**2 - one[0] - other[0]) % FIELD
    return x, (slope * (one[0] - x) - one[1]) % FIELD


def times(factor: int, point: Point) -> Point:
    """The point, so many times."""
    total = None
    while factor:
        if factor & 1:
            total = add(total, point)
        point = add(point, point)
        factor >>= 1
    return total


def der_numbers(signature: bytes) -> tuple[int, int]:
    """The r and s of a signature in ASN.1 DER, of which this is the one encoding."""
    r_size = signature[3]
    r = int.from_bytes(signature[4 : 4 + r_size], "big")
    s = int.from_bytes(signature[6 + r_size :], "big")
    assert der_signature(r, s) == signature
    return r, s


def der_signature(r: int, s: int) -> bytes:
    """The DER of both numbers."""
    parts = b""
    for number in (r, s):
        encoded = number.to_bytes(number.bit_length() // 8 + 1, "big")
        parts += bytes([2, len(encoded)]) + encoded
    return bytes([0x30, len(parts)]) + parts


def has_signed(spki: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the key has: FIPS 186-5, section 6.4.2."""
    coordinates = spki[len(SPKI_START) :]
    key = int.from_bytes(coordinates[:32], "big"), int.from_bytes(coordinates[32:], "big")
    assert (key[1] ** 2 - key[0] ** 3 + 3 * key[0] - B) % FIELD == 0
    r, s = der_numbers(signature)
    if not (0 < r < ORDER and 0 < s < ORDER):
        return False
    inverse = pow(s, -1, ORDER)
    digest = int.from_bytes(sha256(message), "big")
    point = add(times(digest * inverse % ORDER, GENERATOR), times(r * inverse % ORDER, key))
    return point is not None and point[0] % ORDER == r


def sign(secret: int, message: bytes) -> bytes:
    """Signs for a test: the nonce follows from key and message, as it may nowhere else."""
    digest = int.from_bytes(sha256(message), "big")
    nonce = int.from_bytes(sha256(secret.to_bytes(32, "big") + message), "big") % ORDER
    r = times(nonce, GENERATOR)[0] % ORDER
    return der_signature(r, pow(nonce, -1, ORDER) * (digest + r * secret) % ORDER)


def pem_bytes(pem: str) -> bytes:
    """The DER of the first block."""
    return base64.b64decode("".join(pem.split("-----")[2].split()))


def spki_of(certificate: str) -> bytes:
    """The SubjectPublicKeyInfo in a certificate."""
    der = pem_bytes(certificate)
    start = der.index(SPKI_START)
    return der[start : start + len(SPKI_START) + 64]


def secret_of(key: str) -> int:
    """The number in a P-256 key in PKCS #8: an octet string of 32 bytes behind the version of ECPrivateKey."""
    der = pem_bytes(key)
    start = der.index(bytes.fromhex("0201010420")) + 5
    return int.from_bytes(der[start : start + 32], "big")


def write_note(federation: str, size: int, root_hash: bytes, secret: int, spki: bytes) -> str:
    """A checkpoint as a coordinator signs it."""
    name = f"fedtune.log/{federation}"
    text = f"{name}\n{size}\n{base64.b64encode(root_hash).decode()}\n"
    signature = sha256(spki)[:4] + sign(secret, text.encode())
    return f"{text}\n\N{EM DASH} {name} {base64.b64encode(signature).decode()}\n"


def read_note(note: str, certificate: str) -> tuple[str, int, bytes]:
    """Federation, size and root of a checkpoint that the certificate's key has signed."""
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    name, size, root_hash = text.splitlines()
    match = re.fullmatch(f"\N{EM DASH} {re.escape(name)} (\\S+)\n", signatures)
    assert match, "one signature by the log's name"
    signature = base64.b64decode(match[1], validate=True)
    spki = spki_of(certificate)
    assert signature[:4] == sha256(spki)[:4], "of the certificate's key"
    assert has_signed(spki, text.encode(), signature[4:]), "and of this text"
    return name.removeprefix("fedtune.log/"), int(size), base64.b64decode(root_hash, validate=True)
