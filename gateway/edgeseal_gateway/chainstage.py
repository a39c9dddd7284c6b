"""The chain stage: the registries mirrored, anchors carried, figures for whoever watches, limits changed while it runs,
and an end that leaves nothing half sent.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from edgeseal.adapters.evm import EvmClient, Rejected, Reverted
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal.network import NetworkProfile
from edgeseal_gateway.board import Board
from edgeseal_gateway.chain import budget, keystore
from edgeseal_gateway.chain.budget import BalanceState, Funds, SpendLimits
from edgeseal_gateway.chain.endpoints import Endpoints
from edgeseal_gateway.chain.fees import GWEI, Bounds
from edgeseal_gateway.chain.lease import Lease
from edgeseal_gateway.chain.means import Means, Settings
from edgeseal_gateway.chain.mirror import Mirror
from edgeseal_gateway.chain.sender import Sender
from edgeseal_gateway.chain.sendstate import SendRules
from edgeseal_gateway.config import ChainConfig, Config, read_config
from edgeseal_gateway.figures import ChainFigures, Figures, RpcFigures
from edgeseal_gateway.store import anchors, attempts, operations
from edgeseal_gateway.store.database import Database

MEASURE_S: Final = 10.0
"""How often balance and tip are asked for, for metrics and the alarm."""
_RELOADED: Final = ("max_fee_gwei", "spend_per_hour_gwei", "spend_per_day_gwei", "balance_alarm_days")
_log = logging.getLogger("edgeseal.chain")


def settings_of(config: ChainConfig, profile: NetworkProfile) -> Settings:
    """Return what a configuration allows to be offered and spent, under the rules of the profile's chain."""
    limits = SpendLimits(config.spend_per_hour_gwei * GWEI, config.spend_per_day_gwei * GWEI)
    return Settings(Bounds.of(profile.rules, config.max_fee_gwei * GWEI), limits)


