"""Format 15: trust files, and the tricks of YAML they may not play."""

from __future__ import annotations

from tests.vectors.cases import Cases, Zeros, bad, good
from tests.vectors.encoding import token
from tests.vectors.world import FLEET, ROOT, STRANGER

BLOCK = token("block").hex()
ROOT_LINE = f'tenant_root: {{x: "{ROOT.x.hex()}", y: "{ROOT.y.hex()}"}}'
LOG_LINE = f'fleet_log: "{FLEET.hex()}"'
LEAST = f"schema: edgeseal-trust/1\n{ROOT_LINE}\n{LOG_LINE}\n"
CHAIN = f"""chain:
  id: 31337
  kind: operator
  fleet_log_contract: "0x5fbdb2315678afecb367f032d93f642f64180aa3"
  identity_registry: "0xE7f1725E7734CE288F8367e1Bb143E90bb3F0512"
  code_hashes: {{fleet_log_contract: "{BLOCK}", identity_registry: "{BLOCK}"}}
  blocks: ["{BLOCK}"]
  endpoints: ["http://127.0.0.1:8545", 'https://rpc.example/key?a=1']
"""
FURTHER = CHAIN.replace(
    "  code_hashes:",
    '  command_log_contract: "0xcf7ed3acca5a467e9e704c703e8d87f634fb0fc9"\n'
    '  model_registry: "0xdc64a140aa3e981100a9beca4e685f962f0cf6c9"\n  code_hashes:',
).replace("}", f', command_log_contract: "{BLOCK}", model_registry: "{BLOCK}"}}')
FULL = LEAST + CHAIN + f'ek_authorities: ["{BLOCK}"]\npublishers: []\n'


def cases() -> Cases:
    """Every case of this part."""
    base = {"kid": ROOT.kid, "fleet_log": FLEET}
    yield good("least", "only what is required", "trust", {"text": LEAST}, **base, chain=None)
    yield good("full", "everything", "trust", {"text": FULL}, **base, chain=31337)
    yield good("further", "two further contracts", "trust", {"text": LEAST + FURTHER}, **base, chain=31337)
    public = LEAST + "chain: {id: 1, kind: public}\n"
    yield good("chain-least", "a chain and nothing of it", "trust", {"text": public}, **base, chain=1)
    block_style = LEAST.replace(ROOT_LINE, f'tenant_root:\n    x: "{ROOT.x.hex()}"\n    y: "{ROOT.y.hex()}"')
    commented = f"# whom we believe\n{block_style}"
    yield good("block-style", "block style and a comment", "trust", {"text": commented}, **base, chain=None)
    for name, (code, description, text) in {**shapes(), **tricks()}.items():
        yield bad(name, code, description, "trust", {"text": text} if isinstance(text, str) else {"bytes": text})
    yield bad("too-large", "yaml_too_large", "above MAX_YAML", "trust", {"bytes": Zeros(262_145)})


def shapes() -> dict[str, tuple[str, str, str | bytes]]:
    off_curve = f'tenant_root: {{x: "{ROOT.x.hex()}", y: "{STRANGER.y.hex()}"}}'
    return {
        "schema": ("yaml_range", "another schema", LEAST.replace("trust/1", "trust/2")),
        "schema-missing": ("yaml_missing_key", "no schema", LEAST.split("\n", 1)[1]),
        "root-missing": ("yaml_missing_key", "no tenant root", LEAST.replace(ROOT_LINE + "\n", "")),
        "root-y-missing": ("yaml_missing_key", "no y", LEAST.replace(", y:", ", z:")),
        "root-unknown": ("yaml_unknown_key", "a third coordinate", LEAST.replace("}", ', z: "00"}')),
        "root-off-curve": ("key_invalid", "off the curve", LEAST.replace(ROOT_LINE, off_curve)),
        "log-missing": ("yaml_missing_key", "no fleet log", LEAST.replace(LOG_LINE + "\n", "")),
        "log-short": ("yaml_range", "63 digits", LEAST.replace(FLEET.hex(), FLEET.hex()[:63])),
        "log-upper": ("yaml_range", "upper case", LEAST.replace(FLEET.hex(), FLEET.hex().upper())),
        "log-number": ("yaml_type", "64 digits without quotes", LEAST.replace(LOG_LINE, "fleet_log: " + "1" * 64)),
        "unknown": ("yaml_unknown_key", "a misspelt key", LEAST + f'publisher: ["{BLOCK}"]\n'),
        "chain-id-text": ("yaml_type", "a chain id in quotes", LEAST + 'chain: {id: "1", kind: public}\n'),
        "chain-id-zero": ("yaml_range", "chain id 0", LEAST + "chain: {id: 0, kind: public}\n"),
        "chain-id-hex": ("yaml_type", "a chain id in hex", LEAST + "chain: {id: 0x7a69, kind: public}\n"),
        "chain-kind": ("yaml_range", "another kind", LEAST + "chain: {id: 1, kind: private}\n"),
        "chain-list": ("yaml_type", "a list for the chain", LEAST + "chain: []\n"),
        "chain-unknown": ("yaml_unknown_key", "an unknown key", LEAST + "chain: {id: 1, kind: public, name: main}\n"),
        "contract-short": ("yaml_range", "19 bytes", FULL.replace("180aa3", "180a")),
        "contract-bare": ("yaml_range", "without 0x", FULL.replace('"0x5f', '"5f')),
        "codes-unknown": (
            "yaml_unknown_key",
            "an unknown contract",
            FULL.replace("code_hashes: {", "code_hashes: {other: 1, "),
        ),
        "further-code": (
            "yaml_missing_key",
            "a further contract without its code",
            LEAST + FURTHER.replace(f', model_registry: "{BLOCK}"', ""),
        ),
        "further-no-codes": (
            "yaml_missing_key",
            "a further contract and no code hash at all",
            LEAST + f'chain: {{id: 1, kind: public, model_registry: "0x{"00" * 20}"}}\n',
        ),
        "code-alone": (
            "yaml_unknown_key",
            "the code of a contract that is not named",
            FULL.replace("code_hashes: {", f'code_hashes: {{model_registry: "{BLOCK}", '),
        ),
        "block-text": ("yaml_range", "no block hash", FULL.replace(f'blocks: ["{BLOCK}"]', "blocks: [latest]")),
        "blocks-text": (
            "yaml_type",
            "one block and no list",
            FULL.replace(f'blocks: ["{BLOCK}"]', f'blocks: "{BLOCK}"'),
        ),
        "endpoint-file": (
            "yaml_range",
            "a file for an endpoint",
            FULL.replace("http://127.0.0.1:8545", "file:///etc/passwd"),
        ),
        "endpoint-newline": ("yaml_range", "a newline in a URL", FULL.replace(":8545", ":8545\\n")),
    }


