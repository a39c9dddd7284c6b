"""A whole fleet on one machine, put together with the commands an operator types: for the demo and for tests.

Every part is the real one: broker, chain, tokens, gateway, agents. The programs are started as processes and spoken to
through their command lines and the gateway's API; nothing of them is imported. Steps are methods, in the order of
``docs/operating.md``; each says what it does through ``say``.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeseal.adapters.evm import Account, Contract, EvmClient
from edgeseal.errors import Unavailable, UsageError
from edgeseal_console.demo.parts import ADDRESS, Broker, Chain, Part
from edgeseal_console.gateway import GatewayClient
from edgeseal_console.operate.home import SOFTHSM_MODULE

Say = Callable[[str], None]
COMMAND_TIMEOUT_S: Final = 300.0
WAIT_S: Final = 180.0
FOREIGN_CHAIN_PATIENCE: Final = 10
POLL_S: Final = 0.2
GROUP: Final = "demo"
SOFTHSM_KEY: Final = "{token: device, label: device, create: true}"
BIN: Final = Path(sys.executable).parent
"""Where the installed programs lie: beside the interpreter."""


class Program(Part):
    """An ``edgeseal-agent`` or ``edgeseal-gateway`` that runs as a daemon; the log lies beside its configuration."""

    def __init__(self, name: str, config: Path, extra: Sequence[str] = ()) -> None:
        self.name = name
        self.config = config
        self._extra = list(extra)
        super().__init__(config.parent)

    def command(self) -> Sequence[str]:
        """Return the command line to run."""
        program = "edgeseal-gateway" if self.name == "gateway" else "edgeseal-agent"
        death = ["setpriv", "--pdeathsig", "TERM", "--"]
        return [*death, str(BIN / program), "run", "--config", str(self.config), *self._extra]

    def answers(self) -> bool:
        """Tell whether it is up: the gateway by its port, an agent by its process."""
        return super().answers() if self.name == "gateway" else self.pid() is not None


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the fleet: its name, folders, log id (hex), and its program."""

    name: str
    folder: Path
    inbox: Path
    log: str
    kid: str
    program: Program

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / "agent.yaml"

    @property
    def done(self) -> Path:
        """Where inputs lie once they are recorded."""
        return self.folder / "inbox.done"


