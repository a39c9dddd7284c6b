"""A real gateway process on a real broker, a real chain and a real token, and devices that speak to it over MQTT."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import httpx

from edgeseal import messages, topics
from edgeseal.adapters import softhsm
from edgeseal.adapters.evm import Account, BoundContract, Contract, EvmClient, Transaction
from edgeseal.adapters.mqtt import Endpoint, MqttLink
from edgeseal.commitment import domain
from edgeseal.cose import PublicKey
from edgeseal.merkle import leaf_hash
from edgeseal.messages import Hello, Message, ReceiptMessage
from edgeseal.network import NetworkProfile
from edgeseal.pack import fleet_log_id
from edgeseal.receipt import Receipt
from edgeseal_console.demo.parts import Broker, Chain, free_port
from tests.tenant import Tenant, segment_of
from tests.world import Device, Key

DEADLINE_S = 90.0
_Found = TypeVar("_Found")


def until(ask: Callable[[], _Found | None], what: str) -> _Found:
    """Return the first answer that is not None, False or empty; fail after DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = ask()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_S:.0f} s: {what}")


class Operator:
    """Who deploys the contracts and acts on them, from an account of its own."""

    def __init__(self, chain: Chain) -> None:
        self.client = EvmClient(chain.url)
        self.account = Account(secrets.token_bytes(32))
        chain.fund("0x" + self.account.address.hex())

    def send(self, to: bytes | None, data: bytes) -> Any:
        gas = 2 * self.client.estimate_gas(self.account.address, to, data)
        nonce = self.client.transaction_count(self.account.address)
        tx = self.account.sign(Transaction(31337, nonce, to, data, gas, 10**11, 10**9))
        self.client.send_raw(tx.raw)
        receipt = until(lambda: self.client.receipt(tx.hash), "the operator's transaction is mined")
        assert receipt.ok
        return receipt


class Network:
    """Deployed contracts, an open tenant and fleet log."""

    def __init__(self, chain: Chain, root: Key, gateway: PublicKey) -> None:
        self.operator = Operator(chain)
        client = self.operator.client
        registry_abi, self.fleet_abi = Contract("IdentityRegistry"), Contract("FleetLog")
        address = self.operator.send(None, registry_abi.bytecode).contract
        self.registry = BoundContract(client, registry_abi, address)
        fleet = bytes.fromhex(self.registry.call("fleetLog")[2:])
        self.fleet = BoundContract(client, self.fleet_abi, fleet)
        message = (
            domain("tenant-open") + root.kid + (31337).to_bytes(32, "big") + address + self.operator.account.address
        ) + bytes(32)
        signature = root.sign(message)
        x, y = root.public.x, root.public.y
        self.operator.send(
            address,
            registry_abi.encode("openTenant", x, y, self.operator.account.address, signature[:32], signature[32:]),
        )
        nonce = bytes(32)
        self.operator.send(fleet, self.fleet_abi.encode("open", root.kid, gateway.x, gateway.y, nonce))
        self.profile = NetworkProfile(
            31337, "operator", fleet, address, client.code_hash(fleet), client.code_hash(address), (chain.url,),
            root.public, nonce, fleet_log_id(root.kid, 31337, fleet, nonce),
        )  # fmt: skip

    def anchored(self) -> int:
        size: int = self.fleet.call("head", self.profile.fleet_log)[0]
        return size

    def register(self, key: PublicKey, role: int) -> None:
        data = self.registry.contract.encode("registerKey", self.profile.fleet_log, role, key.x, key.y, 0, bytes(32))
        self.operator.send(self.registry.address, data)

    def revoke(self, kid: bytes, at: int) -> None:
        data = self.registry.contract.encode("revokeKey", self.profile.fleet_log, kid, at, 0)
        self.operator.send(self.registry.address, data)


