// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "../src/interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {Reference9162} from "./Reference9162.sol";
import {ModelBase} from "./ModelRegistry.t.sol";

/// @notice Does, as the admin and everybody else, whatever the contracts offer, in any order, and keeps book beside them.
/// @dev The test is its own handler: forge calls the functions named in `targetSelectors`. A call that the contracts
/// refuse is caught; nothing of it may have an effect, which is what the invariants then look at.
contract InvariantTest is ModelBase {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    struct Anchored {
        uint64 size;
        bytes32 root;
    }

    uint256 private constant KEYS = 6;
    uint256 private constant DEVICES = 0x8100;
    uint256 private constant SUCCESSORS = 0x8200; // the keys that may take the devices' places
    uint256 private constant OPERATOR = 0x8300;

    bytes32[] private tree; // leaves of the honest log
    Anchored[] private heads; // every head that was anchored in the first log
    mapping(uint256 => uint64) private revokedUntil; // 1 + until
    mapping(uint64 => bool) private revokedModel;
    mapping(bytes32 => bool) private replacedGateway;
    bool private ended;
    uint256 private gateway = GATEWAY_KEY;
    uint64 private lowest = type(uint64).max; // positions below are judged for good
    uint256 public done;

    function setUp() public override {
        super.setUp();
        heads.push(Anchored(100, keccak256("first")));
        // A log of its own, so that the honest tree can grow from its first leaf.
        tenant = openTenant(registry, 0x7117, ADMIN);
        logId = openLog(tenant, gateway, 0);
        for (uint256 i = 0; i < 4; ++i) {
            tree.push(keccak256(abi.encode(i)));
        }
        delete heads;
        anchor(gateway, Head(logId, 4, Reference9162.mth(tree, 0, 4), 0, 0), none());
        heads.push(Anchored(4, Reference9162.mth(tree, 0, 4)));
        registerKey(PUBLISHER, IIdentityRegistry.Role.Publisher, 0);
        for (uint256 i = 0; i < 4; ++i) {
            registerKey(APPROVER + i, IIdentityRegistry.Role.Approver, 0);
        }
        for (uint256 i = 0; i < KEYS; ++i) {
            registerKey(DEVICES + i, IIdentityRegistry.Role.Device, 0);
        }
        registerKey(OPERATOR, IIdentityRegistry.Role.Operator, 0);
        policy(1, false);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(this);
        targets[0].selectors = new bytes4[](12);
        bytes4[12] memory all = [
            this.grow.selector,
            this.anchorFalse.selector,
            this.replaceGateway.selector,
            this.endLog.selector,
            this.revokeDevice.selector,
            this.suspendDevice.selector,
            this.reinstateDevice.selector,
            this.stepModel.selector,
            this.passTime.selector,
            this.declare.selector,
            this.rotateDevice.selector,
            this.finishRotation.selector
        ];
        for (uint256 i = 0; i < 12; ++i) {
            targets[0].selectors[i] = all[i];
        }
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    /// The gateway anchors honestly.
    function grow(uint256 more) external {
        if (ended) return;
        (uint64 size, bytes32 root) = log.head(logId);
        for (uint256 i = 0; i < bound(more, 1, 5); ++i) {
            tree.push(keccak256(abi.encode(tree.length)));
        }
        bytes32[] memory leaves = tree;
        bytes32 next = Reference9162.mth(leaves, 0, leaves.length);
        bytes32[] memory proof = Reference9162.proof(leaves, size);
        anchor(gateway, Head(logId, uint64(leaves.length), next, size, root), proof);
        heads.push(Anchored(uint64(leaves.length), next));
        ++done;
    }

    /// The gateway signs what it likes: only what contains the anchored tree gets in.
    function anchorFalse(uint64 size, bytes32 root, bytes32 node) external {
        (uint64 anchored, bytes32 was) = log.head(logId);
        size = uint64(bound(size, 0, uint256(anchored) + 9));
        Head memory h = Head(logId, size, root, anchored, was);
        (bytes32 r, bytes32 s) = signHead(gateway, h);
        (bytes32 x, bytes32 y) = publicKey(gateway);
        bytes32[] memory proof = new bytes32[](1 + uint256(node) % 4);
        proof[0] = node;
        try log.anchor(logId, size, root, anchored, was, x, y, r, s, proof) {
            revert("anchored");
        } catch {}
    }

    function replaceGateway(uint256 which) external {
        uint256 key = GATEWAY_KEY + which % 5;
        (bytes32 x, bytes32 y) = publicKey(key);
        (bytes32 now_,,) = log.gatewayOf(logId);
        bytes32 kid = kidOf(key);
        vm.prank(ADMIN);
        try log.setGatewayKey(logId, x, y) {
            require(!replacedGateway[kid], "a replaced key came back");
            replacedGateway[now_] = true;
            gateway = key;
            ++done;
        } catch {}
    }

    /// Rarely: a fork is proved, or a successor opened.
    function endLog(uint256 how) external {
        if (ended || how % 8 != 0) return;
        (uint64 size,) = log.head(logId);
        (bytes32 x, bytes32 y) = publicKey(gateway);
        if (how % 16 == 0) {
            IFleetLog.SignedHead memory a = fork(size + 1, keccak256("a"));
            log.proveFork(logId, x, y, a, fork(size + 1, keccak256("b")), 0, none());
        } else {
            vm.prank(ADMIN);
            log.openSuccessor(logId, x, y, bytes32(how));
        }
        ended = true;
        ++done;
    }

    function fork(uint64 size, bytes32 root) private view returns (IFleetLog.SignedHead memory) {
        (bytes32 r, bytes32 s) = signHead(gateway, Head(logId, size, root, 0, 0));
        return IFleetLog.SignedHead(size, root, 0, 0, r, s);
    }

    function revokeDevice(uint256 which, uint64 until) external {
        which %= KEYS;
        bytes32 kid = kidOf(DEVICES + which);
        (uint64 size,) = log.head(logId);
        until = uint64(bound(until, 0, uint256(size) + 2));
        vm.prank(ADMIN);
        try registry.revokeKey(logId, kid, until, IIdentityRegistry.Reason.Compromised) {
            (,,,, uint64 is_) = registry.keyOf(logId, kid);
            require(revokedUntil[which] == 0 || is_ + 1 < revokedUntil[which], "a revocation was widened");
            revokedUntil[which] = is_ + 1;
            ++done;
        } catch {}
    }

    function suspendDevice(uint256 which, uint64 until) external {
        bytes32 kid = kidOf(DEVICES + which % KEYS);
        (uint64 size,) = log.head(logId);
        vm.prank(ADMIN);
        try registry.suspendKey(logId, kid, uint64(bound(until, 0, uint256(size) + 2))) {
            ++done;
        } catch {}
    }

    function reinstateDevice(uint256 which, uint64 from) external {
        bytes32 kid = kidOf(DEVICES + which % KEYS);
        (uint64 size,) = log.head(logId);
        vm.prank(ADMIN);
        try registry.reinstateKey(logId, kid, uint64(bound(from, 0, uint256(size) + 9))) {
            ++done;
        } catch {}
    }

    /// The admin declares other terms; somebody notes the silence.
    function declare(uint32 silence, uint32 window) external {
        vm.prank(ADMIN);
        try log.setTerms(logId, silence % 3 hours, uint32(bound(window, 0, 31 days))) {
            ++done;
        } catch {}
        try log.noteSilence(logId) {
            ++done;
        } catch {}
    }

    function rotateDevice(uint256 which) external {
        which %= KEYS;
        IIdentityRegistry.Rotation memory r;
        (r.logId, r.nonce, r.deadline) = (logId, bytes32(block.timestamp), uint64(block.timestamp));
        (r.oldX, r.oldY) = publicKey(DEVICES + which);
        (r.newX, r.newY) = publicKey(SUCCESSORS + which);
        bytes memory place = abi.encodePacked(block.chainid, address(registry), tenant, logId);
        bytes memory what = abi.encodePacked(kidOf(DEVICES + which), kidOf(SUCCESSORS + which), r.evidence, r.nonce);
        bytes32 digest = sha256(abi.encodePacked("edgeseal/v1/key-rotation", hex"00", place, what, r.deadline));
        IIdentityRegistry.Signature[3] memory by;
        (by[0].r, by[0].s) = sign(DEVICES + which, digest);
        (by[1].r, by[1].s) = sign(SUCCESSORS + which, digest);
        (by[2].r, by[2].s) = sign(OPERATOR, digest);
        (bytes32 x, bytes32 y) = publicKey(OPERATOR);
        try registry.proposeRotation(r, by[0], by[1], x, y, by[2]) {
            ++done;
        } catch {}
    }

    /// Anybody finishes what has waited: never before the window for a veto is over.
    function finishRotation(uint256 which) external {
        which %= KEYS;
        bytes32 kid = kidOf(DEVICES + which);
        (, uint64 readyAt) = registry.rotationOf(logId, kid);
        (bytes32 x, bytes32 y) = publicKey(SUCCESSORS + which);
        (uint64 size,) = log.head(logId);
        try registry.finishRotation(logId, kid, x, y) {
            require(readyAt != 0 && block.timestamp >= readyAt, "a rotation did not wait");
            require(revokedUntil[which] == 0, "a revoked key was rotated");
            revokedUntil[which] = size + 1;
            ++done;
        } catch {}
    }

    /// One step of one of three versions, whatever its state.
    function stepModel(uint64 version, uint256 step) external {
        version = 1 + version % 3;
        bytes memory data;
        step %= 7;
        address from = ADMIN;
        if (step == 0) {
            IModelRegistry.Proposal memory p = proposal(version);
            data = abi.encodeCall(IModelRegistry.propose, (p, deadline, signedBy(PUBLISHER, proposalDigest(p))));
        }
        if (step == 1) {
            data = abi.encodeCall(
                IModelRegistry.approve, (tenant, LINE, version, 0, deadline, approval(APPROVER, version, 0))
            );
        }
        if (step == 2) data = abi.encodeCall(IModelRegistry.makeDeployable, (tenant, LINE, version));
        if (step == 3) data = abi.encodeCall(IModelRegistry.deprecate, (tenant, LINE, version, 0));
        if (step == 4) data = abi.encodeCall(IModelRegistry.revoke, (tenant, LINE, version, 0));
        if (step == 5) data = abi.encodeCall(IModelRegistry.setCurrent, (tenant, LINE, version));
        if (step == 6) {
            uint40 t = uint40(block.timestamp);
            data = abi.encodeCall(IModelRegistry.grant, (tenant, LINE, version, DEVICE, t, t + 1 days));
        }
        vm.prank(from);
        (bool ok,) = address(models).call(data);
        if (ok) ++done;
        if (ok && step == 4) revokedModel[version] = true;
    }

    function passTime(uint256 seconds_) external {
        vm.warp(block.timestamp + bound(seconds_, 1, 20 hours));
        vm.roll(block.number + 1);
        deadline = uint64(block.timestamp + 1 days);
    }

    /// Sizes grow only, and the head is the last one anchored honestly: nobody altered it.
    function invariant_TheAnchoredHeadIsTheLastHonestOne() public view {
        (uint64 size, bytes32 root) = log.head(logId);
        Anchored memory last = heads[heads.length - 1];
        assertEq(size, last.size, "size");
        assertEq(root, last.root, "root");
        for (uint256 i = 1; i < heads.length; ++i) {
            assertTrue(heads[i - 1].size < heads[i].size, "sizes grow");
        }
    }

    /// A revoked key never counts again at or above its end, and is never anything but revoked.
    function invariant_RevokedKeysStayRevoked() public view {
        for (uint256 i = 0; i < KEYS; ++i) {
            if (revokedUntil[i] == 0) continue;
            bytes32 kid = kidOf(DEVICES + i);
            (, IIdentityRegistry.Status status,,, uint64 until) = registry.keyOf(logId, kid);
            assertTrue(status == IIdentityRegistry.Status.Revoked, "revoked");
            assertEq(until, revokedUntil[i] - 1, "until");
            (uint64 size,) = log.head(logId);
            assertTrue(!registry.isValidAt(kid, logId, until), "at its end");
            assertTrue(!registry.isValidAt(kid, logId, size), "now");
            assertTrue(!registry.isValidAt(kid, logId, type(uint64).max), "ever");
        }
    }

    /// A revoked version is revoked for good: not deployable now or later, and no line stands at it.
    function invariant_RevokedVersionsStayRevoked() public view {
        (, uint64 current,) = models.lineOf(tenant, LINE);
        for (uint64 version = 1; version <= 3; ++version) {
            if (!revokedModel[version]) continue;
            assertTrue(state(version) == IModelRegistry.State.Revoked, "revoked");
            assertTrue(!may(version, block.timestamp), "now");
            assertTrue(!may(version, block.timestamp + 1 hours), "later");
            assertTrue(current != version, "current");
        }
    }

    /// An ended log stays ended.
    function invariant_EndedLogsStayEnded() public view {
        (IFleetLog.LogState now_,,) = log.stateOf(logId);
        assertTrue((now_ == IFleetLog.LogState.Open) != ended, "state");
    }
}
