"""Writes the chain-proof vectors with independent packages: py-evm, trie and rlp, never edgeseal.

Run it in an environment of its own (see README.md beside it):

    python generate.py           writes every case
    python generate.py --check   exits 1 when a committed case differs from what would be written
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rlp
from eth.chains.mainnet import MAINNET_GENESIS_HEADER
from eth.rlp.headers import BlockHeader
from eth.rlp.logs import Log
from eth.rlp.receipts import Receipt
from eth.vm.forks.cancun.blocks import CancunBlockHeader
from eth.vm.forks.london.blocks import LondonBlockHeader
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth.vm.forks.prague.receipts import PragueTypedReceipt
from eth.vm.forks.shanghai.blocks import ShanghaiBlockHeader
from eth_hash.auto import keccak
from trie import HexaryTrie

HERE = Path(__file__).parent
CONTRACT = bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3")
OTHER = bytes.fromhex("e7f1725e7734ce288f8367e1bb143e90bb3f0512")
TIME = 1_764_155_000
Case = dict[str, Any]


def word(label: str, number: int = 0) -> bytes:
    """A 32-byte value that looks random and is the same in every run."""
    return keccak(f"{label}/{number}".encode())


def log(number: int, address: bytes = CONTRACT, topics: int = 2) -> Log:
    return Log(address, tuple(int.from_bytes(word("topic", n), "big") for n in range(topics)), word("data", number) * 2)


def receipt(number: int, tx_type: int = 2, status: bytes = b"\x01", logs: list[Log] | None = None) -> bytes:
    body = Receipt(status, 21_000 * (number + 1), [log(number)] if logs is None else logs)
    return bytes(body.encode()) if tx_type == 0 else bytes(PragueTypedReceipt(tx_type, body).encode())


def receipts(count: int) -> list[bytes]:
    """A block's receipts: all transaction types in turn, logs in every third."""
    return [receipt(n, n % 5, logs=[log(n)] if n % 3 == 0 else []) for n in range(count)]


def trie_of(values: dict[bytes, bytes]) -> HexaryTrie:
    tree = HexaryTrie({})
    for key, value in values.items():
        tree[key] = value
    return tree


def proof(tree: HexaryTrie, key: bytes) -> list[bytes]:
    """The nodes on the way to the key that are not embedded in their parent."""
    encoded = [rlp.encode(node) for node in tree.get_proof(key)]
    return [node for place, node in enumerate(encoded) if place == 0 or len(node) >= 32]


def prague(root: bytes) -> PragueBlockHeader:
    return PragueBlockHeader(
        difficulty=0, block_number=23_600_000, gas_limit=36_000_000, timestamp=TIME, receipt_root=root, gas_used=21_000,
        coinbase=OTHER, parent_hash=word("parent"), state_root=word("state"), extra_data=b"vectors", nonce=bytes(8),
        base_fee_per_gas=7, requests_hash=word("requests"),
    )  # fmt: skip


def fields_of(header: bytes) -> list[Any]:
    return list(rlp.decode(header))


def case(description: str, expect: str, function: str, given: dict[str, Any], output: Any = None) -> Case:
    found: Case = {"description": description, "function": function, "input": given, "expect": expect}
    return found if output is None else found | {"output": output}


def log_input(block: list[bytes], index: int, header: bytes | None = None, **change: Any) -> dict[str, Any]:
    tree = trie_of({rlp.encode(n): item for n, item in enumerate(block)})
    header = rlp.encode(prague(tree.root_hash)) if header is None else header
    nodes = proof(tree, rlp.encode(index))
    return raw_input(header, block[index], index, nodes, **change)


def raw_input(header: bytes, item: bytes, index: int, nodes: list[bytes], **change: Any) -> dict[str, Any]:
    """The arguments of verify_log; ``change`` replaces some of them after all hashes have been computed."""
    given: dict[str, Any] = {
        "block_hash": keccak(header), "header": header, "receipt": item, "index": index, "proof_nodes": nodes,
        "contract_address": CONTRACT, "log_index": 0,
    } | change  # fmt: skip
    return {name: hexed(value) for name, value in given.items()}


