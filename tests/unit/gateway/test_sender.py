"""The sender between the sequencer's two commits: a head decided, and the same head signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal import statements
from edgeseal.adapters.evm import Account, EvmClient
from edgeseal.errors import Unavailable
from edgeseal_gateway.chain.sender import Sender
from edgeseal_gateway.sequencer import AnchorPolicy, Sequencer, found_log
from edgeseal_gateway.store import guard
from edgeseal_gateway.store.database import Database
from tests.tenant import SoftSigner, Tenant, profile_for
from tests.world import Key

NOBODY = "http://127.0.0.1:9"


def test_a_head_that_is_not_signed_yet_is_waited_for(tmp_path: Path) -> None:
    signer, root, path, secret = SoftSigner(), Key(4242), tmp_path / "gateway.db", tmp_path / "account.key"
    profile = profile_for(root)
    keyset = statements.decode(Tenant(profile, root, signer.public_key).keysets[0])
    Database.create(path)
    database = Database(path)
    with database.write() as connection:
        found_log(connection, signer, profile.fleet_log, keyset)
    secret.write_text("11" * 32)
    client, account = EvmClient(NOBODY), Account.from_file(secret)
    sender = Sender(client, profile, database, account, signer.public_key, 1, 500, lambda: 0)
    assert sender.step(0) is False, "the head of size 2 is decided, wanted on the chain, and not signed"

    with database.write() as connection:
        guard.note_chain(connection, 0, bytes(32))
    assert Sequencer(database, signer, profile.fleet_log, AnchorPolicy(None, None), lambda: 0.0).step()
    with pytest.raises(Unavailable):
        sender.step(0)  # signed now: it asks the node
