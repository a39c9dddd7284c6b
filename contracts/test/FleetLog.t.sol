// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rfc9162} from "../src/libraries/Rfc9162.sol";
import {IFleetLog} from "../src/interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {Reference9162} from "./Reference9162.sol";
import {TestBase} from "./TestBase.sol";
import {Vm} from "./Vm.sol";

contract FleetLogOpenTest is TestBase {
    function test_OpenBindsEverythingInTheId() public view {
        bytes32 nonce = bytes32(uint256(7));
        bytes32 expected =
            sha256(abi.encodePacked("edgeseal/v1/fleet-log", hex"00", tenant, block.chainid, address(log), nonce));
        assertEq(logId, expected, "log id");
        assertEq(log.logIdOf(tenant, nonce), expected, "announced id");
        assertEq(log.activeLogOf(tenant), expected, "active log");
        (bytes32 of_, uint64 anchored) = log.authorityOf(logId);
        assertEq(of_, tenant, "tenant");
        assertEq(anchored, 0, "anchored");
        (bytes32 kid, uint64 since, uint64 lastBlock) = log.gatewayOf(logId);
        assertEq(kid, kidOf(GATEWAY_KEY), "gateway");
        assertEq(since, 0, "since");
        assertEq(lastBlock, block.number, "block");
        (uint64 size, bytes32 root) = log.head(logId);
        assertTrue(size == 0 && root == 0, "nothing is anchored yet");
        assertEq(address(log.registry()), address(registry), "registry");
    }

    function test_OpenEmits() public {
        bytes32 second = openTenant(registry, OTHER_KEY, ADMIN);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        vm.recordLogs();
        bytes32 id = openLog(second, GATEWAY_KEY, bytes32(0));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].topics[0], IFleetLog.Opened.selector, "event");
        assertEq(logs[0].topics[1], id, "log id");
        assertEq(logs[0].topics[2], second, "tenant");
        assertEq(
            keccak256(logs[0].data), keccak256(abi.encode(kidOf(GATEWAY_KEY), bytes32(0), x, y)), "kid, nonce, x, y"
        );
    }

    function test_VectorOfTheLogId() public {
        string memory json = vm.readFile("test/vectors/fleet_log_id.json");
        address at_ = vm.parseJsonAddress(json, ".contract");
        vm.etch(at_, address(log).code);
        vm.chainId(vm.parseJsonUint(json, ".chainId"));
        bytes32 id = IFleetLog(at_).logIdOf(vm.parseJsonBytes32(json, ".tenant"), vm.parseJsonBytes32(json, ".nonce"));
        assertEq(id, vm.parseJsonBytes32(json, ".logId"), "log id");
    }

    function test_OnlyTheAdminOpens() public {
        bytes32 second = openTenant(registry, OTHER_KEY, ADMIN);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotTenantAdmin.selector, second, STRANGER, ADMIN));
        vm.prank(STRANGER);
        log.open(second, x, y, 0);
        bytes32 nobody = bytes32(uint256(99));
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotTenantAdmin.selector, nobody, ADMIN, address(0)));
        vm.prank(ADMIN);
        log.open(nobody, x, y, 0);
    }

    function test_OneActiveLogPerTenant() public {
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.LogIsActive.selector, tenant, logId));
        vm.prank(ADMIN);
        log.open(tenant, x, y, bytes32(uint256(8)));
    }

    function test_GatewayKeyMustBeAPoint() public {
        bytes32 second = openTenant(registry, OTHER_KEY, ADMIN);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        bytes32 off = bytes32(uint256(y) ^ 1);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.KeyOffCurve.selector, x, off));
        vm.prank(ADMIN);
        log.open(second, x, off, 0);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.KeyOffCurve.selector, x, off));
        vm.prank(ADMIN);
        log.setGatewayKey(logId, x, off);
    }

    function test_ViewsRefuseAnUnknownLog() public {
        bytes32 unknown = bytes32(uint256(1));
        bytes memory err = abi.encodeWithSelector(IFleetLog.UnknownLog.selector, unknown);
        vm.expectRevert(err);
        log.head(unknown);
        vm.expectRevert(err);
        log.authorityOf(unknown);
        vm.expectRevert(err);
        log.gatewayOf(unknown);
        vm.expectRevert(err);
        log.setGatewayKey(unknown, 0, 0);
    }
}

