"""The chain and identity commands on a real node: what they send, what they only show, what they find and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeseal.adapters.evm import Account, EvmClient
from edgeseal.cose import PublicKey
from edgeseal.head import NO_HEAD, FleetHead
from edgeseal.network import NetworkProfile
from edgeseal_console import cli
from edgeseal_console.demo.parts import Chain
from edgeseal_console.operate import deployment, gatewaykey, networks, probe
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.registry import Registry
from edgeseal_gateway import cli as gateway_cli
from edgeseal_gateway import config as gateway_config
from edgeseal_gateway import initialise
from tests.world import Key

DAY_S = 86_400
Run = Callable[..., dict[str, Any]]


class BareChain(Chain):
    """anvil under prague rules: no P-256 precompile, and no deployment proxy either."""

    def command(self) -> Sequence[str]:
        words = ["prague" if word == "osaka" else word for word in super().command()]
        return [*words, "--disable-default-create2-deployer", "--block-time", "1"]


@dataclass
class Site:
    """A chain, an operator's folder, a gateway's configuration with its key in a token."""

    chain: Chain
    home: Path
    gateway_config: Path
    gateway_key: Path

    def network(self) -> NetworkProfile:
        return homes.load(self.home).network()

    def registry(self) -> Registry:
        return Registry(homes.load(self.home), self.network(), lambda _: None)

    def sent(self) -> int:
        """How many transactions the operator's account has sent."""
        return EvmClient(self.chain.url).transaction_count(homes.load(self.home).account().address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with Chain(folder) as chain:
        home, gateway = folder / "ops", folder / "gateway"
        made = homes.create(
            home, module=homes.SOFTHSM_MODULE, gateway_url="http://127.0.0.1:1", account_key=None
        )  # fmt: skip
        chain.fund("0x" + made.account().address.hex())
        gateway.mkdir()
        (gateway / "account.key").write_text("11" * 32)
        config = gateway / "gateway.yaml"
        config.write_text(
            "schema: edgeseal-gateway/1\nstate_dir: state\n"
            f"network_profile: {home}/network.yaml\n"
            f"key: {{module: {homes.SOFTHSM_MODULE}, token: gateway, label: gateway, softhsm_dir: token}}\n"
            "mqtt: {host: 127.0.0.1, port: 1, client_id: gateway}\n"
            "chain: {account_key_file: account.key}\n"
        )
        key = gateway / "key.cbor"
        key.write_bytes(initialise.make_key(gateway_config.read_config(config)).encode())
        yield Site(chain, home, config, key)


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``edgeseal`` with ``--json``; return what it printed, or its error with ``code=``."""

    def call(*words: str | Path, code: int = 0, home: Path | None = site.home) -> dict[str, Any]:
        capsys.readouterr()
        own = [] if home is None else ["--home", str(home)]
        found = cli.main([*(str(word) for word in words), *own, "--json"])
        said = capsys.readouterr()
        assert found == code, said.err
        printed: dict[str, Any] = json.loads(said.out or said.err.splitlines()[-1])
        return printed

    return call


def held(site: Site, run: Run, name: str) -> str:
    """Make a further key of the operator's; return its kid."""
    kid: str = run("identity", "key", "--name", name, "--out", site.home / f"{name}.cbor")["kid"]
    return kid


# One story in order: each test stands on the ones above it, on one chain.


def test_deploy_is_shown_sent_and_taken_up_again(site: Site, run: Run) -> None:
    words = ("chain", "deploy", "--rpc", site.chain.url, "--gateway-key", site.gateway_key, "--gateway-later")
    before = site.sent()
    shown = run(*words, "--dry-run")
    assert site.sent() == before
    assert {row["code"] for row in shown["contracts"]} == {"nothing is deployed there"}
    assert [call["what"] for call in shown["calls"]] == [
        f"deploy {name}" for name in ("IdentityRegistry", "CommandLog", "ModelRegistry", "RecordVerifier")
    ]
    assert shown["calls"][0]["gas"] > 1_000_000
    assert shown["calls"][1]["gas"] is None, "it stands on a registry that is not there yet"
    assert run(*words, "--network", "base", code=1)["code"] == "wrong_chain"
    assert run(*words, "--guardian", "0x" + "33" * 20, code=1)["code"] == "admins"

    proposer = homes.load(site.home).account().address
    admin = ("--proposer", "0x" + proposer.hex(), "--guardian", "0x" + "33" * 20)
    done = run(*words, *admin)
    network = site.network()
    assert {row["contract"]: row["address"] for row in shown["contracts"]}["CommandLog"] == done["command_log_contract"]
    assert [key for key, _ in network.further()] == [
        "command_log_contract", "model_registry", "record_verifier", "tenant_admin",
    ]  # fmt: skip
    assert network.rules == networks.preset("anvil").rules
    assert (site.home / "trust.yaml").exists()
    assert run(*words, code=1)["code"] == "network_exists"

    # A run that stopped before the profile had its name finds everything done.
    profile, before = site.home / "network.yaml", site.sent()
    profile.rename(site.home / "network.yaml.new")
    run(*words, *admin)
    assert site.network() == network
    profile.rename(site.home / "network.yaml.new")
    assert run(*words, *admin, "--rpc", "http://127.0.0.1:9", code=1)["code"] == "rpc_unreachable"
    run(*words, *admin, "--rpc", f"{site.chain.url}/")
    assert site.network().endpoints == (site.chain.url, f"{site.chain.url}/")
    assert site.sent() == before
    profile.rename(site.home / "network.yaml.new")
    other = site.home / "other.cbor"
    other.write_bytes(Key(77).public.encode())
    assert run(*words[:-3], "--gateway-key", other, code=1)["code"] == "deploy_differs"
    (site.home / "network.yaml.new").unlink()
    profile.write_bytes(network.encode())


def test_probe_finds_what_is_wrong(site: Site, run: Run) -> None:
    found = run("chain", "probe")
    states = {one["what"]: one["state"] for one in found["findings"]}
    assert found["ok"]
    assert states["P256VERIFY at 0x100"] == "ok"
    assert [what for what, state in states.items() if state != "ok"] == ["endpoints"]
    twice = run("chain", "probe", "--rpc", site.chain.url, "--rpc", f"{site.chain.url}/")
    assert {one["state"] for one in twice["findings"]} == {"ok"}
    dead = run("chain", "probe", "--rpc", site.chain.url, "--rpc", "http://127.0.0.1:9", code=1)
    assert [one["what"] for one in dead["findings"] if one["state"] == "fail"] == ["http://127.0.0.1:9"]
    other = run("chain", "probe", "--network", "base", "--rpc", site.chain.url, code=1, home=None)
    assert "31337, not 8453" in other["findings"][0]["detail"]

    client, verifier = EvmClient(site.chain.url), site.network().record_verifier
    assert verifier is not None
    code = client.code(verifier.address)
    client.request("anvil_setCode", "0x" + verifier.address.hex(), "0x" + (code[:-1] + b"\x00").hex())
    found = run("chain", "probe", code=1)
    client.request("anvil_setCode", "0x" + verifier.address.hex(), "0x" + code.hex())
    assert [one["what"][:14] for one in found["findings"] if one["state"] == "fail"] == ["RecordVerifier"]


def test_cost_names_money_only_with_a_price(run: Run) -> None:
    plain, priced = run("chain", "cost"), run("chain", "cost", "--eth-price", "2000")
    assert "money" not in json.dumps(plain)
    gas, fees = plain["anchor"]["gas"]["median"], plain["fees"]
    assert plain["anchor"]["wei"]["median"] == gas * (fees["base_wei"] + fees["tip_wei"])
    assert [row["records_an_anchor"] for row in plain["records"]] == [1, 100, 10_000, 1_000_000]
    assert plain["records"][2]["gas_a_record"] == gas / 10_000
    row = priced["records"][3]
    assert row["money_a_million_records"] == pytest.approx(row["wei_a_million_records"] / 1e18 * 2000)
    assert run("chain", "cost", "--eth-price", "-1", code=1)["code"] == "eth_price"


def test_the_gateways_key_is_registered_as_held(site: Site, run: Run, tmp_path: Path) -> None:
    challenge, proof = tmp_path / "challenge.json", tmp_path / "proof.json"
    wanted = ("--role", "gateway", "--key", site.gateway_key)
    asked = run("identity", "challenge", *wanted, "--out", challenge)
    words = ["--config", str(site.gateway_config), "--challenge", str(challenge), "--out", str(proof)]
    assert gateway_cli.main(["possession", *words, "--json"]) == 0
    forged = json.loads(proof.read_bytes()) | {"from": 5}
    (tmp_path / "forged.json").write_text(json.dumps(forged))
    assert run("identity", "register", *wanted, "--proof", tmp_path / "forged.json", code=1)["code"] == "bad_signature"
    (site.home / "challenges" / f"{asked['nonce']}.json").rename(tmp_path / "kept.json")
    assert run("identity", "register", *wanted, "--proof", proof, code=1)["code"] == "challenge_unknown"
    (tmp_path / "kept.json").rename(site.home / "challenges" / f"{asked['nonce']}.json")

    before = site.sent()
    shown = run("identity", "register", *wanted, "--proof", proof, "--dry-run")
    assert (site.sent(), shown["dry_run"], shown["calls"][0]["gas"] > 50_000) == (before, True, True)
    assert run("identity", "register", *wanted, "--proof", proof)["possessed"] is True
    kid = PublicKey.decode(site.gateway_key.read_bytes()).kid.hex()
    entry = run("identity", "show", "--kid", kid)
    assert (entry["role"], entry["status"], entry["possessed"]) == ("gateway", "active", True)
    assert run("identity", "register", *wanted, code=1)["code"] == "key_exists"

    # Another gateway's configuration does not sign what is not asked of it.
    asked = run("identity", "challenge", "--role", "device", "--key", site.gateway_key, "--out", challenge)
    assert gateway_cli.main(["possession", *words, "--json"]) == 1


def test_a_keys_life(site: Site, run: Run) -> None:
    auditor = site.home / "auditor.cbor"
    auditor.write_bytes(Key(0xA0D1).public.encode())
    kid = Key(0xA0D1).kid.hex()
    assert run("identity", "show", "--kid", kid, code=1)["code"] == "key_unregistered"
    assert run("identity", "register", "--role", "auditor", "--key", auditor)["possessed"] is False
    before = site.sent()
    assert run("identity", "suspend", "--kid", kid, "--dry-run")["calls"][0]["what"].startswith("suspend")
    assert site.sent() == before
    run("identity", "suspend", "--kid", kid)
    refused = run("identity", "suspend", "--kid", kid, code=1)
    assert "WrongStatus" in refused["message"]
    assert "edgeseal identity show" in refused["remedy"]
    run("identity", "reinstate", "--kid", kid)
    above = run("identity", "revoke", "--kid", kid, "--reason", "lost", "--from-position", "9", "--dry-run", code=1)
    assert "UntilAboveAnchored" in above["message"]
    shown = run("identity", "revoke", "--kid", kid, "--role", "auditor", "--reason", "lost", "--dry-run")
    assert "void from fleet position 0" in shown["changes"]
    site.registry().revoke(Key(0xA0D1).kid, None, "lost")
    history = run("identity", "show", "--kid", kid)["history"]
    assert [one["event"] for one in history] == ["KeyRegistered", "KeySuspended", "KeyReinstated", "KeyRevoked"]
    assert (history[0]["possessed"], history[3]["reason"]) == (False, "lost")
    rows = {row["kid"]: row for row in run("identity", "list", "--registry")["keys"]}
    assert (rows[kid]["status"], rows[kid]["possessed"]) == ("revoked", False)
    assert [row["possessed"] for row in rows.values() if row["role"] == "operator"] == [True]


def test_a_rotation_waits_for_a_veto(site: Site, run: Run) -> None:
    old, new = held(site, run, "approver"), held(site, run, "approver-2")
    assert run("identity", "register", "--role", "approver", "--held", "approver")["possessed"] is True
    words = ("identity", "rotate", "--old-held", "approver", "--new-held", "approver-2")
    before = site.sent()
    assert run(*words, "--dry-run")["calls"][0]["gas"] > 50_000
    assert site.sent() == before
    proposed = run(*words)
    assert (proposed["old_kid"], proposed["new_kid"]) == (old, new)
    early = run("identity", "finish", "--kid", old, code=1)
    assert "VetoWindowOpen" in early["message"]
    assert "wait until" in early["remedy"]
    assert run("identity", "show", "--kid", old)["rotation"]["new_kid"] == new
    run("identity", "veto", "--kid", old)
    assert run("identity", "finish", "--kid", old, code=1)["code"] == "no_rotation"

    run(*words)
    site.chain.call("evm_increaseTime", DAY_S + 1)
    site.chain.call("evm_mine")
    run("identity", "finish", "--kid", old)
    assert run("identity", "show", "--kid", old)["status"] == "revoked"
    after = run("identity", "show", "--kid", new)
    assert (after["role"], after["status"]) == ("approver", "active")


def test_a_key_elsewhere_agrees_to_a_rotation(site: Site, run: Run, tmp_path: Path) -> None:
    challenge, proof = tmp_path / "challenge.json", tmp_path / "proof.json"
    kid = PublicKey.decode(site.gateway_key.read_bytes()).kid.hex()
    fresh = held(site, run, "next-gateway")
    asked = run("identity", "challenge", "--rotate", kid, "--held", "next-gateway", "--out", challenge)
    assert (asked["old_kid"], asked["new_kid"]) == (kid, fresh)
    words = ["--config", str(site.gateway_config), "--challenge", str(challenge), "--out", str(proof)]
    assert gateway_cli.main(["possession", *words, "--json"]) == 0
    shown = run("identity", "rotate", "--old-proof", proof, "--new-held", "next-gateway", "--dry-run")
    assert shown["calls"][0]["gas"] > 50_000
    wrong = run("identity", "rotate", "--old-held", "next-gateway", "--new-proof", proof, "--dry-run", code=1)
    assert wrong["code"] == "proof_differs"
    wanted = ("--role", "gateway", "--key", site.gateway_key)
    assert run("identity", "register", *wanted, "--proof", proof, "--dry-run", code=1)["code"] == "key_exists"


def test_a_head_is_challenged(site: Site, run: Run, tmp_path: Path) -> None:
    network, signer = site.network(), None
    from edgeseal import cose
    from edgeseal.adapters.pkcs11 import Pkcs11Signer

    signer = Pkcs11Signer(gateway_config.read_config(site.gateway_config).key.token_key)
    head = FleetHead(network.fleet_log, 5, b"\x07" * 32, NO_HEAD)
    protected = head.protected(signer.public_key.kid)
    signature = signer.sign(cose.to_be_signed(protected, head.payload()))
    path = tmp_path / "head.cbor"
    path.write_bytes(cose.assemble(protected, head.payload(), signature))
    assert run("chain", "challenge", path, "--dry-run")["state"] == "none"
    opened = run("chain", "challenge", path)
    assert opened["state"] == "open"
    assert run("chain", "challenge", path)["deadline"] == opened["deadline"]
    early = run("chain", "challenge", path, "--mark-default", code=1)
    assert "contract refused" in early["message"]
    site.chain.call("evm_increaseTime", 8 * DAY_S)
    site.chain.call("evm_mine")
    assert run("chain", "challenge", path, "--mark-default")["state"] == "defaulted"


def test_the_gateways_key_is_replaced_however_often_it_stops(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = PublicKey.decode(site.gateway_key.read_bytes()), Key(0xBEEF).public
    path = site.home / "new-gateway.cbor"
    path.write_bytes(new.encode())
    words = ("chain", "gateway-key", "--key", path, "--reason", "superseded")
    before = site.sent()
    assert [call["what"].split()[0] for call in run(*words, "--dry-run")["calls"]] == ["register", "switch", "revoke"]
    assert site.sent() == before

    with monkeypatch.context() as stopped:
        for name in ("set_gateway_key", "revoke"):
            stopped.setattr(Registry, name, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                gatewaykey.switch(site.registry(), new, "superseded")
            stopped.undo()
    registry = site.registry()
    entry = registry.entry(old.kid)
    assert entry is not None
    assert (bytes(registry.log.call("gatewayOf", site.network().fleet_log)[0]), entry.status) == (new.kid, "active")
    done = run(*words)
    assert (done["old_kid"], done["new_kid"]) == (old.kid.hex(), new.kid.hex())
    entry = registry.entry(old.kid)
    assert entry is not None
    assert entry.status == "revoked"
    before = site.sent()
    assert run(*words)["old_kid"] == old.kid.hex()
    assert site.sent() == before, "all done: nothing is sent"


@pytest.mark.parametrize("where", ["send_raw", "receipt"])
def test_a_stopped_transaction_is_sent_as_it_was(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    key, path = Key(0x570 + len(where)), site.home / f"{where}.cbor"
    path.write_bytes(key.public.encode())
    before = site.sent()
    with monkeypatch.context() as stopped:
        stopped.setattr(EvmClient, where, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            site.registry().register(key.public, "auditor", bytes(32))
    kept = json.loads((site.home / "pending-transaction.json").read_text())
    assert site.sent() == before + (where == "receipt")
    run("identity", "list", "--registry")
    assert (site.home / "pending-transaction.json").exists(), "who only looks sends nothing"
    run("identity", "suspend", "--kid", key.kid.hex())
    assert site.sent() == before + 2, "it was finished first, and once"
    receipt = EvmClient(site.chain.url).receipt(bytes.fromhex(kept["hash"]))
    assert receipt is not None and receipt.ok
    assert not (site.home / "pending-transaction.json").exists()


def test_another_account_is_told_whose_tenant_it_is(site: Site, run: Run) -> None:
    account = site.home / "account.key"
    kept = account.read_text()
    account.write_text("22" * 32)
    try:
        site.chain.fund("0x" + Account.from_file(account).address.hex())
        kid = PublicKey.decode((site.home / "new-gateway.cbor").read_bytes()).kid.hex()
        refused = run("identity", "suspend", "--kid", kid, code=1)
    finally:
        account.write_text(kept)
    assert "NotTenantAdmin" in refused["message"]
    assert "account_key_file" in refused["remedy"]


def test_the_admin_becomes_a_contract_with_roles(site: Site, run: Run) -> None:
    before = site.sent()
    calls = run("chain", "hand-over", "--dry-run")["calls"]
    assert [call["what"].split()[0] for call in calls] == ["propose", "accept"]
    assert site.sent() == before
    run("chain", "hand-over")
    before = site.sent()
    run("chain", "hand-over")
    assert site.sent() == before, "done already"
    later = site.home / "later.cbor"
    later.write_bytes(Key(0x1A7E).public.encode())
    run("identity", "register", "--role", "auditor", "--key", later)
    assert run("identity", "show", "--kid", Key(0x1A7E).kid.hex())["status"] == "active"
    refused = run("identity", "suspend", "--kid", Key(0x1A7E).kid.hex(), code=1)
    assert "AccessManager" in refused["message"], "that is the guardian's, not this account's"
    assert refused["remedy"]


def test_what_needs_the_timelock_is_scheduled_and_carried_out(site: Site, run: Run) -> None:
    words = ("model", "line", "locked", "--approvals", "2", "--wait", "60")
    refused = run(*words, code=1)
    assert "AccessManagerUnauthorizedCall" in refused["message"] and "--schedule" in refused["remedy"]
    before = site.sent()
    (shown,) = run(*words, "--schedule", "--dry-run")["calls"]
    assert site.sent() == before and shown["what"].startswith("schedule")
    (made,) = run(*words, "--schedule")["operations"]
    assert "setPolicy" in made["call"] and site.sent() == before + 1
    assert run(*words, "--schedule")["operations"] == [made] and site.sent() == before + 1, "it waits already"
    (waiting,) = run("chain", "scheduled")["operations"]
    assert (waiting["id"], waiting["state"]) == (made["id"], "waits")
    assert run("chain", "execute", made["id"], code=1)["code"] == "operation_waits"

    # What is taken back is never carried out.
    (scope,) = run("command", "scope", "--everyone", "--classes", "query", "--schedule")["operations"]
    run("chain", "cancel", scope["id"])
    assert run("chain", "execute", scope["id"], code=1)["code"] == "operation_unknown"

    site.chain.call("evm_increaseTime", hex(2 * DAY_S))
    site.chain.call("evm_mine")
    before = site.sent()
    assert run("chain", "execute", made["id"], "--dry-run")["calls"][0]["gas"] > 30_000
    assert site.sent() == before
    run("chain", "execute", made["id"])
    assert run("model", "line", "locked")["policy"] == {"approvals": 2, "evaluation": False, "wait_s": 60}
    before = site.sent()
    run("chain", "execute", made["id"])
    assert site.sent() == before, "it was carried out"
    assert run("chain", "scheduled")["operations"] == []
    assert [one["state"] for one in run("chain", "scheduled", "--all")["operations"]] == ["done", "cancelled"]


def test_what_cannot_be_scheduled_says_why(site: Site, run: Run) -> None:
    kid = Key(0x1A7E).kid.hex()
    assert run("identity", "reinstate", "--kid", kid, "--schedule", code=1)["code"] == "position_needed"
    new = site.home / "unregistered.cbor"
    new.write_bytes(Key(0x1A7F).public.encode())
    words = ("chain", "gateway-key", "--key", new, "--reason", "superseded", "--schedule")
    assert run(*words, code=1)["code"] == "key_unregistered"
    run("identity", "register", "--role", "gateway", "--key", new)
    (shown,) = run(*words, "--dry-run")["calls"]
    assert "switch the log" in shown["what"], "registering and revoking are other roles'"


def test_the_root_key_stands_above_the_timelock(site: Site, run: Run) -> None:
    """It takes the tenant back, and whoever had proposed somebody has proposed nobody."""
    before = site.sent()
    assert run("chain", "recover-admin", "--dry-run")["calls"][0]["gas"] > 30_000
    assert site.sent() == before
    run("chain", "recover-admin")
    run("identity", "suspend", "--kid", Key(0x1A7E).kid.hex())
    before = site.sent()
    run("chain", "recover-admin")
    assert site.sent() == before, "it is the admin already"
    assert run("model", "line", "locked", "--approvals", "1", "--schedule", code=1)["code"] == "not_handed_over"


def test_a_chain_without_precompile_and_proxy(tmp_path: Path) -> None:
    with BareChain(tmp_path) as chain:
        found = {one.what: one for one in probe.probe([chain.url], None, networks.preset("anvil"))}
        assert found["P256VERIFY at 0x100"].state == "warn"
        assert "absent" in found["P256VERIFY at 0x100"].detail
        found = {one.what: one for one in probe.probe([chain.url], None, networks.preset("private"))}
        assert found["P256VERIFY at 0x100"].state == "ok"

        client = EvmClient(chain.url)
        client.request("anvil_setCode", "0x" + "00" * 18 + "0100", "0x600160005260206000f3")  # says yes to everything
        found = {one.what: one for one in probe.probe([chain.url], None, networks.preset("anvil"))}
        assert found["P256VERIFY at 0x100"].state == "fail"

        assert client.code(deployment.PROXY) == b""
        deployment.ensure_proxy(client, lambda _, to, wei: chain.fund("0x" + to.hex(), wei))
        assert len(client.code(deployment.PROXY)) == 69, "mined, not only taken"
