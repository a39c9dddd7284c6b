// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {P256Scheme} from "./P256Scheme.sol";
import {IFleetLog} from "./interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";
import {CoseKey} from "./libraries/CoseKey.sol";

/// @title The rules of IdentityRegistry, over any P-256 implementation
abstract contract IdentityRegistryBase is IIdentityRegistry, P256Scheme {
    struct Tenant {
        address admin; // not zero in an open tenant
        uint48 nonce;
        uint48 lastBlock;
        address proposed;
    }

    struct Key {
        uint64 from;
        uint64 until; // OPEN while active
        uint48 lastBlock;
        Role role;
        Status status;
    }

    struct Interval {
        uint64 from;
        uint64 until;
    }

    struct Pending {
        bytes32 newKid;
        bytes32 evidence;
        uint40 readyAt;
        bytes32 operator;
    }

    /// @inheritdoc IIdentityRegistry
    uint40 public constant VETO_WINDOW = 1 days;

    uint64 private constant OPEN = type(uint64).max;

    /// @dev Bounds the loop of `isValidAt`.
    uint256 private constant MAX_EARLIER = 16;

    /// @inheritdoc IIdentityRegistry
    IFleetLog public immutable fleetLog;

    mapping(bytes32 tenant => Tenant) private _tenants;
    mapping(bytes32 logId => mapping(bytes32 kid => Key)) private _keys;
    mapping(bytes32 logId => mapping(bytes32 kid => Interval[])) private _earlier;
    mapping(bytes32 logId => mapping(bytes32 oldKid => Pending)) private _pending;
    mapping(bytes32 digest => bool) private _usedRotations;
    mapping(bytes32 logId => mapping(bytes32 kid => bytes32)) private _origins; // of rotated keys alone

    constructor(IFleetLog fleetLog_) {
        fleetLog = fleetLog_;
    }

    /// @inheritdoc IIdentityRegistry
    function openTenant(bytes32 x, bytes32 y, address admin, bytes32 r, bytes32 s) external returns (bytes32 tenant) {
        if (!_isP256Point(x, y)) revert KeyOffCurve(x, y);
        tenant = CoseKey.thumbprint(x, y);
        Tenant storage t = _tenants[tenant];
        if (t.admin != address(0)) revert TenantExists(tenant);
        _consent("edgeseal/v1/tenant-open", tenant, t, x, y, admin, r, s);

        t.admin = admin;
        t.lastBlock = uint48(block.number);
        emit TenantOpened(tenant, admin, x, y);
    }

    /// @inheritdoc IIdentityRegistry
    function recoverAdmin(bytes32 x, bytes32 y, address admin, bytes32 r, bytes32 s) external {
        bytes32 tenant = CoseKey.thumbprint(x, y);
        Tenant storage t = _tenants[tenant];
        if (t.admin == address(0)) revert UnknownTenant(tenant);
        _consent("edgeseal/v1/tenant-admin", tenant, t, x, y, admin, r, s);
        _changeAdmin(tenant, t, admin, true);
    }

    /// @inheritdoc IIdentityRegistry
    function proposeAdmin(bytes32 tenant, address proposed) external {
        Tenant storage t = _tenants[tenant];
        _onlyAdmin(tenant);
        t.proposed = proposed;
        uint48 prevBlock = t.lastBlock;
        t.lastBlock = uint48(block.number);
        emit AdminProposed(tenant, msg.sender, proposed, prevBlock);
    }

    /// @inheritdoc IIdentityRegistry
    function acceptAdmin(bytes32 tenant) external {
        Tenant storage t = _tenants[tenant];
        if (msg.sender != t.proposed) revert NotProposedAdmin(tenant, msg.sender, t.proposed);
        _changeAdmin(tenant, t, msg.sender, false);
    }

    /// @inheritdoc IIdentityRegistry
    function registerKey(bytes32 logId, Role role, bytes32 x, bytes32 y, uint64 from, bytes32 evidence)
        external
        returns (bytes32 kid)
    {
        (, uint64 anchored) = _authorize(logId);
        kid = _register(Registration(logId, role, x, y, from, evidence, 0, 0), anchored, false);
    }

    /// @inheritdoc IIdentityRegistry
    function registerKeyWithProof(Registration calldata registration, Signature calldata possession)
        external
        returns (bytes32 kid)
    {
        (bytes32 tenant, uint64 anchored) = _authorize(registration.logId);
        _notAfter(registration.deadline);
        bytes32 digest = sha256(
            abi.encodePacked(
                abi.encodePacked("edgeseal/v1/key-possession", bytes1(0), block.chainid, address(this), tenant),
                abi.encodePacked(registration.logId, uint8(registration.role), registration.from),
                abi.encodePacked(registration.evidence, registration.nonce, registration.deadline)
            )
        );
        _checkSignature(digest, possession, registration.x, registration.y);
        kid = _register(registration, anchored, true);
    }

    /// @inheritdoc IIdentityRegistry
    function proposeRotation(
        Rotation calldata rotation,
        Signature calldata byOld,
        Signature calldata byNew,
        bytes32 operatorX,
        bytes32 operatorY,
        Signature calldata byOperator
    ) external {
        _notAfter(rotation.deadline);
        (bytes32 tenant, uint64 anchored) = fleetLog.authorityOf(rotation.logId);
        bytes32 oldKid = CoseKey.thumbprint(rotation.oldX, rotation.oldY);
        bytes32 newKid = CoseKey.thumbprint(rotation.newX, rotation.newY);
        bytes32 operator = CoseKey.thumbprint(operatorX, operatorY);
        _checkParties(rotation.logId, oldKid, newKid, operator, anchored);
        bytes32 digest = _rotationDigest(tenant, rotation, oldKid, newKid);
        if (_usedRotations[digest]) revert RotationUsed(digest);
        _checkSignature(digest, byOld, rotation.oldX, rotation.oldY);
        _checkSignature(digest, byNew, rotation.newX, rotation.newY);
        _checkSignature(digest, byOperator, operatorX, operatorY);

        _usedRotations[digest] = true;
        _propose(rotation, oldKid, newKid, operator);
    }

    /// @inheritdoc IIdentityRegistry
    function vetoRotation(bytes32 logId, bytes32 oldKid) external {
        _authorize(logId);
        if (!_veto(logId, oldKid)) revert NoRotation(oldKid, 0);
    }

    /// @inheritdoc IIdentityRegistry
    function finishRotation(bytes32 logId, bytes32 oldKid, bytes32 x, bytes32 y) external returns (bytes32 newKid) {
        Pending memory pending = _pending[logId][oldKid];
        newKid = CoseKey.thumbprint(x, y);
        if (pending.newKid != newKid) revert NoRotation(oldKid, newKid);
        if (block.timestamp < pending.readyAt) revert VetoWindowOpen(pending.readyAt, block.timestamp);
        Key storage key = _known(logId, oldKid);
        if (key.status != Status.Active) revert WrongStatus(oldKid, key.status);
        (, uint64 anchored) = fleetLog.authorityOf(logId);
        _requireOperator(logId, pending.operator, anchored);

        delete _pending[logId][oldKid];
        _origins[logId][newKid] = originOf(logId, oldKid);
        key.until = anchored;
        key.status = Status.Revoked;
        emit KeyRevoked(logId, oldKid, Reason.Superseded, anchored, anchored, _touch(key));
        _register(Registration(logId, key.role, x, y, anchored, pending.evidence, 0, 0), anchored, true);
        emit KeyRotated(logId, oldKid, newKid);
    }

    /// @inheritdoc IIdentityRegistry
    function rotationOf(bytes32 logId, bytes32 oldKid) external view returns (bytes32 newKid, uint64 readyAt) {
        Pending storage pending = _pending[logId][oldKid];
        return (pending.newKid, pending.readyAt);
    }

    /// @inheritdoc IIdentityRegistry
    function suspendKey(bytes32 logId, bytes32 kid, uint64 until) external {
        (, uint64 anchored) = _authorize(logId);
        Key storage key = _known(logId, kid);
        if (key.status != Status.Active) revert WrongStatus(kid, key.status);
        if (until > anchored) revert UntilAboveAnchored(until, anchored);

        _veto(logId, kid);
        key.until = until;
        key.status = Status.Suspended;
        emit KeySuspended(logId, kid, until, anchored, _touch(key));
    }

    /// @inheritdoc IIdentityRegistry
    function reinstateKey(bytes32 logId, bytes32 kid, uint64 from) external {
        (, uint64 anchored) = _authorize(logId);
        Key storage key = _known(logId, kid);
        if (key.status != Status.Suspended) revert WrongStatus(kid, key.status);
        if (from < anchored) revert FromBelowAnchored(from, anchored);
        Interval[] storage earlier = _earlier[logId][kid];
        if (earlier.length == MAX_EARLIER) revert TooManyIntervals(kid, MAX_EARLIER);

        earlier.push(Interval(key.from, key.until));
        key.from = from;
        key.until = OPEN;
        key.status = Status.Active;
        emit KeyReinstated(logId, kid, from, anchored, _touch(key));
    }

    /// @inheritdoc IIdentityRegistry
    function revokeKey(bytes32 logId, bytes32 kid, uint64 until, Reason reason) external {
        (, uint64 anchored) = _authorize(logId);
        Key storage key = _known(logId, kid);
        if (until > anchored) revert UntilAboveAnchored(until, anchored);
        if (key.status == Status.Revoked && until >= key.until) revert UntilNotLower(until, key.until);

        _veto(logId, kid);
        // A suspension may have ended the interval earlier already; that stands.
        if (until < key.until) key.until = until;
        key.status = Status.Revoked;
        emit KeyRevoked(logId, kid, reason, key.until, anchored, _touch(key));
    }

    /// @inheritdoc IIdentityRegistry
    function isValidAt(bytes32 kid, bytes32 logId, uint64 position) public view returns (bool valid) {
        Key storage key = _keys[logId][kid];
        if (key.status == Status.None) return false;
        // In the order they were made, each `from` opens what lies at or above it, each `until` closes it. So the latest
        // decides but for what lies below its `from`.
        (uint64 from, uint64 until) = (key.from, key.until);
        if (position >= until || position >= from) return position < until;
        Interval[] storage earlier = _earlier[logId][kid];
        for (uint256 i = 0; i < earlier.length; ++i) {
            valid = _apply(valid, position, earlier[i].from, earlier[i].until);
        }
    }

    /// @inheritdoc IIdentityRegistry
    function keyOf(bytes32 logId, bytes32 kid)
        external
        view
        returns (Role role, Status status, uint64 lastBlock, uint64 from, uint64 until)
    {
        Key storage key = _known(logId, kid);
        return (key.role, key.status, key.lastBlock, key.from, key.until);
    }

    /// @inheritdoc IIdentityRegistry
    function originOf(bytes32 logId, bytes32 kid) public view returns (bytes32 origin) {
        origin = _origins[logId][kid];
        if (origin == 0) origin = kid;
    }

    /// @inheritdoc IIdentityRegistry
    function earlierIntervals(bytes32 logId, bytes32 kid)
        external
        view
        returns (uint64[] memory from, uint64[] memory until)
    {
        Interval[] storage earlier = _earlier[logId][kid];
        from = new uint64[](earlier.length);
        until = new uint64[](earlier.length);
        for (uint256 i = 0; i < earlier.length; ++i) {
            (from[i], until[i]) = (earlier[i].from, earlier[i].until);
        }
    }

    /// @inheritdoc IIdentityRegistry
    function adminOf(bytes32 tenant) external view returns (address) {
        return _tenants[tenant].admin;
    }

    /// @inheritdoc IIdentityRegistry
    function proposedAdminOf(bytes32 tenant) external view returns (address) {
        return _tenants[tenant].proposed;
    }

    /// @inheritdoc IIdentityRegistry
    function tenantNonce(bytes32 tenant) external view returns (uint64) {
        return _tenants[tenant].nonce;
    }

    /// @inheritdoc IIdentityRegistry
    function tenantLastBlock(bytes32 tenant) external view returns (uint64) {
        return _tenants[tenant].lastBlock;
    }

    /// @dev Checks the root key's signature over (what, tenant, chain, contract, admin, nonce) and uses the nonce up.
    function _consent(
        string memory what,
        bytes32 tenant,
        Tenant storage t,
        bytes32 x,
        bytes32 y,
        address admin,
        bytes32 r,
        bytes32 s
    ) private {
        if (admin == address(0)) revert ZeroAdmin();
        bytes32 digest =
            sha256(abi.encodePacked(what, bytes1(0), tenant, block.chainid, address(this), admin, uint256(t.nonce)));
        _checkSignature(digest, Signature(r, s), x, y);
        ++t.nonce;
    }

    function _checkSignature(bytes32 digest, Signature memory by, bytes32 x, bytes32 y) private view {
        if (by.s > HALF_N) revert HighS(by.s);
        if (!_verifyP256(digest, by.r, by.s, x, y)) revert BadSignature(digest, by.r, by.s);
    }

    function _register(Registration memory r, uint64 anchored, bool possessed) private returns (bytes32 kid) {
        if (!_isP256Point(r.x, r.y)) revert KeyOffCurve(r.x, r.y);
        kid = CoseKey.thumbprint(r.x, r.y);
        if (_keys[r.logId][kid].status != Status.None) revert KeyExists(r.logId, kid);

        _keys[r.logId][kid] = Key(r.from, OPEN, uint48(block.number), r.role, Status.Active);
        emit KeyRegistered(r.logId, kid, r.role, r.x, r.y, r.from, r.evidence, anchored, possessed);
    }

    function _propose(Rotation calldata rotation, bytes32 oldKid, bytes32 newKid, bytes32 operator) private {
        uint40 readyAt = uint40(block.timestamp) + VETO_WINDOW;
        Pending memory pending = Pending(newKid, rotation.evidence, readyAt, operator);
        _pending[rotation.logId][oldKid] = pending;
        _announce(rotation, oldKid, pending, _touch(_keys[rotation.logId][oldKid]));
    }

    function _announce(Rotation calldata rotation, bytes32 oldKid, Pending memory p, uint64 prevBlock) private {
        emit RotationProposed(
            rotation.logId, oldKid, p.newKid, rotation.newX, rotation.newY, p.evidence, p.operator, p.readyAt, prevBlock
        );
    }

    /// @dev Takes back the rotation of `oldKid` under way, if there is one. Whoever ends or suspends a key means that too:
    /// left waiting, it could be finished on the day the key is reinstated, long after the window for a veto.
    function _veto(bytes32 logId, bytes32 oldKid) private returns (bool found) {
        bytes32 newKid = _pending[logId][oldKid].newKid;
        found = newKid != 0;
        if (found) {
            delete _pending[logId][oldKid];
            emit RotationVetoed(logId, oldKid, newKid, _touch(_keys[logId][oldKid]));
        }
    }

    /// @dev Old key active, new key unknown, no rotation under way, and an operator who is neither and counts now.
    function _checkParties(bytes32 logId, bytes32 oldKid, bytes32 newKid, bytes32 operator, uint64 anchored)
        private
        view
    {
        if (oldKid == newKid || oldKid == operator || newKid == operator) {
            revert NotThreeKeys(oldKid, newKid, operator);
        }
        Key storage old = _known(logId, oldKid);
        if (old.status != Status.Active) revert WrongStatus(oldKid, old.status);
        if (_keys[logId][newKid].status != Status.None) revert KeyExists(logId, newKid);
        if (_pending[logId][oldKid].newKid != 0) revert RotationPending(oldKid, _pending[logId][oldKid].newKid);
        _requireOperator(logId, operator, anchored);
    }

    /// @dev Reverts unless the key is an operator's and counts now.
    function _requireOperator(bytes32 logId, bytes32 kid, uint64 anchored) private view {
        Key storage key = _known(logId, kid);
        if (key.role != Role.Operator || !isValidAt(kid, logId, anchored)) {
            revert NotAnOperator(kid, key.role, anchored);
        }
    }

    function _rotationDigest(bytes32 tenant, Rotation calldata rotation, bytes32 oldKid, bytes32 newKid)
        private
        view
        returns (bytes32)
    {
        return sha256(
            abi.encodePacked(
                abi.encodePacked("edgeseal/v1/key-rotation", bytes1(0), block.chainid, address(this), tenant),
                abi.encodePacked(rotation.logId, oldKid, newKid),
                abi.encodePacked(rotation.evidence, rotation.nonce, rotation.deadline)
            )
        );
    }

    function _notAfter(uint64 deadline) private view {
        if (block.timestamp > deadline) revert Expired(deadline, block.timestamp);
    }

    function _changeAdmin(bytes32 tenant, Tenant storage t, address admin, bool byRoot) private {
        (address previous, uint48 prevBlock) = (t.admin, t.lastBlock);
        t.admin = admin;
        t.lastBlock = uint48(block.number);
        t.proposed = address(0);
        emit AdminChanged(tenant, previous, admin, byRoot, prevBlock);
    }

    function _onlyAdmin(bytes32 tenant) private view {
        address admin = _tenants[tenant].admin;
        if (msg.sender != admin) revert NotTenantAdmin(tenant, msg.sender, admin);
    }

    /// @dev Reverts unless the caller is the admin of the log's tenant; gives both the tenant and the log's anchored size.
    function _authorize(bytes32 logId) private view returns (bytes32 tenant, uint64 anchored) {
        (tenant, anchored) = fleetLog.authorityOf(logId);
        _onlyAdmin(tenant);
    }

    function _known(bytes32 logId, bytes32 kid) private view returns (Key storage key) {
        key = _keys[logId][kid];
        if (key.status == Status.None) revert UnknownKey(logId, kid);
    }

    function _touch(Key storage key) private returns (uint64 prevBlock) {
        prevBlock = key.lastBlock;
        key.lastBlock = uint48(block.number);
    }

    function _apply(bool valid, uint64 position, uint64 from, uint64 until) private pure returns (bool) {
        return position < until && (valid || position >= from);
    }
}