contract FleetLogAnchorTest is TestBase {
    bytes32 private constant SEED = keccak256("tree");
    uint64 private constant M = 1000;
    uint64 private constant N2 = 1777;

    bytes32 private root1;
    bytes32 private root2;
    bytes32[] private path;

    /// The first head, of size M, is anchored; (N2, root2, path) is the next.
    function setUp() public override {
        super.setUp();
        (root1, root2, path) = Reference9162.synthetic(M, N2, SEED);
        anchor(GATEWAY_KEY, Head(logId, M, root1, 0, 0), none());
    }

    function next() private view returns (Head memory) {
        return Head(logId, N2, root2, M, root1);
    }

    function test_AnchorsAndEmits() public {
        vm.roll(block.number + 5);
        vm.recordLogs();
        vm.prank(STRANGER); // anybody may bring it
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        log.anchor(h.logId, h.size, h.root, h.prevSize, h.prevRoot, x, y, r, s, path);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].topics.length, 2, "topics");
        assertEq(logs[0].topics[0], keccak256("Anchored(bytes32,uint64,bytes32,bytes32,uint64)"), "event");
        assertEq(logs[0].topics[1], logId, "log id");
        assertEq(
            keccak256(logs[0].data),
            keccak256(abi.encode(N2, root2, kidOf(GATEWAY_KEY), uint64(block.number - 5))),
            "size, root, kid, previous block"
        );
        (uint64 size, bytes32 root) = log.head(logId);
        assertEq(size, N2, "size");
        assertEq(root, root2, "root");
        (,, uint64 lastBlock) = log.gatewayOf(logId);
        assertEq(lastBlock, block.number, "block");
    }

    function test_PreviousSignedHeadNeedNotBeAnchored() public {
        anchor(GATEWAY_KEY, Head(logId, N2, root2, N2 - 1, bytes32(uint256(5))), path);
        (uint64 size,) = log.head(logId);
        assertEq(size, N2, "size");
    }

    function test_UnknownLog() public {
        Head memory h = next();
        h.logId = bytes32(uint256(1));
        anchorRefused(GATEWAY_KEY, h, path, abi.encodeWithSelector(IFleetLog.UnknownLog.selector, h.logId));
    }

    function test_StaleSize() public {
        bytes memory err = abi.encodeWithSelector(IFleetLog.StaleSize.selector, M, M);
        anchorRefused(GATEWAY_KEY, Head(logId, M, root1, 0, 0), none(), err);
        err = abi.encodeWithSelector(IFleetLog.StaleSize.selector, M - 1, M);
        anchorRefused(GATEWAY_KEY, Head(logId, M - 1, root1, 0, 0), none(), err);
        err = abi.encodeWithSelector(IFleetLog.StaleSize.selector, uint64(0), M);
        anchorRefused(GATEWAY_KEY, Head(logId, 0, root1, 0, 0), none(), err);
    }

    function test_BroughtTwice() public {
        anchor(GATEWAY_KEY, next(), path);
        anchorRefused(GATEWAY_KEY, next(), path, abi.encodeWithSelector(IFleetLog.StaleSize.selector, N2, N2));
    }

    function test_ZeroRoot() public {
        Head memory h = next();
        h.root = 0;
        anchorRefused(GATEWAY_KEY, h, path, abi.encodeWithSelector(IFleetLog.ZeroRoot.selector));
    }

    function test_WrongProofLength() public {
        bytes32[] memory proof = new bytes32[](path.length + 1);
        for (uint256 i = 0; i < path.length; ++i) {
            proof[i] = path[i];
        }
        wrongLength(proof);
        assembly ("memory-safe") {
            mstore(proof, sub(mload(proof), 2))
        }
        wrongLength(proof);
        wrongLength(none());
        wrongLength(new bytes32[](3000)); // refused before a node of it is read
    }

    function wrongLength(bytes32[] memory proof) private {
        bytes memory err = abi.encodeWithSelector(IFleetLog.WrongProofLength.selector, path.length, proof.length);
        anchorRefused(GATEWAY_KEY, next(), proof, err);
    }

    function test_EveryFlippedNode() public {
        for (uint256 i = 0; i < path.length; ++i) {
            bytes32[] memory proof = path;
            proof[i] ^= bytes32(uint256(1));
            (bytes32 old, bytes32 grown) = this.fold(proof);
            bytes memory err = old != root1
                ? abi.encodeWithSelector(IFleetLog.OldRootMismatch.selector, root1, old)
                : abi.encodeWithSelector(IFleetLog.NewRootMismatch.selector, root2, grown);
            anchorRefused(GATEWAY_KEY, next(), proof, err);
        }
    }

    function fold(bytes32[] calldata proof) external view returns (bytes32, bytes32) {
        return Rfc9162.foldConsistency(M, N2, root1, proof);
    }

    function test_RootOfAnotherHistory() public {
        (bytes32 other1, bytes32 other2, bytes32[] memory proof) = Reference9162.synthetic(M, N2, "another");
        Head memory h = Head(logId, N2, other2, M, root1);
        bytes memory err = abi.encodeWithSelector(IFleetLog.OldRootMismatch.selector, root1, other1);
        anchorRefused(GATEWAY_KEY, h, proof, err);
        h.root = other2;
        err = abi.encodeWithSelector(IFleetLog.NewRootMismatch.selector, other2, root2);
        anchorRefused(GATEWAY_KEY, h, path, err);
    }

    /// A proof does not bind sizes; the signature does.
    function test_SizeOffByOneIsNotSigned() public {
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        for (uint64 size = N2 - 1; size <= N2 + 1; size += 2) {
            h.size = size;
            if (Rfc9162.consistencyLength(M, size) == path.length) {
                badSignature(h, r, s);
            } else {
                sendRefused(
                    GATEWAY_KEY,
                    h,
                    r,
                    s,
                    path,
                    abi.encodeWithSelector(
                        IFleetLog.WrongProofLength.selector, Rfc9162.consistencyLength(M, size), path.length
                    )
                );
            }
        }
    }

    function test_EveryArgumentIsSigned() public {
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        h.root ^= bytes32(uint256(1) << 200);
        badSignature(h, r, s);
        h = next();
        h.prevSize = M + 1;
        badSignature(h, r, s);
        h.prevRoot ^= bytes32(uint256(1));
        badSignature(h, r, s);
        h = next();
        badSignature(h, r ^ bytes32(uint256(1)), s);
        badSignature(h, r, s ^ bytes32(uint256(1)));
        badSignature(h, 0, s);
        badSignature(h, r, 0);
        badSignature(h, bytes32(N), s);
    }

    function badSignature(Head memory h, bytes32 r, bytes32 s) private {
        bytes32 digest = headDigest(GATEWAY_KEY, h);
        sendRefused(GATEWAY_KEY, h, r, s, path, abi.encodeWithSelector(IFleetLog.BadSignature.selector, digest, r, s));
    }

    function test_HighSTwin() public {
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        bytes32 high = bytes32(N - uint256(s));
        sendRefused(GATEWAY_KEY, h, r, high, path, abi.encodeWithSelector(IFleetLog.HighS.selector, high));
    }

    /// A bad signature is called that where the precompile answers and where Solidity computes.
    function test_BadSignatureIsNotAnAbsentPrecompile() public {
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, next());
        badSignature(next(), bytes32(uint256(r) ^ 2), s);
        anchor(GATEWAY_KEY, next(), path);
    }

    /// However little gas a call is given: a good head is anchored, or the call ends for want of gas. Never is it judged.
    function test_TooLittleGasIsNoVerdict() public {
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        bytes memory call =
            abi.encodeCall(IFleetLog.anchor, (h.logId, h.size, h.root, h.prevSize, h.prevRoot, x, y, r, s, path));
        uint256 gas_ = 2_000;
        for (bool taken = false; !taken; gas_ += gas_ < 40_000 ? 500 : gas_ / 16) {
            bytes memory answer;
            (taken, answer) = address(log).call{gas: gas_}(call);
            // Nothing, or the Panic of an assertion: a hash that could not be computed.
            assertTrue(taken || answer.length == 0 || bytes4(answer) == 0x4e487b71, "judged for want of gas");
        }
        (uint64 size,) = log.head(logId);
        assertEq(size, N2, "anchored");
    }

    function test_WrongKey() public {
        bytes memory err = abi.encodeWithSelector(IFleetLog.WrongKey.selector, kidOf(GATEWAY_KEY), kidOf(OTHER_KEY));
        anchorRefused(OTHER_KEY, next(), path, err);
        // The registered key beside a signature of another.
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(OTHER_KEY, h);
        badSignature(h, r, s);
        (r, s) = sign(OTHER_KEY, headDigest(GATEWAY_KEY, h));
        badSignature(h, r, s);
    }

    function test_PreviousImpossible() public {
        previousImpossible(N2, root2);
        previousImpossible(N2 + 1, root2);
        previousImpossible(type(uint64).max, 0);
        previousImpossible(0, root1);
    }

    function previousImpossible(uint64 prevSize, bytes32 prevRoot) private {
        bytes memory err = abi.encodeWithSelector(IFleetLog.PreviousImpossible.selector, prevSize, prevRoot, N2);
        anchorRefused(GATEWAY_KEY, Head(logId, N2, root2, prevSize, prevRoot), path, err);
    }

    function test_PreviousContradictsAnchor() public {
        previousContradicts(0, 0);
        previousContradicts(M - 1, root1);
        previousContradicts(M, root2);
    }

    function previousContradicts(uint64 prevSize, bytes32 prevRoot) private {
        bytes memory err =
            abi.encodeWithSelector(IFleetLog.PreviousContradictsAnchor.selector, prevSize, prevRoot, M, root1);
        anchorRefused(GATEWAY_KEY, Head(logId, N2, root2, prevSize, prevRoot), path, err);
    }

    function test_ReplayOnAnotherChain() public {
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        vm.chainId(block.chainid + 1);
        IIdentityRegistry elsewhere = deploy();
        replayElsewhere(elsewhere, h, r, s);
    }

    function test_ReplayInAnotherContract() public {
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        replayElsewhere(deploy(), h, r, s);
    }

    /// @dev The same tenant, gateway key and nonce elsewhere give another log id, so the old head fits no log there.
    function replayElsewhere(IIdentityRegistry elsewhere, Head memory h, bytes32 r, bytes32 s) private {
        (registry, log) = (elsewhere, elsewhere.fleetLog());
        bytes32 home = logId;
        openTenant(elsewhere, ROOT_KEY, ADMIN);
        logId = openLog(tenant, GATEWAY_KEY, bytes32(uint256(7)));
        assertTrue(logId != home, "same id in two places");
        sendRefused(GATEWAY_KEY, h, r, s, path, abi.encodeWithSelector(IFleetLog.UnknownLog.selector, home));
        (h.logId, h.prevSize, h.prevRoot) = (logId, 0, 0);
        bytes32 digest = headDigest(GATEWAY_KEY, h);
        sendRefused(GATEWAY_KEY, h, r, s, none(), abi.encodeWithSelector(IFleetLog.BadSignature.selector, digest, r, s));
    }

    function test_ReplayInAnotherLogOfTheContract() public {
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        bytes32 other = openLog(openTenant(registry, OTHER_KEY, ADMIN), GATEWAY_KEY, bytes32(uint256(7)));
        (h.logId, h.prevSize, h.prevRoot) = (other, 0, 0);
        bytes32 digest = headDigest(GATEWAY_KEY, h);
        sendRefused(GATEWAY_KEY, h, r, s, none(), abi.encodeWithSelector(IFleetLog.BadSignature.selector, digest, r, s));
    }

    function test_GatewayKeyChange() public {
        vm.roll(block.number + 3);
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.recordLogs();
        vm.prank(ADMIN);
        log.setGatewayKey(logId, x, y);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], IFleetLog.GatewayKeyChanged.selector, "event");
        assertEq(logs[0].topics[1], logId, "log id");
        assertEq(
            keccak256(logs[0].data),
            keccak256(abi.encode(kidOf(GATEWAY_KEY), kidOf(OTHER_KEY), M, x, y, uint64(block.number - 3))),
            "old, new, size, x, y, previous block"
        );
        (bytes32 kid, uint64 since,) = log.gatewayOf(logId);
        assertEq(kid, kidOf(OTHER_KEY), "kid");
        assertEq(since, M, "since");

        bytes memory err = abi.encodeWithSelector(IFleetLog.WrongKey.selector, kidOf(OTHER_KEY), kidOf(GATEWAY_KEY));
        anchorRefused(GATEWAY_KEY, next(), path, err);
        anchor(OTHER_KEY, next(), path);
        (uint64 size, bytes32 root) = log.head(logId);
        assertTrue(size == N2 && root == root2, "the new key's head");
        (, since,) = log.gatewayOf(logId);
        assertEq(since, M, "since, after the new key's head");
    }

    function test_OnlyTheAdminChangesTheGatewayKey() public {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.NotTenantAdmin.selector, tenant, STRANGER, ADMIN));
        vm.prank(STRANGER);
        log.setGatewayKey(logId, x, y);
        (x, y) = publicKey(GATEWAY_KEY);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.SameGatewayKey.selector, kidOf(GATEWAY_KEY)));
        vm.prank(ADMIN);
        log.setGatewayKey(logId, x, y);
    }

    function testFuzz_AnyHistoryGrows(uint8 first, uint8[3] memory steps, bytes32 seed) public {
        bytes32 fresh = openLog(openTenant(registry, OTHER_KEY, ADMIN), GATEWAY_KEY, seed);
        uint64 m = 2 + first % 64;
        bytes32 root = Reference9162.mth(leaves(m, seed), 0, m);
        anchor(GATEWAY_KEY, Head(fresh, m, root, 0, 0), none());
        for (uint256 i = 0; i < steps.length; ++i) {
            uint64 n = m + 1 + steps[i] % 64;
            bytes32[] memory grown = leaves(n, seed);
            bytes32 newRoot = Reference9162.mth(grown, 0, n);
            anchor(GATEWAY_KEY, Head(fresh, n, newRoot, m, root), Reference9162.proof(grown, m));
            (m, root) = (n, newRoot);
        }
        (uint64 size, bytes32 anchored) = log.head(fresh);
        assertTrue(size == m && anchored == root, "the last head is anchored");
    }

    function leaves(uint256 count, bytes32 seed) private pure returns (bytes32[] memory out) {
        out = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            out[i] = keccak256(abi.encode(seed, i));
        }
    }

    function testFuzz_ForeignHistoryIsRefused(uint64 step, bytes32 seed) public {
        uint64 n = uint64(bound(step, M + 1, type(uint64).max));
        (bytes32 old, bytes32 grown, bytes32[] memory proof) = Reference9162.synthetic(M, n, seed);
        bytes memory err = abi.encodeWithSelector(IFleetLog.OldRootMismatch.selector, root1, old);
        anchorRefused(GATEWAY_KEY, Head(logId, n, grown, M, root1), proof, err);
    }

    /// Whatever bit of a good call's arguments is turned, it is refused and the head stands.
    function testFuzz_AnyFlippedBitIsRefused(uint256 bit) public {
        Head memory h = next();
        (bytes32 r, bytes32 s) = signHead(GATEWAY_KEY, h);
        (bytes32 x, bytes32 y) = publicKey(GATEWAY_KEY);
        bytes memory call =
            abi.encodeCall(IFleetLog.anchor, (h.logId, h.size, h.root, h.prevSize, h.prevRoot, x, y, r, s, path));
        bit = bound(bit, 0, call.length * 8 - 1);
        call[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        (bool taken,) = address(log).call(call);
        assertTrue(!taken, "taken");
        (uint64 size, bytes32 root) = log.head(logId);
        assertTrue(size == M && root == root1, "the head stands");
    }
}

