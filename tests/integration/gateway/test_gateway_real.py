"""The gateway on real parts: from a device's segment to an anchored receipt, from a command to its delivery."""

from __future__ import annotations

import signal

from edgeseal import cbor, contractstate, evmproof
from edgeseal.fleetlog_event import decode_anchored
from edgeseal.merkle import leaf_hash, verify_inclusion
from edgeseal.messages import CommandMessage, KeysetMessage, Refusal, Resend
from edgeseal.receipt import Receipt
from edgeseal.stateevidence import AccountEvidence, StorageEvidence
from tests.integration.gateway.rig import Rig, digest, until


def test_a_record_gets_from_the_device_to_the_chain(rig: Rig) -> None:
    wired = rig.device("cam-1")
    device = wired.device
    device.infer(30)
    device.seal()
    wired.send_records(0)
    wired.receipt_for(device.heads[-1])
    told = wired.receipt_for(device.heads[-1], anchored=True)
    assert told.anchor is not None
    assert rig.network.anchored() >= told.anchor.size
    shown = rig.get(f"/v1/devices/{device.log.hex()}")
    assert (shown["size"], shown["root"], shown["state"]) == (device.size, device.root().hex(), "active")
    until(lambda: rig.get(f"/v1/devices/{device.log.hex()}")["anchored_size"] == device.size, "all is anchored")
    proof = rig.get(f"/v1/devices/{device.log.hex()}/records/7/proof")
    assert bytes.fromhex(proof["leaf"]) == device.records[7].leaf
    path = [bytes.fromhex(node) for node in proof["path"]]
    verify_inclusion(device.records[7].leaf, 7, proof["size"], path, bytes.fromhex(proof["root"]))
    receipt = Receipt.decode(bytes.fromhex(proof["receipt"]))
    fleet = receipt.verify_inclusion(rig.tenant.gateway_key, leaf_hash(bytes.fromhex(proof["head"])))
    assert proof["anchor"]["root"] == fleet.root.hex()
    wired.close()


def test_anchor_evidence_proves_the_event_to_a_stranger(rig: Rig) -> None:
    until(lambda: rig.get("/v1/export/index")["anchors"], "the first head is anchored")
    (made,) = cbor.decode(rig.http.get("/v1/export/anchors?limit=1").content, max_size=1 << 20)
    proved = evmproof.verify_log(
        made["block"], made["header"], made["receipt"], made["index"], made["nodes"], made["contract"], made["log"]
    )
    event = decode_anchored(proved.log)
    assert (event.log_id, event.size, event.kid) == (rig.tenant.log, 2, rig.tenant.gateway_key.kid)


def test_the_contracts_state_is_proved_at_each_anchor(rig: Rig) -> None:
    def kept() -> bool:
        found = rig.get("/v1/export/index")["anchors"]
        return bool(found) and found[-1]["state"] == "kept"

    until(kept, "the newest anchor's state is kept")
    (made, *_) = cbor.decode(rig.http.get("/v1/export/accounts").content, max_size=1 << 24)
    evidence = AccountEvidence.decode(cbor.encode(made))
    _, accounts = evidence.verify()
    profile = rig.network.profile
    account = accounts[profile.identity_registry]
    assert account is not None and account.code_hash == profile.registry_code
    page = rig.http.get(f"/v1/export/storage/{account.storage_root.hex()}").content
    slots = StorageEvidence.decode(cbor.encode(cbor.decode(page, max_size=1 << 24))).verify()
    assert contractstate.key_state(slots.__getitem__, profile.fleet_log, rig.tenant.operator.kid) is None
    assert rig.http.get(f"/v1/export/storage/{bytes(32).hex()}").content == cbor.encode(None)


