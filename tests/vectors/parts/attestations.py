"""Format 8.6 and 4.5: evidence of attested enrolments, attest records, and the TPM structures in them.

The good cases called ``recorded-…`` were recorded from swtpm through the agent's and the operator's own code
(``tests/contract/test_attested_enrolment.py`` says how); the rest is made by ``tests/softtpm.py``, since a TPM does not
sign what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.softtpm import (
    AK_ATTRIBUTES,
    DECRYPT,
    EK_ATTRIBUTES,
    FIXED_PARENT,
    FIXED_TPM,
    KEY_ATTRIBUTES,
    NV_ATTRIBUTES,
    ORIGIN,
    RESTRICTED,
    SIGN,
    TIME,
    Maker,
    SoftTpm,
    ecc_public,
    make_credential,
    name_of,
)
from tests.vectors.cases import Cases, bad, good, shape, spoiled
from tests.vectors.encoding import Key, cbor, domain, hashed, token
from tests.vectors.world import DEVICE, LOG, OTHER_DEVICE, RECORDS, device_head, signed_device_head

RECORDED = Path(__file__).parents[1] / "recorded"
MAKER = Maker("maker")
MIDDLE = Maker("middle", MAKER, length=0)
WEAK_PRIMES = (
    0xED26130080CACCC136196C9E93151610079C47DEFE03BAE91929E430566E3F18
    << 256 | 0xC0ACDDCF9E90EDAF2272F533C53DA5A548F5751669D42E6B7B5EF0663976B8CF,
    0xE352BF0EC4B115D0178471BF4479B3CE235CB465AD839A777D343D2393777FF2
    << 256 | 0x00146DFBA838A0C144C9EDB4235177E93F4B1716153831EC98AB7CBEC8465C81,
)  # fmt: skip
"""Of an RSA key of 1,024 bits."""
TPM, OTHER_TPM = SoftTpm("device"), SoftTpm("other device")
SECRET, NONCE, SCALAR = token("credential secret"), token("challenge nonce"), token("credential scalar")
CLAIM = hashed(domain("claim"), token("claim"))
HEAD = signed_device_head(device_head(2, token("root of 2"), [0, bytes(32)]))
ROOT_6 = token("root of 6")


def offer(tpm: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """An offer's fields; ``tpm`` changes the TPM part."""
    part = {
        "ek": TPM.ek_public(), "chain": [MAKER.certify(TPM.ek)], "ak": TPM.ak_public(),
        "pub": ecc_public(DEVICE.point, KEY_ATTRIBUTES),
    } | (tpm or {})  # fmt: skip
    return {
        "v": 1, "claim": CLAIM, "name": "camera-7", "key": DEVICE.point, "genesis": hashed(b"\0", RECORDS[0][0]),
        "head": HEAD, "groups": ["north"], "cadence": 300, "kind": "tpm", "tpm": part,
    } | changes  # fmt: skip


