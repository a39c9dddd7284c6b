// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "./IFleetLog.sol";

/// @title Tenants and the P-256 keys of their devices and people
/// @notice A tenant is a P-256 root key that agreed to an admin address. The admin registers the keys whose signatures
/// count in the tenant's fleet log, says from which position on, and ends their validity. Positions are indices in one
/// fleet log, so each entry belongs to a log: a successor log has its own entries.
/// @dev Promise: what was registered, suspended, reinstated or revoked, and at which anchored size, stays readable; a
/// revocation can only be narrowed; no change reaches positions that were not anchored when it was made, except that
/// `from` may lie anywhere (each event shows the anchored size at which it was made, so a key registered late is seen to
/// be). Trust: the admin, for whom a key belongs to, and that somebody holds it where it was registered without proof of
/// possession (the event says which); the root key, which can replace the admin. An entry is one storage slot; x, y and evidence are in the events, and each event names the
/// block of the previous one for that key, so a history can be walked without an index.
interface IIdentityRegistry {
    /// @notice What a key signs.
    enum Role {
        Device,
        Operator,
        Gateway,
        Publisher,
        Approver,
        Auditor
    }

    /// @notice Why a key was revoked; format.md 8.5.
    enum Reason {
        Compromised,
        Retired,
        Lost,
        Superseded
    }

    /// @notice Where a key stands. `None`: never registered. `Revoked` is final.
    enum Status {
        None,
        Active,
        Suspended,
        Revoked
    }

    /// @notice An ES256 signature.
    struct Signature {
        bytes32 r;
        bytes32 s;
    }

    /// @notice What a key signs to be registered.
    /// @param logId Fleet log whose positions are meant.
    /// @param role What it signs.
    /// @param x First coordinate.
    /// @param y Second coordinate.
    /// @param from First position at which it is valid.
    /// @param evidence Digest of the evidence it is registered on, zero if none.
    /// @param nonce Any 32 bytes: the admin's challenge to whoever holds the key.
    /// @param deadline Unix seconds after which the signature is not taken.
    struct Registration {
        bytes32 logId;
        Role role;
        bytes32 x;
        bytes32 y;
        uint64 from;
        bytes32 evidence;
        bytes32 nonce;
        uint64 deadline;
    }

    /// @notice What old key, new key and an operator sign to put one key in another's place.
    struct Rotation {
        bytes32 logId;
        bytes32 oldX;
        bytes32 oldY;
        bytes32 newX;
        bytes32 newY;
        bytes32 evidence;
        bytes32 nonce;
        uint64 deadline;
    }

    /// @notice A tenant was opened.
    /// @param tenant Thumbprint of the tenant root key.
    /// @param admin Address that acts for the tenant.
    /// @param x First coordinate of the root key.
    /// @param y Second coordinate of the root key.
    event TenantOpened(bytes32 indexed tenant, address indexed admin, bytes32 x, bytes32 y);

    /// @notice The admin named a successor, who has not accepted yet (zero: took the offer back).
    event AdminProposed(bytes32 indexed tenant, address indexed admin, address indexed proposed, uint64 prevBlock);

    /// @notice The tenant has another admin.
    /// @param byRoot True if the root key replaced the admin, false if the proposed one accepted.
    /// @param prevBlock Number of the block with the tenant's previous event.
    event AdminChanged(
        bytes32 indexed tenant, address indexed previous, address indexed admin, bool byRoot, uint64 prevBlock
    );

    /// @notice A key was registered.
    /// @param logId Fleet log whose positions are meant.
    /// @param kid Thumbprint of the key.
    /// @param role What it signs.
    /// @param x First coordinate.
    /// @param y Second coordinate.
    /// @param from First position at which it is valid.
    /// @param evidence Digest of the evidence it was registered on (an enrolment, an attestation), zero if none.
    /// @param anchored Anchored size of the log when it was registered.
    /// @param possessed Whether the key signed its registration; false: that somebody holds it is the admin's word.
    event KeyRegistered(
        bytes32 indexed logId,
        bytes32 indexed kid,
        Role indexed role,
        bytes32 x,
        bytes32 y,
        uint64 from,
        bytes32 evidence,
        uint64 anchored,
        bool possessed
    );

