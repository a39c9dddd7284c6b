// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {IRegisteredSigner} from "../src/interfaces/IRegisteredSigner.sol";
import {TestBase} from "./TestBase.sol";
import {Vm} from "./Vm.sol";

abstract contract ModelBase is TestBase {
    uint256 internal constant PUBLISHER = 0x5001;
    uint256 internal constant APPROVER = 0x5100; // and the numbers after it
    bytes32 internal constant LINE = keccak256("digits");
    bytes32 internal constant DEVICE = keccak256("device log");
    uint32 internal constant WAIT = 1 hours;

    IModelRegistry internal models;
    uint64 internal deadline;

    function setUp() public virtual override {
        super.setUp();
        models = IModelRegistry(deployOver("ModelRegistry"));
        anchorFirst(100);
        registerKey(PUBLISHER, IIdentityRegistry.Role.Publisher, 0);
        for (uint256 i = 0; i < 4; ++i) {
            registerKey(APPROVER + i, IIdentityRegistry.Role.Approver, 0);
        }
        policy(2, true);
        vm.warp(1_760_000_000);
        deadline = uint64(block.timestamp + 1 days);
    }

    function policy(uint8 approvals, bool evaluation) internal {
        vm.prank(ADMIN);
        models.setPolicy(tenant, LINE, IModelRegistry.Policy(approvals, evaluation, WAIT));
    }

    function proposal(uint64 version) internal view returns (IModelRegistry.Proposal memory p) {
        p.tenant = tenant;
        p.line = LINE;
        p.version = version;
        p.artifact = artifactOf(version);
        p.dataset = keccak256("dataset");
        p.training = keccak256("training");
    }

    function artifactOf(uint64 version) internal pure returns (bytes32) {
        return keccak256(abi.encode("artifact", version));
    }

    function proposalDigest(IModelRegistry.Proposal memory p) internal view returns (bytes32) {
        bytes memory fields = abi.encodePacked(p.tenant, p.line, p.version, p.parent, p.artifact, p.dataset);
        return sha256(
            abi.encodePacked(
                "edgeseal/v1/model-propose",
                hex"00",
                block.chainid,
                address(models),
                fields,
                p.training,
                p.evaluation,
                deadline
            )
        );
    }

    function propose(IModelRegistry.Proposal memory p) internal {
        IRegisteredSigner.Signed memory by = signedBy(PUBLISHER, proposalDigest(p));
        models.propose(p, deadline, by);
    }

    function proposeRefused(IModelRegistry.Proposal memory p, bytes memory err) internal {
        IRegisteredSigner.Signed memory by = signedBy(PUBLISHER, proposalDigest(p));
        vm.expectRevert(err);
        models.propose(p, deadline, by);
    }

    function approval(uint256 key, uint64 version, bytes32 evaluation)
        internal
        view
        returns (IRegisteredSigner.Signed memory)
    {
        bytes memory place = abi.encodePacked(block.chainid, address(models), tenant, LINE, version);
        return signedBy(
            key,
            sha256(
                abi.encodePacked("edgeseal/v1/model-approve", hex"00", place, artifactOf(version), evaluation, deadline)
            )
        );
    }

    function approve(uint256 key, uint64 version, bytes32 evaluation) internal {
        IRegisteredSigner.Signed memory by = approval(key, version, evaluation);
        models.approve(tenant, LINE, version, evaluation, deadline, by);
    }

    function approveRefused(uint256 key, uint64 version, bytes32 evaluation, bytes memory err) internal {
        IRegisteredSigner.Signed memory by = approval(key, version, evaluation);
        vm.expectRevert(err);
        models.approve(tenant, LINE, version, evaluation, deadline, by);
    }

    function makeDeployable(uint64 version) internal {
        propose(proposal(version));
        approve(APPROVER, version, keccak256("evaluation"));
        approve(APPROVER + 1, version, 0);
        approve(APPROVER + 2, version, 0);
        vm.warp(block.timestamp + WAIT);
        vm.prank(ADMIN);
        models.makeDeployable(tenant, LINE, version);
    }

    function grant(uint64 version, uint256 from, uint256 until) internal {
        vm.prank(ADMIN);
        models.grant(tenant, LINE, version, DEVICE, uint40(from), uint40(until));
    }

    function revoke(uint64 version) internal {
        vm.prank(ADMIN);
        models.revoke(tenant, LINE, version, keccak256("why"));
    }

    function state(uint64 version) internal view returns (IModelRegistry.State) {
        return models.versionOf(tenant, LINE, version).state;
    }

    function may(uint64 version, uint256 time) internal view returns (bool) {
        return models.isDeployable(tenant, artifactOf(version), DEVICE, time);
    }

    function isIn(uint64 version, IModelRegistry.State expected, string memory what) internal view {
        assertEq(uint256(state(version)), uint256(expected), what);
    }
}

