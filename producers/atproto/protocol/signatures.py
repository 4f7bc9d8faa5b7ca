"""Keys and signatures of accounts and labelers: ECDSA over SHA-256 with secp256k1 (k256) or NIST P-256 (p256).

Signatures are 64 bytes, r and s, and s must be the lower of its two values, so that nobody else can make a second one
of the same commit. Source: https://atproto.com/specs/cryptography
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache

import coincurve
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from producers.atproto.protocol.faults import Refusal, shown

REPOSITORY_KEY = "#atproto"
LABELER_KEY = "#atproto_label"
"""Under which ids a DID document publishes the two keys."""
MAX_MULTIBASE_CHARS = 128


class Curve(StrEnum):
    """The two curves of the protocol."""

    K256 = "k256"
    P256 = "p256"


_ORDERS = {
    Curve.K256: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    Curve.P256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}
_PREFIXES = {b"\xe7\x01": Curve.K256, b"\x80\x24": Curve.P256}
"""Multicodec prefixes of public keys."""
_LEGACY = {
    "EcdsaSecp256k1VerificationKey2019": Curve.K256,
    "EcdsaSecp256r1VerificationKey2019": Curve.P256,
}
"""Types of verification methods whose key has no prefix, because the type names the curve."""


class KeyReason(StrEnum):
    """Why there is no usable key."""

    DOCUMENT = "did_document_unusable"
    ABSENT = "key_absent"
    MULTIBASE = "multibase_unreadable"
    TYPE = "key_type_unknown"
    POINT = "key_no_point"


class UnusableKey(Refusal[KeyReason]):
    """A DID document, or a text, yields no key."""


class SignatureProblem(StrEnum):
    """Why a signature does not hold."""

    LENGTH = "signature_not_64_bytes"
    HIGH_S = "signature_high_s"
    WRONG = "signature_wrong"


class PublicKey(msgspec.Struct, frozen=True):
    """A public key: its curve, and its point in compressed form (33 bytes), which lies on it."""

    curve: Curve
    point: bytes

    def problem_of(self, signature: bytes, message: bytes) -> SignatureProblem | None:
        """Return why `signature` is not this key's of `message`; None where it is."""
        if len(signature) != 64:
            return SignatureProblem.LENGTH
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        if s > _ORDERS[self.curve] // 2:
            return SignatureProblem.HIGH_S
        der = encode_dss_signature(r, s)
        try:
            if self.curve is Curve.P256:
                _p256(self.point).verify(der, message, ec.ECDSA(SHA256()))
                return None
            return None if _k256(self.point).verify(der, message) else SignatureProblem.WRONG
        except (InvalidSignature, ValueError):
            return SignatureProblem.WRONG

    def did_key(self) -> str:
        """Return the key as `did:key:z...`."""
        prefix = next(prefix for prefix, curve in _PREFIXES.items() if curve is self.curve)
        return "did:key:z" + _base58(prefix + self.point)


def key_from_did_key(text: str) -> PublicKey:
    """Return the key of a `did:key:z...`. Raises UnusableKey."""
    if not text.startswith("did:key:"):
        raise UnusableKey(KeyReason.MULTIBASE, f"no did:key: {shown(text)}")
    return key_from_multibase(text.removeprefix("did:key:"))


def key_from_multibase(text: str, type_: str = "Multikey") -> PublicKey:
    """Return the key of a verification method by its `publicKeyMultibase` and its type. Raises UnusableKey."""
    raw = _from_base58(text)
    if (curve := _LEGACY.get(type_)) is None:
        if type_ != "Multikey":
            raise UnusableKey(KeyReason.TYPE, shown(type_))
        if (curve := _PREFIXES.get(raw[:2])) is None:
            raise UnusableKey(KeyReason.TYPE, f"multicodec {shown(raw[:2])}")
        raw = raw[2:]
    return PublicKey(curve, _compressed(curve, raw))


def key_of(document: Mapping[str, object], id_: str = REPOSITORY_KEY) -> PublicKey:
    """Return the key that a DID document publishes under `id_`: the first method whose id is that, alone or behind the
    DID. Raises UnusableKey.
    """
    try:
        methods = msgspec.convert(document, _Document).verification_method
    except msgspec.ValidationError as error:
        raise UnusableKey(KeyReason.DOCUMENT, str(error)[:200]) from error
    for method in methods:
        if method.id in (id_, f"{document.get('id')}{id_}"):
            return key_from_multibase(method.public_key_multibase, method.type)
    raise UnusableKey(KeyReason.ABSENT, f"no verification method {id_}")


class _Method(msgspec.Struct, rename="camel"):
    id: str
    type: str
    public_key_multibase: str = ""


class _Document(msgspec.Struct, rename="camel"):
    id: str
    verification_method: list[_Method] = []


def _compressed(curve: Curve, point: bytes) -> bytes:
    try:
        if curve is Curve.K256:
            return coincurve.PublicKey(point).format(compressed=True)
        from_point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        return b"\x02\x03"[from_point.public_numbers().y & 1 :][:1] + from_point.public_numbers().x.to_bytes(32)
    except ValueError as error:
        raise UnusableKey(KeyReason.POINT, f"{curve}, {len(point)} bytes: {error}") from error


@lru_cache(maxsize=65_536)
def _k256(point: bytes) -> coincurve.PublicKey:
    return coincurve.PublicKey(point)


@lru_cache(maxsize=65_536)
def _p256(point: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _from_base58(text: str) -> bytes:
    """Return the bytes of multibase `z...`. Raises UnusableKey."""
    if not text.startswith("z") or len(text) > MAX_MULTIBASE_CHARS:
        raise UnusableKey(KeyReason.MULTIBASE, f"base58btc (z...) is expected: {shown(text)}")
    number = 0
    for character in text[1:]:
        if (value := _BASE58.find(character)) < 0:
            raise UnusableKey(KeyReason.MULTIBASE, f"no base58btc: {shown(text)}")
        number = number * 58 + value
    digits = text[1:]
    zeros = len(digits) - len(digits.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8)


def _base58(raw: bytes) -> str:
    number, text = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text
