"""The committed form of our contracts, read with ``importlib.resources``: ``FleetLog.json`` and its like.

Written by ``contracts/script/build.py artifacts``, which also checks that they are current. Each holds ``abi``;
``bytecode``, what a deployment sends; ``runtime``, what then stands on the chain with zeros in place of its
``immutables`` (name → offsets in bytes at which a 32-byte word is filled in); ``runtimeKeccak``, the hash of these
zeroed bytes; and the compiler and settings that made them. IdentityRegistry's constructor deploys the FleetLog,
TenantAdmin's the AccessManager and the TimelockController, which are OpenZeppelin's.
"""
