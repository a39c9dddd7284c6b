"""What a person does about a contract's refusal: one remedy for each custom error that his commands can run into."""

from __future__ import annotations

from typing import Final

from edgeseal.adapters.evm import Reverted

REMEDIES: Final = {
    "AccessManagerNotReady": "what was scheduled has not waited long enough yet",
    "AccessManagerNotScheduled": "this call has to be scheduled first, and wait",
    "AccessManagerUnauthorizedAccount": "this account lacks the role named",
    "AccessManagerUnauthorizedCall": "this account has no role for that function: the timelock must do it",
    "ApprovedBefore": "this approver has signed already: another one must",
    "ArtifactTaken": "this artifact is registered as another version already",
    "BadGrant": "a grant begins before it ends, and names a device or a group",
    "BadParent": "the parent must be an earlier version of the same line",
    "BadPolicy": "ask for at least one approval, and no more than the policy can have",
    "BadSignature": "sign again with the key named, for this chain, contract and tenant, under a new challenge",
    "BadTerms": "choose seconds within the bounds named",
    "EntryCount": "log 1 to 64 commands in a call",
    "Expired": "make a new challenge and have it signed before its deadline",
    "FromBelowAnchored": "choose a position at or above the anchored size: see edgeseal chain probe",
    "GuardianIsNotApart": "name a guardian who is neither operator nor proposer",
    "HasSuccessor": "the log has ended; deploy or open the tenant's next one",
    "HighS": "give the signature in its low form (s at most half the group order)",
    "KeyExists": "the key is registered in this log already: see edgeseal identity show",
    "KeyNotValid": "the key must be registered and active: see edgeseal identity show",
    "KeyOffCurve": "the coordinates are no P-256 key: take the file the key's own program wrote",
    "LogExists": "a log with this id exists: deploy again, which takes another nonce",
    "LogIsActive": "the tenant has an active log: use its network profile, or open a successor",
    "LogNotOpen": "the log is frozen or closed: see edgeseal chain probe for its successor",
    "MissingPrecompile": "this chain lacks a precompile the contracts need: use another chain",
    "NewRootMismatch": "the proof does not lead to this head: make it again from the log",
    "NoActiveLog": "the tenant has no open log: edgeseal chain deploy",
    "NoContradiction": "the two heads can both be true: nothing to prove",
    "NoPolicy": "set a policy for the line first",
    "NoRotation": "no rotation of this key is under way: see edgeseal identity show",
    "NobodyNamed": "name a proposer, an operator and a guardian",
    "NotAnOperator": "sign with an operator's key that is registered and active now",
    "NotAnchoredYet": "wait until the log has anchored beyond this size",
    "NotIndependent": "an approver of a version must not be its publisher",
    "NotProposedAdmin": "the present admin must propose this account first",
    "NotSilent": "nothing to note",
    "NotTenantAdmin": "use the account that is the tenant's admin (account_key_file), or have the root key appoint it",
    "NotThisKeysHead": "only heads of the gateway key in force, above the size since which it is, can be challenged",
    "NotThreeKeys": "old key, new key and operator must be three different keys",
    "NothingAnchored": "wait for the first anchor",
    "OldRootMismatch": "the proof does not begin at this head: the two may contradict each other, see edgeseal verify",
    "OutOfScope": "give the operator this scope for the audience first",
    "PositionNotAbove": "commands are logged in the order of their positions",
    "PositionNotAnchored": "wait until the command's position is anchored, then run the command again",
    "RetiredGatewayKey": "a gateway key that was replaced does not come back: make a new one",
    "RotationPending": "a rotation of this key is under way: edgeseal identity finish or veto",
    "RotationUsed": "these signatures were brought before: make a new challenge",
    "SameGatewayKey": "this key is the log's gateway key already: nothing to do",
    "StaleSize": "a head of this size or above is anchored already: nothing to do",
    "TenantExists": "the tenant is open already",
    "TimelockInsufficientDelay": "the timelock's wait is longer",
    "TimelockUnexpectedOperationState": "the operation is not scheduled, still waits, or was carried out",
    "TooEarly": "the policy's time lock has not run out",
    "TooManyGrants": "end a grant first",
    "TooManyIntervals": "the key was reinstated as often as one may be: register a new key",
    "UnknownKey": "the key is not registered in this log: see edgeseal identity list --registry",
    "UnknownLog": "the contract knows no such log: compare the network profile with the chain (edgeseal chain probe)",
    "UnknownTenant": "the tenant is not open on this chain: edgeseal chain deploy",
    "UnknownVersion": "the version is not registered: see edgeseal model list",
    "UntilAboveAnchored": "a position is void from the past or from now: give at most the anchored size",
    "UntilNotLower": "a revocation can only be moved to an earlier position",
    "VersionExists": "the version is registered with another digest: take a new version",
    "VersionRevoked": "a revoked version does not come back: publish a new one",
    "VetoWindowOpen": "wait until the time named (Unix seconds), then run the command again",
    "WrongChallengeState": "this challenge was answered or defaulted already, or never opened",
    "WrongKey": "name the coordinates of the key that signed",
    "WrongProofLength": "the proof has another number of nodes than the two sizes ask for: make it again",
    "WrongRole": "the key is registered in another role: see edgeseal identity show",
    "WrongState": "the version's state does not allow this",
    "WrongStatus": "the key's state does not allow this (1 active, 2 suspended, 3 revoked): see edgeseal identity show",
    "ZeroAdmin": "name an admin that is not the zero address",
    "ZeroDigest": "give the digest of the artifact",
}
"""Custom error of our contracts, and of OpenZeppelin's under them → what to do."""


def advised(error: Reverted) -> Reverted:
    """Return the same refusal, with what to do about it where we know."""
    error.remedy = REMEDIES.get(error.name)
    return error
