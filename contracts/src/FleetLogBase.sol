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
    /// @dev `anchor` writes the first two slots and reads the third. `counts` is packed by hand, so that one write changes
    /// all of it; see `_counts`.
    struct Log {
        bytes32 root;
        uint256 counts;
        bytes32 gatewayKid; // not zero in a log that exists
        bytes32 tenant;
        Terms terms;
        bytes32 successor;
        bytes32 predecessor;
    }

    struct Terms {
        uint32 maxSilence;
        uint32 answerWindow;
        uint64 defaults;
    }

    /// @dev What `anchor` needs of a log, read once.
    struct Tip {
        bytes32 root;
        uint64 size;
        uint64 gatewaySince;
        uint48 lastBlock;
        uint40 anchoredAt;
        bool silenceNoted;
        LogState state;
        bytes32 gatewayKid;
    }

    struct Challenge {
        uint40 deadline;
        ChallengeState state;
    }

    /// @dev A head as one side of a fork; of the anchored one `prevSize` is 0: nothing is known of it.
    struct Side {
        uint64 size;
        bytes32 root;
        uint64 prevSize;
        bytes32 prevRoot;
    }

    // Places of what is packed in `counts`; the anchored size is at 0.
    uint256 private constant SINCE = 64;
    uint256 private constant LAST_BLOCK = 128;
    uint256 private constant ANCHORED_AT = 176;
    uint256 private constant STATE = 216;
    uint256 private constant NOTED = 224;

    uint32 private constant MIN_WINDOW = 1 hours;
    uint32 private constant USUAL_WINDOW = 7 days;
    uint32 private constant MAX_WINDOW = 30 days;

    /// @inheritdoc IFleetLog
    IIdentityRegistry public immutable registry;

    /// @inheritdoc IFleetLog
    mapping(bytes32 tenant => bytes32 logId) public activeLogOf;

    mapping(bytes32 logId => Log) private _logs;
    mapping(bytes32 logId => mapping(bytes32 kid => bool)) private _retired;
    mapping(bytes32 logId => mapping(uint64 size => mapping(bytes32 root => Challenge))) private _challenges;

    constructor(IIdentityRegistry registry_) {
        // The libraries take the precompile's word; a chain without it would answer with empty bytes.
        if (sha256(hex"00") != 0x6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d) {
            revert MissingPrecompile(address(2));
        }
        registry = registry_;
    }

    /// @inheritdoc IFleetLog
    function open(bytes32 tenant, bytes32 x, bytes32 y, bytes32 nonce) external returns (bytes32 logId) {
        _onlyAdmin(tenant);
        if (activeLogOf[tenant] != 0) revert LogIsActive(tenant, activeLogOf[tenant]);
        logId = _open(tenant, x, y, nonce);
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
        Tip memory tip = _openTip(logId);
        _checkSize(tip, size, root, proof.length);
        _checkPrevious(tip, size, prevSize, prevRoot);
        bytes32 digest = FleetHead.digest(tip.gatewayKid, logId, size, root, prevSize, prevRoot);
        _checkSignature(digest, tip.gatewayKid, x, y, r, s);
        if (tip.size != 0) _checkConsistency(tip, size, root, proof);

        Log storage log = _logs[logId];
        log.root = root;
        log.counts = _counts(size, tip.gatewaySince, uint40(block.timestamp), LogState.Open, false);
        emit Anchored(logId, size, root, tip.gatewayKid, tip.lastBlock);
    }

    /// @inheritdoc IFleetLog
    function setGatewayKey(bytes32 logId, bytes32 x, bytes32 y) external {
        Tip memory tip = _openTip(logId);
        Log storage log = _logs[logId];
        _onlyAdmin(log.tenant);
        if (!_isP256Point(x, y)) revert KeyOffCurve(x, y);
        bytes32 kid = CoseKey.thumbprint(x, y);
        if (kid == tip.gatewayKid) revert SameGatewayKey(kid);
        if (_retired[logId][kid]) revert RetiredGatewayKey(kid);

        _retired[logId][tip.gatewayKid] = true;
        log.gatewayKid = kid;
        log.counts = _counts(tip.size, tip.size, tip.anchoredAt, LogState.Open, tip.silenceNoted);
        emit GatewayKeyChanged(logId, tip.gatewayKid, kid, tip.size, x, y, tip.lastBlock);
    }

    /// @inheritdoc IFleetLog
    function openSuccessor(bytes32 logId, bytes32 x, bytes32 y, bytes32 nonce) external returns (bytes32 successor) {
        Tip memory tip = _tip(logId);
        Log storage log = _logs[logId];
        _onlyAdmin(log.tenant);
        if (log.successor != 0) revert HasSuccessor(logId, log.successor);
        bool frozen = tip.state == LogState.Frozen;
        if (frozen && CoseKey.thumbprint(x, y) == tip.gatewayKid) revert SameGatewayKey(tip.gatewayKid);

        successor = _open(log.tenant, x, y, nonce);
        log.successor = successor;
        _logs[successor].predecessor = logId;
        _setState(log, tip, frozen ? LogState.Frozen : LogState.Closed);
        emit Succeeded(logId, successor, tip.size, tip.root, frozen, tip.lastBlock);
    }

    /// @inheritdoc IFleetLog
    function proveFork(
        bytes32 logId,
        bytes32 x,
        bytes32 y,
        SignedHead calldata a,
        SignedHead calldata b,
        bytes32 earlierRoot,
        bytes32[] calldata proof
    ) external {
        Tip memory tip = _openTip(logId);
        _freeze(logId, tip, _signedSide(logId, tip, x, y, a), _signedSide(logId, tip, x, y, b), earlierRoot, proof);
    }

    /// @inheritdoc IFleetLog
    function proveForkOfAnchor(
        bytes32 logId,
        bytes32 x,
        bytes32 y,
        SignedHead calldata signed,
        bytes32 earlierRoot,
        bytes32[] calldata proof
    ) external {
        Tip memory tip = _openTip(logId);
        if (tip.size == 0) revert NoContradiction(0, signed.size);
        Side memory anchored = Side(tip.size, tip.root, 0, 0);
        _freeze(logId, tip, anchored, _signedSide(logId, tip, x, y, signed), earlierRoot, proof);
    }

    /// @inheritdoc IFleetLog
    function setTerms(bytes32 logId, uint32 maxSilence, uint32 answerWindow) external {
        Tip memory tip = _openTip(logId);
        Log storage log = _logs[logId];
        _onlyAdmin(log.tenant);
        if (answerWindow != 0 && (answerWindow < MIN_WINDOW || answerWindow > MAX_WINDOW)) {
            revert BadTerms(maxSilence, answerWindow, MIN_WINDOW, MAX_WINDOW);
        }

        (log.terms.maxSilence, log.terms.answerWindow) = (maxSilence, answerWindow);
        _setState(log, tip, LogState.Open);
        emit TermsDeclared(logId, maxSilence, answerWindow, tip.lastBlock);
    }

    /// @inheritdoc IFleetLog
    function stale(bytes32 logId) external view returns (bool late, uint64 due) {
        Tip memory tip = _tip(logId);
        due = _due(logId, tip);
        late = tip.state == LogState.Open && due != 0 && block.timestamp > due;
    }

    /// @inheritdoc IFleetLog
    function noteSilence(bytes32 logId) external {
        Tip memory tip = _openTip(logId);
        uint64 due = _due(logId, tip);
        if (due == 0 || block.timestamp <= due || tip.silenceNoted) revert NotSilent(logId, due);

        _logs[logId].counts = _counts(tip.size, tip.gatewaySince, tip.anchoredAt, LogState.Open, true);
        emit SilenceNoted(logId, tip.size, due, uint64(block.timestamp), tip.lastBlock);
    }

    /// @inheritdoc IFleetLog
    function challenge(bytes32 logId, bytes32 x, bytes32 y, SignedHead calldata signed) external {
        Tip memory tip = _openTip(logId);
        Side memory side = _signedSide(logId, tip, x, y, signed);
        Challenge storage c = _challenges[logId][side.size][side.root];
        if (c.state != ChallengeState.None) revert WrongChallengeState(side.size, side.root, c.state);

        uint32 window = _logs[logId].terms.answerWindow;
        (c.state, c.deadline) = (ChallengeState.Open, uint40(block.timestamp + (window == 0 ? USUAL_WINDOW : window)));
        emit Challenged(logId, side.size, side.root, c.deadline);
    }

    /// @inheritdoc IFleetLog
    function answer(bytes32 logId, uint64 size, bytes32 root, bytes32[] calldata proof) external {
        Tip memory tip = _tip(logId);
        Challenge storage c = _challenges[logId][size][root];
        bool late = c.state == ChallengeState.Defaulted;
        if (!late && c.state != ChallengeState.Open) revert WrongChallengeState(size, root, c.state);
        if (size > tip.size) revert NotAnchoredYet(size, tip.size);
        _checkBeginning(Tip(root, size, 0, 0, 0, false, tip.state, 0), tip.size, tip.root, proof);

        c.state = late ? ChallengeState.AnsweredLate : ChallengeState.Answered;
        emit Answered(logId, size, root, late);
    }

    /// @inheritdoc IFleetLog
    function markDefault(bytes32 logId, uint64 size, bytes32 root) external {
        Challenge storage c = _challenges[logId][size][root];
        if (c.state != ChallengeState.Open) revert WrongChallengeState(size, root, c.state);
        if (block.timestamp <= c.deadline) revert NotDue(c.deadline, block.timestamp);

        c.state = ChallengeState.Defaulted;
        emit Defaulted(logId, size, root, ++_logs[logId].terms.defaults);
    }

    /// @inheritdoc IFleetLog
    function stateOf(bytes32 logId) external view returns (LogState state, bytes32 successor, bytes32 predecessor) {
        Log storage log = _logs[logId];
        return (LogState(uint8(log.counts >> STATE)), log.successor, log.predecessor);
    }

    /// @inheritdoc IFleetLog
    function termsOf(bytes32 logId)
        external
        view
        returns (uint32 maxSilence, uint32 answerWindow, uint64 anchoredAt, uint64 defaults)
    {
        Terms storage terms = _logs[logId].terms;
        return (terms.maxSilence, terms.answerWindow, _tip(logId).anchoredAt, terms.defaults);
    }

    /// @inheritdoc IFleetLog
    function challengeOf(bytes32 logId, uint64 size, bytes32 root)
        external
        view
        returns (ChallengeState state, uint64 deadline)
    {
        Challenge storage c = _challenges[logId][size][root];
        return (c.state, c.deadline);
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

    function _open(bytes32 tenant, bytes32 x, bytes32 y, bytes32 nonce) private returns (bytes32 logId) {
        if (!_isP256Point(x, y)) revert KeyOffCurve(x, y);
        logId = logIdOf(tenant, nonce);
        Log storage log = _logs[logId];
        if (log.gatewayKid != 0) revert LogExists(logId);

        bytes32 kid = CoseKey.thumbprint(x, y);
        activeLogOf[tenant] = logId;
        log.counts = _counts(0, 0, uint40(block.timestamp), LogState.Open, false);
        log.gatewayKid = kid;
        log.tenant = tenant;
        emit Opened(logId, tenant, kid, nonce, x, y);
    }

    /// @dev Reverts for an unknown log.
    function _tip(bytes32 logId) private view returns (Tip memory tip) {
        Log storage log = _logs[logId];
        tip.gatewayKid = log.gatewayKid;
        if (tip.gatewayKid == 0) revert UnknownLog(logId);
        tip.root = log.root;
        uint256 counts = log.counts;
        tip.size = uint64(counts);
        tip.gatewaySince = uint64(counts >> SINCE);
        tip.lastBlock = uint48(counts >> LAST_BLOCK);
        tip.anchoredAt = uint40(counts >> ANCHORED_AT);
        tip.state = LogState(uint8(counts >> STATE));
        tip.silenceNoted = counts >> NOTED != 0;
    }

    /// @dev Reverts for an unknown log and for one that takes no heads.
    function _openTip(bytes32 logId) private view returns (Tip memory tip) {
        tip = _tip(logId);
        if (tip.state != LogState.Open) revert LogNotOpen(logId, tip.state);
    }

    /// @dev From the lowest bit: anchored size (64), size since which the gateway key is in force (64), block of the last
    /// event (48), time of the last head (40), state (8), whether the silence since was noted (1).
    function _counts(uint64 size, uint64 gatewaySince, uint40 anchoredAt, LogState state, bool noted)
        private
        view
        returns (uint256)
    {
        return uint256(size) | uint256(gatewaySince) << SINCE | uint256(uint48(block.number)) << LAST_BLOCK
            | uint256(anchoredAt) << ANCHORED_AT | uint256(state) << STATE | uint256(noted ? 1 : 0) << NOTED;
    }

    /// @dev Changes the state and the block of the last event, nothing else.
    function _setState(Log storage log, Tip memory tip, LogState state) private {
        log.counts = _counts(tip.size, tip.gatewaySince, tip.anchoredAt, state, tip.silenceNoted);
    }

    /// @dev When the next head is due; 0: not declared.
    function _due(bytes32 logId, Tip memory tip) private view returns (uint64) {
        uint64 maxSilence = _logs[logId].terms.maxSilence;
        return maxSilence == 0 ? 0 : tip.anchoredAt + maxSilence;
    }

    /// @dev A head that the key in force signed while it was in force.
    function _signedSide(bytes32 logId, Tip memory tip, bytes32 x, bytes32 y, SignedHead calldata h)
        private
        view
        returns (Side memory)
    {
        if (h.prevSize >= h.size || (h.prevSize == 0 && h.prevRoot != 0)) {
            revert PreviousImpossible(h.prevSize, h.prevRoot, h.size);
        }
        if (h.size <= tip.gatewaySince) revert NotThisKeysHead(h.size, tip.gatewaySince);
        bytes32 digest = FleetHead.digest(tip.gatewayKid, logId, h.size, h.root, h.prevSize, h.prevRoot);
        _checkSignature(digest, tip.gatewayKid, x, y, h.r, h.s);
        return Side(h.size, h.root, h.prevSize, h.prevRoot);
    }

    /// @dev Freezes the log if the two cannot both be true; reverts if they can.
    function _freeze(
        bytes32 logId,
        Tip memory tip,
        Side memory a,
        Side memory b,
        bytes32 earlierRoot,
        bytes32[] calldata proof
    ) private {
        if (a.size > b.size) (a, b) = (b, a);
        if (!_contradict(a, b, earlierRoot, proof)) revert NoContradiction(a.size, b.size);

        _setState(_logs[logId], tip, LogState.Frozen);
        emit ForkProved(logId, tip.gatewayKid, a.size, a.root, b.size, b.root, tip.size, tip.root, tip.lastBlock);
    }

    /// @dev `a` is not larger than `b`.
    function _contradict(Side memory a, Side memory b, bytes32 earlierRoot, bytes32[] calldata proof)
        private
        view
        returns (bool)
    {
        if (a.size == b.size && a.root != b.root) return true;
        if (b.prevSize == a.size && b.prevRoot != a.root) return true;
        if (a.prevSize != 0 && a.prevSize == b.prevSize && a.prevRoot != b.prevRoot) return true;
        if (a.size == b.size || proof.length == 0) return false;
        uint256 expected = Rfc9162.consistencyLength(a.size, b.size);
        if (proof.length != expected) revert WrongProofLength(expected, proof.length);
        (bytes32 old, bytes32 grown) = Rfc9162.foldConsistency(a.size, b.size, earlierRoot, proof);
        if (grown != b.root) revert NewRootMismatch(b.root, grown);
        return old != a.root;
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

    /// @dev The tree of `tip`, which has at least one leaf, is the beginning of the tree (size, root), or is it.
    function _checkBeginning(Tip memory tip, uint64 size, bytes32 root, bytes32[] calldata proof) private view {
        uint256 expected = tip.size == size ? 0 : Rfc9162.consistencyLength(tip.size, size);
        if (proof.length != expected) revert WrongProofLength(expected, proof.length);
        if (expected != 0) _checkConsistency(tip, size, root, proof);
        else if (tip.root != root) revert NewRootMismatch(root, tip.root);
    }

    function _checkConsistency(Tip memory tip, uint64 size, bytes32 root, bytes32[] calldata proof) private view {
        (bytes32 old, bytes32 grown) = Rfc9162.foldConsistency(tip.size, size, tip.root, proof);
        if (old != tip.root) revert OldRootMismatch(tip.root, old);
        if (grown != root) revert NewRootMismatch(root, grown);
    }
}
