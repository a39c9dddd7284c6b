"""``edgeseal-gateway check``: what is wrong with configuration, token, store, broker or chain, and how to mend it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from edgeseal.adapters.evm import EvmClient
from edgeseal.adapters.mqtt import Endpoint
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal.network import endpoint_name
from edgeseal_gateway.chain import keystore
from edgeseal_gateway.chain.mirror import check_endpoint
from edgeseal_gateway.config import Config
from edgeseal_gateway.enforcement import check_policy
from edgeseal_gateway.store.database import Database, check_owner

TIMEOUT_S: Final = 10.0


def check(config: Config) -> Iterator[tuple[str, EdgesealError | None]]:
    """Yield (what was looked at, what is wrong with it or None), most basic first. Changes nothing."""
    found: dict[str, Any] = {}

    def look(what: str, act: Callable[[], Any]) -> tuple[str, EdgesealError | None]:
        try:
            found[what] = act()
        except EdgesealError as error:
            return what, error
        return what, None

    yield look("network profile", config.network)
    yield look("gateway key", lambda: Pkcs11Signer(config.key.token_key).public_key)
    kind = "operator" if "network profile" not in found else found["network profile"].kind
    yield look("account", lambda: keystore.open_account(config.chain, kind))
    yield look("store", lambda: Database(config.store))
    profile, key, database = (found.get(what) for what in ("network profile", "gateway key", "store"))
    if profile is not None and key is not None and database is not None:
        yield look("store fits key and profile", lambda: check_owner(database, profile.fleet_log, key.kid))
    if profile is not None:
        yield look("enforce fits profile", lambda: check_policy(config.enforce, profile))
    yield look("broker", lambda: _check_broker(config.mqtt.endpoint()))
    account = found.get("account")
    for url in () if profile is None else profile.endpoints:
        name = endpoint_name(url)
        yield look(f"chain at {name}", partial(_check_chain, url, profile))
        if account is not None and f"chain at {name}" in found:
            yield look(f"funds of the account at {name}", partial(_check_funds, url, account.address))


def _check_broker(endpoint: Endpoint) -> None:
    """Connect as far as TLS goes: a session of our name would end the one of a gateway that runs."""
    context = endpoint.tls()
    try:
        with socket.create_connection((endpoint.host, endpoint.port), TIMEOUT_S) as plain:
            if context is not None:
                context.wrap_socket(plain, server_hostname=endpoint.host).close()
    except OSError as error:
        raise Unavailable(
            "broker_unreachable",
            f"{endpoint.host}:{endpoint.port}: {error}",
            "is the broker running, does its certificate name this host, does mqtt.tls name its authority?",
        ) from error


def _check_funds(url: str, account: bytes) -> None:
    if EvmClient(url).balance(account) == 0:
        raise UsageError(
            "funds",
            f"account 0x{account.hex()} holds nothing: no anchor can be paid for",
            "edgeseal chain fund, or send it",
        )


def _check_chain(url: str, profile: Any) -> None:
    check_endpoint(EvmClient(url), profile)
