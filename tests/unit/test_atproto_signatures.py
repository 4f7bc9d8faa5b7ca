"""AT Protocol: which keys are found in a DID document, and which signatures hold."""

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from producers.atproto.protocol.signatures import (
    LABELER_KEY,
    Curve,
    KeyReason,
    PublicKey,
    SignatureProblem,
    UnusableKey,
    key_from_did_key,
    key_from_multibase,
    key_of,
)

# Known answers: bluesky-social/atproto, interop-test-files/crypto/signature-fixtures.json.
P256 = "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo"
P256_BARE = "zxdM8dSstjrpZaRUwBmDvjGXweKuEMVN95A9oJBFjkWMh"
K256 = "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"
K256_BARE = "z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t"
P256_TYPE, K256_TYPE = "EcdsaSecp256r1VerificationKey2019", "EcdsaSecp256k1VerificationKey2019"
MESSAGE = b64decode("oWVoZWxsb2V3b3JsZA==")
P256_LOW = "2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoJWExHptCfduPleDbG3rko3YZnn9Lw0IjpixVmexJDegg=="
P256_HIGH = "2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoKp7O4VS9giSAah8k5IUbXIW00SuOrjfEqQ9HEkN9JGzw=="
K256_LOW = "5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdUn/FEznOndsz/qgiYb89zwxYCbB71f7yQK5Lr7NasfoA=="
K256_HIGH = "5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdXYA67MYxYiTMAVfdnkDCMN9S5B3vHosRe07aORmoshoQ=="

KNOWN = [
    pytest.param(P256, P256_LOW, None, id="p256, low s"),
    pytest.param(K256, K256_LOW, None, id="k256, low s"),
    pytest.param(P256, P256_HIGH, SignatureProblem.HIGH_S, id="p256, high s"),
    pytest.param(K256, K256_HIGH, SignatureProblem.HIGH_S, id="k256, high s"),
    pytest.param(P256, K256_LOW, SignatureProblem.WRONG, id="p256, another's signature"),
    pytest.param(K256, P256_LOW, SignatureProblem.WRONG, id="k256, another's signature"),
]


@pytest.mark.parametrize(("key", "signature", "problem"), KNOWN)
def test_known_signatures(key: str, signature: str, problem: SignatureProblem | None) -> None:
    assert key_from_multibase(key).problem_of(b64decode(signature), MESSAGE) is problem


@pytest.mark.parametrize(("key", "signature"), [(P256, P256_LOW), (K256, K256_LOW)], ids=["p256", "k256"])
@pytest.mark.parametrize("at", [0, 31, 32, 63])
def test_a_signature_holds_for_its_message_alone(key: str, signature: str, at: int) -> None:
    known, raw = key_from_multibase(key), b64decode(signature)
    assert known.problem_of(raw, MESSAGE + b"\0") is SignatureProblem.WRONG
    changed = bytearray(raw)
    changed[at] ^= 1
    assert known.problem_of(bytes(changed), MESSAGE) is SignatureProblem.WRONG


@pytest.mark.parametrize("key", [P256, K256], ids=["p256", "k256"])
@pytest.mark.parametrize("length", [0, 63, 65, 70, 72, 1_000_000])
def test_a_signature_has_64_bytes(key: str, length: int) -> None:
    assert key_from_multibase(key).problem_of(b"\1" * length, MESSAGE) is SignatureProblem.LENGTH


@pytest.mark.parametrize("key", [P256, K256], ids=["p256", "k256"])
@pytest.mark.parametrize(
    "signature",
    [b"\0" * 64, b"\xff" * 32 + b"\0" * 31 + b"\1", b"\0" * 63 + b"\1"],
    ids=["zeros", "r too large", "r 0"],
)
def test_numbers_that_no_signature_has_are_wrong(key: str, signature: bytes) -> None:
    assert key_from_multibase(key).problem_of(signature, MESSAGE) is SignatureProblem.WRONG


def test_what_another_library_signs_holds() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_numbers()
    key = PublicKey(Curve.P256, bytes((2 | point.y & 1,)) + point.x.to_bytes(32))
    r, s = decode_dss_signature(private.sign(b"said", ec.ECDSA(SHA256())))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    assert key.problem_of(r.to_bytes(32) + min(s, order - s).to_bytes(32), b"said") is None
    assert key.problem_of(r.to_bytes(32) + max(s, order - s).to_bytes(32), b"said") is SignatureProblem.HIGH_S


