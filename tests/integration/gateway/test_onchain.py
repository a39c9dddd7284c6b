"""Models and commands on a real chain: said with the console's commands, mirrored, enforced, and taken back."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeseal import statements
from edgeseal.adapters.evm import Account, BoundContract, Contract, EvmClient, Transaction
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.errors import TrustError
from edgeseal.statements import Content, prepare
from edgeseal.statements.command import audience_subject
from edgeseal_console import cli
from edgeseal_console.demo.parts import CHAIN_ID, Chain, free_port
from edgeseal_console.operate import chain as operate
from edgeseal_console.operate import home as homes
from edgeseal_gateway import enforcement, intake
from edgeseal_gateway.board import Board
from edgeseal_gateway.chain.anchor import call_data
from edgeseal_gateway.chain.mirror import Mirror
from edgeseal_gateway.config import ApiConfig
from edgeseal_gateway.sequencer import AnchorPolicy, found_log
from edgeseal_gateway.store import fleetlog, guard, orders, registry
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.web.parts import Parts
from edgeseal_gateway.web.server import Server
from tests.gatewaystore import Founded
from tests.integration.gateway.rig import until
from tests.tenant import SoftSigner, Tenant

PACKAGE = sha256(b"a package").digest()
OTHER = sha256(b"another package").digest()
DIGEST = sha256(b"a statement").hexdigest()
GROUP = "all"
SIGNERS = {"publisher": "publisher", "alice": "approver", "bob": "approver", "carol": "approver"}


class Held:
    """A key in a token, used as the tests' software keys are."""

    def __init__(self, signer: Pkcs11Signer) -> None:
        self._signer = signer
        self.public = signer.public_key
        self.kid = signer.public_key.kid
        self.sign = signer.sign

    def state(self, content: Content) -> bytes:
        unsigned = prepare(content, self.kid)
        return unsigned.assemble(self.sign(unsigned.to_be_signed))


class Field(Founded):
    """A tenant on a real chain: the operator's folder, a store with its API, and the mirror, stepped by hand."""

    def __init__(self, folder: Path, chain: Chain) -> None:
        self.path, self.chain = folder / "gateway.db", chain
        self.account = Account(secrets.token_bytes(32))
        (folder / "pays.key").write_text(secrets.token_hex(32))
        for payer in (self.account, Account.from_file(folder / "pays.key")):
            chain.fund("0x" + payer.address.hex())
        self.signer = SoftSigner(secrets.randbelow(1 << 64) + 1)
        port = free_port()
        self.home = homes.create(
            folder / "ops", module=homes.SOFTHSM_MODULE, gateway_url=f"http://127.0.0.1:{port}",
            account_key=folder / "pays.key",
        )  # fmt: skip
        self.profile = operate.deploy(
            self.home, rpc=chain.url, gateway=self.signer.public_key, say=lambda text: None
        )  # fmt: skip
        for name in SIGNERS:
            self.home = homes.add_key(self.home.folder, name, homes.SOFTHSM_MODULE)
            held = self.home.signer(name)
            identities = operate.Registry(self.home, self.profile, lambda text: None)
            identities.register(held.public_key, SIGNERS[name], bytes(32), held)
        root: Any = Held(self.home.root())
        self.tenant = Tenant(self.profile, root, self.signer.public_key)
        self.tenant.operator = Held(self.home.operator())  # type: ignore[assignment]
        self.tenant.keysets.clear()
        self.tenant.next_keyset()
        self.clock, self.monotonic, self.policy = 1_000, 0.0, AnchorPolicy(None, None)
        Database.create(self.path)
        with Database(self.path).write() as connection:
            found_log(connection, self.signer, self.profile.fleet_log, statements.decode(self.tenant.keysets[0]))
        self.open(Database(self.path))
        self.client = EvmClient(chain.url)
        self.fleet = BoundContract(self.client, Contract("FleetLog"), self.profile.fleet_log_contract)
        self.mirror = Mirror(self.client, self.profile, self.database, self.signer.public_key.kid)
        self.mirror.step()
        self.sequence()
        self.tenant.heads.append(self.read(self._newest_head))
        (folder / "packages").mkdir()
        parts = Parts(
            self.database, folder / "index.db", folder / "packages", self.profile, self.signer.public_key.kid, Board(),
            lambda: None, frozenset(),
        )  # fmt: skip
        self.server = Server(ApiConfig("127.0.0.1", port, None, None), parts)
        self.server.start(lambda error: None)

    def look(self) -> None:
        self.mirror.step()

    def later(self, seconds: int) -> None:
        """Let time pass on the chain, and the gateway see it."""
        self.chain.call("evm_increaseTime", seconds)
        self.chain.call("anvil_mine")
        self.look()

    def anchor(self) -> int:
        """Bring the newest head on chain, as anybody may; return its size."""
        head = self.ask(fleetlog.newest_head, self.profile.fleet_log)
        assert head is not None
        size, _ = self.fleet.call("head", self.profile.fleet_log)
        data = self.ask(call_data, self.fleet.contract, head, self.signer.public_key, size)
        nonce = self.client.transaction_count(self.account.address)
        signed = self.account.sign(Transaction(CHAIN_ID, nonce, self.fleet.address, data, 3_000_000, 10**11, 10**9))
        self.client.send_raw(signed.raw)
        receipt = until(lambda: self.client.receipt(signed.hash), "the anchor is mined")
        assert receipt.ok
        self.look()
        return head.head.size

    def command(self, action: str, args: dict[str, Any], audience: bytes | str = GROUP) -> tuple[bytes, bytes, bytes]:
        prev = self.ask(intake.last_command, audience_subject(audience))
        return self.tenant.command(audience, prev, args, action=action)

    def activates(self, model: bytes, audience: bytes | str = GROUP) -> str:
        """Say what comes of a command to activate a model: a reason code, or nothing. It is not kept."""
        return self.judged("model.activate", {"model": model}, audience)

    def judged(self, action: str, args: dict[str, Any], audience: bytes | str = GROUP) -> str:
        made = self.command(action, args, audience)
        try:
            with self.database.write() as connection:
                intake.accept(connection, self.profile, self.signer.public_key.kid, *made)
                connection.execute("DELETE FROM pending")
                connection.execute("DELETE FROM command WHERE digest NOT IN (SELECT digest FROM leaf)")
        except TrustError as error:
            assert error.remedy == enforcement.REMEDIES[error.code]
            return error.code
        return ""


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("onchain")
    with Chain(folder) as chain:
        made = Field(folder, chain)
        made.device("cam-1")
        made.look()
        yield made
        made.server.stop()