    /// @notice A key is to take another's place from `readyAt` (Unix seconds) on, unless the admin vetoes it before.
    /// @param oldKid Thumbprint of the key in force.
    /// @param newKid Thumbprint of the new one, (x, y).
    /// @param operator Thumbprint of the operator's key that agreed.
    /// @param prevBlock Number of the block with the old key's previous event.
    event RotationProposed(
        bytes32 indexed logId,
        bytes32 indexed oldKid,
        bytes32 indexed newKid,
        bytes32 x,
        bytes32 y,
        bytes32 evidence,
        bytes32 operator,
        uint64 readyAt,
        uint64 prevBlock
    );

    /// @notice A rotation will not take place: the admin said so, or suspended or revoked the old key.
    /// @param prevBlock Number of the block with the old key's previous event.
    event RotationVetoed(bytes32 indexed logId, bytes32 indexed oldKid, bytes32 indexed newKid, uint64 prevBlock);

    /// @notice A key took another's place: in one transaction with `KeyRevoked` of the old one, which names the block of
    /// its previous event, and `KeyRegistered` of the new one, which has none.
    event KeyRotated(bytes32 indexed logId, bytes32 indexed oldKid, bytes32 indexed newKid);

    /// @notice A key is invalid from position `until` on, until it is reinstated.
    /// @param anchored Anchored size of the log at the suspension: its own position.
    /// @param prevBlock Number of the block with this key's previous event.
    event KeySuspended(bytes32 indexed logId, bytes32 indexed kid, uint64 until, uint64 anchored, uint64 prevBlock);

    /// @notice A suspended key is valid again from position `from` on.
    /// @param anchored Anchored size of the log at the reinstatement.
    /// @param prevBlock Number of the block with this key's previous event.
    event KeyReinstated(bytes32 indexed logId, bytes32 indexed kid, uint64 from, uint64 anchored, uint64 prevBlock);

    /// @notice A key is invalid from position `until` on, for good.
    /// @param anchored Anchored size of the log at the revocation: its own position.
    /// @param prevBlock Number of the block with this key's previous event.
    event KeyRevoked(
        bytes32 indexed logId,
        bytes32 indexed kid,
        Reason indexed reason,
        uint64 until,
        uint64 anchored,
        uint64 prevBlock
    );

    /// @notice (x, y) is no point of P-256.
    error KeyOffCurve(bytes32 x, bytes32 y);
    /// @notice The tenant is open already.
    error TenantExists(bytes32 tenant);
    /// @notice No tenant has this root key.
    error UnknownTenant(bytes32 tenant);
    /// @notice A tenant's admin cannot be the zero address.
    error ZeroAdmin();
    /// @notice The caller is not the tenant's admin.
    error NotTenantAdmin(bytes32 tenant, address caller, address admin);
    /// @notice The caller was not proposed as the tenant's admin.
    error NotProposedAdmin(bytes32 tenant, address caller, address proposed);
    /// @notice s is above half the group order: only the low one of the two twin signatures is taken.
    error HighS(bytes32 s);
    /// @notice (r, s) is no signature of `digest` by the tenant root key.
    error BadSignature(bytes32 digest, bytes32 r, bytes32 s);
    /// @notice The key is registered in this log already.
    error KeyExists(bytes32 logId, bytes32 kid);
    /// @notice The key is not registered in this log.
    error UnknownKey(bytes32 logId, bytes32 kid);
    /// @notice The key's status does not allow this.
    error WrongStatus(bytes32 kid, Status status);
    /// @notice `until` lies above what is anchored: a future statement cannot be revoked today.
    error UntilAboveAnchored(uint64 until, uint64 anchored);
    /// @notice A revoked key's `until` can only be lowered.
    error UntilNotLower(uint64 until, uint64 current);
    /// @notice A reinstatement cannot reach back below what is anchored.
    error FromBelowAnchored(uint64 from, uint64 anchored);
    /// @notice The signature was meant to be brought by `deadline` (Unix seconds, inclusive).
    error Expired(uint64 deadline, uint256 time);
    /// @notice Old key, new key and operator are three.
    error NotThreeKeys(bytes32 oldKid, bytes32 newKid, bytes32 operator);
    /// @notice The key that agreed is no operator whose signatures count now.
    error NotAnOperator(bytes32 kid, Role role, uint64 anchored);
    /// @notice This rotation was proposed before: its signatures are used up.
    error RotationUsed(bytes32 digest);
    /// @notice A rotation of this key is under way.
    error RotationPending(bytes32 oldKid, bytes32 newKid);
    /// @notice No rotation of this key to that one is under way.
    error NoRotation(bytes32 oldKid, bytes32 newKid);
    /// @notice The veto window is open until `readyAt`.
    error VetoWindowOpen(uint64 readyAt, uint256 time);
    /// @notice The key was reinstated as often as one may be.
    error TooManyIntervals(bytes32 kid, uint256 limit);