def tricks() -> dict[str, tuple[str, str, str | bytes]]:
    return {
        "empty": ("yaml_not_a_map", "an empty file", ""),
        "list": ("yaml_not_a_map", "a list", "- a\n"),
        "scalar": ("yaml_not_a_map", "a word", "trust\n"),
        "duplicate": ("yaml_duplicate_key", "a key twice", LEAST + LOG_LINE + "\n"),
        "duplicate-quoted": ("yaml_duplicate_key", "a key twice, once in quotes", LEAST + f'"fleet_log": "{BLOCK}"\n'),
        "duplicate-escaped": (
            "yaml_duplicate_key",
            "a key twice, once escaped",
            LEAST + f'"fleet\\x5flog": "{BLOCK}"\n',
        ),
        "anchor": ("yaml_alias", "an anchor", LEAST.replace("fleet_log:", "fleet_log: &a")),
        "alias": ("yaml_alias", "an alias", LEAST + "publishers: *a\n"),
        "bomb": ("yaml_alias", "a billion laughs", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
        "merge": ("yaml_merge_key", "a merge key", LEAST + "<<: {publishers: []}\n"),
        "tag": ("yaml_tag", "a tag", LEAST.replace("edgeseal-trust/1", "!!str edgeseal-trust/1")),
        "tag-python": ("yaml_tag", "a tag that makes an object", "!!python/object/apply:os.system [id]\n"),
        "directive": ("yaml_directive", "a directive", "%YAML 1.1\n---\n" + LEAST),
        "documents": ("yaml_documents", "two documents", LEAST + "---\na: 1\n"),
        "key-list": ("yaml_key_type", "a list for a key", "[a, b]: 1\n"),
        "key-number": ("yaml_key_type", "a number for a key", LEAST + "1: 2\n"),
        "key-null": ("yaml_key_type", "null for a key", LEAST + "~: 2\n"),
        "deep": ("yaml_depth", "13 levels", "a: " + "[" * 12 + "]" * 12 + "\n"),
        "many": ("yaml_nodes", "more than 20,000 nodes", "a: [" + "1, " * 20_000 + "]\n"),
        "tab": ("yaml_syntax", "a tab for indentation", "a:\n\tb: 1\n"),
        "unclosed": ("yaml_syntax", "a list that does not end", "a: [1, 2\n"),
        "control": ("yaml_syntax", "a control character", 'a: "\x07"\n'),
        "utf8": ("yaml_not_utf8", "a byte that no UTF-8 has", b"a: \xff\n"),
        "utf16": ("yaml_not_utf8", "UTF-16", LEAST.encode("utf-16")),
        "bom": ("yaml_not_utf8", "a byte order mark", b"\xef\xbb\xbf" + LEAST.encode()),
        "surrogate": ("yaml_not_utf8", "half of a surrogate pair", LEAST + 'publishers: ["\\ud800"]\n'),
        "huge-number": ("yaml_number", "79 digits", LEAST + "chain: {id: " + "9" * 79 + ", kind: public}\n"),
        "infinite": ("yaml_number", "a float out of range", LEAST + "chain: {id: 1e999, kind: public}\n"),
    }
