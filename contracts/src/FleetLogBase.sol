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
    /// @dev `anchor` writes the first two slots and reads the third.
    struct Log {
        bytes32 root;
        uint64 size;
        uint64 gatewaySince;
        uint64 lastBlock;
        bytes32 gatewayKid; // not zero in an open log
        bytes32 tenant;
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
        Log storage log = _logs[logId];
        log.tenant = tenant;
        log.gatewayKid = kid;
        log.lastBlock = uint64(block.number);
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
        Log storage log = _known(logId);
        bytes32 kid = log.gatewayKid;
        _checkSize(log, size, root, proof.length);
        _checkPrevious(log, size, prevSize, prevRoot);
        bytes32 digest = FleetHead.digest(kid, logId, size, root, prevSize, prevRoot);
        _checkSignature(digest, kid, x, y, r, s);
        if (log.size != 0) _checkConsistency(log, size, root, proof);

        uint64 prevBlock = log.lastBlock;
        log.root = root;
        log.size = size;
        log.lastBlock = uint64(block.number);
        emit Anchored(logId, size, root, kid, prevBlock);
    }

    /// @inheritdoc IFleetLog
    function setGatewayKey(bytes32 logId, bytes32 x, bytes32 y) external {
        Log storage log = _known(logId);
        _onlyAdmin(log.tenant);
        if (!_isP256Point(x, y)) revert KeyOffCurve(x, y);
        bytes32 oldKid = log.gatewayKid;
        bytes32 newKid = CoseKey.thumbprint(x, y);
        if (newKid == oldKid) revert SameGatewayKey(newKid);

        uint64 prevBlock = log.lastBlock;
        log.gatewayKid = newKid;
        log.gatewaySince = log.size;
        log.lastBlock = uint64(block.number);
        emit GatewayKeyChanged(logId, oldKid, newKid, log.size, x, y, prevBlock);
    }

    /// @inheritdoc IFleetLog
    function head(bytes32 logId) external view returns (uint64 size, bytes32 root) {
        Log storage log = _known(logId);
        return (log.size, log.root);
    }

    /// @inheritdoc IFleetLog
    function authorityOf(bytes32 logId) external view returns (bytes32 tenant, uint64 anchored) {
        Log storage log = _known(logId);
        return (log.tenant, log.size);
    }

    /// @inheritdoc IFleetLog
    function gatewayOf(bytes32 logId) external view returns (bytes32 kid, uint64 since, uint64 lastBlock) {
        Log storage log = _known(logId);
        return (log.gatewayKid, log.gatewaySince, log.lastBlock);
    }

    /// @inheritdoc IFleetLog
    function logIdOf(bytes32 tenant, bytes32 nonce) public view returns (bytes32 logId) {
        return sha256(abi.encodePacked("edgeseal/v1/fleet-log", bytes1(0), tenant, block.chainid, address(this), nonce));
    }

    function _known(bytes32 logId) private view returns (Log storage log) {
        log = _logs[logId];
        if (log.gatewayKid == 0) revert UnknownLog(logId);
    }

    function _onlyAdmin(bytes32 tenant) private view {
        address admin = registry.adminOf(tenant);
        if (msg.sender != admin) revert NotTenantAdmin(tenant, msg.sender, admin);
    }

    function _checkSize(Log storage log, uint64 size, bytes32 root, uint256 nodes) private view {
        uint64 anchored = log.size;
        if (size <= anchored) revert StaleSize(size, anchored);
        if (size < 2) revert FirstHeadTooSmall(size);
        if (root == 0) revert ZeroRoot();
        uint256 expected = anchored == 0 ? 0 : Rfc9162.consistencyLength(anchored, size);
        if (nodes != expected) revert WrongProofLength(expected, nodes);
    }

    /// @dev Heads of a log are signed in order of size, each naming the one before. The anchored head was signed, so the
    /// previous head of a later one is that head itself or a larger one.
    function _checkPrevious(Log storage log, uint64 size, uint64 prevSize, bytes32 prevRoot) private view {
        if (prevSize >= size || (prevSize == 0 && prevRoot != 0)) revert PreviousImpossible(prevSize, prevRoot, size);
        uint64 anchored = log.size;
        if (prevSize < anchored || (prevSize == anchored && prevRoot != log.root)) {
            revert PreviousContradictsAnchor(prevSize, prevRoot, anchored, log.root);
        }
    }

    function _checkSignature(bytes32 digest, bytes32 kid, bytes32 x, bytes32 y, bytes32 r, bytes32 s) private view {
        bytes32 given = CoseKey.thumbprint(x, y);
        if (given != kid) revert WrongKey(kid, given);
        if (s > HALF_N) revert HighS(s);
        if (!_verifyP256(digest, r, s, x, y)) revert BadSignature(digest, r, s);
    }

    function _checkConsistency(Log storage log, uint64 size, bytes32 root, bytes32[] calldata proof) private view {
        bytes32 anchoredRoot = log.root;
        (bytes32 old, bytes32 grown) = Rfc9162.foldConsistency(log.size, size, anchoredRoot, proof);
        if (old != anchoredRoot) revert OldRootMismatch(anchoredRoot, old);
        if (grown != root) revert NewRootMismatch(root, grown);
    }
}
