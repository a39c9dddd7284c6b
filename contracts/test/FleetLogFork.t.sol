// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "../src/interfaces/IFleetLog.sol";
import {Reference9162} from "./Reference9162.sol";
import {TestBase} from "./TestBase.sol";
import {Vm} from "./Vm.sol";

/// @notice Two heads that cannot both be true, what follows, and promises that are not kept.
contract FleetLogForkTest is TestBase {
    uint64 private constant M = 1000;
    uint64 private constant N2 = 1777;

    bytes32 private root1;
    bytes32 private root2;
    bytes32[] private path;
    bytes32 private constant OTHER_ROOT = keccak256("another history");

    /// (M, root1) is anchored; (N2, root2, path) is the next.
    function setUp() public override {
        super.setUp();
        vm.warp(1_760_000_000);
        (root1, root2, path) = Reference9162.synthetic(M, N2, keccak256("tree"));
        anchor(GATEWAY_KEY, Head(logId, M, root1, 0, 0), none());
    }

    function signed(uint256 key, uint64 size, bytes32 root, uint64 prevSize, bytes32 prevRoot)
        private
        view
        returns (IFleetLog.SignedHead memory h)
    {
        (bytes32 r, bytes32 s) = signHead(key, Head(logId, size, root, prevSize, prevRoot));
        return IFleetLog.SignedHead(size, root, prevSize, prevRoot, r, s);
    }

    function head(uint64 size, bytes32 root) private view returns (IFleetLog.SignedHead memory) {
        return signed(GATEWAY_KEY, size, root, M, root1);
    }

    function prove(IFleetLog.SignedHead memory a, IFleetLog.SignedHead memory b) private {
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        log.proveFork(logId, x, y, a, b, 0, none());
    }

    function proveWith(
        IFleetLog.SignedHead memory a,
        IFleetLog.SignedHead memory b,
        bytes32 earlier,
        bytes32[] memory proof
    ) private {
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        log.proveFork(logId, x, y, a, b, earlier, proof);
    }

    function proveOfAnchor(IFleetLog.SignedHead memory a, bytes32 earlier, bytes32[] memory proof) private {
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        log.proveForkOfAnchor(logId, x, y, a, earlier, proof);
    }

    function isFrozen() private view returns (bool) {
        (IFleetLog.LogState state,,) = log.stateOf(logId);
        return state == IFleetLog.LogState.Frozen;
    }

    function test_OneSizeTwoRoots() public {
        vm.roll(block.number + 4);
        vm.recordLogs();
        IFleetLog.SignedHead memory a = head(N2, root2);
        IFleetLog.SignedHead memory b = head(N2, OTHER_ROOT);
        vm.prank(STRANGER);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        log.proveFork(logId, x, y, a, b, 0, none());
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], IFleetLog.ForkProved.selector, "event");
        assertEq(logs[0].topics[2], kidOf(GATEWAY_KEY), "kid");
        assertEq(
            keccak256(logs[0].data),
            keccak256(abi.encode(N2, root2, N2, OTHER_ROOT, M, root1, uint64(block.number - 4))),
            "both sides, the last good head, previous block"
        );
        assertTrue(isFrozen(), "frozen");
        bytes memory err = abi.encodeWithSelector(IFleetLog.LogNotOpen.selector, logId, IFleetLog.LogState.Frozen);
        anchorRefused(GATEWAY_KEY, Head(logId, N2, root2, M, root1), path, err);
        (uint64 size, bytes32 root) = log.head(logId);
        assertTrue(size == M && root == root1, "the last good head stays");
        vm.expectRevert(err);
        prove(a, b);
        (x, y) = publicKey(OTHER_KEY);
        vm.expectRevert(err);
        vm.prank(ADMIN);
        log.setGatewayKey(logId, x, y);
    }

    function test_PreviousIsAnotherThanTheOneSigned() public {
        prove(head(N2, root2), signed(GATEWAY_KEY, N2 + 5, keccak256("later"), N2, OTHER_ROOT));
        assertTrue(isFrozen(), "frozen");
    }

    function test_OnePreviousSizeTwoRoots() public {
        prove(
            signed(GATEWAY_KEY, N2, root2, M + 1, keccak256("one")),
            signed(GATEWAY_KEY, N2 + 9, OTHER_ROOT, M + 1, keccak256("other"))
        );
        assertTrue(isFrozen(), "frozen");
    }

    /// The larger head's own tree begins otherwise than the smaller head says.
    function testFuzz_TreeBeginsOtherwise(uint64 m, uint64 n, bytes32 seed) public {
        m = uint64(bound(m, M + 1, 1 << 40));
        n = uint64(bound(n, uint256(m) + 1, 1 << 41));
        (bytes32 earlier, bytes32 later, bytes32[] memory proof) = Reference9162.synthetic(m, n, seed);
        IFleetLog.SignedHead memory b = signed(GATEWAY_KEY, n, later, 0, 0);
        IFleetLog.SignedHead memory consistent = signed(GATEWAY_KEY, m, earlier, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NoContradiction.selector, m, n));
        proveWith(consistent, b, earlier, proof);
        proveWith(b, signed(GATEWAY_KEY, m, keccak256(abi.encode(earlier)), 0, 0), earlier, proof); // in any order
        assertTrue(isFrozen(), "frozen");
    }

    function test_AnchoredHeadContradicted() public {
        IFleetLog.SignedHead memory b = signed(GATEWAY_KEY, M, OTHER_ROOT, 0, 0);
        proveOfAnchor(b, 0, none());
        assertTrue(isFrozen(), "frozen");
    }

    function test_PreviousOfASignedHeadContradictsTheAnchor() public {
        proveOfAnchor(signed(GATEWAY_KEY, N2, root2, M, OTHER_ROOT), 0, none());
        assertTrue(isFrozen(), "frozen");
    }

    /// A head below the anchored one, which the anchored tree does not begin with.
    function test_AnchoredTreeBeginsOtherwise() public {
        anchor(GATEWAY_KEY, Head(logId, N2, root2, M, root1), path);
        (bytes32 earlier,, bytes32[] memory proof) = Reference9162.synthetic(M, N2, keccak256("tree"));
        IFleetLog.SignedHead memory honest = signed(GATEWAY_KEY, M, root1, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NoContradiction.selector, M, N2));
        proveOfAnchor(honest, earlier, proof);
        proof[0] = OTHER_ROOT;
        vm.expectPartialRevert(IFleetLog.NewRootMismatch.selector);
        proveOfAnchor(honest, earlier, proof);
        proveOfAnchor(signed(GATEWAY_KEY, M, OTHER_ROOT, 0, 0), earlier, path);
        assertTrue(isFrozen(), "frozen");
    }

    function test_NoContradiction() public {
        IFleetLog.SignedHead memory a = head(N2, root2);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NoContradiction.selector, N2, N2));
        prove(a, a);
        IFleetLog.SignedHead memory b = signed(GATEWAY_KEY, N2 + 5, OTHER_ROOT, N2, root2);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NoContradiction.selector, N2, N2 + 5));
        prove(a, b);
        bytes32[] memory short = new bytes32[](1);
        vm.expectPartialRevert(IFleetLog.WrongProofLength.selector);
        proveWith(a, b, root2, short);
        IFleetLog.SignedHead memory impossible = signed(GATEWAY_KEY, N2, root2, N2, OTHER_ROOT);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.PreviousImpossible.selector, N2, OTHER_ROOT, N2));
        prove(a, impossible);
        b = head(N2, OTHER_ROOT);
        b.s = bytes32(N - uint256(b.s));
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.HighS.selector, b.s));
        prove(a, b);
        b = head(N2, OTHER_ROOT);
        b.root = keccak256("not signed");
        vm.expectPartialRevert(IFleetLog.BadSignature.selector);
        prove(a, b);
        assertTrue(!isFrozen(), "open");
        bytes32 second = openTenant(registry, OTHER_KEY, ADMIN);
        bytes32 empty = openLog(second, GATEWAY_KEY, 0);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NoContradiction.selector, uint64(0), N2));
        log.proveForkOfAnchor(empty, x, y, a, 0, none());
    }

    /// Heads of one history, any two of them, with any proof of it or a spoilt one: no fork.
    function testFuzz_AnHonestHistoryIsNeverAFork(uint64 m, uint64 n, bytes32 seed, uint256 flip) public {
        m = uint64(bound(m, M + 1, 1 << 40));
        n = uint64(bound(n, uint256(m) + 1, 1 << 41));
        (bytes32 earlier, bytes32 later, bytes32[] memory proof) = Reference9162.synthetic(m, n, seed);
        IFleetLog.SignedHead memory a = signed(GATEWAY_KEY, m, earlier, M, root1);
        IFleetLog.SignedHead memory b = signed(GATEWAY_KEY, n, later, m, earlier);
        bytes memory none_ = abi.encodeWithSelector(IFleetLog.NoContradiction.selector, m, n);
        vm.expectRevert(none_);
        prove(a, b);
        vm.expectRevert(none_);
        proveWith(b, a, earlier, proof);
        proof[flip % proof.length] ^= bytes32(uint256(1) << (flip % 256));
        vm.expectPartialRevert(IFleetLog.NewRootMismatch.selector);
        proveWith(a, b, earlier, proof);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NoContradiction.selector, M, m));
        proveOfAnchor(a, 0, none());
        assertTrue(!isFrozen(), "open");
    }

    /// A head was challenged; then the key was replaced, the log grew under the new one, and was closed: it is answered.
    function test_AChallengeOutlivesTheKeyAndTheLog() public {
        challenge(head(N2, root2));
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.prank(ADMIN);
        log.setGatewayKey(logId, x, y);
        IFleetLog.SignedHead memory h = signed(OTHER_KEY, N2, root2, M, root1);
        log.anchor(logId, N2, root2, M, root1, x, y, h.r, h.s, path);
        vm.prank(ADMIN);
        log.openSuccessor(logId, x, y, bytes32(uint256(9)));
        log.answer(logId, N2, root2, none());
        isChallenge(N2, root2, IFleetLog.ChallengeState.Answered);
        // And a head that nobody signed is not challenged; one head is challenged once, so a flood of the same costs
        // the gateway one answer.
        h = signed(OTHER_KEY, N2 + 1, OTHER_ROOT, N2, root2);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.LogNotOpen.selector, logId, IFleetLog.LogState.Closed));
        log.challenge(logId, x, y, h);
    }

    /// Whoever stole a retired key can sign what he likes: it freezes nothing.
    function test_ARetiredKeyNeverCounts() public {
        IFleetLog.SignedHead memory a = head(N2, root2);
        IFleetLog.SignedHead memory b = head(N2, OTHER_ROOT);
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.prank(ADMIN);
        log.setGatewayKey(logId, x, y);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.WrongKey.selector, kidOf(OTHER_KEY), kidOf(GATEWAY_KEY)));
        prove(a, b);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.BadSignature.selector, digestBy(OTHER_KEY, a), a.r, a.s));
        log.proveFork(logId, x, y, a, b, 0, none());
        // The new key's heads count above the size since which it is in force, and it never goes back to the old one.
        IFleetLog.SignedHead memory below = signed(OTHER_KEY, M, OTHER_ROOT, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotThisKeysHead.selector, M, M));
        log.proveForkOfAnchor(logId, x, y, below, 0, none());
        (bytes32 oldX, bytes32 oldY) = publicKey(GATEWAY_KEY);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.RetiredGatewayKey.selector, kidOf(GATEWAY_KEY)));
        vm.prank(ADMIN);
        log.setGatewayKey(logId, oldX, oldY);
    }

    function digestBy(uint256 key, IFleetLog.SignedHead memory h) private view returns (bytes32) {
        return headDigest(key, Head(logId, h.size, h.root, h.prevSize, h.prevRoot));
    }

    function succeed(uint256 key, uint256 nonce) private returns (bytes32) {
        (bytes32 x, bytes32 y) = publicKey(key);
        vm.prank(ADMIN);
        return log.openSuccessor(logId, x, y, bytes32(nonce));
    }

    function test_SuccessorOfAFrozenLog() public {
        prove(head(N2, root2), head(N2, OTHER_ROOT));
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.SameGatewayKey.selector, kidOf(GATEWAY_KEY)));
        vm.prank(ADMIN);
        log.openSuccessor(logId, x, y, bytes32(uint256(8)));
        vm.recordLogs();
        bytes32 next = succeed(OTHER_KEY, 8);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[1].topics[0], IFleetLog.Succeeded.selector, "event");
        assertEq(logs[1].topics[1], logId, "old");
        assertEq(logs[1].topics[2], next, "new");
        assertEq(
            keccak256(logs[1].data),
            keccak256(abi.encode(M, root1, true, uint64(block.number))),
            "last good head, frozen, previous block"
        );
        (IFleetLog.LogState state, bytes32 successor,) = log.stateOf(logId);
        assertTrue(state == IFleetLog.LogState.Frozen, "it stays frozen");
        assertEq(successor, next, "successor");
        bytes32 predecessor;
        (state,, predecessor) = log.stateOf(next);
        assertTrue(state == IFleetLog.LogState.Open, "open");
        assertEq(predecessor, logId, "predecessor");
        assertEq(log.activeLogOf(tenant), next, "active");
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.HasSuccessor.selector, logId, next));
        succeed(0x6006, 9);
    }

    function test_SuccessorWithoutAFork() public {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotTenantAdmin.selector, tenant, STRANGER, ADMIN));
        vm.prank(STRANGER);
        log.openSuccessor(logId, x, y, 0);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.LogExists.selector, logId));
        succeed(OTHER_KEY, 7); // the nonce of the log itself
        succeed(GATEWAY_KEY, 8);
        (IFleetLog.LogState state,,) = log.stateOf(logId);
        assertTrue(state == IFleetLog.LogState.Closed, "closed");
        anchorRefused(
            GATEWAY_KEY,
            Head(logId, N2, root2, M, root1),
            path,
            abi.encodeWithSelector(IFleetLog.LogNotOpen.selector, logId, IFleetLog.LogState.Closed)
        );
    }

    function declare(uint32 maxSilence, uint32 answerWindow) private {
        vm.prank(ADMIN);
        log.setTerms(logId, maxSilence, answerWindow);
    }

    function test_Stale() public {
        (bool late, uint64 due) = log.stale(logId);
        assertTrue(!late && due == 0, "nothing declared");
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotSilent.selector, logId, uint64(0)));
        log.noteSilence(logId);
        uint64 start = uint64(block.timestamp);
        declare(3600, 0);
        vm.warp(start + 3600);
        (late, due) = log.stale(logId);
        assertTrue(!late && due == start + 3600, "due now");
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotSilent.selector, logId, start + 3600));
        log.noteSilence(logId);
        vm.warp(start + 3601);
        (late,) = log.stale(logId);
        assertTrue(late, "late");
        vm.recordLogs();
        log.noteSilence(logId);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(
            keccak256(logs[0].data),
            keccak256(abi.encode(M, start + 3600, start + 3601, uint64(block.number))),
            "size, due, time, previous block"
        );
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotSilent.selector, logId, start + 3600));
        log.noteSilence(logId);
        anchor(GATEWAY_KEY, Head(logId, N2, root2, M, root1), path);
        (late, due) = log.stale(logId);
        assertTrue(!late && due == start + 3601 + 3600, "a head ends it");
        (uint32 maxSilence, uint32 window, uint64 anchoredAt, uint64 defaults) = log.termsOf(logId);
        assertTrue(maxSilence == 3600 && window == 0 && anchoredAt == start + 3601 && defaults == 0, "terms");
        vm.warp(start + 10_000);
        log.noteSilence(logId); // another silence
    }

    function test_Terms() public {
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotTenantAdmin.selector, tenant, STRANGER, ADMIN));
        vm.prank(STRANGER);
        log.setTerms(logId, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.BadTerms.selector, uint32(1), uint32(3599), 1 hours, 30 days));
        declare(1, 3599);
        vm.expectRevert(
            abi.encodeWithSelector(IFleetLog.BadTerms.selector, uint32(1), uint32(30 days + 1), 1 hours, 30 days)
        );
        declare(1, 30 days + 1);
    }

    function challenge(IFleetLog.SignedHead memory h) private {
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        vm.prank(STRANGER);
        log.challenge(logId, x, y, h);
    }

    function isChallenge(uint64 size, bytes32 root, IFleetLog.ChallengeState expected) private view {
        (IFleetLog.ChallengeState state,) = log.challengeOf(logId, size, root);
        assertEq(uint256(state), uint256(expected), "challenge");
    }

    /// A receipt under a head that is not anchored yet: anchored and answered in time.
    function test_ChallengeAnswered() public {
        declare(0, 2 hours);
        challenge(head(N2, root2));
        (, uint64 deadline) = log.challengeOf(logId, N2, root2);
        assertEq(deadline, block.timestamp + 2 hours, "deadline");
        IFleetLog.SignedHead memory again = head(N2, root2);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(IFleetLog.WrongChallengeState.selector, N2, root2, IFleetLog.ChallengeState.Open)
        );
        log.challenge(logId, x, y, again);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotAnchoredYet.selector, N2, M));
        log.answer(logId, N2, root2, none());
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotDue.selector, deadline, deadline));
        vm.warp(deadline);
        log.markDefault(logId, N2, root2);
        anchor(GATEWAY_KEY, Head(logId, N2, root2, M, root1), path);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.WrongProofLength.selector, 0, path.length));
        log.answer(logId, N2, root2, path);
        log.answer(logId, N2, root2, none());
        isChallenge(N2, root2, IFleetLog.ChallengeState.Answered);
        vm.warp(deadline + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IFleetLog.WrongChallengeState.selector, N2, root2, IFleetLog.ChallengeState.Answered)
        );
        log.markDefault(logId, N2, root2);
    }

    /// A head below the anchored one: the answer is the consistency proof between them.
    function test_ChallengeOfAnOlderHead() public {
        anchor(GATEWAY_KEY, Head(logId, N2, root2, M, root1), path);
        challenge(signed(GATEWAY_KEY, M, root1, 0, 0));
        bytes32[] memory wrong = path;
        wrong[0] = OTHER_ROOT;
        vm.expectPartialRevert(IFleetLog.OldRootMismatch.selector);
        log.answer(logId, M, root1, wrong);
        log.answer(logId, M, root1, path);
        isChallenge(M, root1, IFleetLog.ChallengeState.Answered);
    }

    /// A head of another history has no answer; the default stays when the truth comes late.
    function test_Default() public {
        challenge(head(N2, OTHER_ROOT));
        challenge(head(N2, root2));
        anchor(GATEWAY_KEY, Head(logId, N2, root2, M, root1), path);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NewRootMismatch.selector, root2, OTHER_ROOT));
        log.answer(logId, N2, OTHER_ROOT, none());
        vm.warp(block.timestamp + 7 days + 1);
        vm.recordLogs();
        log.markDefault(logId, N2, OTHER_ROOT);
        log.markDefault(logId, N2, root2);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[1].topics[0], IFleetLog.Defaulted.selector, "event");
        assertEq(keccak256(logs[1].data), keccak256(abi.encode(uint64(2))), "defaults");
        log.answer(logId, N2, root2, none());
        isChallenge(N2, root2, IFleetLog.ChallengeState.AnsweredLate);
        isChallenge(N2, OTHER_ROOT, IFleetLog.ChallengeState.Defaulted);
        (,,, uint64 defaults) = log.termsOf(logId);
        assertEq(defaults, 2, "the default stays");
    }

    function test_ChallengeNeedsAHeadOfTheKeyInForce() public {
        IFleetLog.SignedHead memory h = signed(OTHER_KEY, N2, OTHER_ROOT, M, root1);
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.WrongKey.selector, kidOf(GATEWAY_KEY), kidOf(OTHER_KEY)));
        log.challenge(logId, x, y, h);
    }
}
