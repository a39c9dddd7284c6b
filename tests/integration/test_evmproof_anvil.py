"""Chain proofs against a real node: every transaction of a block it mined is proved to that block's hash."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeseal.errors import VerificationError
from edgeseal.evmproof import (
    HEADER_FIELDS,
    Log,
    build_receipt_proof,
    decode_header,
    encode_header,
    encode_receipt,
    keccak256,
    rlp,
    trie,
    verify_log,
)
from edgeseal.fleetlog_event import ANCHORED_TOPIC, Anchored, decode_anchored

ANVIL = Path(__file__).parents[2] / "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
PATIENCE_S = 120
TRANSACTIONS = 140
LOG_ID, ROOT, KID = (bytes([n]) * 32 for n in (0xA1, 0xB2, 0xC3))

Rpc = Callable[..., Any]


def emitter() -> bytes:
    """Creation code of a contract that logs its call data as an Anchored event, and reverts when there is none."""
    # CALLDATASIZE PUSH1 7 JUMPI PUSH0 PUSH0 REVERT JUMPDEST CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY
    runtime = bytes.fromhex("36600757" + "5f5ffd" + "5b" + "365f5f37")
    # PUSH32 log id, PUSH32 topic, CALLDATASIZE PUSH0 LOG2 STOP
    runtime += b"\x7f" + LOG_ID + b"\x7f" + ANCHORED_TOPIC + bytes.fromhex("365fa200")
    # PUSH1 length DUP1 PUSH1 9 PUSH0 CODECOPY PUSH0 RETURN
    return bytes([0x60, len(runtime), 0x80, 0x60, 9, 0x5F, 0x39, 0x5F, 0xF3]) + runtime


@pytest.fixture
def rpc(tmp_path: Path) -> Iterator[Rpc]:
    """A fresh anvil on a port of its choice, stopped afterwards; the value calls its JSON-RPC methods."""
    if not ANVIL.exists() and platform.machine() != "x86_64":
        pytest.skip("no anvil for this platform")
    output = tmp_path / "anvil.out"
    command = [str(ANVIL), "--hardfork", "osaka", "--port", "0", "--host", "127.0.0.1"]
    with output.open("wb") as sink, subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT) as node:
        try:
            url = f"http://{listening_address(output, node)}"

            def call(method: str, *params: Any) -> Any:
                body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
                request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                    answer = json.load(response)
                assert "error" not in answer, answer
                return answer["result"]

            yield call
        finally:
            node.terminate()


def listening_address(output: Path, node: subprocess.Popen[bytes]) -> str:
    """Host and port, once the node has written them."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and node.poll() is None:
        if found := re.search(r"^Listening on (\S+)\n", output.read_text(), re.MULTILINE):
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"anvil does not listen: {output.read_text()}")


def receipt_of(rpc: Rpc, transaction: str) -> Any:
    """The receipt of a transaction, once it is mined."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := rpc("eth_getTransactionReceipt", transaction):
            return found
    raise AssertionError("not mined in time")


def raw(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


def header_bytes(block: dict[str, Any]) -> bytes:
    """A block of JSON-RPC as header bytes."""
    integers = {"difficulty", "number", "gasLimit", "gasUsed", "timestamp"}
    integers |= {"baseFeePerGas", "blobGasUsed", "excessBlobGas"}
    present = [name for name in HEADER_FIELDS if block.get(name) is not None]
    return encode_header([int(block[name], 16) if name in integers else raw(block[name]) for name in present])


def receipt_bytes(item: dict[str, Any]) -> bytes:
    """A receipt of JSON-RPC as trie bytes."""
    return encode_receipt(
        tx_type=int(item["type"], 16),
        status=int(item["status"], 16),
        cumulative_gas_used=int(item["cumulativeGasUsed"], 16),
        logs_bloom=raw(item["logsBloom"]),
        logs=[Log(raw(log["address"]), tuple(map(raw, log["topics"])), raw(log["data"])) for log in item["logs"]],
    )


def event_data(number: int) -> bytes:
    return number.to_bytes(32, "big") + ROOT + KID + bytes(32)


def send(rpc: Rpc, account: str, contract: str, number: int) -> str:
    """One of four transactions in turn: three types with an event, and one that reverts."""
    transaction = {"from": account, "to": contract, "gas": hex(100_000), "data": "0x" + event_data(number).hex()}
    fee = hex(10**10)
    match number % 4:
        case 0:
            transaction |= {"gasPrice": fee}
        case 1:
            transaction |= {"gasPrice": fee, "accessList": [], "type": "0x1"}  # type: ignore[dict-item]
        case 2:
            transaction |= {"maxFeePerGas": fee, "maxPriorityFeePerGas": hex(1)}
        case 3:
            transaction |= {"maxFeePerGas": fee, "maxPriorityFeePerGas": hex(1), "data": "0x"}
    return str(rpc("eth_sendTransaction", transaction))


def test_every_transaction_of_a_mined_block(rpc: Rpc) -> None:
    account = rpc("eth_accounts")[0]
    deployment = rpc("eth_sendTransaction", {"from": account, "data": "0x" + emitter().hex(), "gas": hex(500_000)})
    contract = receipt_of(rpc, deployment)["contractAddress"]
    rpc("evm_setAutomine", False)
    sent = [send(rpc, account, contract, number) for number in range(TRANSACTIONS)]
    rpc("evm_mine")
    block = rpc("eth_getBlockByNumber", hex(int(receipt_of(rpc, sent[-1])["blockNumber"], 16)), False)
    assert block["transactions"] == sent

    header = header_bytes(block)
    assert decode_header(header).block_hash == raw(block["hash"])
    items = [rpc("eth_getTransactionReceipt", transaction) for transaction in sent]
    assert {item["type"] for item in items} == {"0x0", "0x1", "0x2"}
    receipts = [receipt_bytes(item) for item in items]
    for index in range(TRANSACTIONS):
        proof = build_receipt_proof(receipts, index)
        assert proof.receipts_root == raw(block["receiptsRoot"])
        arguments = (raw(block["hash"]), header, receipts[index], index, proof.nodes, raw(contract), 0)
        if index % 4 == 3:
            with pytest.raises(VerificationError, match="tx_failed"):
                verify_log(*arguments)
            continue
        found = verify_log(*arguments)
        assert decode_anchored(found.log) == Anchored(LOG_ID, index, ROOT, KID, 0)
        assert found.header.number == int(block["number"], 16)
        assert found.header.timestamp == int(block["timestamp"], 16)


def test_an_account_under_the_state_root(rpc: Rpc) -> None:
    """eth_getProof, checked by the same trie code: the key is the hash of the address, the value its account."""
    account = rpc("eth_accounts")[0]
    deployment = rpc("eth_sendTransaction", {"from": account, "data": "0x" + emitter().hex(), "gas": hex(500_000)})
    mined = receipt_of(rpc, deployment)
    header = decode_header(header_bytes(rpc("eth_getBlockByNumber", mined["blockNumber"], False)))
    found = rpc("eth_getProof", mined["contractAddress"], [], mined["blockNumber"])
    numbers = [rlp.encode_integer(int(found[name], 16)) for name in ("nonce", "balance")]
    value = rlp.encode([*numbers, raw(found["storageHash"]), raw(found["codeHash"])])
    nodes = [raw(node) for node in found["accountProof"]]
    key = keccak256(raw(mined["contractAddress"]))
    trie.verify_inclusion(header.state_root, key, value, nodes)
    assert raw(found["codeHash"]) == keccak256(raw(rpc("eth_getCode", mined["contractAddress"], "latest")))
