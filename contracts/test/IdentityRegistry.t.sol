// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "../src/interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {TestBase} from "./TestBase.sol";
import {Vm} from "./Vm.sol";

contract TenantTest is TestBase {
    address private constant NEXT = address(0xB0B);
    string private constant OPEN = "edgeseal/v1/tenant-open";
    string private constant RECOVER = "edgeseal/v1/tenant-admin";

    function test_Opened() public view {
        assertEq(tenant, kidOf(ROOT_KEY), "tenant is the root key's thumbprint");
        assertEq(registry.adminOf(tenant), ADMIN, "admin");
        assertEq(registry.proposedAdminOf(tenant), address(0), "proposed");
        assertEq(registry.tenantNonce(tenant), 1, "nonce used up");
        assertEq(registry.tenantLastBlock(tenant), block.number, "block");
    }

    function test_OpenEmits() public {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.recordLogs();
        vm.prank(STRANGER); // anybody may bring it; the signature names the admin
        bytes32 second = openTenantAs(OTHER_KEY, ADMIN);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].topics[0], IIdentityRegistry.TenantOpened.selector, "event");
        assertEq(logs[0].topics[1], second, "tenant");
        assertEq(logs[0].topics[2], bytes32(uint256(uint160(ADMIN))), "admin");
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(x, y)), "x, y");
        assertEq(registry.adminOf(second), ADMIN, "admin");
    }

    function openTenantAs(uint256 key, address admin) private returns (bytes32) {
        (bytes32 x, bytes32 y) = publicKey(key);
        (bytes32 r, bytes32 s) = sign(key, consentDigest(registry, OPEN, key, admin, 0));
        return registry.openTenant(x, y, admin, r, s);
    }

    function test_Vectors() public {
        string memory json = vm.readFile("test/vectors/tenant_consent.json");
        address there = vm.parseJsonAddress(json, ".contract");
        address admin = vm.parseJsonAddress(json, ".admin");
        // The registry's only immutable is its log, which these two calls do not ask.
        vm.etch(there, address(registry).code);
        vm.chainId(vm.parseJsonUint(json, ".chainId"));
        bytes32 x = vm.parseJsonBytes32(json, ".open.x");
        bytes32 y = vm.parseJsonBytes32(json, ".open.y");
        bytes32 kid = IIdentityRegistry(there)
            .openTenant(x, y, admin, vm.parseJsonBytes32(json, ".open.r"), vm.parseJsonBytes32(json, ".open.s"));
        assertEq(kid, vm.parseJsonBytes32(json, ".open.kid"), "tenant");
        IIdentityRegistry(there)
            .recoverAdmin(x, y, admin, vm.parseJsonBytes32(json, ".recover.r"), vm.parseJsonBytes32(json, ".recover.s"));
        assertEq(IIdentityRegistry(there).tenantNonce(kid), 2, "both were taken");
    }

    function test_OpenTwice() public {
        (bytes32 x, bytes32 y) = publicKey(ROOT_KEY);
        (bytes32 r, bytes32 s) = sign(ROOT_KEY, consentDigest(registry, OPEN, ROOT_KEY, ADMIN, 1));
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.TenantExists.selector, tenant));
        registry.openTenant(x, y, ADMIN, r, s);
    }

    function test_OpenRefusesAKeyOffTheCurve() public {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        offCurve(x, bytes32(uint256(y) ^ 1));
        offCurve(0, 0);
        // Coordinates not below the field's order: the same point by another name.
        uint256 p = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF;
        offCurve(bytes32(p), y);
        offCurve(x, bytes32(type(uint256).max));
    }

    function offCurve(bytes32 x, bytes32 y) private {
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.KeyOffCurve.selector, x, y));
        registry.openTenant(x, y, ADMIN, bytes32(uint256(1)), bytes32(uint256(1)));
    }

    function test_ConsentIsBoundToAdminChainContractAndPurpose() public {
        (bytes32 r, bytes32 s) = sign(OTHER_KEY, consentDigest(registry, OPEN, OTHER_KEY, ADMIN, 0));
        badConsent(registry, STRANGER, r, s);
        badConsent(deploy(), ADMIN, r, s);
        uint256 home = block.chainid;
        vm.chainId(home + 1);
        badConsent(registry, ADMIN, r, s);
        vm.chainId(home);
        (r, s) = sign(OTHER_KEY, consentDigest(registry, RECOVER, OTHER_KEY, ADMIN, 0));
        badConsent(registry, ADMIN, r, s);
        (r, s) = sign(OTHER_KEY, consentDigest(registry, OPEN, OTHER_KEY, ADMIN, 1));
        badConsent(registry, ADMIN, r, s);
        (r, s) = sign(ROOT_KEY, consentDigest(registry, OPEN, OTHER_KEY, ADMIN, 0));
        badConsent(registry, ADMIN, r, s);
    }

    function badConsent(IIdentityRegistry where, address admin, bytes32 r, bytes32 s) private {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        bytes32 digest = consentDigest(where, OPEN, OTHER_KEY, admin, 0);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.BadSignature.selector, digest, r, s));
        where.openTenant(x, y, admin, r, s);
    }

    function test_HighSTwin() public {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        (bytes32 r, bytes32 s) = sign(OTHER_KEY, consentDigest(registry, OPEN, OTHER_KEY, ADMIN, 0));
        bytes32 high = bytes32(N - uint256(s));
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.HighS.selector, high));
        registry.openTenant(x, y, ADMIN, r, high);
    }

    function test_ZeroAdmin() public {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        (bytes32 r, bytes32 s) = sign(OTHER_KEY, consentDigest(registry, OPEN, OTHER_KEY, address(0), 0));
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.ZeroAdmin.selector));
        registry.openTenant(x, y, address(0), r, s);
    }

    function test_TwoStepTransfer() public {
        vm.roll(block.number + 2);
        vm.recordLogs();
        vm.prank(ADMIN);
        registry.proposeAdmin(tenant, NEXT);
        assertEq(registry.adminOf(tenant), ADMIN, "not yet");
        assertEq(registry.proposedAdminOf(tenant), NEXT, "proposed");
        vm.roll(block.number + 3);
        vm.prank(NEXT);
        registry.acceptAdmin(tenant);
        assertEq(registry.adminOf(tenant), NEXT, "accepted");
        assertEq(registry.proposedAdminOf(tenant), address(0), "offer is used up");

        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], IIdentityRegistry.AdminProposed.selector, "proposed event");
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(block.number - 5)), "previous block");
        assertEq(logs[1].topics[0], IIdentityRegistry.AdminChanged.selector, "changed event");
        assertEq(logs[1].topics[2], bytes32(uint256(uint160(ADMIN))), "from");
        assertEq(logs[1].topics[3], bytes32(uint256(uint160(NEXT))), "to");
        assertEq(keccak256(logs[1].data), keccak256(abi.encode(false, block.number - 3)), "by consent, previous block");
        assertEq(registry.tenantLastBlock(tenant), block.number, "block");
    }

    function test_OnlyTheAdminProposes() public {
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NotTenantAdmin.selector, tenant, STRANGER, ADMIN));
        vm.prank(STRANGER);
        registry.proposeAdmin(tenant, STRANGER);
    }

    function test_OnlyTheProposedAccepts() public {
        vm.prank(ADMIN);
        registry.proposeAdmin(tenant, NEXT);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NotProposedAdmin.selector, tenant, STRANGER, NEXT));
        vm.prank(STRANGER);
        registry.acceptAdmin(tenant);
        vm.prank(ADMIN);
        registry.proposeAdmin(tenant, address(0));
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.NotProposedAdmin.selector, tenant, NEXT, address(0)));
        vm.prank(NEXT);
        registry.acceptAdmin(tenant);
    }

    function test_RecoverByTheRootKey() public {
        vm.prank(ADMIN);
        registry.proposeAdmin(tenant, STRANGER);
        (bytes32 x, bytes32 y) = publicKey(ROOT_KEY);
        (bytes32 r, bytes32 s) = sign(ROOT_KEY, consentDigest(registry, RECOVER, ROOT_KEY, NEXT, 1));
        vm.recordLogs();
        registry.recoverAdmin(x, y, NEXT, r, s);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(true, block.number)), "by root, previous block");
        assertEq(registry.adminOf(tenant), NEXT, "admin");
        assertEq(registry.tenantNonce(tenant), 2, "nonce");
        assertEq(registry.proposedAdminOf(tenant), address(0), "a thief's offer falls with him");

        bytes32 digest = consentDigest(registry, RECOVER, ROOT_KEY, NEXT, 2);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.BadSignature.selector, digest, r, s));
        registry.recoverAdmin(x, y, NEXT, r, s); // the nonce is used up
    }

    function test_RecoverNeedsATenant() public {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.UnknownTenant.selector, kidOf(OTHER_KEY)));
        registry.recoverAdmin(x, y, NEXT, 0, 0);
    }
}

