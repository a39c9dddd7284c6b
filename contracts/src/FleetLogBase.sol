// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {P256Scheme} from "./P256Scheme.sol";
import {IFleetLog} from "./interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";
import {CoseKey} from "./libraries/CoseKey.sol";
import {FleetHead} from "./libraries/FleetHead.sol";
import {Rfc9162} from "./libraries/Rfc9162.sol";

/// @title The rules of FleetLog, over any P-256 implementation
abstract contract FleetLogBase is IFleetLog, P256Scheme {
    /// @dev `anchor` writes the first two slots and reads the third. `counts` is the anchored size (lowest 64 bits), the
    /// size since which the gateway key is in force (next 64) and the block of the last event (next 64): packed by hand,
    /// so that one write changes all three.
    struct Log {
        bytes32 root;
        uint256 counts;
        bytes32 gatewayKid; // not zero in an open log
        bytes32 tenant;
    }

    /// @dev What `anchor` needs of a log, read once.
    struct Tip {
        bytes32 root;
        uint64 size;
        uint64 gatewaySince;
        uint64 lastBlock;
        bytes32 gatewayKid;
    }

    /// @inheritdoc IFleetLog
    IIdentityRegistry public immutable registry;

    /// @inheritdoc IFleetLog
    mapping(bytes32 tenant => bytes32 logId) public activeLogOf;

    mapping(bytes32 logId => Log) private _logs;

    constructor(IIdentityRegistry registry_) {
        // The libraries take the precompile's word; a chain without it would answer with empty bytes.
        if (sha256("") != 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855) {
            revert MissingPrecompile(address(2));
        }
        registry = registry_;
    }

    /// @inheritdoc IFleetLog
    function open(bytes32 tenant, bytes32 x, bytes32 y, bytes32 nonce) external returns (bytes32 logId) {
        _onlyAdmin(tenant);
        if (activeLogOf[tenant] != 0) revert LogIsActive(tenant, activeLogOf[tenant]);
        if (!_isP256Point(x, y)) revert KeyOffCurve(x, y);

        logId = logIdOf(tenant, nonce);
        bytes32 kid = CoseKey.thumbprint(x, y);
        activeLogOf[tenant] = logId;
        _logs[logId] = Log({root: 0, counts: _counts(0, 0), gatewayKid: kid, tenant: tenant});
        emit Opened(logId, tenant, kid, nonce, x, y);
    }

    /// @inheritdoc IFleetLog
    function anchor(
        bytes32 logId,
        uint64 size,
        bytes32 root,
        uint64 prevSize,
        bytes32 prevRoot,
        bytes32 x,
        bytes32 y,
        bytes32 r,
        bytes32 s,
        bytes32[] calldata proof
    ) external {
        Tip memory tip = _tip(logId);
        _checkSize(tip, size, root, proof.length);
        _checkPrevious(tip, size, prevSize, prevRoot);
        bytes32 digest = FleetHead.digest(tip.gatewayKid, logId, size, root, prevSize, prevRoot);
        _checkSignature(digest, tip.gatewayKid, x, y, r, s);
        if (tip.size != 0) _checkConsistency(tip, size, root, proof);

        Log storage log = _logs[logId];
        log.root = root;
        log.counts = _counts(size, tip.gatewaySince);
        emit Anchored(logId, size, root, tip.gatewayKid, tip.lastBlock);
    }

    /// @inheritdoc IFleetLog
    function setGatewayKey(bytes32 logId, bytes32 x, bytes32 y) external {
        Tip memory tip = _tip(logId);
        Log storage log = _logs[logId];
        _onlyAdmin(log.tenant);
        if (!_isP256Point(x, y)) revert KeyOffCurve(x, y);
        bytes32 kid = CoseKey.thumbprint(x, y);
        if (kid == tip.gatewayKid) revert SameGatewayKey(kid);

        log.gatewayKid = kid;
        log.counts = _counts(tip.size, tip.size);
        emit GatewayKeyChanged(logId, tip.gatewayKid, kid, tip.size, x, y, tip.lastBlock);
    }

    /// @inheritdoc IFleetLog
    function head(bytes32 logId) external view returns (uint64 size, bytes32 root) {
        Log storage log = _logs[logId];
        uint256 counts = log.counts; // holds the block of the last event: not zero in an open log
        if (counts == 0) revert UnknownLog(logId);
        return (uint64(counts), log.root);
    }

    /// @inheritdoc IFleetLog
    function authorityOf(bytes32 logId) external view returns (bytes32 tenant, uint64 anchored) {
        Log storage log = _logs[logId];
        tenant = log.tenant;
        if (tenant == 0) revert UnknownLog(logId);
        anchored = uint64(log.counts);
    }

    /// @inheritdoc IFleetLog
    function gatewayOf(bytes32 logId) external view returns (bytes32 kid, uint64 since, uint64 lastBlock) {
        Tip memory tip = _tip(logId);
        return (tip.gatewayKid, tip.gatewaySince, tip.lastBlock);
    }

    /// @inheritdoc IFleetLog
    function logIdOf(bytes32 tenant, bytes32 nonce) public view returns (bytes32 logId) {
        return sha256(abi.encodePacked("edgeseal/v1/fleet-log", bytes1(0), tenant, block.chainid, address(this), nonce));
    }

    /// @dev Reverts for an unknown log.
    function _tip(bytes32 logId) private view returns (Tip memory tip) {
        Log storage log = _logs[logId];
        tip.gatewayKid = log.gatewayKid;
        if (tip.gatewayKid == 0) revert UnknownLog(logId);
        tip.root = log.root;
        uint256 counts = log.counts;
        tip.size = uint64(counts);
        tip.gatewaySince = uint64(counts >> 64);
        tip.lastBlock = uint64(counts >> 128);
    }

    function _counts(uint64 size, uint64 gatewaySince) private view returns (uint256) {
        return uint256(size) | uint256(gatewaySince) << 64 | block.number << 128;
    }

    function _onlyAdmin(bytes32 tenant) private view {
        address admin = registry.adminOf(tenant);
        if (msg.sender != admin) revert NotTenantAdmin(tenant, msg.sender, admin);
    }

    function _checkSize(Tip memory tip, uint64 size, bytes32 root, uint256 nodes) private pure {
        uint64 anchored = tip.size;
        if (size <= anchored) revert StaleSize(size, anchored);
        if (size < 2) revert FirstHeadTooSmall(size);
        if (root == 0) revert ZeroRoot();
        uint256 expected = anchored == 0 ? 0 : Rfc9162.consistencyLength(anchored, size);
        if (nodes != expected) revert WrongProofLength(expected, nodes);
    }

    /// @dev Heads of a log are signed in order of size, each naming the one before. The anchored head was signed, so the
    /// previous head of a later one is that head itself or a larger one.
    function _checkPrevious(Tip memory tip, uint64 size, uint64 prevSize, bytes32 prevRoot) private pure {
        if (prevSize >= size || (prevSize == 0 && prevRoot != 0)) revert PreviousImpossible(prevSize, prevRoot, size);
        uint64 anchored = tip.size;
        if (prevSize < anchored || (prevSize == anchored && prevRoot != tip.root)) {
            revert PreviousContradictsAnchor(prevSize, prevRoot, anchored, tip.root);
        }
    }

    function _checkSignature(bytes32 digest, bytes32 kid, bytes32 x, bytes32 y, bytes32 r, bytes32 s) private view {
        bytes32 given = CoseKey.thumbprint(x, y);
        if (given != kid) revert WrongKey(kid, given);
        if (s > HALF_N) revert HighS(s);
        if (!_verifyP256(digest, r, s, x, y)) revert BadSignature(digest, r, s);
    }

    function _checkConsistency(Tip memory tip, uint64 size, bytes32 root, bytes32[] calldata proof) private view {
        (bytes32 old, bytes32 grown) = Rfc9162.foldConsistency(tip.size, size, tip.root, proof);
        if (old != tip.root) revert OldRootMismatch(tip.root, old);
        if (grown != root) revert NewRootMismatch(root, grown);
    }
}
