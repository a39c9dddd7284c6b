// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {TestBase} from "./TestBase.sol";
import {Vm} from "./Vm.sol";

/// @notice Keys that prove possession, and keys that take another's place.
contract RotationTest is TestBase {
    uint256 internal constant OLD = 0x7001;
    uint256 internal constant NEW = 0x7002;
    uint256 internal constant OPERATOR = 0x7003;
    uint64 internal constant ANCHORED = 500;
    bytes32 internal constant EVIDENCE = keccak256("evidence");
    bytes32 internal constant NONCE = keccak256("nonce");

    uint64 internal deadline;
    bytes32 internal oldKid;
    bytes32 internal newKid;

    function setUp() public override {
        super.setUp();
        vm.warp(1_760_000_000);
        deadline = uint64(block.timestamp + 1 hours);
        anchorFirst(ANCHORED);
        oldKid = registerKey(OLD, IIdentityRegistry.Role.Publisher, 0);
        registerKey(OPERATOR, IIdentityRegistry.Role.Operator, 0);
        newKid = kidOf(NEW);
    }

    function registration() internal view returns (IIdentityRegistry.Registration memory r) {
        (bytes32 x, bytes32 y) = publicKey(NEW);
        r = IIdentityRegistry.Registration(logId, IIdentityRegistry.Role.Device, x, y, 7, EVIDENCE, NONCE, deadline);
    }

    function possession(uint256 key, IIdentityRegistry where, IIdentityRegistry.Registration memory r)
        internal
        view
        returns (IIdentityRegistry.Signature memory by)
    {
        bytes memory place = abi.encodePacked(block.chainid, address(where), tenant, r.logId);
        bytes memory what = abi.encodePacked(uint8(r.role), r.from, r.evidence, r.nonce, r.deadline);
        (by.r, by.s) = sign(key, sha256(abi.encodePacked("edgeseal/v1/key-possession", hex"00", place, what)));
    }

    function rotation() internal view returns (IIdentityRegistry.Rotation memory r) {
        r.logId = logId;
        (r.oldX, r.oldY) = publicKey(OLD);
        (r.newX, r.newY) = publicKey(NEW);
        (r.evidence, r.nonce, r.deadline) = (EVIDENCE, NONCE, deadline);
    }

    function agreed(uint256 key, IIdentityRegistry.Rotation memory r)
        internal
        view
        returns (IIdentityRegistry.Signature memory by)
    {
        bytes memory place = abi.encodePacked(block.chainid, address(registry), tenant, r.logId);
        bytes32 was = sha256(abi.encodePacked(hex"a401022001215820", r.oldX, hex"225820", r.oldY));
        bytes32 is_ = sha256(abi.encodePacked(hex"a401022001215820", r.newX, hex"225820", r.newY));
        bytes memory what = abi.encodePacked(was, is_, r.evidence, r.nonce, r.deadline);
        (by.r, by.s) = sign(key, sha256(abi.encodePacked("edgeseal/v1/key-rotation", hex"00", place, what)));
    }

    struct Call {
        IIdentityRegistry.Signature byOld;
        IIdentityRegistry.Signature byNew;
        bytes32 x;
        bytes32 y;
        IIdentityRegistry.Signature byOperator;
    }

    function signed(IIdentityRegistry.Rotation memory r, uint256 a, uint256 b, uint256 operator)
        internal
        view
        returns (Call memory c)
    {
        (c.x, c.y) = publicKey(operator);
        (c.byOld, c.byNew, c.byOperator) = (agreed(a, r), agreed(b, r), agreed(operator, r));
    }

    function send(IIdentityRegistry.Rotation memory r, Call memory c) internal {
        registry.proposeRotation(r, c.byOld, c.byNew, c.x, c.y, c.byOperator);
    }

    function propose() internal {
        IIdentityRegistry.Rotation memory r = rotation();
        send(r, signed(r, OLD, NEW, OPERATOR));
    }

    function refused(IIdentityRegistry.Rotation memory r, Call memory c, bytes memory err) internal {
        vm.expectRevert(err);
        send(r, c);
    }

    function finish() internal returns (bytes32) {
        (bytes32 x, bytes32 y) = publicKey(NEW);
        vm.prank(STRANGER);
        return registry.finishRotation(logId, oldKid, x, y);
    }

    function test_RegisteredWithProofOfPossession() public {
        IIdentityRegistry.Registration memory r = registration();
        IIdentityRegistry.Signature memory by = possession(NEW, registry, r);
        vm.recordLogs();
        vm.prank(ADMIN);
        assertEq(registry.registerKeyWithProof(r, by), newKid, "kid");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], IIdentityRegistry.KeyRegistered.selector, "event");
        assertEq(
            keccak256(logs[0].data), keccak256(abi.encode(r.x, r.y, uint64(7), EVIDENCE, ANCHORED, true)), "possessed"
        );
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.KeyExists.selector, logId, newKid));
        vm.prank(ADMIN);
        registry.registerKeyWithProof(r, by);
    }

    /// Everything in the registration is covered, and chain, contract, tenant and log.
    function test_PossessionIsBound() public {
        IIdentityRegistry.Registration memory r = registration();
        IIdentityRegistry.Signature memory by = possession(NEW, registry, r);
        for (uint256 i = 0; i < 5; ++i) {
            IIdentityRegistry.Registration memory changed = registration();
            if (i == 0) changed.role = IIdentityRegistry.Role.Operator;
            if (i == 1) changed.from = 8;
            if (i == 2) changed.evidence = 0;
            if (i == 3) changed.nonce = 0;
            if (i == 4) changed.deadline += 1;
            vm.expectPartialRevert(IIdentityRegistry.BadSignature.selector);
            vm.prank(ADMIN);
            registry.registerKeyWithProof(changed, by);
        }
        by = possession(NEW, IIdentityRegistry(address(log)), r);
        vm.expectPartialRevert(IIdentityRegistry.BadSignature.selector);
        vm.prank(ADMIN);
        registry.registerKeyWithProof(r, by);
        by = possession(OLD, registry, r);
        vm.expectPartialRevert(IIdentityRegistry.BadSignature.selector);
        vm.prank(ADMIN);
        registry.registerKeyWithProof(r, by);
        by = possession(NEW, registry, r);
        vm.chainId(1);
        vm.expectPartialRevert(IIdentityRegistry.BadSignature.selector);
        vm.prank(ADMIN);
        registry.registerKeyWithProof(r, by);
    }

    function test_PossessionRefused() public {
        IIdentityRegistry.Registration memory r = registration();
        IIdentityRegistry.Signature memory by = possession(NEW, registry, r);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NotTenantAdmin.selector, tenant, STRANGER, ADMIN));
        vm.prank(STRANGER);
        registry.registerKeyWithProof(r, by);
        bytes32 high = bytes32(N - uint256(by.s));
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.HighS.selector, high));
        vm.prank(ADMIN);
        registry.registerKeyWithProof(r, IIdentityRegistry.Signature(by.r, high));
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.Expired.selector, deadline, deadline + 1));
        vm.prank(ADMIN);
        registry.registerKeyWithProof(r, by);
    }

    function test_Rotation() public {
        vm.roll(block.number + 3);
        vm.recordLogs();
        propose();
        uint64 ready = uint64(block.timestamp + 1 days);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        IIdentityRegistry.Rotation memory r = rotation();
        assertEq(logs[0].topics[0], IIdentityRegistry.RotationProposed.selector, "event");
        assertEq(
            keccak256(logs[0].data),
            keccak256(abi.encode(r.newX, r.newY, EVIDENCE, kidOf(OPERATOR), ready, uint64(block.number - 3))),
            "data, previous block"
        );
        assertTrue(registry.isValidAt(oldKid, logId, ANCHORED), "the old key counts on");
        vm.warp(ready - 1);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.VetoWindowOpen.selector, ready, ready - 1));
        finish();
        vm.warp(ready);
        vm.recordLogs();
        finish();
        logs = vm.getRecordedLogs();
        assertEq(logs.length, 3, "events");
        assertEq(logs[0].topics[0], IIdentityRegistry.KeyRevoked.selector, "revoked");
        assertEq(logs[1].topics[0], IIdentityRegistry.KeyRegistered.selector, "registered");
        assertEq(logs[2].topics[0], IIdentityRegistry.KeyRotated.selector, "rotated");
        assertEq(registry.originOf(logId, newKid), oldKid, "origin");
        assertEq(registry.originOf(logId, oldKid), oldKid, "its own origin");
        assertTrue(registry.isValidAt(oldKid, logId, ANCHORED - 1), "what it signed stays");
        assertTrue(!registry.isValidAt(oldKid, logId, ANCHORED), "the old key ends");
        assertTrue(!registry.isValidAt(newKid, logId, ANCHORED - 1), "the new key begins");
        assertTrue(registry.isValidAt(newKid, logId, ANCHORED), "with the same position");
        (IIdentityRegistry.Role role,,,,) = registry.keyOf(logId, newKid);
        assertTrue(role == IIdentityRegistry.Role.Publisher, "in the same role");
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NoRotation.selector, oldKid, newKid));
        finish();
    }

    /// The thief of the old key has the first two signatures, and perhaps a careless operator: the admin has a day.
    function test_Veto() public {
        propose();
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NotTenantAdmin.selector, tenant, STRANGER, ADMIN));
        vm.prank(STRANGER);
        registry.vetoRotation(logId, oldKid);
        vm.prank(ADMIN);
        registry.vetoRotation(logId, oldKid);
        (bytes32 pending,) = registry.rotationOf(logId, oldKid);
        assertEq(pending, 0, "none");
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NoRotation.selector, oldKid, bytes32(0)));
        vm.prank(ADMIN);
        registry.vetoRotation(logId, oldKid);
        IIdentityRegistry.Rotation memory r = rotation();
        Call memory c = signed(r, OLD, NEW, OPERATOR);
        vm.expectPartialRevert(IIdentityRegistry.RotationUsed.selector);
        send(r, c); // the same agreement does not come back
        vm.warp(block.timestamp + 1 days);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NoRotation.selector, oldKid, newKid));
        finish();
    }

    /// For good: it does not wait for the key to be reinstated, when the window for a veto is long over.
    function test_SuspendingStopsARotation() public {
        propose();
        vm.roll(block.number + 2);
        vm.recordLogs();
        vm.prank(ADMIN);
        registry.suspendKey(logId, oldKid, ANCHORED);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], IIdentityRegistry.RotationVetoed.selector, "vetoed");
        assertEq(logs[0].topics[3], newKid, "new key");
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(uint64(block.number - 2))), "previous block");
        assertEq(logs[1].topics[0], IIdentityRegistry.KeySuspended.selector, "suspended");
        vm.warp(block.timestamp + 1 days);
        vm.prank(ADMIN);
        registry.reinstateKey(logId, oldKid, ANCHORED);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NoRotation.selector, oldKid, newKid));
        finish();
    }

    function test_RevokingStopsARotation() public {
        propose();
        vm.prank(ADMIN);
        registry.revokeKey(logId, oldKid, ANCHORED, IIdentityRegistry.Reason.Compromised);
        vm.warp(block.timestamp + 1 days);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NoRotation.selector, oldKid, newKid));
        finish();
    }

    /// From the entry back to the registration, by the blocks that events name.
    function test_TheHistoryOfAKeyIsWalkedWithoutAnIndex() public {
        uint64[6] memory blocks;
        uint64 registered = uint64(block.number);
        vm.recordLogs();
        for (uint256 i = 0; i < 6; ++i) {
            vm.roll(block.number + 10 + i);
            blocks[i] = uint64(block.number);
            if (i == 0) propose();
            else vm.prank(ADMIN);
            if (i == 1) registry.vetoRotation(logId, oldKid);
            if (i == 2) registry.suspendKey(logId, oldKid, ANCHORED);
            if (i == 3) registry.reinstateKey(logId, oldKid, ANCHORED);
            if (i == 4) registry.revokeKey(logId, oldKid, ANCHORED, IIdentityRegistry.Reason.Lost);
            if (i == 5) registry.revokeKey(logId, oldKid, 3, IIdentityRegistry.Reason.Compromised);
        }
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 6, "events");
        (,, uint64 at_,,) = registry.keyOf(logId, oldKid);
        for (uint256 i = 6; i > 0; --i) {
            assertEq(at_, blocks[i - 1], "block of the event");
            bytes memory data = logs[i - 1].data;
            assembly ("memory-safe") {
                at_ := mload(add(data, mload(data))) // the last word: prevBlock
            }
        }
        assertEq(at_, registered, "the registration");
    }

    /// The operator's key was stolen too, and that came to light within the day.
    function test_AnOperatorWhoNoLongerCountsFinishesNothing() public {
        propose();
        bytes32 operator = kidOf(OPERATOR);
        vm.prank(ADMIN);
        registry.revokeKey(logId, operator, 0, IIdentityRegistry.Reason.Compromised);
        vm.warp(block.timestamp + 1 days);
        vm.expectRevert(
            abi.encodeWithSelector(
                IIdentityRegistry.NotAnOperator.selector, operator, IIdentityRegistry.Role.Operator, ANCHORED
            )
        );
        finish();
        vm.prank(ADMIN);
        registry.vetoRotation(logId, oldKid); // and the way is free for another
    }

    /// A new key ends the old one and stands under its origin, however long the line grows.
    function test_TheOriginIsTheFirstOfTheLine() public {
        propose();
        vm.warp(block.timestamp + 1 days);
        finish();
        uint256 third = 0x7009;
        IIdentityRegistry.Rotation memory r = rotation();
        (r.oldX, r.oldY) = publicKey(NEW);
        (r.newX, r.newY) = publicKey(third);
        r.deadline = uint64(block.timestamp);
        Call memory c = signed(r, NEW, third, OPERATOR);
        send(r, c);
        vm.warp(block.timestamp + 1 days);
        registry.finishRotation(logId, newKid, r.newX, r.newY);
        assertEq(registry.originOf(logId, kidOf(third)), oldKid, "the first");
        assertEq(registry.originOf(bytes32(uint256(1)), kidOf(third)), kidOf(third), "in this log only");
    }

    /// Each of the three signatures is needed, by three different keys.
    function test_ThreeSignatures() public {
        IIdentityRegistry.Rotation memory r = rotation();
        Call memory good = signed(r, OLD, NEW, OPERATOR);
        bytes4 bad = IIdentityRegistry.BadSignature.selector;
        Call memory c = signed(r, NEW, NEW, OPERATOR);
        vm.expectPartialRevert(bad);
        send(r, c);
        c = signed(r, OLD, OLD, OPERATOR);
        vm.expectPartialRevert(bad);
        send(r, c);
        c = signed(r, OLD, NEW, OPERATOR);
        c.byOperator = good.byOld;
        vm.expectPartialRevert(bad);
        send(r, c);
        c = signed(r, OLD, NEW, OLD);
        refused(r, c, abi.encodeWithSelector(IIdentityRegistry.NotThreeKeys.selector, oldKid, newKid, oldKid));
        c = signed(r, OLD, NEW, NEW);
        refused(r, c, abi.encodeWithSelector(IIdentityRegistry.NotThreeKeys.selector, oldKid, newKid, newKid));
        r.deadline = uint64(block.timestamp - 1);
        refused(
            r, good, abi.encodeWithSelector(IIdentityRegistry.Expired.selector, r.deadline, uint256(r.deadline) + 1)
        );
    }

    function test_TheOperatorCountsNow() public {
        IIdentityRegistry.Rotation memory r = rotation();
        bytes32 operator = registerKey(0x7004, IIdentityRegistry.Role.Approver, 0);
        Call memory c = signed(r, OLD, NEW, 0x7004);
        bytes4 none_ = IIdentityRegistry.NotAnOperator.selector;
        refused(r, c, abi.encodeWithSelector(none_, operator, IIdentityRegistry.Role.Approver, ANCHORED));
        operator = kidOf(OPERATOR);
        vm.prank(ADMIN);
        registry.suspendKey(logId, operator, ANCHORED);
        c = signed(r, OLD, NEW, OPERATOR);
        refused(r, c, abi.encodeWithSelector(none_, operator, IIdentityRegistry.Role.Operator, ANCHORED));
        c = signed(r, OLD, NEW, OTHER_KEY);
        refused(r, c, abi.encodeWithSelector(IIdentityRegistry.UnknownKey.selector, logId, kidOf(OTHER_KEY)));
    }

    function test_OneRotationAtATimeToAKeyThatIsNew() public {
        propose();
        IIdentityRegistry.Rotation memory r = rotation();
        r.nonce = keccak256("another");
        refused(
            r,
            signed(r, OLD, NEW, OPERATOR),
            abi.encodeWithSelector(IIdentityRegistry.RotationPending.selector, oldKid, newKid)
        );
        registerKey(NEW, IIdentityRegistry.Role.Device, 0);
        vm.prank(ADMIN);
        registry.vetoRotation(logId, oldKid);
        refused(
            r,
            signed(r, OLD, NEW, OPERATOR),
            abi.encodeWithSelector(IIdentityRegistry.KeyExists.selector, logId, newKid)
        );
        assertEq(registry.VETO_WINDOW(), 1 days, "window");
    }

    /// The new key may be registered otherwise while its rotation waits: then nothing is left to do.
    function test_FinishingOntoAKeyRegisteredMeanwhile() public {
        propose();
        registerKey(NEW, IIdentityRegistry.Role.Device, 0);
        vm.warp(block.timestamp + 1 days);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.KeyExists.selector, logId, newKid));
        finish();
        assertTrue(registry.isValidAt(oldKid, logId, ANCHORED), "the old key counts on");
    }
}
