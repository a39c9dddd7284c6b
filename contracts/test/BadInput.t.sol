// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CborReader} from "../src/libraries/CborReader.sol";
import {ICommandLog} from "../src/interfaces/ICommandLog.sol";
import {IFleetLog} from "../src/interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {IRecordVerifier} from "../src/interfaces/IRecordVerifier.sol";
import {IRegisteredSigner} from "../src/interfaces/IRegisteredSigner.sol";
import {Rfc9162} from "../src/libraries/Rfc9162.sol";
import {ModelBase} from "./ModelRegistry.t.sol";
import {Reference9162} from "./Reference9162.sol";

/// @notice One test for each kind of bad input, through every contract that can meet it: refused with its own error,
/// which carries the values. (For records see also the vectors that contract and core share, `RecordVerifier.t.sol`.)
contract BadInputTest is ModelBase {
    uint256 private constant OPERATOR = 0x4004;
    uint64 private constant ANCHORED = 100; // what ModelBase anchors
    uint64 private constant NEXT = 177;

    ICommandLog private commands;
    IRecordVerifier private verifier;
    bytes32 private operator;
    bytes32[] private path;

    /// The log stands at ANCHORED; (NEXT, next's root, path) may follow.
    function setUp() public override {
        super.setUp();
        commands = ICommandLog(deployOver("CommandLog"));
        verifier = IRecordVerifier(deployOver("RecordVerifier"));
        operator = registerKey(OPERATOR, IIdentityRegistry.Role.Operator, 0);
        vm.prank(ADMIN);
        commands.setScope(logId, operator, DEVICE, 63);
    }

    // ---- what is signed --------------------------------------------------------------------------------------

    function one(uint64 position) private pure returns (ICommandLog.Entry[] memory entries) {
        entries = new ICommandLog.Entry[](1);
        entries[0] = ICommandLog.Entry(keccak256("command"), position, ICommandLog.ActionClass.Model);
    }

    function commandDigest(ICommandLog.Entry[] memory entries) private view returns (bytes32) {
        (bytes32 chain,,,) = commands.chainOf(logId, DEVICE);
        for (uint256 i = 0; i < entries.length; ++i) {
            ICommandLog.Entry memory e = entries[i];
            bytes memory step = abi.encodePacked(chain, e.digest, e.position, uint8(e.class));
            chain = sha256(abi.encodePacked("edgeseal/v1/command-chain", hex"00", step));
        }
        bytes memory place = abi.encodePacked(block.chainid, address(commands), logId, DEVICE, chain, deadline);
        return sha256(abi.encodePacked("edgeseal/v1/command-log", hex"00", place));
    }

    function logRefused(uint256 key, ICommandLog.Entry[] memory entries, bytes memory err) private {
        IRegisteredSigner.Signed memory by = signedBy(key, commandDigest(entries));
        vm.expectRevert(err);
        commands.log(logId, DEVICE, entries, deadline, by);
    }

    function proposeBy(uint256 key, bytes memory err) private {
        IModelRegistry.Proposal memory p = proposal(9);
        IRegisteredSigner.Signed memory by = signedBy(key, proposalDigest(p));
        vm.expectRevert(err);
        models.propose(p, deadline, by);
    }

    function badSignature(bytes32 digest, IRegisteredSigner.Signed memory by) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IRegisteredSigner.BadSignature.selector, digest, by.r, by.s);
    }

    function settlement() private view returns (IRecordVerifier.Evidence memory e, bytes32 kid) {
        string memory json = vm.readFile("test/vectors/settlement.json");
        e.fleetLog = logId;
        e.record = vm.parseJsonBytes(json, ".cases[0].record");
        e.devicePath = vm.parseJsonBytes32Array(json, ".cases[0].devicePath");
        e.head = vm.parseJsonBytes(json, ".cases[0].head");
        e.by.x = vm.parseJsonBytes32(json, ".cases[0].x");
        e.by.y = vm.parseJsonBytes32(json, ".cases[0].y");
        e.by.r = vm.parseJsonBytes32(json, ".cases[0].r");
        e.by.s = vm.parseJsonBytes32(json, ".cases[0].s");
        e.position = uint64(vm.parseJsonUint(json, ".cases[0].position"));
        e.fleetPath = vm.parseJsonBytes32Array(json, ".cases[0].fleetPath");
        kid = sha256(abi.encodePacked(hex"a401022001215820", e.by.x, hex"225820", e.by.y));
    }

    /// @dev A second tenant's log, which anchors the head of the vectors.
    function anchorVectors() private {
        string memory json = vm.readFile("test/vectors/settlement.json");
        tenant = openTenant(registry, 0x7117, ADMIN);
        logId = openLog(tenant, GATEWAY_KEY, 0);
        uint64 size = uint64(vm.parseJsonUint(json, ".size"));
        anchor(GATEWAY_KEY, Head(logId, size, vm.parseJsonBytes32(json, ".root"), 0, 0), none());
    }

    function checkRefused(IRecordVerifier.Evidence memory e, bytes memory err) private {
        vm.expectRevert(err);
        verifier.check(e);
    }

    // ---- signers ---------------------------------------------------------------------------------------------

    function test_UnregisteredSigner() public {
        bytes memory err = abi.encodeWithSelector(IIdentityRegistry.UnknownKey.selector, logId, kidOf(OTHER_KEY));
        logRefused(OTHER_KEY, one(5), err);
        proposeBy(OTHER_KEY, err);
        propose(proposal(1));
        approveRefused(OTHER_KEY, 1, 0, err);
        anchorRefused(
            OTHER_KEY,
            Head(logId, NEXT, keccak256("root"), ANCHORED, keccak256("first")),
            new bytes32[](Rfc9162.consistencyLength(ANCHORED, NEXT)),
            abi.encodeWithSelector(IFleetLog.WrongKey.selector, kidOf(GATEWAY_KEY), kidOf(OTHER_KEY))
        );
        anchorVectors();
        (IRecordVerifier.Evidence memory e, bytes32 kid) = settlement();
        checkRefused(e, abi.encodeWithSelector(IIdentityRegistry.UnknownKey.selector, logId, kid));
    }

    function test_SuspendedSigner() public {
        suspend(operator);
        suspend(kidOf(PUBLISHER));
        notValid();
        (IRecordVerifier.Evidence memory e, bytes32 kid) = registeredDevice();
        vm.prank(ADMIN);
        registry.suspendKey(logId, kid, e.position);
        checkRefused(e, abi.encodeWithSelector(IRegisteredSigner.KeyNotValid.selector, kid, logId, e.position));
    }

    function test_RevokedSigner() public {
        revokeNow(operator);
        revokeNow(kidOf(PUBLISHER));
        notValid();
        (IRecordVerifier.Evidence memory e, bytes32 kid) = registeredDevice();
        vm.prank(ADMIN);
        registry.revokeKey(logId, kid, e.position, IIdentityRegistry.Reason.Lost);
        checkRefused(e, abi.encodeWithSelector(IRegisteredSigner.KeyNotValid.selector, kid, logId, e.position));
        // A gateway key that was replaced in the log signs no more heads for it.
        vm.prank(ADMIN);
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        log.setGatewayKey(logId, x, y);
        (uint64 size, bytes32 root) = log.head(logId);
        anchorRefused(
            GATEWAY_KEY,
            Head(logId, size + 1, keccak256("root"), size, root),
            new bytes32[](Rfc9162.consistencyLength(size, size + 1)),
            abi.encodeWithSelector(IFleetLog.WrongKey.selector, kidOf(OTHER_KEY), kidOf(GATEWAY_KEY))
        );
    }

    function suspend(bytes32 kid) private {
        vm.prank(ADMIN);
        registry.suspendKey(logId, kid, ANCHORED);
    }

    function revokeNow(bytes32 kid) private {
        vm.prank(ADMIN);
        registry.revokeKey(logId, kid, ANCHORED, IIdentityRegistry.Reason.Compromised);
    }

    function notValid() private {
        bytes4 err = IRegisteredSigner.KeyNotValid.selector;
        logRefused(OPERATOR, one(5), abi.encodeWithSelector(err, operator, logId, ANCHORED));
        proposeBy(PUBLISHER, abi.encodeWithSelector(err, kidOf(PUBLISHER), logId, ANCHORED));
    }

    function registeredDevice() private returns (IRecordVerifier.Evidence memory e, bytes32 kid) {
        anchorVectors();
        (e, kid) = settlement();
        vm.prank(ADMIN);
        registry.registerKey(logId, IIdentityRegistry.Role.Device, e.by.x, e.by.y, 0, 0);
        verifier.check(e);
    }

    // ---- replay ----------------------------------------------------------------------------------------------

    function test_ReplayAcrossChains() public {
        replayed(block.chainid + 1, address(commands), address(models));
    }

    /// A chain splits: both branches hold the same contracts and state, one of them under another chain id.
    function test_ReplayAcrossForksOfTheChain() public {
        IModelRegistry.Proposal memory p = proposal(9);
        IRegisteredSigner.Signed memory byPublisher = signedBy(PUBLISHER, proposalDigest(p));
        ICommandLog.Entry[] memory entries = one(5);
        IRegisteredSigner.Signed memory byOperator = signedBy(OPERATOR, commandDigest(entries));
        bytes32 consent = consentDigest(registry, "edgeseal/v1/tenant-admin", ROOT_KEY, STRANGER, 1);
        IRegisteredSigner.Signed memory byRoot = signedBy(ROOT_KEY, consent);
        vm.chainId(block.chainid + 1);
        vm.expectRevert(badSignature(proposalDigest(p), byPublisher));
        models.propose(p, deadline, byPublisher);
        vm.expectRevert(badSignature(commandDigest(entries), byOperator));
        commands.log(logId, DEVICE, entries, deadline, byOperator);
        consent = consentDigest(registry, "edgeseal/v1/tenant-admin", ROOT_KEY, STRANGER, 1);
        vm.expectRevert(badSignature(consent, byRoot));
        registry.recoverAdmin(byRoot.x, byRoot.y, STRANGER, byRoot.r, byRoot.s);
        // A new log gets another id there, so no head of one fits the other; a log opened before the split is one log,
        // with one history, on both branches.
        bytes32 there = log.logIdOf(tenant, 0);
        vm.chainId(block.chainid - 1);
        assertTrue(there != log.logIdOf(tenant, 0), "one id on both branches");
    }

    function test_ReplayAcrossContracts() public {
        replayed(block.chainid, deployOver("CommandLog"), deployOver("ModelRegistry"));
    }

    /// @dev What was signed for `commands` and `models` here is brought there.
    function replayed(uint256 chain, address commandsThere, address modelsThere) private {
        ICommandLog.Entry[] memory entries = one(5);
        IModelRegistry.Proposal memory p = proposal(9);
        vm.prank(ADMIN);
        ICommandLog(commandsThere).setScope(logId, operator, DEVICE, 63);
        vm.prank(ADMIN);
        IModelRegistry(modelsThere).setPolicy(tenant, LINE, IModelRegistry.Policy(1, false, 0));
        IRegisteredSigner.Signed memory byOperator = signedBy(OPERATOR, commandDigest(entries));
        IRegisteredSigner.Signed memory byPublisher = signedBy(PUBLISHER, proposalDigest(p));
        (commands, models) = (ICommandLog(commandsThere), IModelRegistry(modelsThere));
        vm.chainId(chain);
        vm.expectRevert(badSignature(commandDigest(entries), byOperator));
        commands.log(logId, DEVICE, entries, deadline, byOperator);
        vm.expectRevert(badSignature(proposalDigest(p), byPublisher));
        models.propose(p, deadline, byPublisher);
    }

    /// Another tenant with the very same keys: a head, a command and a fork of one say nothing about the other.
    function test_ReplayAcrossTenants() public {
        bytes32 first = logId;
        ICommandLog.Entry[] memory entries = one(5);
        IRegisteredSigner.Signed memory byOperator = signedBy(OPERATOR, commandDigest(entries));
        IFleetLog.SignedHead memory a = signedHead(keccak256("root"));
        IFleetLog.SignedHead memory b = signedHead(keccak256("another root"));

        tenant = openTenant(registry, OTHER_KEY, ADMIN);
        logId = openLog(tenant, GATEWAY_KEY, bytes32(uint256(7)));
        registerKey(OPERATOR, IIdentityRegistry.Role.Operator, 0);
        vm.prank(ADMIN);
        commands.setScope(logId, operator, DEVICE, 63);
        vm.expectRevert(badSignature(commandDigest(entries), byOperator));
        commands.log(logId, DEVICE, entries, deadline, byOperator);
        Head memory h = Head(logId, a.size, a.root, 0, 0);
        bytes memory err = abi.encodeWithSelector(IFleetLog.BadSignature.selector, headDigest(GATEWAY_KEY, h), a.r, a.s);
        sendRefused(GATEWAY_KEY, h, a.r, a.s, none(), err);
        proveFork(logId, a, b, err);
        (IFleetLog.LogState state_,,) = log.stateOf(logId);
        assertTrue(state_ == IFleetLog.LogState.Open, "another tenant's fork froze this log");
        proveFork(first, a, b, ""); // at home it does
        (state_,,) = log.stateOf(first);
        assertTrue(state_ == IFleetLog.LogState.Frozen, "frozen");
    }

    function signedHead(bytes32 root) private view returns (IFleetLog.SignedHead memory) {
        Head memory h = Head(logId, ANCHORED + 1, root, 0, 0);
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        return side(h, r, s);
    }

    function proveFork(bytes32 id, IFleetLog.SignedHead memory a, IFleetLog.SignedHead memory b, bytes memory err)
        private
    {
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        if (err.length != 0) vm.expectRevert(err);
        log.proveFork(id, x, y, a, b, 0, none());
    }

    function side(Head memory h, bytes32 r, bytes32 s) private pure returns (IFleetLog.SignedHead memory) {
        return IFleetLog.SignedHead(h.size, h.root, h.prevSize, h.prevRoot, r, s);
    }

    // ---- signatures ------------------------------------------------------------------------------------------

    function twin(bytes32 s) private pure returns (bytes32) {
        return bytes32(N - uint256(s));
    }

    /// Of the two twin signatures the high one is taken nowhere.
    function test_HighSTwin() public {
        ICommandLog.Entry[] memory entries = one(5);
        IRegisteredSigner.Signed memory by = signedBy(OPERATOR, commandDigest(entries));
        by.s = twin(by.s);
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.HighS.selector, by.s));
        commands.log(logId, DEVICE, entries, deadline, by);
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.HighS.selector, by.s));
        commands.halt(logId, DEVICE, keccak256("halt"), deadline, by);
        IModelRegistry.Proposal memory p = proposal(1);
        by = signedBy(PUBLISHER, proposalDigest(p));
        by.s = twin(by.s);
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.HighS.selector, by.s));
        models.propose(p, deadline, by);
        propose(p);
        by = approval(APPROVER, 1, 0);
        by.s = twin(by.s);
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.HighS.selector, by.s));
        models.approve(tenant, LINE, 1, 0, deadline, by);
        by = signedBy(ROOT_KEY, consentDigest(registry, "edgeseal/v1/tenant-admin", ROOT_KEY, STRANGER, 1));
        by.s = twin(by.s);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.HighS.selector, by.s));
        registry.recoverAdmin(by.x, by.y, STRANGER, by.r, by.s);
        highHeads();
        (IRecordVerifier.Evidence memory e,) = registeredDevice();
        e.by.s = twin(e.by.s);
        checkRefused(e, abi.encodeWithSelector(IRegisteredSigner.HighS.selector, e.by.s));
    }

    function highHeads() private {
        Head memory h = Head(logId, ANCHORED + 1, keccak256("root"), ANCHORED, keccak256("first"));
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        s = twin(s);
        bytes memory err = abi.encodeWithSelector(IFleetLog.HighS.selector, s);
        bytes32[] memory proof = new bytes32[](Rfc9162.consistencyLength(ANCHORED, ANCHORED + 1));
        sendRefused(GATEWAY_KEY, h, r, s, proof, err);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        vm.expectRevert(err);
        log.proveForkOfAnchor(logId, x, y, side(h, r, s), 0, none());
        vm.expectRevert(err);
        log.challenge(logId, x, y, side(h, r, s));
    }

    // ---- positions -------------------------------------------------------------------------------------------

    function test_GapOrReplayOfPositions() public {
        ICommandLog.Entry[] memory entries = one(20);
        commands.log(logId, DEVICE, entries, deadline, signedBy(OPERATOR, commandDigest(entries)));
        bytes4 below = ICommandLog.PositionNotAbove.selector;
        logRefused(OPERATOR, one(20), abi.encodeWithSelector(below, uint64(20), uint64(21)));
        logRefused(OPERATOR, one(19), abi.encodeWithSelector(below, uint64(19), uint64(21)));
        // A place that is not in the log yet, and heads that are: again, or below.
        bytes4 beyond = ICommandLog.PositionNotAnchored.selector;
        logRefused(OPERATOR, one(ANCHORED), abi.encodeWithSelector(beyond, ANCHORED, ANCHORED));
        bytes memory err = abi.encodeWithSelector(IFleetLog.StaleSize.selector, ANCHORED, ANCHORED);
        anchorRefused(GATEWAY_KEY, Head(logId, ANCHORED, keccak256("first"), 0, 0), none(), err);
        // A head that leaves out one that stands between.
        err = abi.encodeWithSelector(
            IFleetLog.PreviousContradictsAnchor.selector,
            ANCHORED - 1,
            bytes32(uint256(1)),
            ANCHORED,
            keccak256("first")
        );
        Head memory h = Head(logId, ANCHORED + 1, keccak256("root"), ANCHORED - 1, bytes32(uint256(1)));
        anchorRefused(GATEWAY_KEY, h, new bytes32[](Rfc9162.consistencyLength(ANCHORED, ANCHORED + 1)), err);
    }

    // ---- proofs ----------------------------------------------------------------------------------------------

    function test_ProofWithASizeOffByOne() public {
        (bytes32 root1, bytes32 root2,) = Reference9162.synthetic(1000, 1777, "tree");
        tenant = openTenant(registry, 0x7117, ADMIN);
        logId = openLog(tenant, GATEWAY_KEY, 0);
        anchor(GATEWAY_KEY, Head(logId, 1000, root1, 0, 0), none());
        Head memory h = Head(logId, 1777, root2, 1000, root1);
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        for (h.size = 1776; h.size <= 1778; h.size += 2) {
            (,, path) = Reference9162.synthetic(1000, h.size, "tree");
            bytes32 digest = headDigest(GATEWAY_KEY, h);
            sendRefused(
                GATEWAY_KEY, h, r, s, path, abi.encodeWithSelector(IFleetLog.BadSignature.selector, digest, r, s)
            );
        }
        (IRecordVerifier.Evidence memory e,) = registeredDevice2();
        (uint64 size,) = log.head(e.fleetLog);
        e.position = size;
        checkRefused(e, abi.encodeWithSelector(IRecordVerifier.IndexBeyondSize.selector, size, size));
    }

    function registeredDevice2() private returns (IRecordVerifier.Evidence memory e, bytes32 kid) {
        string memory json = vm.readFile("test/vectors/settlement.json");
        tenant = openTenant(registry, 0x7118, ADMIN);
        logId = openLog(tenant, GATEWAY_KEY, 0);
        anchor(
            GATEWAY_KEY,
            Head(logId, uint64(vm.parseJsonUint(json, ".size")), vm.parseJsonBytes32(json, ".root"), 0, 0),
            none()
        );
        (e, kid) = settlement();
        vm.prank(ADMIN);
        registry.registerKey(logId, IIdentityRegistry.Role.Device, e.by.x, e.by.y, 0, 0);
    }

    function test_ProofWithAnExtraOrMissingNode() public {
        Head memory h = Head(logId, NEXT, keccak256("root"), ANCHORED, keccak256("first"));
        uint256 right = Rfc9162.consistencyLength(ANCHORED, NEXT);
        for (uint256 nodes = right - 1; nodes <= right + 1; nodes += 2) {
            bytes memory err = abi.encodeWithSelector(IFleetLog.WrongProofLength.selector, right, nodes);
            anchorRefused(GATEWAY_KEY, h, new bytes32[](nodes), err);
        }
        (IRecordVerifier.Evidence memory e,) = registeredDevice();
        bytes32[] memory good = e.fleetPath;
        bytes4 wrong = IRecordVerifier.WrongPathLength.selector;
        e.fleetPath = new bytes32[](good.length + 1);
        checkRefused(e, abi.encodeWithSelector(wrong, good.length, good.length + 1));
        e.fleetPath = new bytes32[](good.length - 1);
        checkRefused(e, abi.encodeWithSelector(wrong, good.length, good.length - 1));
        e.fleetPath = good;
        good = e.devicePath;
        e.devicePath = new bytes32[](good.length + 1);
        checkRefused(e, abi.encodeWithSelector(wrong, good.length, good.length + 1));
        e.devicePath = new bytes32[](good.length - 1);
        checkRefused(e, abi.encodeWithSelector(wrong, good.length, good.length - 1));
    }

    function test_ZeroRoot() public {
        Head memory h = Head(logId, NEXT, 0, ANCHORED, keccak256("first"));
        bytes32[] memory proof = new bytes32[](Rfc9162.consistencyLength(ANCHORED, NEXT));
        anchorRefused(GATEWAY_KEY, h, proof, abi.encodeWithSelector(IFleetLog.ZeroRoot.selector));
        logId = openLog(openTenant(registry, 0x7117, ADMIN), GATEWAY_KEY, 0);
        h = Head(logId, 2, 0, 0, 0);
        anchorRefused(GATEWAY_KEY, h, none(), abi.encodeWithSelector(IFleetLog.ZeroRoot.selector));
    }

    // ---- bombs -----------------------------------------------------------------------------------------------

    /// Whatever length an argument has, it is refused for that alone, before the rest of it is read.
    function test_CalldataBombs() public {
        uint256 many = 20_000;
        Head memory h = Head(logId, NEXT, keccak256("root"), ANCHORED, keccak256("first"));
        uint256 right = Rfc9162.consistencyLength(ANCHORED, NEXT);
        bytes memory err = abi.encodeWithSelector(IFleetLog.WrongProofLength.selector, right, many);
        anchorRefused(GATEWAY_KEY, h, new bytes32[](many), err);
        forkBomb(h, many);
        logRefused(
            OPERATOR, new ICommandLog.Entry[](65), abi.encodeWithSelector(ICommandLog.EntryCount.selector, 65, 64)
        );
        err = abi.encodeWithSelector(ICommandLog.EntryCount.selector, 0, 64);
        logRefused(OPERATOR, new ICommandLog.Entry[](0), err);
        (IRecordVerifier.Evidence memory e,) = registeredDevice();
        bytes memory good = e.record;
        e.record = bytes.concat(good, new bytes(600_000));
        checkRefused(e, abi.encodeWithSelector(CborReader.Malformed.selector, 1, good.length));
        e.record = good;
        good = e.head;
        e.head = bytes.concat(good, new bytes(600_000));
        checkRefused(e, abi.encodeWithSelector(CborReader.Malformed.selector, 2, good.length));
        e.head = good;
        right = e.fleetPath.length;
        e.fleetPath = new bytes32[](many);
        checkRefused(e, abi.encodeWithSelector(IRecordVerifier.WrongPathLength.selector, right, many));
    }

    function forkBomb(Head memory h, uint256 many) private {
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        uint256 right = Rfc9162.consistencyLength(ANCHORED, NEXT);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.WrongProofLength.selector, right, many));
        log.proveForkOfAnchor(logId, x, y, side(h, r, s), 0, new bytes32[](many));
    }

    /// An array whose stated length or place lies beyond the calldata ends the call at once, whatever it claims.
    function test_LengthsBeyondTheCalldata() public {
        Head memory h = Head(logId, NEXT, keccak256("root"), ANCHORED, keccak256("first"));
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        bytes memory call_ =
            abi.encodeCall(IFleetLog.anchor, (h.logId, h.size, h.root, h.prevSize, h.prevRoot, x, y, r, s, none()));
        uint256[4] memory claims = [uint256(1), 1 << 32, 1 << 64, type(uint256).max];
        for (uint256 i = 0; i < claims.length; ++i) {
            uint256 claim = claims[i];
            assembly ("memory-safe") {
                mstore(add(call_, mload(call_)), claim) // the last word: the length of the proof
            }
            (bool done, bytes memory answer) = address(log).call{gas: 200_000}(call_);
            assertTrue(!done && answer.length == 0, "a length beyond the calldata was followed");
        }
    }
}