def exchange(
    given: dict[str, Any], *, secret: bytes = SECRET, name: bytes | None = None, ek: Key = TPM.ek, ak: Key = TPM.ak,
    certified: bytes | None = None, extra: bytes | None = None, magic: int = 0xFF544347, kind: int | None = None,
    asked: dict[str, Any] | None = None, answered: dict[str, Any] | None = None, high: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The TPM part of evidence for an offer: challenge, answer, what was disclosed; the options are the defects."""
    raw, shown = cbor(given), given["tpm"]
    blob, seed = make_credential(ek, name or name_of(shown["ak"]), secret, SCALAR)
    challenge = cbor({"v": 1, "offer": hashed(raw), "nonce": NONCE, "cred": blob, "seed": seed} | (asked or {}))
    qualifier = extra or hashed(domain("attested-enrolment"), hashed(raw), hashed(challenge), SECRET)
    attest = TPM.creation(qualifier, certified or shown["pub"])
    attest = magic.to_bytes(4, "big") + (kind or 0x801A).to_bytes(2, "big") + attest[6:]
    answer = {
        "v": 1, "challenge": hashed(challenge), "secret": SECRET, "attest": attest, "sig": ak.sign(attest, high)
    } | (answered or {})  # fmt: skip
    return {"challenge": challenge, "answer": cbor(answer), "random": SCALAR, "issuers": [MAKER.certificate]}


def evidence(given: dict[str, Any] | None = None, tpm: Any = ..., **options: Any) -> dict[str, Any]:
    """Evidence as its reader takes it: bytes and the authorities believed."""
    given = given or offer()
    part = exchange(given, **options) if tpm is ... else tpm
    return {"evidence": cbor({"v": 1, "offer": cbor(given), "tpm": part}), "authorities": [hashed(MAKER.certificate)]}


def cases() -> Cases:
    """Every case of this part."""
    yield from recorded()
    yield from good_evidence()
    yield from bad_offers()
    yield from bad_transcripts()
    yield from states()
    yield from bundled()


def bundled() -> Cases:
    """Evidence in a bundle, named by its digest (14)."""
    data = evidence()["evidence"]
    counts = dict.fromkeys(("records", "heads", "statements", "receipts", "keys", "anchors", "openings"), 0)
    name = f"enrolments/{hashed(data).hex()}.cbor"
    yield good("bundle", "evidence under its digest", "bundle", {"files": {name: data}}, **counts)
    other, unnamed = {"files": {name: data[1:]}}, {"files": {"enrolments/x.cbor": data}}
    yield bad("bundle-other", "evidence_digest", "other bytes than the name says", "bundle", other)
    yield bad("bundle-name", "bundle_layout", "a name that is no digest", "bundle", unnamed)


def recorded() -> Cases:
    """What swtpm answered, as it was recorded."""
    for path in sorted(RECORDED.glob("tpm-*.json")):
        record = json.loads(path.read_text("utf-8"))
        given = {
            key: [bytes.fromhex(item) for item in value] if isinstance(value, list) else bytes.fromhex(value)
            for key, value in record["input"].items()
        }
        name, case = good(f"recorded-{path.stem}", record["description"], record["object"], given)
        yield name, case | {"output": record["output"]}


def weak_key() -> rsa.RSAPrivateKey:
    """An RSA key that is too short for an issuer."""
    p, q = WEAK_PRIMES
    d = pow(65_537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65_537, p * q)
    dp, dq, inverse = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, inverse, public).private_key()


def good_evidence() -> Cases:
    def outcome(level: str, authority: bytes | None, given: dict[str, Any]) -> dict[str, Any]:
        ak = TPM.ak.point if given["kind"] == "tpm" else None
        return {"kind": level, "fingerprint": hashed(cbor(given)), "ak": ak, "authority": authority}

    full, root = offer(), hashed(MAKER.certificate)
    yield good("tpm", "a TPM whose certificate leads to an authority", "enrolment-evidence", evidence(full),
               **outcome("tpm", root, full))  # fmt: skip
    chained = offer({"chain": [MIDDLE.certify(TPM.ek), MIDDLE.certificate]})
    yield good("tpm-intermediate", "over an authority in between", "enrolment-evidence", evidence(chained),
               **outcome("tpm", root, chained))  # fmt: skip
    stranger = offer({"chain": [Maker("stranger").certify(TPM.ek)]})
    yield good("tpm-stranger", "certified by nobody who is believed", "enrolment-evidence", evidence(stranger),
               **outcome("tpm", None, stranger))  # fmt: skip
    for name, description, chain in (
        ("tpm-no-ca", "the issuer is no certificate authority", Maker("leaf", MAKER, ca=False)),
        ("tpm-no-signing", "the issuer may not sign certificates", Maker("unused", MAKER, signs=False)),
        ("tpm-too-long", "a longer chain than an authority allows", Maker("third", MIDDLE)),
        ("tpm-weak-issuer", "an issuer with an RSA key of 1,024 bits", Maker("weak", MAKER, weak_key())),
    ):
        given = offer({"chain": [chain.certify(TPM.ek), chain.certificate, MIDDLE.certificate]})
        yield good(name, description, "enrolment-evidence", evidence(given), **outcome("tpm", None, given))
    for name, description, times, found in (
        ("tpm-asked-then", "asked while its certificates were valid", [1_750_000_000, 1_760_000_000], root),
        ("tpm-not-yet", "asked before its certificates were valid", [None, 1_700_000_000], None),
        ("tpm-expired", "asked after its certificates had ended", [2_500_000_000, None], None),
    ):
        yield good(name, description, "enrolment-evidence", evidence(full) | {"asked": times},
                   **outcome("tpm", found, full))  # fmt: skip
    bare = offer({"chain": []})
    yield good("tpm-uncertified", "a TPM without a certificate", "enrolment-evidence", evidence(bare),
               **outcome("tpm", None, bare))  # fmt: skip
    for kind in ("softhsm", "file"):
        soft = offer(kind=kind, tpm=None) | {"tpm": None}
        yield good(kind, f"a key in no TPM: {kind}", "enrolment-evidence", evidence(soft, None),
                   **outcome(kind, None, soft))  # fmt: skip


def bad_offers() -> Cases:
    """One defect of what was offered; the rest of the transcript fits it."""
    for name, code, description, fields in spoiled(
        offer(), *shape(offer(), "claim"), ("enum", "kind", "softhsm with a TPM part", "softhsm"),
        ("enum", "tpm", "tpm without a TPM part", None), ("name_invalid", "name", "upper case", "Camera"),
        ("key_invalid", "key", "off the curve", [DEVICE.x, OTHER_DEVICE.y]),
        ("wrong_key", "key", "of another device", OTHER_DEVICE.point),
        ("wrong_key", "head", "of another key", signed_device_head(
            device_head(2, token("root of 2"), [0, bytes(32)], log=hashed(domain("device-log"), OTHER_DEVICE.kid)),
            OTHER_DEVICE)),
    ):  # fmt: skip
        part = exchange(offer()) if fields.get("tpm") else None
        yield bad(f"offer-{name}", code, description, "enrolment-evidence", evidence(fields, part)
                  if name.startswith(("zz", "claim", "v-", "kind", "tpm", "name", "key-off"))
                  else evidence(fields))  # fmt: skip
    other = OTHER_TPM.ek_public()
    point = DEVICE.point
    for name, code, description, changes in (
        ("ek-signs", "ek_attributes", "an endorsement key that signs", {"ek": TPM.ek_public(EK_ATTRIBUTES | SIGN)}),
        ("ek-moves", "ek_attributes", "one that can leave", {"ek": TPM.ek_public(EK_ATTRIBUTES & ~FIXED_TPM)}),
        ("ek-other", "ek_mismatch", "another than the certificate's", {"ek": other}),
        ("ek-certificate", "ek_certificate", "a certificate for another purpose",
         {"chain": [MAKER.certify(TPM.ek, purpose=None)]}),
        ("ek-certificate-der", "ek_certificate", "no certificate", {"chain": [b"\x30\x03\x02\x01\x00"]}),
        ("ak-unrestricted", "ak_attributes", "an attestation key that signs anything",
         {"ak": TPM.ak_public(AK_ATTRIBUTES & ~RESTRICTED)}),
        ("ak-moves", "ak_attributes", "one that can leave", {"ak": TPM.ak_public(AK_ATTRIBUTES & ~FIXED_PARENT)}),
        ("ak-decrypts", "ak_attributes", "one that decrypts", {"ak": TPM.ak_public(AK_ATTRIBUTES | DECRYPT)}),
        ("ak-scheme", "ak_attributes", "one without a scheme", {"ak": TPM.ak_public(scheme="0010")}),
        ("key-moves", "key_attributes", "a signing key that can leave",
         {"pub": ecc_public(point, KEY_ATTRIBUTES & ~FIXED_TPM)}),
        ("key-duplicates", "key_attributes", "one that can get another parent",
         {"pub": ecc_public(point, KEY_ATTRIBUTES & ~FIXED_PARENT)}),
        ("key-imported", "key_attributes", "one that was made elsewhere",
         {"pub": ecc_public(point, KEY_ATTRIBUTES & ~ORIGIN)}),
        ("key-decrypts", "key_attributes", "one that decrypts", {"pub": ecc_public(point, KEY_ATTRIBUTES | DECRYPT)}),
        ("key-restricted", "key_attributes", "one that cannot sign heads",
         {"pub": ecc_public(point, KEY_ATTRIBUTES | RESTRICTED)}),
        ("pub-other", "wrong_key", "the TPM's key of another device",
         {"pub": ecc_public(OTHER_DEVICE.point, KEY_ATTRIBUTES)}),
        ("pub-truncated", "tpm_truncated", "a public area that ends early",
         {"pub": ecc_public(point, KEY_ATTRIBUTES)[:-1]}),
        ("pub-trailing", "tpm_trailing", "one that goes on", {"pub": ecc_public(point, KEY_ATTRIBUTES) + b"\0"}),
        ("pub-name", "tpm_algorithm", "a name by SHA-1", {"pub": ecc_public(point, KEY_ATTRIBUTES, name=4)}),
        ("pub-off-curve", "key_invalid", "a point off the curve",
         {"pub": ecc_public([DEVICE.x, OTHER_DEVICE.y], KEY_ATTRIBUTES)}),
    ):  # fmt: skip
        given = offer(changes)
        yield bad(name, code, description, "enrolment-evidence", evidence(given))


def bad_transcripts() -> Cases:
    """One defect of what was asked and answered."""
    made: Callable[..., dict[str, Any]] = evidence
    swapped = offer({"ek": OTHER_TPM.ek_public(), "chain": [MAKER.certify(OTHER_TPM.ek)]})
    earlier = exchange(offer(claim=token("an earlier claim")))
    rest = {key: value for key, value in exchange(offer()).items() if key != "answer"}
    rows: Iterator[tuple[str, str, str, dict[str, Any]]] = iter((
        ("replayed", "transcript_mismatch", "an earlier transcript under a new offer", made(offer(), earlier)),
        ("answer-replayed", "transcript_mismatch", "an earlier answer to a new challenge",
         made(offer(), rest | {"answer": earlier["answer"]})),
        ("ek-swapped", "transcript_mismatch", "the offer's endorsement key swapped half-way",
         made(swapped, exchange(offer()))),
        ("asked-other-tpm", "credential_mismatch", "asked of another TPM", made(ek=OTHER_TPM.ek)),
        ("asked-other-ak", "credential_mismatch", "asked for another attestation key",
         made(name=name_of(OTHER_TPM.ak_public()))),
        ("asked-other-secret", "credential_mismatch", "asked another secret than was answered",
         made(secret=token("another secret"))),
        ("random-other", "credential_mismatch", "made with other randomness than disclosed",
         made(offer(), exchange(offer()) | {"random": token("another scalar")})),
        ("random-zero", "range", "no private number", made(offer(), exchange(offer()) | {"random": bytes(32)})),
        ("random-length", "range", "randomness of an RSA key",
         made(offer(), exchange(offer()) | {"random": bytes(64)})),
        ("nonce-other", "attest_nonce", "signed for another exchange", made(extra=token("another exchange"))),
        ("certified-other", "key_not_certified", "another key certified",
         made(certified=ecc_public(OTHER_DEVICE.point, KEY_ATTRIBUTES))),
        ("signed-other", "bad_signature", "signed by another attestation key", made(ak=OTHER_TPM.ak)),
        ("signed-high", "high_s", "a signature in its other form", made(high=True)),
        ("attest-magic", "tpm_magic", "made outside a TPM", made(magic=0xFF544346)),
        ("attest-kind", "tpm_kind", "an attestation of another kind", made(kind=TIME)),
        ("not-asked", "transcript_mismatch", "a TPM that was not asked", made(offer(), None)),
        ("asked-no-tpm", "transcript_mismatch", "an answer of no TPM",
         made(offer(kind="softhsm") | {"tpm": None}, exchange(offer()))),
        ("challenge-extra", "extra_key", "an unknown key in the challenge", made(asked={"zz": 0})),
        ("answer-version", "enum", "another version of the answer", made(answered={"v": 2})),
        ("answer-signature", "range", "a signature of 63 bytes", made(answered={"sig": bytes(63)})),
    ))  # fmt: skip
    for name, code, description, given in rows:
        yield bad(f"transcript-{name}", code, description, "enrolment-evidence", given)
    fields = {"v": 1, "offer": cbor(offer()), "tpm": None}
    for name, code, description, changed in spoiled(fields, *shape(fields)):
        given = {"evidence": cbor(changed), "authorities": []}
        yield bad(f"evidence-{name}", code, description, "enrolment-evidence", given)


def state(tpm: SoftTpm = TPM, *, log: bytes = LOG, root: bytes = ROOT_6, signer: SoftTpm = TPM, **changes: Any) -> Any:
    """An attest record's evidence over the head of size 6, as its reader takes it."""
    extra = hashed(domain("attest"), log, (6).to_bytes(8, "big"), root)
    quote, signature = tpm.quoted(extra)
    fields = {"v": 1, "head": [6, ROOT_6], "quote": quote, "sig": signature, "nv": list(tpm.counted(extra))} | changes
    return {"evidence": cbor(fields), "log": LOG, "ak": signer.ak.point}


def states() -> Cases:
    told = {"size": 6, "root": ROOT_6, "clock": [TPM.clock, TPM.resets, TPM.restarts, True], "counter": TPM.counter}
    yield good("state", "clock, counts and counter over a head", "attest-evidence", state(), **told)
    yield good("state-no-counter", "without a counter", "attest-evidence", state(nv=None), **(told | {"counter": None}))
    extra = hashed(domain("attest"), LOG, (6).to_bytes(8, "big"), ROOT_6)
    plain = SoftTpm("device", nv_attributes=NV_ATTRIBUTES & ~(1 << 4))
    creation = TPM.creation(extra, TPM.ak_public())
    counted = TPM.counted(extra)
    rows = (
        ("head-other", "attest_nonce", "signed over another head", state(root=token("another root"))),
        ("log-other", "attest_nonce", "signed over another log's head", state(log=token("another log"))),
        ("signer-other", "bad_signature", "signed by another TPM", state(signer=OTHER_TPM)),
        ("kind-other", "tpm_kind", "a certificate and no quote", state(quote=creation, sig=TPM.ak.sign(creation))),
        ("counter-plain", "not_a_counter", "an NV index that can be written", state(plain)),
        ("counter-other", "not_a_counter", "another index certified", state(nv=[plain.nv_public(), *counted[1:]])),
        ("counter-signer", "bad_signature", "certified by another TPM", state(nv=list(OTHER_TPM.counted(extra)))),
        ("counter-old", "attest_nonce", "certified over another head", state(nv=list(TPM.counted(token("old"))))),
        ("quote-truncated", "tpm_truncated", "a quote that ends early", state(quote=TPM.quoted(extra)[0][:-1])),
    )
    for name, code, description, given in rows:
        yield bad(f"state-{name}", code, description, "attest-evidence", given)
    fields = {"v": 1, "head": [6, ROOT_6], "quote": b"\0", "sig": bytes(64), "nv": None}
    for name, code, description, changed in spoiled(fields, *shape(fields, "quote"), ("type", "nv", "a number", 1)):
        given = {"evidence": cbor(changed), "log": LOG, "ak": TPM.ak.point}
        yield bad(f"state-{name}", code, description, "attest-evidence", given)