class Rig:
    """Everything around one gateway, which is a child process."""

    def __init__(self, folder: Path, broker: Broker, chain: Chain, anchor: str = "{size: 1000000, secs: 1}") -> None:
        self.folder, self.broker, self.chain = folder, broker, chain
        self.root = Key(secrets.randbelow(1 << 128) + 1)
        self.port = free_port()
        self.config = folder / "gateway.yaml"
        account = secrets.token_bytes(32)
        (folder / "account.key").write_text(account.hex())
        chain.fund("0x" + Account(account).address.hex())
        files = broker.authority.issue_client("gateway")
        self.config.write_text(
            f"""schema: edgeseal-gateway/1
state_dir: state
network_profile: network.yaml
key: {{module: "{softhsm.find_module()}", token: gateway, label: gateway, softhsm_dir: token}}
mqtt:
  host: 127.0.0.1
  port: {broker.port}
  client_id: gateway
  tls: {{ca_file: "{files.authority}", cert_file: "{files.certificate}", key_file: "{files.key}"}}
chain: {{account_key_file: account.key, confirmations: 1, poll_ms: 50}}
api: {{port: {self.port}}}
head_interval_ms: 20
anchor: {anchor}
min_free_bytes: 0
enforce: {{devices: never}}
"""
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        key = PublicKey.decode(self._make_key())
        self.network = Network(chain, self.root, key)
        (folder / "network.yaml").write_bytes(self.network.profile.encode())
        self.tenant = Tenant(self.network.profile, self.root, key)
        (folder / "keyset.cbor").write_bytes(self.tenant.keysets[0])
        self.command("init", "--keyset", str(folder / "keyset.cbor"))

    def _make_key(self) -> bytes:
        self.command("key", "--out", str(self.folder / "key.cbor"))
        return (self.folder / "key.cbor").read_bytes()

    def command(self, name: str, *options: str, code: int = 0) -> Any:
        """Run one subcommand to its end; return its JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "edgeseal_gateway.cli", name, "--config", str(self.config), "--json", *options],
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == code, done.stderr.decode()[-3000:]
        return json.loads(done.stdout or done.stderr)

    def start(self) -> None:
        log = (self.folder / "gateway.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgeseal_gateway.cli", "run", "--config", str(self.config)], stderr=log
        )
        log.close()
        until(self._answers, "the gateway answers")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "gateway.log").read_text()[-3000:]
        try:
            return self.http.get("/v1/health").status_code in (200, 503)
        except httpx.HTTPError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.process = None
        return code

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self.http.close()

    def get(self, path: str, **query: Any) -> Any:
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def hand_in(self, statement: bytes, salt: bytes = b"", args: bytes = b"", status: int = 202) -> Any:
        body = {"statement": statement.hex(), "salt": salt.hex(), "args": args.hex()}
        answer = self.http.post("/v1/statements", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def sequenced(self, statement: bytes) -> int:
        """Hand a statement in and wait for its place in the log."""
        digest = self.hand_in(statement)["digest"]
        position: int = self.get(f"/v1/statements/{digest}", wait=30)["pos"]
        return position

    def device(self, name: str, enrol: bool = True) -> Wired:
        self.tenant.take_pack(self.http.get("/v1/pack").content)
        device = self.tenant.device_of(name)
        if enrol:
            self.sequenced(self.tenant.enrolment(device))
        return Wired(self, device)


class Wired:
    """A device on the broker: sends what it is told to send and keeps what it is told."""

    def __init__(self, rig: Rig, device: Device) -> None:
        self.rig, self.device = rig, device
        self.got: list[Message] = []
        self._lock = threading.Lock()
        files = rig.broker.authority.issue_client(device.log.hex())
        endpoint = Endpoint(
            "127.0.0.1", rig.broker.port, device.log.hex(), files.authority, files.certificate, files.key,
            retry_min_s=0.2, retry_max_s=1.0,
        )  # fmt: skip
        self.link = MqttLink(endpoint, [topics.all_down(device.log)], self._take)
        self.link.start()
        assert self.link.wait_ready(DEADLINE_S)

    def _take(self, topic: str, payload: bytes, ack: Callable[[], None]) -> None:
        with self._lock:
            self.got.append(messages.decode(topics.parse(topic), payload))
        ack()

    def close(self) -> None:
        self.link.stop()

    def send(self, kind: str, payload: bytes) -> None:
        until(lambda: self.link.wait_ready(1.0), "the device's link is up")
        self.link.publish(topics.up(self.device.log, kind), payload)

    def send_records(self, start: int) -> None:
        self.send("segment", segment_of(self.device, start))

    def hello(self) -> None:
        device = self.device
        size, root = device.last
        message = Hello(device.log, device.key.public, size, root, device.seen, self.rig.tenant.keyset.version, None)
        self.send("hello", message.encode())

    def messages(self, kind: type[_Found]) -> list[_Found]:
        with self._lock:
            return [one for one in self.got if isinstance(one, kind)]

    def receipt_for(self, head: bytes, anchored: bool = False) -> ReceiptMessage:
        """Wait for a receipt that covers a head's statement, check it as a device does, and return it."""

        def ask() -> ReceiptMessage | None:
            for one in reversed(self.messages(ReceiptMessage)):
                if one.head == head and (one.anchor is not None or not anchored):
                    return one
            return None

        found = until(ask, "a receipt")
        receipt = Receipt.decode(found.receipt)
        fleet = receipt.verify_inclusion(self.rig.tenant.gateway_key, leaf_hash(found.head))
        assert fleet.log == self.rig.tenant.log
        if found.anchor is not None:
            assert (found.anchor.size, found.anchor.root) == (fleet.size, fleet.root)
        return found


def digest(data: bytes) -> bytes:
    """Return the digest of bytes."""
    return sha256(data).digest()
