"""adapters.evm over a real anvil: what it reads and sends; over a lying or dying endpoint: which errors come out."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from edgeseal.adapters.evm import (
    Account,
    BoundContract,
    Contract,
    EvmClient,
    Rejected,
    Reverted,
    Transaction,
    TxReceipt,
    check_chain,
)
from edgeseal.adapters.evm import client as client_module
from edgeseal.errors import InvariantBroken, Unavailable, UsageError
from edgeseal.evmproof.keccak import keccak256
from edgeseal_console.demo.parts import ADDRESS, CHAIN_ID, Chain, free_port

GWEI = 10**9
TOPIC = bytes(range(32))
RUNTIME = bytes.fromhex("60006000fd")  # reverts without a reason
# Emits a log with our topic, then leaves RUNTIME as the contract's code.
EMITTING = bytes.fromhex("7f") + TOPIC + bytes.fromhex("60006000a164") + RUNTIME + bytes.fromhex("6000526005601bf3")


@pytest.fixture
def account(shared_chain: Chain, request: pytest.FixtureRequest) -> Account:
    """A funded account of the test's own."""
    own = Account(sha256(request.node.nodeid.encode()).digest())
    shared_chain.fund("0x" + own.address.hex())
    return own


def transaction(nonce: int, to: bytes | None, data: bytes = b"", gas: int = 200_000) -> Transaction:
    return Transaction(CHAIN_ID, nonce, to, data, gas, max_fee=10 * GWEI, max_priority_fee=GWEI)


def mined(client: EvmClient, tx: bytes) -> TxReceipt:
    """anvil mines on its own, but not before it answers."""
    waiting = threading.Event()
    for _ in range(3_000):
        receipt = client.receipt(tx)
        if receipt is not None:
            return receipt
        waiting.wait(0.02)
    raise AssertionError("not mined within a minute")


def test_a_contract_creation_seen_from_every_side(shared_chain: Chain, account: Account) -> None:
    client = EvmClient(shared_chain.url)
    check_chain(client, CHAIN_ID)
    assert client.receipt(bytes(32)) is None and client.header(10**9) is None and client.header(bytes(32)) is None
    assert client.transaction_count(account.address) == 0
    signed = account.sign(transaction(0, None, EMITTING))
    assert keccak256(signed.raw) == signed.hash and signed.raw[0] == 2
    assert account.sign(transaction(0, None, EMITTING)) == signed
    assert client.send_raw(signed.raw) == signed.hash
    receipt = mined(client, signed.hash)
    assert receipt.ok and receipt.tx == signed.hash and receipt.contract is not None
    assert client.code(receipt.contract) == RUNTIME and client.code_hash(receipt.contract) == keccak256(RUNTIME)
    assert client.transaction_count(account.address) == 1
    assert client.balance(account.address) == 10**20 - receipt.gas_used * receipt.gas_price
    header = client.header(receipt.block_hash)
    assert header is not None and header == client.header(receipt.block_number)
    assert header.hash == receipt.block_hash == keccak256(header.rlp)
    assert client.block_receipts(receipt.block_hash) == [receipt]
    (found,) = client.logs([receipt.contract], [TOPIC], receipt.block_number, receipt.block_number)
    assert found.log == receipt.logs[0] and found.tx == signed.hash and found.block_hash == receipt.block_hash
    assert client.logs([receipt.contract], [bytes(32)], 0, receipt.block_number) == []
    with pytest.raises(Rejected):
        client.call(receipt.contract, b"")


