// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {TenantAdmin} from "../src/TenantAdmin.sol";
import {ICommandLog} from "../src/interfaces/ICommandLog.sol";
import {IFleetLog} from "../src/interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {TestBase} from "./TestBase.sol";

contract TenantAdminTest is TestBase {
    address private constant PROPOSER = address(0x9209);
    address private constant OPERATOR = address(0x0965);
    address private constant GUARDIAN = address(0x69AD);
    uint256 private constant WAIT = 2 days;
    bytes32 private constant LINE = keccak256("line");

    IModelRegistry private models;
    ICommandLog private commands;
    TenantAdmin private setup;
    AccessManager private manager;
    TimelockController private timelock;
    bytes32 private kid;

    /// The tenant was opened by a single account, which hands over to the manager.
    function setUp() public override {
        super.setUp();
        models = IModelRegistry(deployOver("ModelRegistry"));
        commands = ICommandLog(deployOver("CommandLog"));
        setup = make(OPERATOR, GUARDIAN);
        (manager, timelock) = (setup.manager(), setup.timelock());
        anchorFirst(50);
        kid = registerKey(OTHER_KEY, IIdentityRegistry.Role.Device, 0);
        vm.prank(ADMIN);
        registry.proposeAdmin(tenant, address(manager));
        execute(OPERATOR, address(registry), abi.encodeCall(IIdentityRegistry.acceptAdmin, (tenant)));
        assertEq(registry.adminOf(tenant), address(manager), "admin");
    }

    function make(address operator, address guardian) private returns (TenantAdmin) {
        address[] memory proposers = new address[](1);
        proposers[0] = PROPOSER;
        return new TenantAdmin(TenantAdmin.Targets(registry, commands, models), WAIT, proposers, operator, 0, guardian);
    }

    function execute(address who, address target, bytes memory data) private {
        vm.prank(who);
        manager.execute(target, data);
    }

    function refused(address who, address target, bytes memory data) private {
        bytes memory err;
        (bool immediate, uint32 delay) = manager.canCall(who, target, bytes4(data));
        assertTrue(!immediate && delay == 0, "may call");
        err = abi.encodeWithSelector(IAccessManager.AccessManagerUnauthorizedCall.selector, who, target, bytes4(data));
        vm.expectRevert(err);
        vm.prank(who);
        manager.execute(target, data);
    }

    function newGateway() private view returns (bytes memory) {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        return abi.encodeCall(IFleetLog.setGatewayKey, (logId, x, y));
    }

    function test_OnlyTheTimelockAdministers() public view {
        uint64 admin = manager.ADMIN_ROLE();
        (bool member,) = manager.hasRole(admin, address(timelock));
        assertTrue(member, "the timelock administers");
        address[5] memory others = [address(setup), address(this), PROPOSER, OPERATOR, GUARDIAN];
        for (uint256 i = 0; i < others.length; ++i) {
            (member,) = manager.hasRole(admin, others[i]);
            assertTrue(!member, "nobody else does");
            assertTrue(!timelock.hasRole(bytes32(0), others[i]), "nor of the timelock");
        }
        assertTrue(timelock.hasRole(bytes32(0), address(timelock)), "the timelock administers itself");
        assertEq(timelock.getMinDelay(), WAIT, "wait");
        assertTrue(timelock.hasRole(timelock.PROPOSER_ROLE(), PROPOSER), "proposer");
        assertTrue(!timelock.hasRole(timelock.PROPOSER_ROLE(), GUARDIAN), "the guardian proposes nothing");
    }

    function test_GuardianSuspendsAndRevokes() public {
        execute(GUARDIAN, address(registry), abi.encodeCall(IIdentityRegistry.suspendKey, (logId, kid, 50)));
        execute(
            GUARDIAN,
            address(registry),
            abi.encodeCall(IIdentityRegistry.revokeKey, (logId, kid, 40, IIdentityRegistry.Reason.Lost))
        );
        assertTrue(registry.isValidAt(kid, logId, 39) && !registry.isValidAt(kid, logId, 40), "revoked");
    }

    function test_GuardianDoesNothingElse() public {
        execute(GUARDIAN, address(registry), abi.encodeCall(IIdentityRegistry.suspendKey, (logId, kid, 50)));
        refused(GUARDIAN, address(registry), abi.encodeCall(IIdentityRegistry.reinstateKey, (logId, kid, 50)));
        refused(
            GUARDIAN,
            address(registry),
            abi.encodeCall(IIdentityRegistry.registerKey, (logId, IIdentityRegistry.Role.Operator, 0, 0, 0, 0))
        );
        refused(GUARDIAN, address(registry), abi.encodeCall(IIdentityRegistry.proposeAdmin, (tenant, GUARDIAN)));
        refused(GUARDIAN, address(registry), abi.encodeCall(IIdentityRegistry.acceptAdmin, (tenant)));
        refused(GUARDIAN, address(log), newGateway());
        refused(GUARDIAN, address(log), abi.encodeCall(IFleetLog.open, (tenant, 0, 0, 0)));
        refused(GUARDIAN, address(commands), abi.encodeCall(ICommandLog.setScope, (logId, kid, 0, 1)));
        refused(GUARDIAN, address(models), abi.encodeCall(IModelRegistry.makeDeployable, (tenant, LINE, 1)));
        refused(
            GUARDIAN,
            address(models),
            abi.encodeCall(IModelRegistry.setPolicy, (tenant, LINE, IModelRegistry.Policy(1, false, 0)))
        );
    }

    /// What a thief of the guardian's key can do is end keys, at any position, for good. He makes none, brings none back, and
    /// the past of the log stands.
    function test_GuardianEndsButNeverBegins() public {
        bytes32 device = registerThroughOperations(0x6006);
        (uint64 size, bytes32 root) = log.head(logId);
        execute(GUARDIAN, address(registry), abi.encodeCall(IIdentityRegistry.suspendKey, (logId, device, 0)));
        refused(GUARDIAN, address(registry), abi.encodeCall(IIdentityRegistry.reinstateKey, (logId, device, 50)));
        execute(
            GUARDIAN,
            address(registry),
            abi.encodeCall(IIdentityRegistry.revokeKey, (logId, kid, 0, IIdentityRegistry.Reason.Lost))
        );
        assertTrue(!registry.isValidAt(kid, logId, 0), "ended from the beginning");
        (uint64 sizeAfter, bytes32 rootAfter) = log.head(logId);
        assertTrue(size == sizeAfter && root == rootAfter, "the log stands");
        refused(GUARDIAN, address(registry), abi.encodeCall(IIdentityRegistry.proposeAdmin, (tenant, GUARDIAN)));
        refused(GUARDIAN, address(models), abi.encodeCall(IModelRegistry.grant, (tenant, LINE, 1, kid, 0, 1)));
        // What it ended it did not take from operations to begin anew, with another key.
        registerThroughOperations(0x6007);
    }

    function registerThroughOperations(uint256 key) private returns (bytes32) {
        (bytes32 x, bytes32 y) = publicKey(key);
        execute(
            OPERATOR,
            address(registry),
            abi.encodeCall(IIdentityRegistry.registerKey, (logId, IIdentityRegistry.Role.Device, x, y, 0, 0))
        );
        return kidOf(key);
    }

    /// The manager calls what its callers name: not itself, not the timelock, not in a bundle, for whoever lacks the role.
    function test_NoWayAroundTheRolesThroughTheManagerItself() public {
        uint64 admin = manager.ADMIN_ROLE();
        address[2] memory both = [OPERATOR, GUARDIAN];
        for (uint256 i = 0; i < both.length; ++i) {
            address who = both[i];
            refused(who, address(manager), abi.encodeCall(AccessManager.grantRole, (admin, who, 0)));
            refused(who, address(manager), abi.encodeCall(AccessManager.updateAuthority, (address(registry), who)));
            refused(who, address(timelock), abi.encodeCall(TimelockController.updateDelay, (0)));
            refused(who, address(timelock), abi.encodeCall(TimelockController.execute, (who, 0, "", 0, 0)));
            bytes[] memory bundle = new bytes[](1);
            bundle[0] = abi.encodeCall(AccessManager.grantRole, (admin, who, 0));
            vm.expectRevert(
                abi.encodeWithSelector(IAccessManager.AccessManagerUnauthorizedAccount.selector, who, admin)
            );
            vm.prank(who);
            manager.multicall(bundle);
            // A manager that calls itself to call the log is still asked for the role of whoever asked first.
            bytes memory inner = abi.encodeCall(AccessManager.execute, (address(log), newGateway()));
            refused(who, address(manager), inner);
        }
        (bytes32 gateway,,) = log.gatewayOf(logId);
        assertEq(gateway, kidOf(GATEWAY_KEY), "gateway key");
    }

    function test_OperationsDoDailyWorkOnly() public {
        (bytes32 x, bytes32 y) = publicKey(0x6006);
        execute(
            OPERATOR,
            address(registry),
            abi.encodeCall(IIdentityRegistry.registerKey, (logId, IIdentityRegistry.Role.Device, x, y, 0, 0))
        );
        assertTrue(registry.isValidAt(kidOf(0x6006), logId, 0), "registered");
        refused(OPERATOR, address(registry), abi.encodeCall(IIdentityRegistry.proposeAdmin, (tenant, OPERATOR)));
        refused(OPERATOR, address(registry), abi.encodeCall(IIdentityRegistry.suspendKey, (logId, kid, 50)));
        refused(OPERATOR, address(log), newGateway());
        refused(OPERATOR, address(commands), abi.encodeCall(ICommandLog.setScope, (logId, kid, 0, 1)));
    }

    function test_TheRestGoesThroughTheTimelock() public {
        bytes memory call_ = abi.encodeCall(AccessManager.execute, (address(log), newGateway()));
        vm.expectPartialRevert(bytes4(keccak256("AccessControlUnauthorizedAccount(address,bytes32)")));
        vm.prank(OPERATOR);
        timelock.schedule(address(manager), 0, call_, 0, 0, WAIT);
        vm.prank(PROPOSER);
        timelock.schedule(address(manager), 0, call_, 0, 0, WAIT);
        vm.warp(block.timestamp + WAIT - 1);
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        timelock.execute(address(manager), 0, call_, 0, 0);
        vm.warp(block.timestamp + 1);
        vm.prank(STRANGER); // anybody may carry out what has waited
        timelock.execute(address(manager), 0, call_, 0, 0);
        (bytes32 gateway,,) = log.gatewayOf(logId);
        assertEq(gateway, kidOf(OTHER_KEY), "gateway key");
    }

    function test_GuardianCancelsScheduledDailyWork() public {
        TenantAdmin slow = new TenantAdmin(
            TenantAdmin.Targets(registry, commands, models), WAIT, one(PROPOSER), OPERATOR, 1 hours, GUARDIAN
        );
        bytes memory data = abi.encodeCall(IIdentityRegistry.acceptAdmin, (tenant));
        AccessManager with = slow.manager();
        vm.prank(OPERATOR);
        with.schedule(address(registry), data, 0);
        vm.prank(GUARDIAN);
        with.cancel(OPERATOR, address(registry), data);
        vm.warp(block.timestamp + 1 hours);
        vm.expectPartialRevert(IAccessManager.AccessManagerNotScheduled.selector);
        vm.prank(OPERATOR);
        with.execute(address(registry), data);
    }

    /// The root key can replace even this admin.
    function test_TheRootKeyStandsAbove() public {
        (bytes32 x, bytes32 y) = publicKey(ROOT_KEY);
        bytes32 digest = consentDigest(registry, "edgeseal/v1/tenant-admin", ROOT_KEY, ADMIN, 1);
        (bytes32 r, bytes32 s) = sign(ROOT_KEY, digest);
        registry.recoverAdmin(x, y, ADMIN, r, s);
        assertEq(registry.adminOf(tenant), ADMIN, "admin");
    }

    function test_RolesAreApart() public {
        vm.expectRevert(abi.encodeWithSelector(TenantAdmin.GuardianIsNotApart.selector, GUARDIAN));
        this.makeFor(GUARDIAN, GUARDIAN);
        vm.expectRevert(abi.encodeWithSelector(TenantAdmin.GuardianIsNotApart.selector, PROPOSER));
        this.makeFor(OPERATOR, PROPOSER);
        vm.expectRevert(abi.encodeWithSelector(TenantAdmin.NobodyNamed.selector));
        this.makeFor(address(0), GUARDIAN);
        vm.expectRevert(abi.encodeWithSelector(TenantAdmin.NoWait.selector));
        new TenantAdmin(TenantAdmin.Targets(registry, commands, models), 0, one(PROPOSER), OPERATOR, 0, GUARDIAN);
    }

    function makeFor(address operator, address guardian) external returns (TenantAdmin) {
        return make(operator, guardian);
    }

    function one(address who) private pure returns (address[] memory list) {
        list = new address[](1);
        list[0] = who;
    }
}