    /// @notice Opens a tenant. Callable by anyone who brings the root key's signature.
    /// @dev Signed message (ES256, that is, SHA-256 is taken of it once): "edgeseal/v1/tenant-open" 00, tenant (32),
    /// chain id (32), this contract (20), admin (20), nonce (32), with nonce = 0. A tenant can be opened once, and
    /// the signature names chain, contract and admin: brought by somebody else it does the same.
    /// @param x First coordinate of the root key.
    /// @param y Second coordinate of the root key.
    /// @param admin Address that acts for the tenant, not zero.
    /// @param r First half of the root key's signature.
    /// @param s Second half, not above half the group order.
    /// @return tenant Thumbprint of the root key.
    function openTenant(bytes32 x, bytes32 y, address admin, bytes32 r, bytes32 s) external returns (bytes32 tenant);

    /// @notice Replaces the admin on the root key's signature alone: for a lost or stolen admin key. Callable by anyone.
    /// @dev Signed message: "edgeseal/v1/tenant-admin" 00, then as in `openTenant` with nonce = `tenantNonce(tenant)`,
    /// which rises by one each time. Takes back a pending proposal.
    function recoverAdmin(bytes32 x, bytes32 y, address admin, bytes32 r, bytes32 s) external;

    /// @notice Names the next admin, who must accept. Only the admin. Zero takes the offer back.
    function proposeAdmin(bytes32 tenant, address proposed) external;

    /// @notice Becomes the tenant's admin. Only the proposed one.
    function acceptAdmin(bytes32 tenant) external;

    /// @notice Registers a key in a log of the tenant. Only its admin. A key has one entry, and one role, per log.
    /// @param logId Fleet log whose positions are meant.
    /// @param role What the key signs.
    /// @param x First coordinate.
    /// @param y Second coordinate.
    /// @param from First position at which it is valid; any, see the contract's promise.
    /// @param evidence Digest of the evidence, zero if none.
    /// @return kid Thumbprint of the key.
    function registerKey(bytes32 logId, Role role, bytes32 x, bytes32 y, uint64 from, bytes32 evidence)
        external
        returns (bytes32 kid);

    /// @notice Makes an active key invalid from `until` on, reversibly for later positions. Only the admin.
    /// @param until In the past or now: at most the anchored size.
    function suspendKey(bytes32 logId, bytes32 kid, uint64 until) external;

    /// @notice Makes a suspended key valid again from `from` on. Only the admin. What was suspended stays invalid.
    /// @param from At least the anchored size.
    function reinstateKey(bytes32 logId, bytes32 kid, uint64 from) external;

    /// @notice Ends a key's validity at `until`, for good. Only the admin.
    /// @dev Revoking a revoked key again with a lower `until` is allowed (it is learnt later how early a key was stolen).
    /// Does not change a log's gateway key: for that call `IFleetLog.setGatewayKey` too.
    /// @param until In the past or now: at most the anchored size. Below the key's `from`, it was never valid.
    function revokeKey(bytes32 logId, bytes32 kid, uint64 until, Reason reason) external;

