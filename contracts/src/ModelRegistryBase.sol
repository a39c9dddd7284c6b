// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RegisteredSigner} from "./RegisteredSigner.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";

/// @title The rules of ModelRegistry, over any P-256 implementation
abstract contract ModelRegistryBase is IModelRegistry, RegisteredSigner {
    struct Line {
        Policy policy;
        uint64 current;
        uint48 lastBlock;
    }

    struct Place {
        bytes32 line;
        uint64 version;
    }

    struct Grant {
        uint40 notBefore;
        uint40 notAfter;
    }

    uint32 private constant MAX_WAIT = 365 days;
    uint256 private constant MAX_GRANTS = 16; // bounds the loops of `isDeployable` and `endGrant`

    mapping(bytes32 tenant => mapping(bytes32 line => Line)) private _lines;
    mapping(bytes32 tenant => mapping(bytes32 line => mapping(uint64 version => Version))) private _versions;
    mapping(bytes32 tenant => mapping(bytes32 artifact => Place)) private _places;
    mapping(bytes32 tenant => mapping(bytes32 artifact => mapping(bytes32 approver => bool))) private _signed;
    mapping(bytes32 tenant => mapping(bytes32 artifact => mapping(bytes32 audience => Grant[]))) private _grants;

    /// @inheritdoc IModelRegistry
    function setPolicy(bytes32 tenant, bytes32 line, Policy calldata policy) external {
        _onlyAdmin(tenant);
        if (policy.approvals == 0 || policy.wait > MAX_WAIT) {
            revert BadPolicy(policy.approvals, policy.wait, MAX_WAIT);
        }
        Line storage l = _lines[tenant][line];
        uint48 prevBlock = l.lastBlock;
        l.policy = policy;
        l.lastBlock = uint48(block.number);
        emit PolicySet(tenant, line, policy, prevBlock);
    }

    /// @inheritdoc IModelRegistry
    function propose(Proposal calldata p, uint64 deadline, Signed calldata by) external {
        _notAfter(deadline);
        if (p.version == 0 || p.artifact == 0 || p.dataset == 0 || p.training == 0) revert EmptyProposal();
        Policy memory policy = _lines[p.tenant][p.line].policy;
        if (policy.approvals == 0) revert NoPolicy(p.tenant, p.line);
        Version storage v = _versions[p.tenant][p.line][p.version];
        if (v.state != State.None) revert VersionExists(p.version, v.artifact);
        Place storage place = _places[p.tenant][p.artifact];
        if (place.version != 0) revert ArtifactTaken(p.artifact, place.line, place.version);
        if (p.parent != 0) {
            State parent = _versions[p.tenant][p.line][p.parent].state;
            if (parent == State.None || parent == State.Revoked) revert BadParent(p.parent, parent);
        }
        bytes32 publisher = _requireSignature(_proposalDigest(p, deadline), by);
        _requireNow(p.tenant, publisher, IIdentityRegistry.Role.Publisher);

        (place.line, place.version) = (p.line, p.version);
        (v.artifact, v.publisher, v.parent, v.policy) = (p.artifact, publisher, p.parent, policy);
        v.state = State.Proposed;
        v.lastBlock = uint48(block.number);
        emit Proposed(p.tenant, p.line, p.version, p, publisher, policy);
    }

    /// @inheritdoc IModelRegistry
    function approve(
        bytes32 tenant,
        bytes32 line,
        uint64 version,
        bytes32 evaluation,
        uint64 deadline,
        Signed calldata by
    ) external {
        _notAfter(deadline);
        Version storage v = _known(tenant, line, version);
        if (v.state != State.Proposed) revert WrongState(version, v.state);
        bytes32 approver = _requireSignature(
            sha256(
                abi.encodePacked(
                    abi.encodePacked("edgeseal/v1/model-approve", bytes1(0), block.chainid, address(this)),
                    abi.encodePacked(tenant, line, version, v.artifact, evaluation, deadline)
                )
            ),
            by
        );
        if (approver == v.publisher) revert NotIndependent(approver);
        bytes32 logId = _requireNow(tenant, approver, IIdentityRegistry.Role.Approver);
        // An approver whose key was rotated in between is still one approver.
        bytes32 origin = registry.originOf(logId, approver);
        mapping(bytes32 => bool) storage signed = _signed[tenant][v.artifact];
        if (signed[origin]) revert ApprovedBefore(approver);

        signed[origin] = true;
        if (evaluation == 0) {
            if (v.approvals < type(uint8).max) ++v.approvals;
        } else {
            v.evaluated = true;
        }
        if (v.approvals >= v.policy.approvals && (v.evaluated || !v.policy.evaluation)) {
            v.state = State.Approved;
            v.approvedAt = uint40(block.timestamp);
        }
        emit Approved(tenant, line, version, approver, evaluation, v.state, _touch(v));
    }

    /// @inheritdoc IModelRegistry
    function makeDeployable(bytes32 tenant, bytes32 line, uint64 version) external {
        _onlyAdmin(tenant);
        Version storage v = _known(tenant, line, version);
        if (v.state != State.Approved) revert WrongState(version, v.state);
        uint256 from = uint256(v.approvedAt) + v.policy.wait;
        if (block.timestamp < from) revert TooEarly(from, block.timestamp);

        v.state = State.Deployable;
        v.deployableAt = uint40(block.timestamp);
        emit MadeDeployable(tenant, line, version, _touch(v));
    }

    /// @inheritdoc IModelRegistry
    function deprecate(bytes32 tenant, bytes32 line, uint64 version, uint64 replacement) external {
        _onlyAdmin(tenant);
        Version storage v = _known(tenant, line, version);
        if (v.state != State.Deployable) revert WrongState(version, v.state);
        if (replacement != 0) _deployable(tenant, line, replacement);

        v.state = State.Deprecated;
        v.endedAt = uint40(block.timestamp);
        emit Deprecated(tenant, line, version, replacement, _touch(v));
    }

    /// @inheritdoc IModelRegistry
    function revoke(bytes32 tenant, bytes32 line, uint64 version, bytes32 reason) external {
        _onlyAdmin(tenant);
        Version storage v = _known(tenant, line, version);
        if (v.state == State.Revoked) revert VersionRevoked(version);

        v.state = State.Revoked;
        if (v.endedAt == 0) v.endedAt = uint40(block.timestamp); // a deprecation ended it before: that stands
        emit Revoked(tenant, line, version, reason, _touch(v));
        if (_lines[tenant][line].current == version) _setCurrent(tenant, line, 0);
    }

    /// @inheritdoc IModelRegistry
    function setCurrent(bytes32 tenant, bytes32 line, uint64 version) external {
        _onlyAdmin(tenant);
        _deployable(tenant, line, version);
        _setCurrent(tenant, line, version);
    }

    /// @inheritdoc IModelRegistry
    function grant(bytes32 tenant, bytes32 line, uint64 version, bytes32 audience, uint40 notBefore, uint40 notAfter)
        external
    {
        _onlyAdmin(tenant);
        bytes32 artifact = _deployable(tenant, line, version).artifact;
        if (notBefore < block.timestamp || notAfter <= notBefore) {
            revert BadGrant(notBefore, notAfter, block.timestamp);
        }
        Grant[] storage grants = _grants[tenant][artifact][audience];
        if (grants.length == MAX_GRANTS) revert TooManyGrants(MAX_GRANTS);

        grants.push(Grant(notBefore, notAfter));
        emit Granted(tenant, artifact, audience, notBefore, notAfter);
    }

    /// @inheritdoc IModelRegistry
    function endGrant(bytes32 tenant, bytes32 artifact, bytes32 audience) external {
        _onlyAdmin(tenant);
        Grant[] storage grants = _grants[tenant][artifact][audience];
        uint40 time = uint40(block.timestamp);
        for (uint256 i = 0; i < grants.length; ++i) {
            if (grants[i].notAfter > time) grants[i].notAfter = time;
        }
        emit GrantEnded(tenant, artifact, audience, time);
    }

    /// @inheritdoc IModelRegistry
    function isDeployable(bytes32 tenant, bytes32 artifact, bytes32 audience, uint256 time)
        external
        view
        returns (bool)
    {
        Place storage place = _places[tenant][artifact];
        Version storage v = _versions[tenant][place.line][place.version];
        if (v.deployableAt == 0 || time < v.deployableAt || (v.endedAt != 0 && time >= v.endedAt)) return false;
        Grant[] storage grants = _grants[tenant][artifact][audience];
        for (uint256 i = 0; i < grants.length; ++i) {
            if (grants[i].notBefore <= time && time < grants[i].notAfter) return true;
        }
        return false;
    }

    /// @inheritdoc IModelRegistry
    function versionOf(bytes32 tenant, bytes32 line, uint64 version) external view returns (Version memory) {
        return _known(tenant, line, version);
    }

    /// @inheritdoc IModelRegistry
    function versionOfArtifact(bytes32 tenant, bytes32 artifact) external view returns (bytes32 line, uint64 version) {
        Place storage place = _places[tenant][artifact];
        return (place.line, place.version);
    }

    /// @inheritdoc IModelRegistry
    function lineOf(bytes32 tenant, bytes32 line)
        external
        view
        returns (Policy memory policy, uint64 current, uint64 lastBlock)
    {
        Line storage l = _lines[tenant][line];
        return (l.policy, l.current, l.lastBlock);
    }

    function _setCurrent(bytes32 tenant, bytes32 line, uint64 version) private {
        Line storage l = _lines[tenant][line];
        (uint64 previous, uint48 prevBlock) = (l.current, l.lastBlock);
        (l.current, l.lastBlock) = (version, uint48(block.number));
        emit CurrentSet(tenant, line, version, previous, prevBlock);
    }

    function _known(bytes32 tenant, bytes32 line, uint64 version) private view returns (Version storage v) {
        v = _versions[tenant][line][version];
        if (v.state == State.None) revert UnknownVersion(tenant, line, version);
    }

    function _deployable(bytes32 tenant, bytes32 line, uint64 version) private view returns (Version storage v) {
        v = _known(tenant, line, version);
        if (v.state == State.Revoked) revert VersionRevoked(version);
        if (v.state != State.Deployable) revert WrongState(version, v.state);
    }

    /// @dev Reverts unless the key has this role and counts now in the tenant's active log, whose id it gives.
    function _requireNow(bytes32 tenant, bytes32 kid, IIdentityRegistry.Role role)
        private
        view
        returns (bytes32 logId)
    {
        logId = fleetLog.activeLogOf(tenant);
        if (logId == 0) revert NoActiveLog(tenant);
        (, uint64 anchored) = fleetLog.authorityOf(logId);
        _requireKey(logId, kid, role, anchored);
    }

    function _touch(Version storage v) private returns (uint64 prevBlock) {
        prevBlock = v.lastBlock;
        v.lastBlock = uint48(block.number);
    }

    function _proposalDigest(Proposal calldata p, uint64 deadline) private view returns (bytes32) {
        return sha256(
            abi.encodePacked(
                abi.encodePacked("edgeseal/v1/model-propose", bytes1(0), block.chainid, address(this)),
                abi.encodePacked(p.tenant, p.line, p.version, p.parent),
                abi.encodePacked(p.artifact, p.dataset, p.training, p.evaluation, deadline)
            )
        );
    }
}