def test_commands_and_keysets_reach_the_device(rig: Rig) -> None:
    wired = rig.device("cam-1")
    device = wired.device
    wired.send_records(0)
    wired.receipt_for(device.heads[-1])
    asked = rig.get("/v1/audience", log=device.log.hex())
    statement, salt, args = rig.tenant.command(device.log, bytes.fromhex(asked["prev"]), {"text": "hello"})
    answer = rig.hand_in(statement, salt, args)
    assert rig.hand_in(statement, salt, args)["digest"] == answer["digest"]
    (sent,) = until(lambda: wired.messages(CommandMessage), "the command")
    assert (sent.command, sent.salt, sent.args) == (statement, salt, args)
    receipt = Receipt.decode(sent.receipt)
    receipt.verify_inclusion(rig.tenant.gateway_key, leaf_hash(statement))
    keyset = rig.tenant.next_keyset()
    rig.sequenced(keyset)
    until(lambda: [one for one in wired.messages(KeysetMessage) if one.keyset == keyset], "the keyset")
    stale, salt, args = rig.tenant.command(device.log, bytes(32), {"text": "again"})
    assert rig.hand_in(stale, salt, args, status=409)["code"] == "command_stale"
    second, salt, args = rig.tenant.command(device.log, digest(statement), {"text": "again"})
    rig.hand_in(second, salt, args)
    until(lambda: len(wired.messages(CommandMessage)) >= 2, "the second command")
    listed = rig.get("/v1/commands", log=device.log.hex())["commands"]
    assert [one["arguments"]["text"] for one in listed] == ["hello", "again"]
    wired.close()


def applicants(rig: Rig) -> list[str]:
    return [one["log"] for one in rig.get("/v1/devices")["applicants"]]


def test_a_stranger_waits_and_goes_on_once_enrolled(rig: Rig) -> None:
    wired = rig.device("late", enrol=False)
    device = wired.device
    wired.hello()
    wired.send_records(0)
    until(lambda: [one for one in wired.messages(Refusal) if one.code == "unknown_key"], "the refusal")
    until(lambda: device.log.hex() in applicants(rig), "it stands among the applicants")
    rig.sequenced(rig.tenant.enrolment(device))
    until(lambda: wired.messages(Resend), "the gateway asks for the log")
    assert device.log.hex() not in applicants(rig)
    wired.send_records(0)
    wired.receipt_for(device.heads[-1])
    wired.close()


def test_a_key_revoked_in_the_registry_is_refused(rig: Rig) -> None:
    wired = rig.device("stolen")
    device = wired.device
    wired.send_records(0)
    wired.receipt_for(device.heads[-1], anchored=True)
    rig.network.register(device.key.public, 0)
    rig.network.revoke(device.key.kid, rig.network.anchored())
    path = f"/v1/devices/{device.log.hex()}"
    until(lambda: rig.get(path)["state"] == "revoked", "the gateway learns of it")
    device.infer(3)
    device.seal()
    wired.send_records(2)
    until(lambda: [one for one in wired.messages(Refusal) if one.code == "key_revoked"], "the refusal")
    assert rig.get(path)["size"] == 2
    assert device.key.kid.hex() in [one["kid"] for one in rig.get("/v1/revoked")["keys"]]
    wired.close()


def test_kill_and_start_again_lose_nothing(rig: Rig) -> None:
    wired = rig.device("cam-1")
    device = wired.device
    wired.send_records(0)
    for _ in range(4):
        start = device.last[0]
        device.infer(20)
        device.seal()
        wired.send_records(start)
        rig.stop(signal.SIGKILL)
        rig.start()
    wired.hello()
    until(lambda: rig.get(f"/v1/devices/{device.log.hex()}")["size"] == device.last[0], "all records are there")
    wired.receipt_for(device.heads[-1], anchored=True)
    assert rig.stop() == 0, "SIGTERM ends it in good order"
    rig.start()
    wired.close()


def test_the_page_shows_the_device_and_escapes_what_it_says(rig: Rig) -> None:
    wired = rig.device("cam-1")
    wired.send_records(0)
    wired.receipt_for(wired.device.heads[-1])
    answer = rig.http.get("/")
    assert answer.status_code == 200 and "cam-1" in answer.text and "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    foreign = rig.http.get("/v1/status", headers={"host": "evil.example"})
    assert foreign.status_code == 401
    wired.close()


def test_check_status_and_backup(rig: Rig) -> None:
    assert rig.command("check")["ok"]
    assert rig.command("status")["fleet_log"] == rig.tenant.log.hex()
    made = rig.command("backup", "--out", str(rig.folder / "copy"))
    assert made["size"] >= 2 and (rig.folder / "copy" / "gateway.db").is_file()
    assert rig.command("backup", "--out", str(rig.folder / "copy"), code=1)["code"] == "backup_exists"
    assert rig.command("init", "--keyset", str(rig.folder / "keyset.cbor"), code=1)["code"] == "store_exists"