contract FleetLogFirstHeadTest is TestBase {
    bytes32 private constant ROOT = keccak256("root");

    function test_TooSmall() public {
        bytes memory err = abi.encodeWithSelector(IFleetLog.StaleSize.selector, uint64(0), uint64(0));
        anchorRefused(GATEWAY_KEY, Head(logId, 0, ROOT, 0, 0), none(), err);
        err = abi.encodeWithSelector(IFleetLog.FirstHeadTooSmall.selector, uint64(1));
        anchorRefused(GATEWAY_KEY, Head(logId, 1, ROOT, 0, 0), none(), err);
        anchor(GATEWAY_KEY, Head(logId, 2, ROOT, 0, 0), none());
    }

    function test_TakesNoProof() public {
        bytes memory err = abi.encodeWithSelector(IFleetLog.WrongProofLength.selector, 0, 1);
        anchorRefused(GATEWAY_KEY, Head(logId, 2, ROOT, 0, 0), new bytes32[](1), err);
    }

    function test_ZeroRoot() public {
        bytes memory err = abi.encodeWithSelector(IFleetLog.ZeroRoot.selector);
        anchorRefused(GATEWAY_KEY, Head(logId, 2, 0, 0, 0), none(), err);
    }

    function test_MayFollowUnanchoredHeads() public {
        anchor(GATEWAY_KEY, Head(logId, type(uint64).max, ROOT, 2, bytes32(uint256(1))), none());
        (uint64 size,) = log.head(logId);
        assertEq(size, type(uint64).max, "size");
    }
}