contract KeyTest is TestBase {
    uint256 private constant DEVICE_KEY = 0x4004;
    uint64 private constant ANCHORED = 500;
    bytes32 private constant EVIDENCE = keccak256("evidence");

    bytes32 private kid;

    function setUp() public override {
        super.setUp();
        anchor(GATEWAY_KEY, Head(logId, ANCHORED, keccak256("root"), 0, 0), none());
        kid = register(DEVICE_KEY, IIdentityRegistry.Role.Device, 10);
    }

    function register(uint256 key, IIdentityRegistry.Role role, uint64 from) private returns (bytes32) {
        (bytes32 x, bytes32 y) = publicKey(key);
        vm.prank(ADMIN);
        return registry.registerKey(logId, role, x, y, from, EVIDENCE);
    }

    function suspend(uint64 until) private {
        vm.prank(ADMIN);
        registry.suspendKey(logId, kid, until);
    }

    function reinstate(uint64 from) private {
        vm.prank(ADMIN);
        registry.reinstateKey(logId, kid, from);
    }

    function revoke(uint64 until) private {
        vm.prank(ADMIN);
        registry.revokeKey(logId, kid, until, IIdentityRegistry.Reason.Compromised);
    }

    function valid(uint64 position) private view returns (bool) {
        return registry.isValidAt(kid, logId, position);
    }

    /// @dev Valid exactly in [from, until).
    function validIn(uint64 from, uint64 until) private view {
        assertTrue(from == 0 || !valid(from - 1), "before");
        assertTrue(valid(from), "first");
        assertTrue(valid(until - 1), "last");
        assertTrue(!valid(until), "after");
    }

    function test_Registered() public view {
        assertEq(kid, kidOf(DEVICE_KEY), "kid");
        (IIdentityRegistry.Role role, IIdentityRegistry.Status status, uint64 lastBlock, uint64 from, uint64 until) =
            registry.keyOf(logId, kid);
        assertTrue(role == IIdentityRegistry.Role.Device, "role");
        assertTrue(status == IIdentityRegistry.Status.Active, "status");
        assertEq(lastBlock, block.number, "block");
        assertEq(from, 10, "from");
        assertEq(until, type(uint64).max, "until");
        assertTrue(!valid(9), "before");
        assertTrue(valid(10), "first");
        assertTrue(valid(type(uint64).max - 1), "open end");
    }

    function test_RegisterEmits() public {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.recordLogs();
        register(OTHER_KEY, IIdentityRegistry.Role.Auditor, 700);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], IIdentityRegistry.KeyRegistered.selector, "event");
        assertEq(logs[0].topics[1], logId, "log id");
        assertEq(logs[0].topics[2], kidOf(OTHER_KEY), "kid");
        assertEq(logs[0].topics[3], bytes32(uint256(5)), "auditor");
        assertEq(
            keccak256(logs[0].data),
            keccak256(abi.encode(x, y, uint64(700), EVIDENCE, ANCHORED, false)),
            "x, y, from, evidence, anchored, without possession"
        );
    }

    function test_RegisterRefuses() public {
        (bytes32 x, bytes32 y) = publicKey(DEVICE_KEY);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.KeyExists.selector, logId, kid));
        vm.prank(ADMIN);
        registry.registerKey(logId, IIdentityRegistry.Role.Operator, x, y, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.KeyOffCurve.selector, y, x));
        vm.prank(ADMIN);
        registry.registerKey(logId, IIdentityRegistry.Role.Operator, y, x, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IFleetLog.UnknownLog.selector, bytes32(uint256(1))));
        vm.prank(ADMIN);
        registry.registerKey(bytes32(uint256(1)), IIdentityRegistry.Role.Operator, x, y, 0, 0);
        // A role that does not exist is no argument of this function.
        bytes memory call = abi.encodeWithSelector(IIdentityRegistry.registerKey.selector, logId, 6, x, y, 0, 0);
        vm.prank(ADMIN);
        (bool taken,) = address(registry).call(call);
        assertTrue(!taken, "role 6");
    }

    function test_OnlyTheAdmin() public {
        bytes memory err = abi.encodeWithSelector(IIdentityRegistry.NotTenantAdmin.selector, tenant, STRANGER, ADMIN);
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.expectRevert(err);
        vm.prank(STRANGER);
        registry.registerKey(logId, IIdentityRegistry.Role.Device, x, y, 0, 0);
        vm.expectRevert(err);
        vm.prank(STRANGER);
        registry.suspendKey(logId, kid, 0);
        vm.expectRevert(err);
        vm.prank(STRANGER);
        registry.reinstateKey(logId, kid, ANCHORED);
        vm.expectRevert(err);
        vm.prank(STRANGER);
        registry.revokeKey(logId, kid, 0, IIdentityRegistry.Reason.Lost);
    }

    /// Another tenant's admin has no say, and the same key in his log is another entry.
    function test_TenantsAreApart() public {
        vm.prank(ADMIN);
        registry.proposeAdmin(tenant, address(0));
        bytes32 second = openTenant(registry, OTHER_KEY, STRANGER);
        bytes32 otherLog = openLog(second, OTHER_KEY, 0);
        (bytes32 x, bytes32 y) = publicKey(DEVICE_KEY);
        assertTrue(!registry.isValidAt(kid, otherLog, 20), "not registered there");
        vm.prank(STRANGER);
        registry.registerKey(otherLog, IIdentityRegistry.Role.Operator, x, y, 0, 0);
        vm.prank(STRANGER);
        registry.revokeKey(otherLog, kid, 0, IIdentityRegistry.Reason.Compromised);
        assertTrue(!registry.isValidAt(kid, otherLog, 20), "revoked there");
        assertTrue(valid(20), "valid here");
    }

    function test_RevokeInThePast() public {
        vm.roll(block.number + 4);
        vm.recordLogs();
        vm.prank(ADMIN);
        registry.revokeKey(logId, kid, 300, IIdentityRegistry.Reason.Superseded);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], IIdentityRegistry.KeyRevoked.selector, "event");
        assertEq(logs[0].topics[3], bytes32(uint256(3)), "reason");
        assertEq(
            keccak256(logs[0].data),
            keccak256(abi.encode(uint64(300), ANCHORED, block.number - 4)),
            "until, anchored, previous block"
        );
        validIn(10, 300);
        (, IIdentityRegistry.Status status, uint64 lastBlock,,) = registry.keyOf(logId, kid);
        assertTrue(status == IIdentityRegistry.Status.Revoked, "status");
        assertEq(lastBlock, block.number, "block");
    }

    function test_RevokeNow() public {
        revoke(ANCHORED);
        validIn(10, ANCHORED);
    }

    function test_NeverAboveTheAnchoredSize() public {
        bytes memory err = abi.encodeWithSelector(IIdentityRegistry.UntilAboveAnchored.selector, ANCHORED + 1, ANCHORED);
        vm.expectRevert(err);
        vm.prank(ADMIN);
        registry.revokeKey(logId, kid, ANCHORED + 1, IIdentityRegistry.Reason.Lost);
        vm.expectRevert(err);
        vm.prank(ADMIN);
        registry.suspendKey(logId, kid, ANCHORED + 1);
    }

    function test_RevokeBeforeItBegan() public {
        kid = register(OTHER_KEY, IIdentityRegistry.Role.Operator, 900);
        revoke(ANCHORED);
        assertTrue(!valid(899) && !valid(900) && !valid(5000), "never valid");
    }

    function test_RevokedIsFinalAndOnlyNarrows() public {
        revoke(300);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.UntilNotLower.selector, uint64(300), uint64(300)));
        vm.prank(ADMIN);
        registry.revokeKey(logId, kid, 300, IIdentityRegistry.Reason.Lost);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.UntilNotLower.selector, uint64(301), uint64(300)));
        vm.prank(ADMIN);
        registry.revokeKey(logId, kid, 301, IIdentityRegistry.Reason.Lost);
        revoke(100);
        validIn(10, 100);
        bytes memory err =
            abi.encodeWithSelector(IIdentityRegistry.WrongStatus.selector, kid, IIdentityRegistry.Status.Revoked);
        vm.expectRevert(err);
        vm.prank(ADMIN);
        registry.reinstateKey(logId, kid, ANCHORED);
        vm.expectRevert(err);
        vm.prank(ADMIN);
        registry.suspendKey(logId, kid, 50);
        (bytes32 x, bytes32 y) = publicKey(DEVICE_KEY);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.KeyExists.selector, logId, kid));
        vm.prank(ADMIN);
        registry.registerKey(logId, IIdentityRegistry.Role.Device, x, y, ANCHORED, 0);
    }

    function test_SuspendAndReinstate() public {
        vm.roll(block.number + 1);
        vm.recordLogs();
        suspend(200);
        validIn(10, 200);
        vm.roll(block.number + 2);
        reinstate(600);
        validIn(10, 200);
        assertTrue(!valid(599) && valid(600), "valid again");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], IIdentityRegistry.KeySuspended.selector, "suspended");
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(uint64(200), ANCHORED, block.number - 3)), "suspension");
        assertEq(logs[1].topics[0], IIdentityRegistry.KeyReinstated.selector, "reinstated");
        assertEq(
            keccak256(logs[1].data), keccak256(abi.encode(uint64(600), ANCHORED, block.number - 2)), "reinstatement"
        );
        (uint64[] memory from, uint64[] memory until) = registry.earlierIntervals(logId, kid);
        assertTrue(from.length == 1 && from[0] == 10 && until[0] == 200, "earlier interval");
    }

    function test_StatusRules() public {
        vm.expectRevert(
            abi.encodeWithSelector(IIdentityRegistry.WrongStatus.selector, kid, IIdentityRegistry.Status.Active)
        );
        vm.prank(ADMIN);
        registry.reinstateKey(logId, kid, ANCHORED);
        suspend(200);
        vm.expectRevert(
            abi.encodeWithSelector(IIdentityRegistry.WrongStatus.selector, kid, IIdentityRegistry.Status.Suspended)
        );
        vm.prank(ADMIN);
        registry.suspendKey(logId, kid, 100);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.FromBelowAnchored.selector, ANCHORED - 1, ANCHORED));
        vm.prank(ADMIN);
        registry.reinstateKey(logId, kid, ANCHORED - 1);
        revoke(400); // later than the suspension: what that ended stays ended
        validIn(10, 200);
    }

    function test_RevocationReachesEarlierIntervals() public {
        suspend(200);
        reinstate(ANCHORED);
        revoke(100);
        validIn(10, 100);
        assertTrue(!valid(ANCHORED), "later interval");
    }

    function test_ReinstatementDoesNotUndoAnEarlierCut() public {
        suspend(200);
        reinstate(ANCHORED);
        suspend(100);
        reinstate(700);
        validIn(10, 100);
        assertTrue(!valid(150) && !valid(ANCHORED) && !valid(699) && valid(700), "cut stays");
    }

    function test_IntervalsAreBounded() public {
        for (uint256 i = 0; i < 16; ++i) {
            suspend(ANCHORED);
            reinstate(ANCHORED);
        }
        suspend(ANCHORED);
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.TooManyIntervals.selector, kid, 16));
        vm.prank(ADMIN);
        registry.reinstateKey(logId, kid, ANCHORED);
    }

    function test_UnknownKey() public {
        bytes32 unknown = kidOf(OTHER_KEY);
        bytes memory err = abi.encodeWithSelector(IIdentityRegistry.UnknownKey.selector, logId, unknown);
        vm.expectRevert(err);
        vm.prank(ADMIN);
        registry.suspendKey(logId, unknown, 0);
        vm.expectRevert(err);
        vm.prank(ADMIN);
        registry.reinstateKey(logId, unknown, ANCHORED);
        vm.expectRevert(err);
        vm.prank(ADMIN);
        registry.revokeKey(logId, unknown, 0, IIdentityRegistry.Reason.Lost);
        vm.expectRevert(err);
        registry.keyOf(logId, unknown);
        assertTrue(!registry.isValidAt(unknown, logId, 20), "unknown key");
        assertTrue(!registry.isValidAt(kid, bytes32(uint256(1)), 20), "unknown log");
    }

    /// Any sequence of suspensions, reinstatements and revocations agrees with a table of positions that is opened and
    /// closed step by step, and a revoked key gains no position ever again.
    function testFuzz_AgreesWithATableOfPositions(uint256 seed) public {
        uint256 table = positions(10, 64); // bit p: valid at position p
        for (uint256 i = 0; i < 12; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint64 at_ = uint64((seed >> 8) % 64);
            (, IIdentityRegistry.Status status,,,) = registry.keyOf(logId, kid);
            bytes memory call = seed % 3 == 0
                ? abi.encodeCall(IIdentityRegistry.suspendKey, (logId, kid, at_))
                : seed % 3 == 1
                    ? abi.encodeCall(IIdentityRegistry.reinstateKey, (logId, kid, ANCHORED + at_))
                    : abi.encodeCall(
                        IIdentityRegistry.revokeKey, (logId, kid, at_, IIdentityRegistry.Reason.Compromised)
                    );
            if (seed % 3 == 2 && i < 8) continue; // leave room for the others before the end
            vm.prank(ADMIN);
            (bool taken,) = address(registry).call(call);
            if (taken && seed % 3 != 1) table &= ~positions(at_, 64);
            if (status == IIdentityRegistry.Status.Revoked) {
                assertTrue(!taken || seed % 3 == 2, "changed after the end");
            }
            for (uint64 p = 0; p < 64; ++p) {
                assertTrue(valid(p) == ((table >> p) & 1 == 1), "table and contract differ");
            }
        }
    }

    function positions(uint256 from, uint256 until) private pure returns (uint256) {
        return ((uint256(1) << until) - 1) & ~((uint256(1) << from) - 1);
    }
}