class ChainStage:
    """One in a gateway. ``reload`` may be called from any thread, ``drain`` once the stage's thread has ended."""

    def __init__(
        self, config: Config, database: Database, signer: Pkcs11Signer, lease: Lease, board: Board, figures: Figures,
        wake: Callable[[], None], now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        """Open the account; ask no node yet. Raises UsageError as :func:`keystore.open_account`."""
        self._config = config
        self._chain = config.chain
        self._profile = profile = config.network()
        self._database = database
        self._lease = lease
        self._board = board
        self._figures = figures
        self._wake = wake
        self._now_ms = now_ms
        account = keystore.open_account(config.chain, profile.kind)
        self._address = account.address
        clients = [EvmClient(url) for url in profile.endpoints]
        kid = signer.public_key.kid
        self._mirrors = {client: Mirror(client, profile, database, kid) for client in clients}
        self._refusals: dict[EvmClient, str] = {}
        """By which endpoints the mirror has not come up to date since it last was, and the code of the reason."""
        self._endpoints = Endpoints(clients, profile, time.monotonic, random.random)
        rules = SendRules.of(profile, config.chain.confirmations)
        self._means = Means(
            profile, database, account, signer.public_key, self._endpoints, lease, rules,
            settings_of(config.chain, profile), now_ms, time.monotonic,
        )  # fmt: skip
        self._sender = Sender(self._means)
        self._sender.answer_challenges()
        self._reload = threading.Event()
        self._measured_s = float("-inf")
        self._seen: tuple[int, int, BalanceState] | None = None
        """Balance, suggested tip, and how the account stands, as last asked for."""
        self._counted = -1, float("-inf"), 0, 0
        """Transactions sent when spending was last added up, when that was, what an hour and a day cost."""

    def reload(self) -> None:
        """Read the limits of the configuration file anew in the next step."""
        self._reload.set()

    def step(self) -> float:
        """Look at the chain and move anchors on; return the pause. Raises as :meth:`Sender.step` and
        :meth:`Mirror.step`. While the mirror refuses, nothing new is sent; what was sent is followed.
        """
        self._take_limits()
        trouble = self._lease.trouble()
        if trouble is not None:
            self._board.say("anchoring", trouble)
            return self._chain.poll_ms / 1000
        try:
            self._follow_unmirrored()
            self._endpoints.each(self._mirror)
            self._refusals.clear()
            self._act(self._sender.step)
            self._board.say("anchoring", self._sender.blocked)
            self._board.say("endpoints", self._endpoints.trouble)
        finally:
            self._measure()
        return self._chain.poll_ms / 1000

    def _mirror(self, client: EvmClient) -> None:
        try:
            self._mirrors[client].step()
        except EdgesealError as error:
            self._refusals[client] = error.code
            raise

    def _follow_unmirrored(self) -> None:
        """Follow what was sent where the mirror refused in the step before: before it is asked again, since an endpoint
        that fails it is left alone for a while. Not on a chain that may be another than the one whose final blocks were
        read: there anchors would seem to be gone.
        """
        if self._refusals and "rpc_finality" not in self._refusals.values():
            with contextlib.suppress(Unavailable, UsageError, Reverted, Rejected):
                self._act(self._sender.follow)

    def _act(self, act: Callable[[], bool]) -> None:
        if act():
            self._wake()

    def drain(self, timeout_s: float) -> bool:
        """Send nothing more, and follow what is under way until it is in a block; return whether all of it is.

        What is not goes on at the next start: its bytes are in the store.
        """
        until = time.monotonic() + timeout_s
        while self._under_way():
            if time.monotonic() >= until:
                _log.warning("stopping with a transaction that is not mined: the next start goes on with it")
                return False
            with contextlib.suppress(Unavailable):
                self._lease.hold()
                self._act(self._sender.follow)
            time.sleep(min(0.2, self._chain.poll_ms / 1000))
        return True

    def _under_way(self) -> bool:
        with self._database.read() as connection:
            return any(one.state == anchors.SENT for one in anchors.in_flight(connection))

    def _take_limits(self) -> None:
        """Take over what may be changed in the configuration file while the gateway runs, and keep a note of it."""
        if not self._reload.is_set():
            return
        self._reload.clear()
        try:
            found = read_config(self._config.path).chain
        except UsageError as error:
            self._board.say("reload", error)
            self._note(f"refused, nothing was changed: {error}")
            return
        self._board.say("reload", None)
        changes = [
            f"chain.{name} {getattr(self._chain, name)} -> {getattr(found, name)}"
            for name in _RELOADED
            if getattr(found, name) != getattr(self._chain, name)
        ]
        self._chain = found
        self._sender.use(settings_of(found, self._profile))
        self._measured_s = float("-inf")
        self._note("; ".join(changes) or "nothing is different")

    def _note(self, outcome: str) -> None:
        _log.warning("limits read anew: %s", outcome)
        with self._database.write() as connection:
            operations.note(connection, operations.RELOAD, "SIGHUP", outcome, self._now_ms())
        # Durable: that it was asked for, and what became of it.

    def _measure(self) -> None:
        """Put the stage's figures where the web finds them; a chain that does not answer keeps the old ones."""
        now_s = time.monotonic()
        with contextlib.suppress(EdgesealError):
            if now_s - self._measured_s >= MEASURE_S:
                self._ask_account()
                self._measured_s = now_s
        with contextlib.suppress(EdgesealError):
            self._figures.put_chain(self._now(now_s))

    def _ask_account(self) -> None:
        usable = self._endpoints.usable()
        if not usable:
            return
        client, now_ms = usable[0].client, self._now_ms()
        balance, tip = client.balance(self._address), client.priority_fee()
        mined = client.transaction_count(self._address)
        with self._database.read() as connection:
            in_flight = sum(attempts.most_in_flight(connection, mined).values())
            spent = attempts.spent(connection, now_ms - 7 * budget.DAY_MS)
        daily = budget.daily_spend(spent, now_ms)
        state = budget.balance_state(balance, in_flight, daily, self._chain.balance_alarm_days)
        self._seen = balance, tip, state
        alarm = None
        if state.funds is not Funds.OK:
            account = f"account 0x{self._address.hex()}: {state.words}"
            alarm = UsageError("balance_low" if state.funds is Funds.LOW else "funds", account, "top it up")
        self._board.say("account", alarm)

    def _now(self, now_s: float) -> ChainFigures:
        sent, settings = self._sender.figures(), self._means.settings
        hour, day = self._spent(now_s, sent.sent)
        balance, tip, state = (None, None, None) if self._seen is None else self._seen
        usable = self._endpoints.usable()
        return ChainFigures(
            self._address, sent.next_nonce, balance, state, sent.base_fee, tip, settings.bounds.ceiling,
            hour, day, settings.limits.per_hour_wei, settings.limits.per_day_wei, sent.bumps, sent.reorgs, sent.sent,
            tuple(RpcFigures(one.name, one.errors, one in usable, one.height) for one in self._endpoints.every),
        )  # fmt: skip

    def _spent(self, now_s: float, sent: int) -> tuple[int, int]:
        """Return what was spent within an hour and a day, read from the journal anew when something was sent, and now
        and then.
        """
        if sent != self._counted[0] or now_s - self._counted[1] >= MEASURE_S:
            now_ms = self._now_ms()
            with self._database.read() as connection:
                spent = attempts.spent(connection, now_ms - budget.DAY_MS)
            hour, day = (budget.spent_since(spent, now_ms - window) for window in (budget.HOUR_MS, budget.DAY_MS))
            self._counted = sent, now_s, hour, day
        return self._counted[2], self._counted[3]
