// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRegisteredSigner} from "./IRegisteredSigner.sol";

/// @title Model lines, their versions, and who may run them when
/// @notice A version is proposed by a publisher, approved by M distinct approvers, made deployable after the policy's
/// wait, granted to devices or groups, and in the end deprecated or revoked.
/// @dev Promise: a version's digests never change; one artifact is one version of the tenant; no step is skipped; the
/// policy is the one in force when the version was proposed; Revoked is final; grants and ends are never back-dated, so
/// the answer to `isDeployable` for a past time never changes. Keys are judged in the tenant's active fleet log, as they
/// stand in that block. Not promised: that the digests are of what they are said to be of; the statements are in the
/// fleet log. Times are block times, Unix seconds: as good as the chain's clock.
interface IModelRegistry is IRegisteredSigner {
    /// @notice Where a version stands. `None`: never proposed. `Revoked` is final.
    enum State {
        None,
        Proposed,
        Approved,
        Deployable,
        Deprecated,
        Revoked
    }

    /// @notice What a line asks of its versions.
    /// @param approvals Distinct approvers needed, at least 1.
    /// @param evaluation Whether an approver who is not counted among those must name an evaluation statement.
    /// @param wait Seconds between the last approval needed and deployability.
    struct Policy {
        uint8 approvals;
        bool evaluation;
        uint32 wait;
    }

    /// @notice What a publisher signs for a new version; digests are of signed statements or, `artifact`, of the package.
    struct Proposal {
        bytes32 tenant;
        bytes32 line;
        uint64 version;
        uint64 parent;
        bytes32 artifact;
        bytes32 dataset;
        bytes32 training;
        bytes32 evaluation;
    }

    /// @notice A version as the registry holds it; the digests are in `Proposed`.
    struct Version {
        bytes32 artifact;
        bytes32 publisher;
        uint64 parent;
        State state;
        uint8 approvals;
        bool evaluated;
        Policy policy;
        uint48 lastBlock;
        uint40 approvedAt;
        uint40 deployableAt;
        uint40 endedAt;
    }

    event PolicySet(bytes32 indexed tenant, bytes32 indexed line, Policy policy, uint64 prevBlock);
    event Proposed(
        bytes32 indexed tenant,
        bytes32 indexed line,
        uint64 indexed version,
        Proposal proposal,
        bytes32 publisher,
        Policy policy
    );
    /// @param evaluation Digest of the evaluation statement; zero: an approval that counts, else an evaluation.
    event Approved(
        bytes32 indexed tenant,
        bytes32 indexed line,
        uint64 indexed version,
        bytes32 approver,
        bytes32 evaluation,
        State state,
        uint64 prevBlock
    );
    event MadeDeployable(bytes32 indexed tenant, bytes32 indexed line, uint64 indexed version, uint64 prevBlock);
    event Deprecated(
        bytes32 indexed tenant, bytes32 indexed line, uint64 indexed version, uint64 replacement, uint64 prevBlock
    );
    event Revoked(
        bytes32 indexed tenant, bytes32 indexed line, uint64 indexed version, bytes32 reason, uint64 prevBlock
    );
    event CurrentSet(
        bytes32 indexed tenant, bytes32 indexed line, uint64 indexed version, uint64 previous, uint64 prevBlock
    );
    event Granted(
        bytes32 indexed tenant, bytes32 indexed artifact, bytes32 indexed audience, uint40 notBefore, uint40 notAfter
    );
    event GrantEnded(bytes32 indexed tenant, bytes32 indexed artifact, bytes32 indexed audience, uint40 time);