Run = Any


@pytest.fixture
def run(field: Field, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one of the console's commands in the operator's folder; return its JSON, or that of its error."""

    def run(*words: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        got = cli.main([*words, "--home", str(field.home.folder), "--json"])
        out, err = capsys.readouterr()
        assert got == code, err
        found: dict[str, Any] = json.loads(out if code == 0 else err.strip().splitlines()[-1])
        return found

    return run


def sent(field: Field) -> int:
    return field.client.transaction_count(field.home.account().address)


def test_a_model_runs_once_approved_and_granted_and_no_longer(field: Field, run: Run) -> None:
    version = ("--line", "digits", "--version", "1")
    assert field.activates(PACKAGE) == "", "without a line the registry is not in use"
    assert run("model", "show", PACKAGE.hex(), code=1)["code"] == "model_unregistered"

    before = sent(field)
    dry = run("model", "line", "digits", "--approvals", "2", "--wait", "60", "--dry-run")
    assert (sent(field), len(dry["calls"]), dry["calls"][0]["gas"] > 21_000) == (before, 1, True)
    run("model", "line", "digits", "--approvals", "2", "--wait", "60")
    assert run("model", "line", "digits")["policy"] == {"approvals": 2, "evaluation": False, "wait_s": 60}
    proposal = ("model", "register", PACKAGE.hex(), *version, "--dataset", DIGEST, "--training", DIGEST)
    refused = run(*proposal, "--key", "alice", code=1)
    assert "WrongRole" in refused["message"] and refused["remedy"]
    run(*proposal, "--key", "publisher")
    field.look()
    assert field.activates(PACKAGE) == "model_not_approved"

    assert run("model", "approve", *version, "--key", "alice")["state"] == "proposed"
    again = run("model", "approve", *version, "--key", "alice", code=1)
    assert "ApprovedBefore" in again["message"] and again["remedy"]
    assert run("model", "approve", *version, "--key", "bob")["state"] == "approved"
    assert "TooEarly" in run("model", "release", *version, code=1)["message"]
    field.later(61)
    assert "WrongState" in run("model", "grant", *version, "--group", GROUP, code=1)["message"]
    run("model", "release", *version, "--current")
    assert run("model", "line", "digits")["current"] == 1
    field.look()
    assert field.activates(PACKAGE) == "model_not_granted"

    run("model", "grant", *version, "--group", GROUP, "--days", "1")
    field.look()
    field.later(120)
    assert field.activates(PACKAGE) == "" and field.activates(OTHER) == "model_not_approved"
    shown = run("model", "show", PACKAGE.hex())
    assert (shown["state"], shown["approvals"], len(shown["grants"])) == ("deployable", 2, 1)
    assert [one["event"] for one in shown["history"]] == ["Proposed", "Approved", "Approved", "MadeDeployable"]

    field.chain.call("anvil_reorg", 2, [])
    assert run("model", "show", PACKAGE.hex())["grants"] == []
    field.look()
    assert field.activates(PACKAGE) == "model_not_granted", "the grant went with its block"
    run("model", "grant", *version, "--group", GROUP, "--days", "1")
    field.later(240)
    assert field.activates(PACKAGE) == ""
    run("model", "grant", *version, "--group", GROUP, "--end")
    field.look()
    assert field.activates(PACKAGE) == "model_not_granted"
    run("model", "grant", *version, "--group", GROUP, "--days", "1")
    field.later(360)
    assert field.activates(PACKAGE) == ""

    run("model", "revoke", *version, "--reason", DIGEST)
    field.look()
    assert field.activates(PACKAGE) == "model_revoked"
    assert run("model", "show", PACKAGE.hex())["state"] == "revoked"
    assert "VersionRevoked" in run("model", "revoke", *version, code=1)["message"]


def test_an_evaluation_is_asked_for_and_one_device_gets_the_grant(field: Field, run: Run) -> None:
    version, device = ("--line", "graded", "--version", "1"), field.tenant.devices[0]
    run("model", "line", "graded", "--approvals", "1", "--evaluation")
    run("model", "register", OTHER.hex(), *version, "--dataset", DIGEST, "--training", DIGEST, "--key", "publisher")
    first = run("model", "approve", *version, "--key", "alice")
    assert (first["state"], first["approvals"], first["evaluated"]) == ("proposed", 1, False)
    then = run("model", "approve", *version, "--key", "carol", "--evaluation", DIGEST)
    assert (then["state"], then["approvals"], then["evaluated"]) == ("approved", 1, True)
    run("model", "release", *version)
    granted = run("model", "grant", *version, "--device", device.name, "--days", "1")
    assert granted["audience"] == device.log.hex()
    field.look()
    field.later(480)
    assert field.activates(OTHER, device.log) == "" and field.activates(OTHER) == "model_not_granted"
    run("model", "deprecate", *version)
    field.look()
    assert field.activates(OTHER, device.log) == "model_revoked"


def test_commands_are_logged_by_whom_the_chain_lets(field: Field, run: Run, tmp_path: Path) -> None:
    digests = []
    for text in ("one", "two"):
        statement, salt, args = field.command("ping", {"text": text})
        digests.append(field.hand_in(statement, salt, args).digest.hex())
        field.sequence()
    early = run("command", "log", "--group", GROUP)
    assert early["logged"] == [] and "not anchored" in early["skipped"][0]["why"]
    field.anchor()

    run("command", "scope", "--group", GROUP, "--classes", "model")
    field.look()
    refused = run("command", "log", "--group", GROUP, code=1)
    assert "OutOfScope" in refused["message"] and refused["remedy"], "by the contract"
    assert field.judged("ping", {"text": "three"}) == "scope_missing", "and by the gateway"
    status = _post(field, field.command("ping", {"text": "four"}))
    assert status["newest_refusals"][0]["code"] == "scope_missing" and status["newest_refusals"][0]["remedy"]
    assert status["registries"]["enforced"]["scopes"] is True

    run("command", "scope", "--group", GROUP, "--classes", "query,model")
    assert run("command", "scope", "--group", GROUP)["classes"] == ["query", "model"]
    before = sent(field)
    assert run("command", "log", "--dry-run")["logged"] == digests and sent(field) == before
    assert run("command", "log")["logged"] == digests and sent(field) == before + 1, "one call for both"
    assert run("command", "log")["logged"] == []
    field.look()
    assert field.judged("ping", {"text": "five"}) == ""
    assert [one["logged"] is not None for one in run("command", "list")["commands"]] == [True, True]

    notice = tmp_path / "halt.json"
    halt = ("command", "halt", "--everyone", "--reason", "arm 3 hit the fence")
    assert run(*halt, code=1)["code"] == "halt_notice"
    assert "OutOfScope" in run(*halt, "--out", str(notice), code=1)["message"]
    run("command", "scope", "--everyone", "--classes", "halt")
    halted = run("command", "halt", "--everyone", "--notice", str(notice))
    assert halted["digest"] == sha256(notice.read_bytes()).hexdigest()
    field.look()
    (row,) = field.ask(registry.newest, "HaltLogged", 5)
    assert row.subject.hex() == halted["digest"]


def test_a_revoked_operator_is_refused_by_contract_and_gateway(field: Field, run: Run) -> None:
    kid = field.home.operator().public_key.kid
    assert field.judged("ping", {"text": "before"}) == ""
    run("identity", "suspend", "--kid", kid.hex())
    field.look()
    assert field.judged("ping", {"text": "suspended"}) == "key_suspended"
    field.chain.call("anvil_reorg", 1, [])
    field.look()
    assert field.judged("ping", {"text": "taken back"}) == ""
    assert field.ask(orders.revoked) == [] and field.ask(guard.blocked, field.profile.fleet_log) is None


def _post(field: Field, made: tuple[bytes, bytes, bytes]) -> dict[str, Any]:
    """Hand a statement in by HTTP, which refuses it; return the gateway's status after that."""
    with httpx.Client(base_url=field.server.url, timeout=60) as http:
        names = ("statement", "salt", "args")
        answer = http.post("/v1/statements", json={name: part.hex() for name, part in zip(names, made, strict=True)})
        assert answer.status_code == 400 and answer.json()["remedy"]
        found: dict[str, Any] = http.get("/v1/status").json()
        return found
