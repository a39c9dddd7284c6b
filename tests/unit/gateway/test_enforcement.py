"""What is refused because of the registries on chain: each with its code, its remedy, and nothing lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeseal import commandlog, modelline
from edgeseal.errors import TrustError, Unavailable, UsageError
from edgeseal.messages import Chunk, Fetch, Refusal
from edgeseal_gateway import enforcement, settling
from edgeseal_gateway.enforcement import ALWAYS, NEVER, Policy
from edgeseal_gateway.figures import Figures
from edgeseal_gateway.intake import NO_COMMAND, accept
from edgeseal_gateway.relay import Relay
from edgeseal_gateway.store import guard, registry
from edgeseal_gateway.told import Told
from edgeseal_gateway.web import answers, page
from tests.eventchain import Event
from tests.followedstore import Followed
from tests.tenant import segment_of

ARTIFACT = b"\xaa" * 32
LINE = modelline.line_id("digits")
FOR_EVER = (1 << 40) - 1


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def refused(followed: Followed, statement: tuple[bytes, bytes, bytes], now_s: int = 0) -> str:
    """Hand a statement in, which is refused; return the code."""
    with followed.database.write() as connection, pytest.raises(TrustError) as caught:
        accept(connection, followed.profile, followed.signer.public_key.kid, *statement, now_s)
    assert caught.value.remedy == enforcement.REMEDIES[caught.value.code]
    return caught.value.code


def taken(followed: Followed, statement: tuple[bytes, bytes, bytes], now_s: int = 0) -> None:
    with followed.database.write() as connection:
        accept(connection, followed.profile, followed.signer.public_key.kid, *statement, now_s)
        connection.execute("DELETE FROM pending")
        connection.execute("DELETE FROM command")


def ping(followed: Followed, audience: bytes | str, **changes: Any) -> tuple[bytes, bytes, bytes]:
    return followed.tenant.command(audience, NO_COMMAND, {"text": "hello"}, **changes)


def activate(followed: Followed, audience: bytes | str, model: bytes = ARTIFACT) -> tuple[bytes, bytes, bytes]:
    return followed.tenant.command(audience, NO_COMMAND, {"model": model}, action="model.activate")


def proposed(followed: Followed) -> tuple[Event, ...]:
    tenant = followed.profile.tenant_root.kid
    proposal = (tenant, LINE, 1, 0, ARTIFACT, b"\x01" * 32, b"\x02" * 32, bytes(32))
    policy = (2, False, 0)
    return (
        followed.model("PolicySet", line=LINE, policy=policy),
        followed.model("Proposed", line=LINE, version=1, proposal=proposal, publisher=b"\x09" * 32, policy=policy),
    )


def version(followed: Followed, name: str, **values: Any) -> Event:
    return followed.model(name, line=LINE, version=1, **values)


def grant(followed: Followed, audience: bytes, start: int = 0, end: int = FOR_EVER) -> Event:
    return followed.model("Granted", artifact=ARTIFACT, audience=audience, notBefore=start, notAfter=end)


# ---- Devices -----------------------------------------------------------------------------------------------------


def test_an_unregistered_device_keeps_its_records_until_it_is_registered(followed: Followed) -> None:
    other = followed.device("other")
    followed.chain.mine(followed.key("KeyRegistered", other.key.kid, role=0))
    followed.look()
    late = followed.device("late")
    with followed.database.write() as connection:
        settling.settle_devices(connection, 0)
    (answer,) = followed.take(late, segment_of(late, 0))
    assert isinstance(answer, Refusal) and (answer.code, answer.size) == ("not_registered", 0)
    assert followed.refused(late) == {"not_registered": 1}
    followed.chain.mine(followed.key("KeyRegistered", late.key.kid, role=0))
    followed.look()
    assert followed.take(late, segment_of(late, 0)) == []
    assert followed.known(late).size == late.last[0], "the same bytes, taken whole"


def test_where_no_device_is_registered_none_has_to_be(followed: Followed) -> None:
    device = followed.device()
    followed.chain.mine(followed.key("KeyRegistered", b"\x07" * 32, role=1))
    followed.look()
    assert followed.take(device, segment_of(device, 0)) == []


def test_always_and_never(followed: Followed) -> None:
    device = followed.device()
    followed.chain.mine()
    followed.look()
    for policy, state in ((Policy(devices=ALWAYS), "unregistered"), (Policy(devices=NEVER), "active")):
        with followed.database.write() as connection:
            settling.keep_policy(connection, policy, followed.profile)
        assert followed.known(device).state == state


def test_a_suspended_device_is_told_so_and_goes_on_when_reinstated(followed: Followed) -> None:
    device = followed.device()
    kid = device.key.kid
    followed.chain.mine(followed.key("KeyRegistered", kid, role=0))
    followed.chain.mine(followed.key("KeySuspended", kid, until=2, anchored=2))
    followed.look()
    (answer,) = followed.take(device, segment_of(device, 0))
    assert isinstance(answer, Refusal) and answer.code == "key_suspended"
    followed.chain.mine(followed.key("KeyReinstated", kid, **{"from": 3, "anchored": 3}))
    followed.look()
    assert followed.take(device, segment_of(device, 0)) == []
    followed.chain.mine(followed.key("KeyRevoked", kid, until=3, anchored=3))
    followed.look()
    device.infer(1)
    device.seal()
    (answer,) = followed.take(device, segment_of(device, 2))
    assert isinstance(answer, Refusal) and answer.code == "key_revoked"
    followed.chain.reorg(1)
    followed.look()
    assert followed.take(device, segment_of(device, 2)) == []


# ---- Commands ----------------------------------------------------------------------------------------------------


def test_operators_count_as_the_registry_has_them(followed: Followed) -> None:
    device, kid = followed.device(), followed.tenant.operator.public.kid
    command = ping(followed, device.log)
    followed.look()
    taken(followed, command)
    followed.chain.mine(followed.key("KeyRegistered", b"\x07" * 32, role=1))
    followed.look()
    assert refused(followed, command) == "not_registered"
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1, **{"from": 1_000}))
    followed.look()
    assert refused(followed, command) == "before_validity"
    followed.chain.reorg(1, (followed.key("KeyRegistered", kid, role=1),))
    followed.look()
    taken(followed, command)
    followed.chain.mine(followed.key("KeySuspended", kid, until=1))
    followed.look()
    assert refused(followed, command) == "key_suspended"
    followed.chain.mine(followed.key("KeyRevoked", kid, until=1))
    followed.look()
    assert refused(followed, command) == "key_revoked"


def test_an_operator_needs_the_scope_on_chain_once_scopes_are_used(followed: Followed) -> None:
    device, kid = followed.device(), followed.tenant.operator.public.kid
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.look()
    command, to_all = ping(followed, device.log), ping(followed, "all")
    taken(followed, command)

    def scope(audience: bytes, classes: int) -> Event:
        return followed.command("ScopeChanged", operator=kid, audience=audience, classes=classes)

    followed.chain.mine(scope(device.log, 1 << commandlog.MODEL))
    followed.look()
    assert refused(followed, command) == "scope_missing"
    followed.chain.mine(scope(device.log, 1 << commandlog.QUERY))
    followed.look()
    taken(followed, command)
    assert refused(followed, to_all) == "scope_missing"
    followed.chain.mine(scope(commandlog.audience_id("all"), 1 << commandlog.QUERY))
    followed.look()
    taken(followed, to_all)
    followed.chain.mine(scope(device.log, 0), scope(commandlog.EVERYBODY, 1 << commandlog.QUERY))
    followed.look()
    taken(followed, command)
    followed.chain.reorg(1, (scope(device.log, 0),))
    followed.look()
    assert refused(followed, command) == "scope_missing"


def test_a_registry_that_was_never_read_is_not_taken_for_an_empty_one(followed: Followed) -> None:
    device = followed.device()
    with followed.database.write() as connection, pytest.raises(Unavailable, match="registry_unread"):
        accept(connection, followed.profile, followed.signer.public_key.kid, *ping(followed, device.log))
    followed.look()
    command = ping(followed, device.log)
    taken(followed, command)
    with followed.database.write() as connection:
        guard.forget_chain(connection)  # as at every start: what was read before may be long out of date
    with followed.database.write() as connection, pytest.raises(Unavailable, match="registry_unread"):
        accept(connection, followed.profile, followed.signer.public_key.kid, *command)


# ---- Models ------------------------------------------------------------------------------------------------------


def test_a_model_is_activated_when_deployable_and_granted(followed: Followed) -> None:
    device = followed.device()
    command = activate(followed, device.log)
    followed.chain.mine()
    followed.look()
    taken(followed, command)  # no line: the registry is not in use
    steps: list[tuple[tuple[Event, ...], str]] = [
        ((followed.model("PolicySet", line=LINE, policy=(2, False, 0)),), "model_not_approved"),
        (proposed(followed), "model_not_approved"),
        ((version(followed, "Approved", approver=b"\x01" * 32, state=1),), "model_not_approved"),
        ((version(followed, "Approved", approver=b"\x02" * 32, state=2),), "model_not_approved"),
        ((version(followed, "MadeDeployable"),), "model_not_granted"),
        ((grant(followed, b"\x55" * 32),), "model_not_granted"),
        ((grant(followed, device.log),), ""),
        ((followed.model("GrantEnded", artifact=ARTIFACT, audience=device.log, time=0),), "model_not_granted"),
        ((grant(followed, commandlog.audience_id("all")),), ""),
        ((version(followed, "Deprecated"),), "model_revoked"),
        ((version(followed, "Revoked"),), "model_revoked"),
    ]
    for events, code in steps:
        followed.chain.mine(*events)
        followed.look()
        if code:
            assert refused(followed, command) == code, events
        else:
            taken(followed, command)
    followed.chain.reorg(2)
    followed.look()
    taken(followed, command)
    followed.chain.reorg(3)
    followed.look()
    assert refused(followed, command) == "model_not_granted", "the grant went with its block"


def deployable(followed: Followed, *more: Event) -> None:
    followed.chain.mine(*proposed(followed), version(followed, "MadeDeployable"), *more)
    followed.look()


def test_a_group_needs_a_grant_of_its_own(followed: Followed) -> None:
    device = followed.device()
    deployable(followed, grant(followed, device.log))
    taken(followed, activate(followed, device.log))
    assert refused(followed, activate(followed, "all")) == "model_not_granted"
    followed.chain.mine(grant(followed, commandlog.audience_id("all")))
    followed.look()
    taken(followed, activate(followed, "all"))


def test_a_grant_begins_and_ends(followed: Followed) -> None:
    device = followed.device()
    start = followed.now() + 1_000
    deployable(followed, grant(followed, device.log, start, start + 10))
    command = activate(followed, device.log)
    for now_s, code in ((start - 1, "model_not_granted"), (start + 10, "model_not_granted")):
        assert refused(followed, command, now_s) == code
    taken(followed, command, start)
    taken(followed, command, start + 9)


def test_the_chains_time_counts_where_the_clock_is_behind(followed: Followed) -> None:
    device = followed.device()
    end = followed.now() + 20
    deployable(followed, grant(followed, device.log, 0, end))
    command = activate(followed, device.log)
    taken(followed, command)
    followed.chain.mine_empty(3)
    followed.look()
    assert followed.now() >= end and refused(followed, command) == "model_not_granted"


def test_a_revoked_package_is_not_handed_out(followed: Followed, tmp_path: Path) -> None:
    """The command to activate it stands in the log and is delivered; the package is not."""
    device = followed.device()
    (tmp_path / f"{ARTIFACT.hex()}.cbor").write_bytes(b"archive")
    relay = Relay(followed.profile.fleet_log, Told(followed.profile.fleet_log), tmp_path, followed.now_ms)

    def fetch() -> Any:
        with followed.database.write() as connection:
            return relay.fetch(connection, Fetch(device.log, ARTIFACT, 0))

    deployable(followed, grant(followed, device.log))
    assert isinstance(fetch(), Chunk)
    followed.chain.mine(version(followed, "Revoked"))
    followed.look()
    found = fetch()
    assert isinstance(found, Refusal) and found.code == "model_revoked"
    assert followed.refused(device) == {"model_revoked": 1}


def test_never_leaves_models_alone(followed: Followed) -> None:
    device = followed.device()
    followed.chain.mine(*proposed(followed))
    followed.look()
    with followed.database.write() as connection:
        settling.keep_policy(connection, Policy(models=NEVER), followed.profile)
    taken(followed, activate(followed, device.log))


def test_what_cannot_be_enforced_is_not_promised(followed: Followed) -> None:
    bare = replace(followed.profile, model_registry=None)
    with followed.database.write() as connection, pytest.raises(UsageError, match="config_invalid"):
        settling.keep_policy(connection, Policy(models=ALWAYS), bare)


def test_halts_are_shown(followed: Followed) -> None:
    followed.chain.mine(
        followed.command("HaltLogged", audience=b"\x01" * 32, operator=b"\x02" * 32, digest=b"\x03" * 32)
    )
    followed.look()
    shown = followed.read(answers.registries)
    assert shown["halts"] == [
        {"audience": "01" * 32, "digest": "03" * 32, "operator": "02" * 32, "block": 2}
    ] and shown["block"]["number"] == 2  # fmt: skip
    assert followed.read(registry.counts) == {"HaltLogged": 1}
    state = followed.ask(answers.status, followed.profile, bytes(32)) | answers.account(Figures())
    shown_page = page.render(state, {"devices": [], "applicants": []}, [])
    assert "emergency halt on chain" in shown_page and "03" * 32 in shown_page