contract ModelRegistryTest is ModelBase {
    function test_WholeLife() public {
        propose(proposal(1));
        isIn(1, IModelRegistry.State.Proposed, "proposed");
        approve(APPROVER + 1, 1, 0);
        approve(APPROVER + 2, 1, 0);
        isIn(1, IModelRegistry.State.Proposed, "two approvals, no evaluation");
        approve(APPROVER, 1, keccak256("evaluation"));
        isIn(1, IModelRegistry.State.Approved, "approved");
        uint256 from = block.timestamp + WAIT;
        vm.warp(from - 1);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.TooEarly.selector, from, from - 1));
        vm.prank(ADMIN);
        models.makeDeployable(tenant, LINE, 1);
        vm.warp(from);
        vm.prank(ADMIN);
        models.makeDeployable(tenant, LINE, 1);
        grant(1, from + 10, from + 20);
        assertTrue(!may(1, from) && !may(1, from + 9), "before the grant");
        assertTrue(may(1, from + 10) && may(1, from + 19), "granted");
        assertTrue(!may(1, from + 20), "after the grant");
        vm.warp(from + 15);
        vm.prank(ADMIN);
        models.deprecate(tenant, LINE, 1, 0);
        assertTrue(may(1, from + 14), "what was stays");
        assertTrue(!may(1, from + 15), "deprecated");
        vm.warp(from + 17);
        revoke(1);
        isIn(1, IModelRegistry.State.Revoked, "revoked");
        assertTrue(may(1, from + 14) && !may(1, from + 15) && !may(1, from + 17), "the deprecation stands");
        (bytes32 line, uint64 version) = models.versionOfArtifact(tenant, artifactOf(1));
        assertEq(line, LINE, "line");
        assertEq(version, 1, "version");
    }

    function test_EvaluationIsNotCountedAmongTheApprovals() public {
        propose(proposal(1));
        approve(APPROVER, 1, keccak256("evaluation"));
        approve(APPROVER + 1, 1, 0);
        isIn(1, IModelRegistry.State.Proposed, "one approval, one evaluation");
        approve(APPROVER + 2, 1, 0);
        isIn(1, IModelRegistry.State.Approved, "approved");
    }

    function test_ApproversAreDistinctAndNotThePublisher() public {
        propose(proposal(1));
        approve(APPROVER, 1, 0);
        approveRefused(APPROVER, 1, 0, abi.encodeWithSelector(IModelRegistry.ApprovedBefore.selector, kidOf(APPROVER)));
        approveRefused(
            APPROVER,
            1,
            keccak256("evaluation"),
            abi.encodeWithSelector(IModelRegistry.ApprovedBefore.selector, kidOf(APPROVER))
        );
        approveRefused(
            PUBLISHER, 1, 0, abi.encodeWithSelector(IModelRegistry.NotIndependent.selector, kidOf(PUBLISHER))
        );
        registerKey(OTHER_KEY, IIdentityRegistry.Role.Device, 0);
        approveRefused(
            OTHER_KEY,
            1,
            0,
            abi.encodeWithSelector(
                IRegisteredSigner.WrongRole.selector,
                kidOf(OTHER_KEY),
                IIdentityRegistry.Role.Approver,
                IIdentityRegistry.Role.Device
            )
        );
        bytes32 suspended = kidOf(APPROVER + 1);
        vm.prank(ADMIN);
        registry.suspendKey(logId, suspended, 100);
        approveRefused(
            APPROVER + 1,
            1,
            0,
            abi.encodeWithSelector(IRegisteredSigner.KeyNotValid.selector, kidOf(APPROVER + 1), logId, uint64(100))
        );
    }

    /// An approver whose key is rotated between two signatures is one approver.
    function test_ARotatedApproverDoesNotCountTwice() public {
        propose(proposal(1));
        approve(APPROVER, 1, 0);
        uint256 operator = 0x5200;
        uint256 newKey = 0x5201;
        registerKey(operator, IIdentityRegistry.Role.Operator, 0);
        rotate(APPROVER, newKey, operator);
        deadline = uint64(block.timestamp + 1 days);
        bytes memory err = abi.encodeWithSelector(IModelRegistry.ApprovedBefore.selector, kidOf(newKey));
        approveRefused(newKey, 1, 0, err);
        approveRefused(newKey, 1, keccak256("evaluation"), err);
        isIn(1, IModelRegistry.State.Proposed, "one approval");
        propose(proposal(2));
        approve(newKey, 2, 0); // in the old key's place it approves what that one has not
    }

    function rotate(uint256 oldKey, uint256 newKey, uint256 operator) private {
        IIdentityRegistry.Rotation memory r;
        (r.logId, r.deadline) = (logId, deadline);
        (r.oldX, r.oldY) = publicKey(oldKey);
        (r.newX, r.newY) = publicKey(newKey);
        bytes memory place = abi.encodePacked(block.chainid, address(registry), tenant, logId);
        bytes memory what = abi.encodePacked(kidOf(oldKey), kidOf(newKey), r.evidence, r.nonce, r.deadline);
        bytes32 digest = sha256(abi.encodePacked("edgeseal/v1/key-rotation", hex"00", place, what));
        IIdentityRegistry.Signature[3] memory by;
        (by[0].r, by[0].s) = sign(oldKey, digest);
        (by[1].r, by[1].s) = sign(newKey, digest);
        (by[2].r, by[2].s) = sign(operator, digest);
        (bytes32 x, bytes32 y) = publicKey(operator);
        registry.proposeRotation(r, by[0], by[1], x, y, by[2]);
        vm.warp(block.timestamp + 1 days);
        registry.finishRotation(logId, kidOf(oldKey), r.newX, r.newY);
    }

    /// The signature covers version, artifact, evaluation and deadline.
    function test_ApprovalFitsOnePlace() public {
        propose(proposal(1));
        propose(proposal(2));
        IRegisteredSigner.Signed memory by = approval(APPROVER, 1, 0);
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        models.approve(tenant, LINE, 2, 0, deadline, by);
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        models.approve(tenant, LINE, 1, keccak256("evaluation"), deadline, by);
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        models.approve(tenant, LINE, 1, 0, deadline + 1, by);
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.Expired.selector, deadline, deadline + 1));
        models.approve(tenant, LINE, 1, 0, deadline, by);
    }

    function test_ProposalRefused() public {
        IModelRegistry.Proposal memory p = proposal(1);
        propose(p);
        proposeRefused(p, abi.encodeWithSelector(IModelRegistry.VersionExists.selector, uint64(1), p.artifact));
        p.artifact = keccak256("another");
        proposeRefused(p, abi.encodeWithSelector(IModelRegistry.VersionExists.selector, uint64(1), artifactOf(1)));
        p = proposal(2);
        p.artifact = artifactOf(1);
        proposeRefused(p, abi.encodeWithSelector(IModelRegistry.ArtifactTaken.selector, p.artifact, LINE, uint64(1)));
        p = proposal(2);
        p.parent = 9;
        proposeRefused(
            p, abi.encodeWithSelector(IModelRegistry.BadParent.selector, uint64(9), IModelRegistry.State.None)
        );
        revoke(1);
        p.parent = 1;
        proposeRefused(
            p, abi.encodeWithSelector(IModelRegistry.BadParent.selector, uint64(1), IModelRegistry.State.Revoked)
        );
        p = proposal(2);
        p.line = keccak256("another line");
        proposeRefused(p, abi.encodeWithSelector(IModelRegistry.NoPolicy.selector, tenant, p.line));
        proposeRefused(proposal(0), abi.encodeWithSelector(IModelRegistry.EmptyProposal.selector));
        p = proposal(2);
        p.training = 0;
        proposeRefused(p, abi.encodeWithSelector(IModelRegistry.EmptyProposal.selector));
    }

    function test_ProposalIsSignedByAPublisher() public {
        IModelRegistry.Proposal memory p = proposal(1);
        IRegisteredSigner.Signed memory by = signedBy(APPROVER, proposalDigest(p));
        vm.expectRevert(
            abi.encodeWithSelector(
                IRegisteredSigner.WrongRole.selector,
                kidOf(APPROVER),
                IIdentityRegistry.Role.Publisher,
                IIdentityRegistry.Role.Approver
            )
        );
        models.propose(p, deadline, by);
        by = signedBy(PUBLISHER, proposalDigest(p));
        p.dataset = keccak256("another dataset");
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        models.propose(p, deadline, by);
    }

    /// A line's policy may change; a version keeps the one it was proposed under.
    function test_PolicyIsThatOfTheProposal() public {
        propose(proposal(1));
        policy(1, false);
        approve(APPROVER + 1, 1, 0);
        isIn(1, IModelRegistry.State.Proposed, "the older policy asks for more");
        propose(proposal(2));
        approve(APPROVER + 1, 2, 0);
        isIn(2, IModelRegistry.State.Approved, "the newer asks for one");
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.BadPolicy.selector, uint8(0), uint32(0), 365 days));
        vm.prank(ADMIN);
        models.setPolicy(tenant, LINE, IModelRegistry.Policy(0, false, 0));
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.BadPolicy.selector, uint8(1), type(uint32).max, 365 days));
        vm.prank(ADMIN);
        models.setPolicy(tenant, LINE, IModelRegistry.Policy(1, false, type(uint32).max));
    }

    function test_RevokedIsTerminal() public {
        makeDeployable(1);
        grant(1, block.timestamp, block.timestamp + 100);
        revoke(1);
        assertTrue(!may(1, block.timestamp), "revoked");
        bytes memory revoked = abi.encodeWithSelector(IModelRegistry.VersionRevoked.selector, uint64(1));
        bytes memory wrong =
            abi.encodeWithSelector(IModelRegistry.WrongState.selector, uint64(1), IModelRegistry.State.Revoked);
        vm.startPrank(ADMIN);
        vm.expectRevert(revoked);
        models.setCurrent(tenant, LINE, 1);
        vm.expectRevert(revoked);
        models.grant(tenant, LINE, 1, DEVICE, uint40(block.timestamp), uint40(block.timestamp + 1));
        vm.expectRevert(revoked);
        models.revoke(tenant, LINE, 1, 0);
        vm.expectRevert(wrong);
        models.makeDeployable(tenant, LINE, 1);
        vm.expectRevert(wrong);
        models.deprecate(tenant, LINE, 1, 0);
        vm.stopPrank();
        approveRefused(APPROVER + 3, 1, 0, wrong);
    }

    function test_CurrentForwardAndBack() public {
        makeDeployable(1);
        makeDeployable(2);
        vm.startPrank(ADMIN);
        models.setCurrent(tenant, LINE, 2);
        models.setCurrent(tenant, LINE, 1); // back
        vm.stopPrank();
        (, uint64 current,) = models.lineOf(tenant, LINE);
        assertEq(current, 1, "current");
        revoke(1);
        (, current,) = models.lineOf(tenant, LINE);
        assertEq(current, 0, "no line stands at a revoked version");
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.VersionRevoked.selector, uint64(1)));
        vm.prank(ADMIN);
        models.setCurrent(tenant, LINE, 1);
        revoke(2);
        propose(proposal(3));
        vm.expectRevert(
            abi.encodeWithSelector(IModelRegistry.WrongState.selector, uint64(3), IModelRegistry.State.Proposed)
        );
        vm.prank(ADMIN);
        models.setCurrent(tenant, LINE, 3);
    }

    function test_GrantsAreNotBackDated() public {
        makeDeployable(1);
        uint256 t = block.timestamp;
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.BadGrant.selector, uint40(t - 1), uint40(t + 9), t));
        grant(1, t - 1, t + 9);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.BadGrant.selector, uint40(t), uint40(t), t));
        grant(1, t, t);
        grant(1, t, t + 100);
        vm.warp(t + 50);
        vm.prank(ADMIN);
        models.endGrant(tenant, artifactOf(1), DEVICE);
        assertTrue(may(1, t + 49) && !may(1, t + 50), "ended now, not before");
        for (uint256 i = 1; i < 16; ++i) {
            grant(1, block.timestamp, block.timestamp + i);
        }
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.TooManyGrants.selector, 16));
        grant(1, block.timestamp, block.timestamp + 1);
    }

    function test_OnlyTheAdmin() public {
        makeDeployable(1);
        bytes memory err = abi.encodeWithSelector(IRegisteredSigner.NotTenantAdmin.selector, tenant, STRANGER, ADMIN);
        vm.startPrank(STRANGER);
        vm.expectRevert(err);
        models.setPolicy(tenant, LINE, IModelRegistry.Policy(1, false, 0));
        vm.expectRevert(err);
        models.makeDeployable(tenant, LINE, 1);
        vm.expectRevert(err);
        models.deprecate(tenant, LINE, 1, 0);
        vm.expectRevert(err);
        models.revoke(tenant, LINE, 1, 0);
        vm.expectRevert(err);
        models.setCurrent(tenant, LINE, 1);
        vm.expectRevert(err);
        models.grant(tenant, LINE, 1, DEVICE, 0, 0);
        vm.expectRevert(err);
        models.endGrant(tenant, artifactOf(1), DEVICE);
        vm.stopPrank();
    }

    function test_UnknownVersionAndNoActiveLog() public {
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.UnknownVersion.selector, tenant, LINE, uint64(8)));
        models.versionOf(tenant, LINE, 8);
        assertTrue(!may(8, block.timestamp), "unknown");
        bytes32 second = openTenant(registry, 0x7007, ADMIN);
        vm.prank(ADMIN);
        models.setPolicy(second, LINE, IModelRegistry.Policy(1, false, 0));
        IModelRegistry.Proposal memory p = proposal(1);
        p.tenant = second;
        proposeRefused(p, abi.encodeWithSelector(IModelRegistry.NoActiveLog.selector, second));
    }

    function test_EventsNameThePreviousBlock() public {
        propose(proposal(1));
        uint64 before = uint64(block.number);
        vm.roll(block.number + 7);
        IRegisteredSigner.Signed memory by = approval(APPROVER, 1, 0);
        vm.recordLogs();
        models.approve(tenant, LINE, 1, 0, deadline, by);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], IModelRegistry.Approved.selector, "event");
        assertEq(
            keccak256(logs[0].data),
            keccak256(abi.encode(kidOf(APPROVER), bytes32(0), IModelRegistry.State.Proposed, before)),
            "approver, evaluation, state, previous block"
        );
    }
}