    /// @notice A policy needs at least one approval and a wait of at most `limit` seconds.
    error BadPolicy(uint8 approvals, uint32 wait, uint32 limit);
    /// @notice The line has no policy yet.
    error NoPolicy(bytes32 tenant, bytes32 line);
    /// @notice The tenant has no active fleet log, so nobody can sign for it.
    error NoActiveLog(bytes32 tenant);
    /// @notice Version numbers start at 1; artifact, dataset and training are not zero.
    error EmptyProposal();
    /// @notice The version exists, with this artifact.
    error VersionExists(uint64 version, bytes32 artifact);
    /// @notice The artifact is a version already.
    error ArtifactTaken(bytes32 artifact, bytes32 line, uint64 version);
    /// @notice The line has no such version.
    error UnknownVersion(bytes32 tenant, bytes32 line, uint64 version);
    /// @notice The parent is no version of this line, or a revoked one.
    error BadParent(uint64 parent, State state);
    /// @notice The version's state does not allow this.
    error WrongState(uint64 version, State state);
    /// @notice The version is revoked, for good.
    error VersionRevoked(uint64 version);
    /// @notice This approver has signed for this version already.
    error ApprovedBefore(bytes32 approver);
    /// @notice The publisher cannot approve or evaluate his own version.
    error NotIndependent(bytes32 publisher);
    /// @notice The policy's wait is not over.
    error TooEarly(uint256 from, uint256 time);
    /// @notice A grant lies in the future or starts now, and ends after it starts.
    error BadGrant(uint40 notBefore, uint40 notAfter, uint256 time);
    /// @notice An audience has as many grants of this artifact as it may have.
    error TooManyGrants(uint256 limit);

    /// @notice Sets what versions of a line proposed from now on need. Only the tenant's admin.
    function setPolicy(bytes32 tenant, bytes32 line, Policy calldata policy) external;

    /// @notice Proposes a version. Callable by anyone who brings a publisher's signature.
    /// @dev Signed message: "edgeseal/v1/model-propose" 00, chain id (32), this contract (20), the eight fields of the
    /// proposal (version and parent 8 bytes each, else 32), deadline (8).
    function propose(Proposal calldata proposal, uint64 deadline, Signed calldata by) external;

    /// @notice Adds an approver's signature to a proposed version. Callable by anyone.
    /// @dev Signed message: "edgeseal/v1/model-approve" 00, chain id (32), this contract (20), tenant, line, version (8),
    /// artifact, evaluation, deadline (8). With an evaluation it is the independent evaluation and not counted among the
    /// approvals.
    function approve(
        bytes32 tenant,
        bytes32 line,
        uint64 version,
        bytes32 evaluation,
        uint64 deadline,
        Signed calldata by
    ) external;

    /// @notice Makes an approved version deployable, once the wait is over. Only the tenant's admin.
    function makeDeployable(bytes32 tenant, bytes32 line, uint64 version) external;

    /// @notice Ends a deployable version for new activations, naming what to use instead (0: nothing). Only the admin.
    function deprecate(bytes32 tenant, bytes32 line, uint64 version, uint64 replacement) external;

    /// @notice Revokes a version, whatever its state, for good. Only the tenant's admin. No line stands at it any more.
    /// @param reason Digest of the statement that says why.
    function revoke(bytes32 tenant, bytes32 line, uint64 version, bytes32 reason) external;

    /// @notice Names the version a line now stands at: forward, or back to an earlier one. Only the tenant's admin.
    /// @dev Only a deployable version; a revoked one reverts with `VersionRevoked`.
    function setCurrent(bytes32 tenant, bytes32 line, uint64 version) external;

    /// @notice Lets an audience run a deployable version's artifact from `notBefore` until before `notAfter`. Only the admin.
    /// @param audience A device log id or a group's audience, as in ICommandLog.
    function grant(bytes32 tenant, bytes32 line, uint64 version, bytes32 audience, uint40 notBefore, uint40 notAfter)
        external;

    /// @notice Ends now what the audience was granted of an artifact. Only the tenant's admin.
    function endGrant(bytes32 tenant, bytes32 artifact, bytes32 audience) external;

    /// @notice Whether the audience might activate the artifact at `time`, as far as the registry knows today.
    /// @dev True if and only if the version was deployable at `time` (not yet deprecated or revoked) and a grant covers
    /// it. For a `time` that has passed the answer is final. Never reverts.
    function isDeployable(bytes32 tenant, bytes32 artifact, bytes32 audience, uint256 time) external view returns (bool);

    /// @notice A version; reverts for an unknown one.
    function versionOf(bytes32 tenant, bytes32 line, uint64 version) external view returns (Version memory);

    /// @notice The line and version an artifact is; (0, 0) if none.
    function versionOfArtifact(bytes32 tenant, bytes32 artifact) external view returns (bytes32 line, uint64 version);

    /// @notice A line's policy (approvals 0: none), the version it stands at (0: none) and the block of its last event.
    function lineOf(bytes32 tenant, bytes32 line)
        external
        view
        returns (Policy memory policy, uint64 current, uint64 lastBlock);
}