FORMS = [
    pytest.param(K256, "Multikey", K256, id="k256 with prefix"),
    pytest.param(P256, "Multikey", P256, id="p256 with prefix"),
    pytest.param(K256_BARE, K256_TYPE, K256, id="k256 in the old form"),
    pytest.param(P256_BARE, P256_TYPE, P256, id="p256 in the old form"),
]


@pytest.mark.parametrize(("text", "type_", "same"), FORMS)
def test_a_key_is_the_same_in_all_its_forms(text: str, type_: str, same: str) -> None:
    key = key_from_multibase(text, type_)
    assert key == key_from_did_key(f"did:key:{same}")
    assert key.did_key() == f"did:key:{same}"


def test_an_uncompressed_point_is_compressed() -> None:
    captured = "zND5jHYBD8Ck3gQtUNf4QZYcXwtjqh9RUq17Cj3qYe34wMsbuJU5GmmXQtpFcbyvqHPWW9Qe9Kn7jyfbm9p5AswWM"
    key = key_from_multibase(captured, K256_TYPE)
    assert len(key.point) == 33
    assert key_from_did_key(key.did_key()) == key


def document(*methods: object, **others: object) -> dict[str, object]:
    return {"id": "did:plc:x", "verificationMethod": list(methods), **others}


def method(id_: str, key: str = K256, type_: str = "Multikey") -> dict[str, object]:
    return {"id": id_, "type": type_, "controller": "did:plc:x", "publicKeyMultibase": key}


FOUND = [
    pytest.param(document(method("#atproto")), "#atproto", K256, id="by its fragment"),
    pytest.param(document(method("did:plc:x#atproto")), "#atproto", K256, id="by the DID and its fragment"),
    pytest.param(document(method("#other", P256), method("#atproto")), "#atproto", K256, id="behind another"),
    pytest.param(document(method("#atproto"), method("#atproto", P256)), "#atproto", K256, id="the first of two"),
    pytest.param(document(method("#atproto"), method("#atproto_label", P256)), LABELER_KEY, P256, id="the labeler's"),
]


@pytest.mark.parametrize(("found", "id_", "key"), FOUND)
def test_a_document_yields_the_key_that_is_asked_for(found: dict[str, object], id_: str, key: str) -> None:
    assert key_of(found, id_) == key_from_multibase(key)


UNUSABLE = [
    pytest.param({}, KeyReason.DOCUMENT, id="an empty document"),
    pytest.param({"id": "did:plc:x", "verificationMethod": "no"}, KeyReason.DOCUMENT, id="methods are no list"),
    pytest.param(document(7), KeyReason.DOCUMENT, id="a method that is a number"),
    pytest.param({"id": "did:plc:x"}, KeyReason.ABSENT, id="no methods"),
    pytest.param(document(method("did:plc:y#atproto")), KeyReason.ABSENT, id="the method of another DID"),
    pytest.param(document({"id": "#atproto", "type": "Multikey"}), KeyReason.MULTIBASE, id="a method without key"),
    pytest.param(document(method("#atproto", "m" + K256[1:])), KeyReason.MULTIBASE, id="another base"),
    pytest.param(document(method("#atproto", "z0OIl")), KeyReason.MULTIBASE, id="letters that base58 lacks"),
    pytest.param(document(method("#atproto", "z" + "2" * 100_000)), KeyReason.MULTIBASE, id="a very long key"),
    pytest.param(document(method("#atproto", K256, "Ed25519VerificationKey2020")), KeyReason.TYPE, id="another type"),
    pytest.param(
        document(method("#atproto", "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")), KeyReason.TYPE, id="ed25519"
    ),
    pytest.param(document(method("#atproto", K256[:-2])), KeyReason.TYPE, id="a key cut short"),
    pytest.param(
        document(method("#atproto", K256_BARE[:-1] + "v", P256_TYPE)), KeyReason.POINT, id="a point off the curve"
    ),
    pytest.param(document(method("#atproto", "z1111", K256_TYPE)), KeyReason.POINT, id="zeros"),
]


@pytest.mark.parametrize(("found", "reason"), UNUSABLE)
def test_a_document_without_a_usable_key_says_why(found: dict[str, object], reason: KeyReason) -> None:
    with pytest.raises(UnusableKey) as raised:
        key_of(found)
    assert raised.value.reason is reason
    assert len(str(raised.value)) < 300


def test_only_a_did_key_is_one() -> None:
    with pytest.raises(UnusableKey, match="no did:key"):
        key_from_did_key("did:plc:x")
