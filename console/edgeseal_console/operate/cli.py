"""Subcommands of people who run a fleet; each function of the modules behind it loads the home, calls, prints."""

from __future__ import annotations

from edgeseal_console.operate.cli_chain import add_chain, add_init, add_trust
from edgeseal_console.operate.cli_command import add_command
from edgeseal_console.operate.cli_identity import add_identity
from edgeseal_console.operate.cli_keys import add_keyset, add_provision
from edgeseal_console.operate.cli_model import add_model
from edgeseal_console.operate.words import Parsers


def add_parsers(subparsers: Parsers) -> None:
    """Add init, chain, keyset, provision, identity, command, model and trust."""
    for add in (add_init, add_chain, add_keyset, add_provision, add_identity, add_command, add_model, add_trust):
        add(subparsers)