    /// @notice As `registerKey`, with the key's own signature. Only the admin.
    /// @dev Signed message (ES256): "edgeseal/v1/key-possession" 00, chain id (32), this contract (20), tenant, log id,
    /// role (1), from (8), evidence, nonce, deadline (8). It is used up by registering: a key is registered once in a log.
    function registerKeyWithProof(Registration calldata registration, Signature calldata possession)
        external
        returns (bytes32 kid);

    /// @notice Proposes that a new key takes an active key's place. Callable by anyone who brings three signatures.
    /// @dev Whoever stole the old key holds the first two signatures; so an operator signs as well, and the admin has
    /// `VETO_WINDOW` seconds. Signed message, the same for all three: "edgeseal/v1/key-rotation" 00, chain id (32), this
    /// contract (20), tenant, log id, old kid, new kid, evidence, nonce, deadline (8). It can be brought once.
    /// @param byOld Signature of the old key.
    /// @param byNew Signature of the new key.
    /// @param operatorX First coordinate of the key of an operator whose signatures count now.
    /// @param operatorY Second coordinate.
    /// @param byOperator The operator's signature.
    function proposeRotation(
        Rotation calldata rotation,
        Signature calldata byOld,
        Signature calldata byNew,
        bytes32 operatorX,
        bytes32 operatorY,
        Signature calldata byOperator
    ) external;

    /// @notice Stops a rotation. Only the admin. Suspending or revoking the old key does so as well.
    function vetoRotation(bytes32 logId, bytes32 oldKid) external;

    /// @notice Carries a rotation out once the veto window is over. Callable by anyone.
    /// @dev The old key must still be active, and the operator who agreed must still count. The old key is revoked
    /// (Superseded) and the new one registered in its role, both at the anchored size. A log's gateway key changes by
    /// `IFleetLog.setGatewayKey` alone.
    /// @param x First coordinate of the new key.
    /// @param y Second coordinate of the new key.
    function finishRotation(bytes32 logId, bytes32 oldKid, bytes32 x, bytes32 y) external returns (bytes32 newKid);

    /// @notice The rotation of a key under way: its new key, and from when on it may be finished (zeros: none).
    function rotationOf(bytes32 logId, bytes32 oldKid) external view returns (bytes32 newKid, uint64 readyAt);

    /// @notice Seconds in which the admin may veto a rotation.
    function VETO_WINDOW() external view returns (uint40);

    /// @notice Whether signatures of `kid` count at `position` of the log, as the registry stands now.
    /// @dev Never reverts: an unknown key or log gives false. The role is the caller's to compare, see `keyOf`.
    function isValidAt(bytes32 kid, bytes32 logId, uint64 position) external view returns (bool);

    /// @notice The entry of a key. Reverts for an unknown one.
    /// @return role What it signs.
    /// @return status Where it stands.
    /// @return lastBlock Number of the block with its last event.
    /// @return from First position of its latest interval.
    /// @return until First position after its latest interval; 2^64 - 1 while it is active.
    function keyOf(bytes32 logId, bytes32 kid)
        external
        view
        returns (Role role, Status status, uint64 lastBlock, uint64 from, uint64 until);

    /// @notice The first key of the line of rotations that led to `kid` in this log; `kid` itself where there was none.
    /// @dev Never reverts. Who signs in another's place is the same signer: what counts signers counts these.
    function originOf(bytes32 logId, bytes32 kid) external view returns (bytes32 origin);

    /// @notice Earlier intervals of a reinstated key, oldest first. An interval holds only as far as no later one's
    /// `until` lies below it.
    function earlierIntervals(bytes32 logId, bytes32 kid)
        external
        view
        returns (uint64[] memory from, uint64[] memory until);

    /// @notice The tenant's admin, zero if there is no such tenant.
    function adminOf(bytes32 tenant) external view returns (address);

    /// @notice The address proposed as admin, zero if none.
    function proposedAdminOf(bytes32 tenant) external view returns (address);

    /// @notice The nonce the root key's next signature must name.
    function tenantNonce(bytes32 tenant) external view returns (uint64);

    /// @notice Number of the block with the tenant's last event, 0 if there is no such tenant.
    function tenantLastBlock(bytes32 tenant) external view returns (uint64);

    /// @notice The fleet logs, deployed together with this registry.
    function fleetLog() external view returns (IFleetLog);
}