def hexed(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [hexed(item) for item in value] if isinstance(value, list | tuple) else value


def proved(number: int, block: int = 23_600_000, time: int = TIME, topics: int = 2) -> dict[str, Any]:
    return {
        "address": CONTRACT.hex(), "topics": [word("topic", n).hex() for n in range(topics)],
        "data": (word("data", number) * 2).hex(), "number": block, "timestamp": time,
    }  # fmt: skip


def good_logs() -> Iterator[tuple[str, Case]]:
    for count, index in ((1, 0), (2, 0), (17, 15), (128, 0), (128, 126), (200, 0), (200, 126), (200, 129), (200, 198)):
        text = f"receipt {index} of {count} in a block"
        yield (
            f"block-{count}-receipt-{index}",
            case(text, "ok", "verify_log", log_input(receipts(count), index), proved(index)),
        )
    for tx_type in range(5):
        given = log_input([receipt(0, tx_type), receipt(1, 2, logs=[])], 0)
        yield f"type-{tx_type}", case(f"a receipt of transaction type {tx_type}", "ok", "verify_log", given, proved(0))
    three = [receipt(0, logs=[log(7, OTHER), log(8), log(9, topics=4)])]
    given = log_input(three, 0, log_index=2)
    yield "third-log", case("the third log of a receipt, four topics", "ok", "verify_log", given, proved(9, topics=4))
    deposit = b"\x7e" + rlp.encode([*rlp.decode(receipt(0, 0)), b"\x09", b"\x01"])
    given = log_input([deposit, receipt(1)], 0)
    yield "deposit", case("an OP Stack deposit: two fields after the logs", "ok", "verify_log", given, proved(0))
    yield from good_forks()


def good_forks() -> Iterator[tuple[str, Case]]:
    block = [receipt(0), receipt(1)]
    root = trie_of({rlp.encode(n): item for n, item in enumerate(block)}).root_hash
    common = {"difficulty": 0, "block_number": 5, "gas_limit": 30_000_000, "timestamp": TIME, "receipt_root": root}
    headers = {
        "byzantium": BlockHeader(**(common | {"difficulty": 1 << 53})),
        "london": LondonBlockHeader(**common, base_fee_per_gas=7),
        "shanghai": ShanghaiBlockHeader(**common, base_fee_per_gas=7),
        "cancun": CancunBlockHeader(**common, base_fee_per_gas=7, blob_gas_used=131_072),
        "prague": PragueBlockHeader(**common, base_fee_per_gas=7),
    }
    encoded = {name: rlp.encode(header) for name, header in headers.items()}
    encoded["two-unknown-fields"] = rlp.encode([*fields_of(encoded["prague"]), word("access list"), b"\x17"])
    for name, header in encoded.items():
        given = log_input(block, 0, header)
        yield f"header-{name}", case(f"a header as of {name}", "ok", "verify_log", given, proved(0, 5))


def bad_proofs() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """(name, expected code, input, description): the block, the trie walk, the receipt under the index."""
    block = receipts(17)
    good = log_input(block, 3)
    nodes = [bytes.fromhex(node) for node in good["proof_nodes"]]
    tree = {rlp.encode(n): item for n, item in enumerate(block)}
    other = proof(trie_of(tree), rlp.encode(5))
    yield "block-hash", "block_hash_mismatch", good | {"block_hash": word("no block").hex()}, "another block hash"
    yield "receipt-of-another", "trie_value", good | {"receipt": block[6].hex()}, "receipt 6 under index 3"
    yield (
        "receipt-bit",
        "trie_value",
        good | {"receipt": (block[3][:-1] + b"\x00").hex()},
        "one byte of the receipt changed",
    )
    yield "index-of-another", "trie_node_hash", good | {"index": 16}, "index 16 with the path of index 3"
    yield "index-absent", "trie_key_absent", good | {"index": 32}, "an index the block does not have"
    yield "index-too-large", "tx_index", good | {"index": 65_536}, "an index above the limit"
    yield "index-negative", "tx_index", good | {"index": -1}, "a negative index"
    yield "no-nodes", "trie_no_nodes", good | {"proof_nodes": []}, "no proof node"
    yield "node-missing-first", "trie_node_hash", good | {"proof_nodes": hexed(nodes[1:])}, "the root node left out"
    yield "node-missing-last", "trie_node_missing", good | {"proof_nodes": hexed(nodes[:-1])}, "the leaf left out"
    yield "node-extra", "trie_node_extra", good | {"proof_nodes": hexed([*nodes, other[-1]])}, "a node after the leaf"
    yield "node-twice", "trie_node_hash", good | {"proof_nodes": hexed([nodes[0], *nodes])}, "the root node twice"
    yield (
        "nodes-swapped",
        "trie_node_hash",
        good | {"proof_nodes": hexed([nodes[1], nodes[0], *nodes[2:]])},
        "two nodes swapped",
    )
    yield (
        "node-of-another",
        "trie_node_hash",
        good | {"proof_nodes": hexed([*nodes[:-1], other[-1]])},
        "the leaf of index 5",
    )
    yield "nodes-too-many", "trie_too_many_nodes", good | {"proof_nodes": hexed([nodes[0]] * 66)}, "66 nodes"
    yield "log-index", "event_index", good | {"log_index": 1}, "a log the receipt does not have"
    yield "log-index-negative", "event_index", good | {"log_index": -1}, "a negative log index"
    yield "contract", "event_address", good | {"contract_address": OTHER.hex()}, "a log of another contract"
    yield (
        "reverted",
        "tx_failed",
        log_input([receipt(0, status=b""), receipt(1)], 0),
        "the transaction was reverted",
    )


def bad_headers() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    block = [receipt(0)]
    root = trie_of({rlp.encode(0): block[0]}).root_hash
    good = fields_of(rlp.encode(prague(root)))

    def with_field(place: int, value: Any) -> bytes:
        return bytes(rlp.encode([*good[:place], value, *good[place + 1 :]]))

    headers = {
        "header-string": (bytes(rlp.encode(b"header" * 20)), "block_shape", "a byte string for a header"),
        "header-14-fields": (rlp.encode(good[:14]), "block_fields", "14 fields"),
        "header-33-fields": (rlp.encode([*good, *[b"\x01"] * 12]), "block_fields", "33 fields"),
        "header-too-large": (with_field(12, bytes(16_384)), "block_too_large", "16 KiB of extra data"),
        "header-trailing": (rlp.encode(good) + b"\x00", "rlp_trailing_bytes", "a byte after the header"),
        "header-root-size": (with_field(5, root[:31]), "rlp_size", "a receipts root of 31 bytes"),
        "header-bloom-size": (with_field(6, bytes(255)), "rlp_size", "a bloom of 255 bytes"),
        "header-number-zero": (
            with_field(8, b"\x00\x05"),
            "rlp_integer_leading_zero",
            "a block number with a leading zero",
        ),
        "header-time-size": (with_field(11, b"\x01" * 9), "rlp_integer_too_large", "a timestamp of 9 bytes"),
        "header-list-field": (with_field(20, []), "rlp_not_bytes", "a list for a field"),
        "header-list-root": (with_field(5, []), "rlp_not_bytes", "a list for the receipts root"),
    }
    for name, (header, code, text) in headers.items():
        yield name, code, log_input(block, 0, header), text


def bad_receipts() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Receipts that are proved and not well formed: the trie holds exactly these bytes."""
    fields = rlp.decode(receipt(0, 0))
    status, gas, bloom, logs = fields
    address, topics, data = logs[0]

    def with_logs(value: Any) -> bytes:
        return bytes(rlp.encode([status, gas, bloom, value]))

    items = {
        "receipt-type-0": (b"\x00" + rlp.encode(fields), "tx_receipt_type", "type byte 0"),
        "receipt-type-128": (b"\x80" + rlp.encode(fields), "tx_receipt_type", "type byte 128"),
        "receipt-string": (b"\x02" + rlp.encode(b"receipt"), "tx_receipt_shape", "a byte string for a receipt"),
        "receipt-3-fields": (b"\x02" + rlp.encode(fields[:3]), "tx_receipt_fields", "no logs"),
        "receipt-5-fields": (b"\x02" + rlp.encode([*fields, b""]), "tx_receipt_fields", "a field too many for type 2"),
        "deposit-9-fields": (
            b"\x7e" + rlp.encode([*fields, *[b""] * 5]),
            "tx_receipt_fields",
            "five fields after the logs",
        ),
        "receipt-state-root": (
            rlp.encode([word("state"), gas, bloom, logs]),
            "tx_receipt_status",
            "a state root for a status",
        ),
        "receipt-status-2": (rlp.encode([b"\x02", gas, bloom, logs]), "tx_receipt_status", "status 2"),
        "receipt-gas-zero": (
            rlp.encode([status, b"\x00\x01", bloom, logs]),
            "rlp_integer_leading_zero",
            "gas with a leading zero",
        ),
        "receipt-bloom": (rlp.encode([status, gas, bloom[:-1], logs]), "rlp_size", "a bloom of 255 bytes"),
        "receipt-logs-string": (with_logs(b"logs"), "tx_receipt_shape", "a byte string for the logs"),
        "receipt-trailing": (rlp.encode(fields) + b"\x01", "rlp_trailing_bytes", "a byte after the receipt"),
        "receipt-only-type": (b"\x02", "rlp_empty", "a type byte and nothing else"),
        "log-string": (with_logs([b"log"]), "event_shape", "a byte string for a log"),
        "log-2-fields": (with_logs([[address, topics]]), "event_shape", "a log without data"),
        "log-data-list": (with_logs([[address, topics, [data]]]), "event_shape", "a list for a log's data"),
        "log-5-topics": (with_logs([[address, [word("t")] * 5, data]]), "event_topics", "five topics"),
        "log-topics-string": (with_logs([[address, b"", data]]), "event_topics", "a byte string for the topics"),
        "log-topic-size": (with_logs([[address, [word("t")[:31]], data]]), "rlp_size", "a topic of 31 bytes"),
        "log-address-size": (with_logs([[address[:19], topics, data]]), "rlp_size", "an address of 19 bytes"),
    }
    for name, (item, code, text) in items.items():
        yield name, code, log_input([item, receipt(1)], 0), text


def bad_nodes() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Nodes that no honest trie has, under a root that names them."""
    item = receipt(0)
    leaf = [b"\x20\x80", item]
    rest = rlp.encode([b"\x20", item])
    branch = [b""] * 17
    nodes = {
        "node-of-3": ([b"\x20\x80", item, b""], "trie_node_shape", "a node of three items"),
        "node-string": (rlp.encode(leaf), "trie_node_shape", "a byte string for a node"),
        "leaf-empty": ([b"\x20\x80", b""], "trie_node_shape", "a leaf without a value"),
        "leaf-list": ([b"\x20\x80", [item]], "trie_node_shape", "a leaf that holds a list"),
        "path-flag": ([b"\x40\x80", item], "trie_path_encoding", "path flag 4"),
        "path-padding": ([b"\x21\x80", item], "trie_path_encoding", "an even path whose padding is not zero"),
        "path-none": ([b"", item], "trie_path_encoding", "an empty byte string for a path"),
        "path-list": ([[], item], "trie_path_encoding", "a list for a path"),
        "path-too-long": ([b"\x20" + bytes(33), item], "trie_path_encoding", "a path longer than any key"),
        "path-empty": ([b"\x00", keccak(rlp.encode(leaf))], "trie_path_empty", "an extension of nothing"),
        "child-size": ([*branch[:8], keccak(rest)[:31], *branch[9:]], "trie_child_shape", "a reference of 31 bytes"),
        "child-embedded": ([*branch[:8], [b"\x30", item], *branch[9:]], "trie_child_embedded", "a long node embedded"),
        "branch-value": (
            [*branch[:8], keccak(rest), *branch[9:16], b"\x01"],
            "trie_branch_value",
            "a branch with a value",
        ),
    }
    for name, (node, code, text) in nodes.items():
        encoded = rlp.encode(node)
        header = rlp.encode(prague(keccak(encoded)))
        yield name, code, raw_input(header, item, 0, [encoded, rest]), text


def tries() -> Iterator[tuple[str, Case]]:
    """Small values, so that leaves, extensions and branches are embedded in their parents."""
    words = {b"do\x00\x01": b"verb", b"dog\x01": b"puppy", b"doge": b"coin", b"horse": b"stallion"}
    tiny = {bytes([n, n]): bytes([n + 1]) for n in range(20)}
    deep = {bytes(31) + bytes([n]): b"v" * n for n in (1, 2, 33)}
    for name, values in (("words", words), ("tiny", tiny), ("deep", deep), ("single", {b"k": b"v"})):
        tree = trie_of(values)
        for number, (key, value) in enumerate(values.items()):
            given = {"root": tree.root_hash, "key": key, "value": value, "nodes": proof(tree, key)}
            text = f"key {number} of the trie of {len(values)} entries, built with the package trie"
            yield f"{name}-{number}", case(text, "ok", "trie", {n: hexed(v) for n, v in given.items()})
    given = {"root": trie_of(words).root_hash, "key": b"dodo", "value": b"x", "nodes": proof(trie_of(words), b"dodo")}
    yield "absent", case("no such key", "trie_key_absent", "trie", {n: hexed(v) for n, v in given.items()})
    for name, key in (("key-empty", b""), ("key-too-long", bytes(33))):
        yield (
            name,
            case(
                "a key of no possible size",
                "trie_key_size",
                "trie",
                {n: hexed(v) for n, v in (given | {"key": key}).items()},
            ),
        )


def together(tree: HexaryTrie, keys: list[bytes]) -> list[bytes]:
    """The nodes that all the keys need, each once, where it is first needed."""
    return list(dict.fromkeys(node for key in keys for node in proof(tree, keccak(key))))


EMPTY = keccak(rlp.encode(b""))


def storage_of(count: int) -> dict[bytes, int]:
    """Slots with values of every length from 1 to 32 bytes."""
    return {word("slot", n): int.from_bytes(word("held", n)[: n % 32 + 1], "big") | 1 for n in range(count)}


def storage_trie(values: dict[bytes, int]) -> HexaryTrie:
    return trie_of({keccak(slot): rlp.encode(value) for slot, value in values.items()})


def slots_input(values: dict[bytes, int], asked: list[bytes], **change: Any) -> dict[str, Any]:
    tree = storage_trie(values)
    nodes = together(tree, asked) if values else []
    given: dict[str, Any] = {"storage_root": tree.root_hash if values else EMPTY, "slots": asked, "nodes": nodes}
    return {name: hexed(value) for name, value in (given | change).items()}


def good_slots() -> Iterator[tuple[str, Case]]:
    absent = [word("absent", n) for n in range(20)]
    for count in (1, 2, 17, 300):
        values = storage_of(count)
        asked = sorted([*list(values)[:40], *absent])
        held = [values.get(slot, 0).to_bytes(32, "big") for slot in asked]
        text = f"slots of {count}, and 20 that hold nothing"
        yield f"of-{count}", case(text, "ok", "slots", slots_input(values, asked), hexed(held))
    zero = held_as(storage_of(17), word("absent", 3), b"\x80")
    yield "zero-kept", case("a slot that holds zero and is kept all the same", "ok", "slots", zero, hexed([bytes(32)]))
    yield (
        "of-none",
        case("storage that holds nothing", "ok", "slots", slots_input({}, absent[:2]), hexed([bytes(32)] * 2)),
    )


def held_as(values: dict[bytes, int], slot: bytes, encoded: bytes) -> dict[str, Any]:
    """The proof of a slot whose value the trie holds in this form."""
    tree = storage_trie(values)
    tree[keccak(slot)] = encoded
    return slots_input(values, [slot], storage_root=tree.root_hash, nodes=together(tree, [slot]))


def bad_slots() -> Iterator[tuple[str, Case]]:
    values = storage_of(300)
    taken = next(iter(values))
    asked = sorted([*list(values)[:3], word("absent", 1)])
    good, one = slots_input(values, asked), slots_input(values, [taken])
    nodes = good["nodes"]
    fewer = {slot: value for slot, value in values.items() if slot != taken}
    without = together(storage_trie(fewer), [taken])
    large = (b"\xf9\x03\xfe" + bytes(1_022)).hex()
    proofs = {
        "missing-last": ("trie_node_missing", "the last node left out", nodes[:-1]),
        "missing-first": ("trie_node_hash", "the root node left out", nodes[1:]),
        "none": ("trie_node_missing", "no node", []),
        "extra": ("trie_node_extra", "a node that no slot needs", [*nodes, nodes[-1]]),
        "twice": ("trie_node_hash", "the root node twice", [nodes[0], *nodes]),
        "swapped": ("trie_node_hash", "two nodes swapped", [nodes[0], nodes[2], nodes[1], *nodes[3:]]),
        "stale": ("trie_node_hash", "the nodes of another block", slots_input(fewer, asked)["nodes"]),
        "node-large": ("trie_node_too_large", "a node of 1,025 bytes", [large]),
    }
    for name, (code, text, changed) in proofs.items():
        yield name, case(text, code, "slots", good | {"nodes": changed})
    inputs = {
        "another-root": ("trie_node_hash", "another storage root", good | {"storage_root": word("root").hex()}),
        "exclusion-forged": ("trie_node_hash", "absent by the trie without it", one | {"nodes": hexed(without)}),
        "exclusion-short": ("trie_node_missing", "absent by a path that stops", one | {"nodes": one["nodes"][:-1]}),
        "empty-nodes": ("trie_node_extra", "a node under the empty root", slots_input({}, [taken], nodes=[b"\x80"])),
        "value-list": ("rlp_not_bytes", "a list for a value", held_as(values, taken, rlp.encode([b"\x01"]))),
        "value-leading-zero": (
            "rlp_integer_leading_zero",
            "a value with a leading zero",
            held_as(values, taken, b"\x82\x00\x07"),
        ),
        "value-33": (
            "rlp_integer_too_large",
            "a value of 33 bytes",
            held_as(values, taken, rlp.encode(b"\x01" * 33)),
        ),
    }
    for name, (code, text, given) in inputs.items():
        yield name, case(text, code, "slots", given)


def accounts_trie(change: dict[bytes, Any] | None = None) -> HexaryTrie:
    """A state of 200 accounts; every third has storage."""
    made = {
        word("account", n)[:20]: [n, n * 10**18, word("storage", n) if n % 3 == 0 else EMPTY, word("code", n)]
        for n in range(200)
    }
    return trie_of({keccak(address): rlp.encode(item) for address, item in (made | (change or {})).items()})


def states() -> Iterator[tuple[str, Case]]:
    present, absent = sorted(word("account", n)[:20] for n in (0, 3, 7)), word("nobody")[:20]
    asked = sorted([*present, absent])
    tree = accounts_trie()
    given = {"state_root": tree.root_hash, "addresses": asked, "nodes": together(tree, asked)}
    told = {word("account", n)[:20]: [word("storage", n) if n % 3 == 0 else EMPTY, word("code", n)] for n in (0, 3, 7)}
    output = [hexed(told[address]) if address in told else None for address in asked]
    good = {name: hexed(value) for name, value in given.items()}
    yield "four", case("three accounts and one that is not there", "ok", "accounts", good, output)
    yield (
        "missing",
        case("the last node left out", "trie_node_missing", "accounts", good | {"nodes": good["nodes"][:-1]}),
    )
    yield "root", case("another state root", "trie_node_hash", "accounts", good | {"state_root": word("r").hex()})
    others = good | {"addresses": hexed(sorted([*present, word("account", 9)[:20]]))}
    yield "another", case("the path of another account", "trie_node_hash", "accounts", others)
    one = present[0]
    shapes = {
        "fields-3": ("state_account", [b"\x01", b"", EMPTY]),
        "fields-5": ("state_account", [b"\x01", b"", EMPTY, EMPTY, b""]),
        "string": ("state_account", b"account" * 9),
        "root-size": ("rlp_size", [b"\x01", b"", EMPTY[:31], EMPTY]),
        "code-size": ("rlp_size", [b"\x01", b"", EMPTY, EMPTY + b"\x00"]),
        "code-list": ("rlp_not_bytes", [b"\x01", b"", EMPTY, []]),
        "nonce-size": ("rlp_integer_too_large", [b"\x01" * 9, b"", EMPTY, EMPTY]),
        "balance-zero": ("rlp_integer_leading_zero", [b"\x01", b"\x00\x01", EMPTY, EMPTY]),
    }
    for name, (code, item) in shapes.items():
        other = accounts_trie({one: item})
        raw = {"state_root": other.root_hash, "addresses": [one], "nodes": together(other, [one])}
        yield name, case("an account of another shape", code, "accounts", {n: hexed(v) for n, v in raw.items()})


def rlps() -> Iterator[tuple[str, Case]]:
    items: dict[str, Any] = {
        "dog": b"dog", "cat-dog": [b"cat", b"dog"], "empty-string": b"", "empty-list": [], "zero-byte": b"\x00",
        "byte-7f": b"\x7f", "byte-80": b"\x80", "55-bytes": b"a" * 55, "56-bytes": b"b" * 56, "256-bytes": b"c" * 256,
        "set-of-three": [[], [[]], [[], [[]]]], "long-list": [b"d" * 20] * 3, "list-of-55": [b"e"] * 55,
        "list-of-56": [b"f"] * 56, "depth-8": [[[[[[[[]]]]]]]],
    }  # fmt: skip
    for name, item in items.items():
        yield name, case("encoded by the package rlp", "ok", "rlp", {"encoded": rlp.encode(item).hex()}, hexed(item))
    bad = {
        "empty": ("", "rlp_empty", "nothing"),
        "truncated-string": ("83646f", "rlp_truncated", "two bytes of three"),
        "truncated-length": ("b9", "rlp_truncated", "no length bytes"),
        "truncated-list": ("c3646f", "rlp_truncated", "two bytes of three"),
        "trailing": ("83646f6700", "rlp_trailing_bytes", "a byte after the item"),
        "list-too-short": ("c483646f6764", "rlp_trailing_bytes", "a list that ends before its bytes do"),
        "item-overruns-list": ("c283646f", "rlp_overruns_list", "an item longer than its list"),
        "length-overruns-list": ("c1b8", "rlp_overruns_list", "length bytes outside the list"),
        "byte-with-length": ("8100", "rlp_byte_not_minimal", "a small byte with a length before it"),
        "byte-7f-with-length": ("817f", "rlp_byte_not_minimal", "7f with a length before it"),
        "long-form-short": ("b803646f67", "rlp_length_not_minimal", "the long form for three bytes"),
        "long-form-55": ("b837" + "61" * 55, "rlp_length_not_minimal", "the long form for 55 bytes"),
        "long-form-list": ("f803646f67", "rlp_length_not_minimal", "the long form for a list of three bytes"),
        "length-zero": ("b90038" + "61" * 56, "rlp_length_leading_zero", "a length with a leading zero"),
        "length-zero-list": ("f90038" + "61" * 56, "rlp_length_leading_zero", "a list's length with a leading zero"),
        "length-huge": ("bfffffffffffffffff", "rlp_truncated", "a length of 2^64 - 1"),
        "depth-9": (rlp.encode([[[[[[[[[]]]]]]]]]).hex(), "rlp_too_deep", "nine lists in each other"),
    }

    for name, (encoded, code, text) in bad.items():
        yield name, case(text, code, "rlp", {"encoded": encoded})


def genesis() -> Iterator[tuple[str, Case]]:
    block = MAINNET_GENESIS_HEADER
    given = {"block_hash": block.hash.hex(), "header": rlp.encode(block).hex()}
    output = {
        "number": 0, "timestamp": 0, "parent_hash": bytes(32).hex(), "state_root": block.state_root.hex(),
        "receipts_root": block.receipt_root.hex(),
    }  # fmt: skip
    yield "mainnet-genesis", case("block 0 of the main network", "ok", "header", given, output)


def cases() -> dict[str, Case]:
    """Every case by its path below this folder."""
    found: dict[str, Case] = {}
    parts = (
        ("log", good_logs()), ("trie", tries()), ("rlp", rlps()), ("header", genesis()), ("slots", good_slots()),
        ("slots", bad_slots()), ("accounts", states()),
    )  # fmt: skip
    for part, source in parts:
        found |= {f"{part}/{name}.json": item for name, item in source}
    for defects in (bad_proofs(), bad_headers(), bad_receipts(), bad_nodes()):
        found |= {f"log/{name}.json": case(text, code, "verify_log", given) for name, code, given, text in defects}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed cases, write nothing")
    check = parser.parse_args().check
    wanted = {name: json.dumps(item, indent=1) + "\n" for name, item in cases().items()}
    present = {str(path.relative_to(HERE)): path.read_text() for path in HERE.glob("*/*.json")}
    if check:
        wrong = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
        print("\n".join(wrong) or f"{len(wanted)} cases as written")
        return 1 if wrong else 0
    for name in present.keys() - wanted.keys():
        (HERE / name).unlink()
    for name, text in wanted.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(text)
    print(f"{len(wanted)} cases written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