def test_a_second_sending_of_the_same_bytes_is_said_not_done(shared_chain: Chain, account: Account) -> None:
    client = EvmClient(shared_chain.url)
    signed = account.sign(transaction(0, account.address))
    client.send_raw(signed.raw)
    mined(client, signed.hash)
    with pytest.raises(Rejected) as refusal:
        client.send_raw(signed.raw)
    assert "nonce too low" in refusal.value.text or "already" in refusal.value.text
    assert client.transaction_count(account.address) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_fee": 1, "max_priority_fee": 0}, "base fee"),
        ({"value": 10**21}, "nsufficient"),
        ({"gas": 20_000}, "gas"),
    ],
)
def test_the_nodes_refusals_keep_their_words(
    shared_chain: Chain, account: Account, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(Rejected) as refusal:
        EvmClient(shared_chain.url).send_raw(
            account.sign(dataclasses.replace(transaction(0, account.address), **change)).raw
        )
    assert said in refusal.value.text.lower() or said in refusal.value.text


def test_another_chain_is_never_written_to(shared_chain: Chain) -> None:
    with pytest.raises(InvariantBroken, match="chain_id"):
        check_chain(EvmClient(shared_chain.url), 1)


def test_finality_and_a_reorganisation(chain: Chain) -> None:
    client = EvmClient(chain.url)
    account = Account(b"\x07" * 32)
    chain.fund("0x" + account.address.hex())
    signed = account.sign(transaction(0, account.address))
    client.send_raw(signed.raw)
    first = mined(client, signed.hash)
    chain.call("anvil_mine", hex(2))
    final = client.header("finalized")
    assert final is not None and final.number >= first.block_number
    chain.call("anvil_reorg", 3, [])
    later = client.receipt(signed.hash)
    replaced = client.header(first.block_number)
    assert later is None or later.block_hash != first.block_hash
    assert replaced is not None and replaced.hash != first.block_hash


def test_our_contracts_errors_and_views_are_decoded(shared_chain: Chain, account: Account) -> None:
    client, registry = EvmClient(shared_chain.url), Contract("IdentityRegistry")
    signed = account.sign(transaction(0, None, registry.bytecode, gas=15_000_000))
    client.send_raw(signed.raw)
    receipt = mined(client, signed.hash)
    assert receipt.ok and receipt.contract is not None
    bound = BoundContract(client, registry, receipt.contract)
    assert bound.call("tenantNonce", bytes(32)) == 0
    assert bytes.fromhex(bound.call("fleetLog")[2:]) != bytes(20)
    with pytest.raises(Reverted) as refusal:
        bound.call("keyOf", b"\x01" * 32, b"\x02" * 32)
        data = registry.encode("revokeKey", b"\x01" * 32, b"\x02" * 32, 0, 0)
        try:
            client.call(receipt.contract, data, sender=account.address)
        except Rejected as error:
            raise registry.decode_error(error.data) from error
    assert refusal.value.name and not refusal.value.name.startswith("0x")
    nowhere = BoundContract(client, registry, b"\x01" * 20)
    with pytest.raises(Unavailable, match="rpc_answer"):
        nowhere.call("fleetLog")


class _Answers(ThreadingHTTPServer):
    daemon_threads = True
    reply: bytes | None = b""
    asked = 0


class _Handler(BaseHTTPRequestHandler):
    server: _Answers

    def do_POST(self) -> None:
        self.server.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.reply is None:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.reply)))
        self.end_headers()
        self.wfile.write(self.server.reply)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def endpoint(reply: bytes | None) -> Iterator[tuple[_Answers, EvmClient]]:
    """An HTTP server that gives every request this answer; None: it closes the connection."""
    with _Answers((ADDRESS, 0), _Handler) as server:
        server.reply = reply
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server, EvmClient(f"http://{ADDRESS}:{server.server_address[1]}", timeout_s=10)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("reply", [None, b"", b"not json", b'{"id": 1}', b'{"result": 7}'])
def test_no_error_shows_more_of_an_endpoint_than_where_it_is(reply: bytes | None) -> None:
    with endpoint(reply) as (server, _):
        client = EvmClient(f"http://user:c0ffee@{ADDRESS}:{server.server_address[1]}/v3/c0ffee?key=c0ffee")
        with pytest.raises(Unavailable) as caught:
            client.logs([], [], 1, 2)
        assert "c0ffee" not in f"{caught.value} {caught.value.remedy}" and ADDRESS in str(caught.value)


def answer(result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 0, "result": result}).encode()


RESULTS: list[object] = ["0xzz", 1.5, "", [], {}, True, "0x", "0x" + "f" * 3, [[]], [7], {"logs": 7}]
NONSENSE = [
    b"",
    b"not json",
    b"[]",
    b"7",
    b"null",
    b"{}",
    b'"text"',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"error": 7}',
    b'{"error": {"code": "x", "message": 3, "data": [1]}}',
    *map(answer, RESULTS),
    answer({"number": "0x1", "hash": "0x" + "00" * 32, "parentHash": "0x" + "00" * 32, "timestamp": "0x1"}),
]


@pytest.mark.parametrize("reply", NONSENSE, ids=lambda reply: repr(reply[:60]))
def test_whatever_an_endpoint_says_only_named_errors_come_out(reply: bytes) -> None:
    with endpoint(reply) as (_, client):
        calls: list[Callable[[], object]] = [
            client.chain_id,
            lambda: client.code(bytes(20)),
            lambda: client.header("latest"),
            lambda: client.header(bytes(32)),
            lambda: client.receipt(bytes(32)),
            lambda: client.block_receipts(bytes(32)),
            lambda: client.logs([bytes(20)], [None], 0, 1),
            lambda: client.send_raw(b"\x02"),
            client.priority_fee,
            lambda: client.estimate_gas(bytes(20), None, b""),
        ]
        for call in calls:
            try:
                call()
            except (Unavailable, Rejected):
                continue


def test_a_transaction_is_sent_once_though_the_line_breaks() -> None:
    """web3's own retries are off: only the owner of the nonce knows what a second sending would mean."""
    with endpoint(None) as (server, client):
        with pytest.raises(Unavailable, match="rpc_unreachable"):
            client.send_raw(b"\x02")
        assert server.asked == 1


def test_a_deep_answer_ends_nothing_in_this_process() -> None:
    """One of web3's imports raises the recursion limit so far that parsing JSON like this crashed Python."""
    assert sys.getrecursionlimit() < 10_000
    with pytest.raises(RecursionError):
        json.loads("[" * 100_000)


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER", 1_000)
    with endpoint(answer("0x" + "00" * 1_000)) as (_, client), pytest.raises(Unavailable, match="rpc_answer"):
        client.code(bytes(20))


def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="rpc_unreachable"):
        EvmClient(f"http://{ADDRESS}:{free_port()}").chain_id()


def test_account_keys_come_from_files(tmp_path: Any) -> None:
    key = tmp_path / "account.key"
    key.write_text("0x" + "07" * 32 + "\n")
    assert Account.from_file(key).address == Account(b"\x07" * 32).address
    for text in ("", "07" * 31, "zz" * 32):
        key.write_text(text)
        with pytest.raises(UsageError, match="account_key"):
            Account.from_file(key)
    with pytest.raises(UsageError, match="account_key"):
        Account.from_file(tmp_path / "none")