/// @notice Every pair of sizes 0 .. 64 through the contract, over real trees.
contract FleetLogEveryPairTest is TestBase {
    uint256 private immutable SIZES = vm.envOr("EDGESEAL_PAIRS", uint256(64));

    /// @dev Anchors m in a fresh log, then brings n: taken if and only if m < n and n >= 2.
    function test_EveryPair() public {
        bytes32[] memory all = new bytes32[](SIZES);
        for (uint256 i = 0; i < SIZES; ++i) {
            all[i] = sha256(abi.encode("leaf", i));
        }
        bytes32[][] memory trees = Reference9162.subtrees(all);
        bytes32[] memory roots = new bytes32[](SIZES + 1);
        for (uint256 n = 1; n <= SIZES; ++n) {
            roots[n] = Reference9162.mth(all, 0, n);
        }
        roots[0] = sha256("");
        for (uint64 m = 0; m <= SIZES; ++m) {
            if (m == 1) continue; // cannot be anchored: FirstHeadTooSmall
            bytes32 id = openLog(openTenant(registry, 0x5000 + m, ADMIN), GATEWAY_KEY, 0);
            if (m != 0) anchor(GATEWAY_KEY, Head(id, m, roots[m], 0, 0), none());
            for (uint64 n = 0; n <= SIZES; ++n) {
                uint256 free = _freeMemory();
                this.bring(id, m, n, roots[m], roots[n], m == 0 || m >= n ? none() : Reference9162.proof(trees, n, m));
                _release(free);
            }
        }
    }

    /// @dev Undone by its own revert, so that the next n meets the same m.
    function bring(bytes32 id, uint64 m, uint64 n, bytes32 root1, bytes32 root2, bytes32[] calldata proof) external {
        Head memory h = Head(id, n, root2, m, m == 0 ? bytes32(0) : root1);
        if (n <= m) {
            anchorRefused(GATEWAY_KEY, h, proof, abi.encodeWithSelector(IFleetLog.StaleSize.selector, n, m));
        } else if (n < 2) {
            anchorRefused(GATEWAY_KEY, h, proof, abi.encodeWithSelector(IFleetLog.FirstHeadTooSmall.selector, n));
        } else {
            try this.bringGood(h, proof) {
                revert("bringGood returned");
            } catch (bytes memory outcome) {
                assertEq(keccak256(outcome), keccak256(abi.encodeWithSelector(Taken.selector, n, root2)), "not taken");
            }
        }
    }

    error Taken(uint64 size, bytes32 root);

    function bringGood(Head memory h, bytes32[] memory proof) external {
        anchor(GATEWAY_KEY, h, proof);
        (uint64 size, bytes32 root) = log.head(h.logId);
        revert Taken(size, root);
    }

    function _freeMemory() private pure returns (uint256 p) {
        assembly ("memory-safe") {
            p := mload(0x40)
        }
    }

    function _release(uint256 p) private pure {
        assembly ("memory-safe") {
            mstore(0x40, p)
        }
    }
}