class Fleet:
    """Broker, chain, operator, gateway and devices below one folder. A context manager: leaving it stops everything."""

    def __init__(
        self,
        folder: Path,
        say: Say,
        *,
        rpc: str | None = None,
        account_key: Path | None = None,
        show: Say | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: a new or empty folder; keys and state go there.
            say: called with a sentence before each step.
            rpc: an EVM endpoint to use instead of an own anvil; then ``account_key`` is an account with funds there.
            show: called with each command line as it is run.
        """
        self.folder = folder
        self.say = say
        self._show = show or (lambda _: None)
        self.home = folder / "operator"
        self.devices: list[Device] = []
        self._account_key = account_key
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError("folder_in_use", f"{folder} is not empty", "choose another folder or remove it")
        self.broker = Broker()
        self.chain = None if rpc else Chain(folder, block_time_s=1)
        self.rpc = rpc or (self.chain.url if self.chain else "")
        self._first_block = 0
        self.gateway_folder = folder / "gateway"
        self.gateway = Program("gateway", self.gateway_folder / "gateway.yaml")
        self.api_port = self.gateway.port

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything that was started, devices first; no part that fails to stop keeps the others up."""
        parts: list[Part] = [*(device.program for device in self.devices), self.gateway]
        if self.chain is not None:
            parts.append(self.chain)
        try:
            for part in parts:
                part.stop()
        finally:
            self.broker.close()

    # --- commands ----------------------------------------------------------------------------------------------------

    def run(
        self, *words: str | Path, ok: Sequence[int] = (0,), quiet: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the installed programs as a user would and return what it printed.

        Raises Unavailable ``command_failed`` with its own words when its exit code is not among ``ok``.
        """
        line = [str(word) for word in words]
        if not quiet:
            self._show(" ".join(line))
        done = subprocess.run(
            [str(BIN / line[0]), *line[1:]],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode not in ok:
            said = (done.stderr or done.stdout)[-3000:]
            raise Unavailable("command_failed", f"{' '.join(line)} exited with {done.returncode}: {said}")
        return done

    def run_json(self, *words: str | Path, ok: Sequence[int] = (0,)) -> Any:
        """Run a program with ``--json`` appended and return what it printed."""
        return json.loads(self.run(*words, "--json", ok=ok).stdout)

    def api(self) -> GatewayClient:
        """Return a client of the gateway's API; close it after use."""
        return GatewayClient(f"http://{ADDRESS}:{self.api_port}")

    def wait(self, what: str, ready: Callable[[], bool], *, seconds: float = WAIT_S) -> None:
        """Wait until ``ready()``; Unavailable answers of the gateway count as not yet. A chain that is not our own
        takes its time to call a block final: there it is waited for ten times as long.

        Raises:
            Unavailable: ``not_in_time``, naming what was waited for.
        """
        seconds *= 1 if self.chain is not None else FOREIGN_CHAIN_PATIENCE
        deadline = time.monotonic() + seconds
        while True:
            try:
                if ready():
                    return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise Unavailable("not_in_time", f"{what}: not after {seconds:.0f} s", f"see the logs in {self.folder}")
            time.sleep(POLL_S)

    # --- steps -------------------------------------------------------------------------------------------------------

    def start_parts(self) -> None:
        """Start broker and chain."""
        self.say(f"MQTT broker (mosquitto, mutual TLS, one ACL entry a device) on port {self.broker.port}")
        self.broker.start()
        if self.chain is not None:
            self.say(f"EVM chain (anvil, Osaka rules, a block a second) on port {self.chain.port}")
            self.chain.start()
        else:
            self._first_block = EvmClient(self.rpc).block_number()  # nothing of this fleet stands in older ones

    def make_operator(self) -> None:
        """Make the operator's folder: tenant root key, operator key, account with funds."""
        self.say("operator: tenant root key and operator key in SoftHSM tokens, an EVM account")
        own = ["--account-key", str(self._account_key)] if self._account_key else []
        self.run("edgeseal", "init", "--home", self.home, "--gateway", f"http://{ADDRESS}:{self.api_port}", *own)
        if self.chain is not None:
            self.chain.fund("0x" + Account.from_file(self.home / "account.key").address.hex())

    def make_gateway(self, *, anchor_size: int = 4096, anchor_secs: int = 4, head_interval_ms: int = 300) -> None:
        """Make the gateway's key, deploy the contracts, sign keyset 1, initialise the gateway; not started yet."""
        self.say("gateway: its key, the contracts, keyset 1, the first two leaves of the fleet log")
        self.gateway_folder.mkdir()
        self._write_gateway_config(anchor_size, anchor_secs, head_interval_ms)
        key_file, keyset = self.gateway_folder / "gateway-key.cbor", self.folder / "keyset-1.cbor"
        config = self.gateway.config
        self.run("edgeseal-gateway", "key", "--config", config, "--out", key_file)
        self.run(
            "edgeseal", "chain", "deploy", "--home", self.home, "--rpc", self.rpc, "--gateway-key", key_file,
            "--gateway-later",
        )  # fmt: skip
        challenge, proof = self.gateway_folder / "challenge.json", self.gateway_folder / "proof.json"
        wanted = ("--role", "gateway", "--key", key_file)
        self.run("edgeseal", "identity", "challenge", "--home", self.home, *wanted, "--out", challenge)
        self.run("edgeseal-gateway", "possession", "--config", config, "--challenge", challenge, "--out", proof)
        self.run("edgeseal", "identity", "register", "--home", self.home, *wanted, "--proof", proof)
        self.run("edgeseal", "keyset", "first", "--home", self.home, "--gateway-key", key_file, "--out", keyset)
        self._fund_gateway()
        self.run("edgeseal-gateway", "init", "--config", config, "--keyset", keyset)

    def _fund_gateway(self) -> None:
        account = Account.from_file(self.gateway_folder / "account.key")
        if self.chain is not None:
            self.chain.fund("0x" + account.address.hex())
            return
        self.run("edgeseal", "chain", "fund", "--home", self.home, "0x" + account.address.hex())

    def _write_gateway_config(self, anchor_size: int, anchor_secs: int, head_interval_ms: int) -> None:
        files = self.broker.authority.issue_client("gateway")
        account = self.gateway_folder / "account.key"
        account.touch(0o600)
        account.write_text(secrets.token_hex(32) + "\n")
        plain = "false" if self.chain is not None else "true"  # a key of this folder, with what this demo needs
        self.gateway.config.write_text(
            "schema: edgeseal-gateway/1\n"
            "state_dir: state\n"
            f"network_profile: {self.home}/network.yaml\n"
            f"key: {{module: {SOFTHSM_MODULE}, token: gateway, label: gateway, softhsm_dir: token}}\n"
            "mqtt:\n"
            f"  host: {ADDRESS}\n"
            f"  port: {self.broker.port}\n"
            "  client_id: gateway\n"
            f"  tls: {{ca_file: {files.authority}, cert_file: {files.certificate}, key_file: {files.key}}}\n"
            f"chain: {{account_key_file: account.key, allow_plain_key: {plain}, poll_ms: 200}}\n"
            f"api: {{bind: {ADDRESS}, port: {self.api_port}}}\n"
            f"head_interval_ms: {head_interval_ms}\n"
            f"anchor: {{size: {anchor_size}, secs: {anchor_secs}}}\n"
        )

    def start_gateway(self) -> None:
        """Start the gateway and wait until its API answers."""
        self.gateway.start()
        with self.api() as api:
            self.wait("the gateway's API", lambda: bool(api.get("/v1/health")))

    def add_device(
        self,
        name: str,
        *,
        extra: str = "",
        arguments: Sequence[str] = (),
        key: str = SOFTHSM_KEY,
        assurance: str = "softhsm",
        prove: bool = False,
        authorities: Sequence[Path] | None = None,
    ) -> Device:
        """Provision, initialise and enrol one device; it is not started yet.

        Args:
            extra: more lines of its configuration (whole top-level sections other than source and mqtt).
            arguments: more words of its ``run`` command line.
            key: the ``key`` section of its configuration.
            assurance: what the operator attests of that key.
            prove: have the device prove that it holds the key, so that the chain says so too.
            authorities: given, the device applies with a claim token and is accepted by its fingerprint, which says
                what its TPM shows; these are the files of the TPM makers believed. ``assurance`` is then not used.
        """
        self.say(f"device {name}: key in a token ({assurance}), genesis, enrolment")
        folder = self.folder / name
        folder.mkdir()
        pack, inbox, config = folder / "pack.cbor", folder / "inbox", folder / "agent.yaml"
        inbox.mkdir()
        self.run("edgeseal", "provision", "--home", self.home, "--out", pack)
        lines = [
            "schema: edgeseal-agent/1", f"name: {name}", f"groups: [{GROUP}]", "state_dir: state",
            "provisioning: pack.cbor", f"key: {key}",
            "source: {kind: watch, path: inbox, poll_ms: 50, settle_ms: 0}",
        ]  # fmt: skip
        config.write_text("\n".join(lines) + f"\n{extra}\n")
        request = self.run_json("edgeseal-agent", "init", "--config", config)
        files = self.broker.authority.issue_client(request["log"])
        mqtt = (
            f"mqtt: {{host: {ADDRESS}, port: {self.broker.port}, ca_file: {files.authority}, "
            f"cert_file: {files.certificate}, key_file: {files.key}}}"
        )
        config.write_text("\n".join([*lines, mqtt]) + f"\n{extra}\n")
        request_file = folder / "state" / "enrol-request.json"
        if authorities is not None:
            self._accept(config, authorities)
        else:
            own: list[str | Path] = ["--proof", self._prove(config, request_file)] if prove else []
            self.run("edgeseal", "identity", "enrol", "--home", self.home, request_file, "--assurance", assurance, *own)
        device = Device(name, folder, inbox, request["log"], request["kid"], Program(name, config, arguments))
        self.devices.append(device)
        return device

    def _accept(self, config: Path, authorities: Sequence[Path]) -> None:
        """Let a device apply with a claim token, and accept it by its fingerprint, as two people at two machines do."""
        claim = config.parent / "claim.txt"
        self.run(
            "edgeseal-gateway", "claim", "new", "--config", self.gateway.config, "--groups", GROUP, "--out", claim
        )  # fmt: skip
        url = f"http://{ADDRESS}:{self.api_port}"
        line = ["enrol", "--config", config, "--gateway", url, "--claim", claim, "--wait-s", COMMAND_TIMEOUT_S]
        with subprocess.Popen(
            [str(BIN / "edgeseal-agent"), *map(str, line)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as applying:  # fmt: skip
            try:
                assert applying.stderr is not None
                shown = applying.stderr.readline().removeprefix("fingerprint ").strip()
                with self.api() as api:
                    offer = shown.replace(" ", "")
                    self.wait("the device's offer", lambda: offer in json.dumps(api.get("/v1/enrolments")))
                makers = [word for path in authorities for word in ("--ek-ca", path)]
                self.run("edgeseal", "identity", "accept", "--home", self.home, shown, *makers)
                _, said = applying.communicate(timeout=COMMAND_TIMEOUT_S)
            finally:
                applying.kill()
        if applying.returncode:
            raise Unavailable("command_failed", f"edgeseal-agent enrol: {said[-3000:]}")

    def _prove(self, config: Path, request: Path) -> Path:
        """Have a device sign the operator's challenge; return the proof's file."""
        challenge, proof = config.parent / "challenge.json", config.parent / "proof.json"
        wanted = ("--role", "device", "--request", request)
        self.run("edgeseal", "identity", "challenge", "--home", self.home, *wanted, "--out", challenge)
        self.run("edgeseal-agent", "possession", "--config", config, "--challenge", challenge, "--out", proof)
        return proof

    def drop_inputs(self, device: Device, files: Sequence[Path], prefix: str) -> None:
        """Put copies of ``files`` into a device's watched folder, each under its own name and whole at once."""
        for number, path in enumerate(files):
            name = f"{prefix}-{number:05d}-{path.name}"
            hidden = device.inbox / f".{name}"
            hidden.write_bytes(path.read_bytes())
            os.rename(hidden, device.inbox / name)

    def state_of(self, api: GatewayClient, device: Device) -> dict[str, Any]:
        """Return the gateway's entry of a device."""
        entry: dict[str, Any] = api.get(f"/v1/devices/{device.log}")
        return entry

    def status(self, device: Device) -> dict[str, Any]:
        """Return the device's own status."""
        words = ("edgeseal-agent", "status", "--config", device.config, "--json")
        status: dict[str, Any] = json.loads(self.run(*words, quiet=True).stdout)
        return status

    def head_size(self, device: Device) -> int:
        """Return the size of the device's newest signed head, by its own status."""
        return int(self.status(device)["size"])

    def wait_told(self, device: Device) -> None:
        """Wait until the device was told of an anchor, whose block its heads name from then on."""
        self.wait(f"{device.name} told of an anchor", lambda: self.status(device)["anchored"] is not None)

    def wait_anchored(self, device: Device, size: int, *, seconds: float = WAIT_S) -> None:
        """Wait until the gateway has an anchored head of at least ``size`` records of the device."""
        with self.api() as api:
            self.wait(
                f"{device.name} anchored at {size}",
                lambda: (self.state_of(api, device)["anchored_size"] or 0) >= size,
                seconds=seconds,
            )

    def anchor_blocks(self) -> list[str]:
        """Return the hashes (hex) of the blocks that hold this fleet's anchors, as the chain's node says."""
        client, contract = EvmClient(self.rpc), Contract("FleetLog")
        network = self.run_json("edgeseal", "chain", "show", "--home", self.home)
        address = bytes.fromhex(network["fleet_log_contract"][2:])
        topics = [contract.event_topic("Anchored"), bytes.fromhex(network["fleet_log"])]
        found = client.logs([address], topics, self._first_block, client.block_number())
        return list(dict.fromkeys(log.block_hash.hex() for log in found))
