// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {ICommandLog} from "./interfaces/ICommandLog.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";

/// @title A tenant's admin that is no single key
/// @notice Deploys, in one transaction, an OpenZeppelin AccessManager whose only administrator is a TimelockController.
/// The manager is the address to make a tenant's admin; everything the tenant's admin may do then goes through
/// `manager.execute`, and who may call it for what is said here.
/// @dev Promise: after construction this contract has no role. Every function of the four contracts that is not named
/// below needs the timelock. `OPERATIONS` does the daily work, each call after `operationsDelay` (0: at once); `GUARDIAN`
/// can suspend, revoke and veto, at once, and cancel what OPERATIONS has scheduled, and nothing else: it ends, it never
/// begins. What it ends stays ended, also for positions in the past. Proposers put
/// operations into the timelock; anybody named executor (the zero address: anybody) carries them out after the wait;
/// proposers may cancel. The timelock administers itself. Trust: the audited code of OpenZeppelin Contracts 5.7.0. The
/// tenant's root key stands above all of this: IdentityRegistry.recoverAdmin.
contract TenantAdmin {
    /// @notice What the roles are called in the manager.
    uint64 public constant OPERATIONS = 1;
    uint64 public constant GUARDIAN = 2;

    /// @notice Made a tenant's admin.
    AccessManager public immutable manager;

    /// @notice The manager's only administrator.
    TimelockController public immutable timelock;

    /// @notice Where this is used.
    struct Targets {
        IIdentityRegistry registry;
        ICommandLog commands;
        IModelRegistry models;
    }

    /// @notice A guardian must not be a proposer or operator: his power is to stop, not to start.
    error GuardianIsNotApart(address guardian);
    /// @notice Each part of the set-up needs somebody.
    error NobodyNamed();
    /// @notice A timelock without a wait holds nothing up.
    error NoWait();

    /// @param targets The contracts the roles are about.
    /// @param wait Seconds every operation of the timelock waits, not 0.
    /// @param proposers Who may put operations into the timelock (a multi-signature wallet each).
    /// @param operator Who does the daily work.
    /// @param operationsDelay Seconds between scheduling and carrying out daily work.
    /// @param guardian Who may suspend and revoke.
    constructor(
        Targets memory targets,
        uint256 wait,
        address[] memory proposers,
        address operator,
        uint32 operationsDelay,
        address guardian
    ) {
        if (proposers.length == 0 || operator == address(0) || guardian == address(0)) {
            revert NobodyNamed();
        }
        if (wait == 0) revert NoWait();
        if (guardian == operator) revert GuardianIsNotApart(guardian);
        for (uint256 i = 0; i < proposers.length; ++i) {
            if (proposers[i] == guardian) revert GuardianIsNotApart(guardian);
        }
        address[] memory anybody = new address[](1);
        timelock = new TimelockController(wait, proposers, anybody, address(0));
        manager = new AccessManager(address(this));

        manager.labelRole(OPERATIONS, "operations");
        manager.labelRole(GUARDIAN, "guardian");
        manager.setRoleGuardian(OPERATIONS, GUARDIAN);
        manager.grantRole(OPERATIONS, operator, operationsDelay);
        manager.grantRole(GUARDIAN, guardian, 0);
        _assign(targets);
        manager.grantRole(manager.ADMIN_ROLE(), address(timelock), 0);
        manager.renounceRole(manager.ADMIN_ROLE(), address(this));
    }

    /// @dev What is not assigned here is left to the manager's administrator, the timelock: opening a log, the gateway
    /// key, policies, scopes, who the admin is.
    function _assign(Targets memory targets) private {
        bytes4[] memory one = new bytes4[](3);
        one[0] = IIdentityRegistry.suspendKey.selector;
        one[1] = IIdentityRegistry.revokeKey.selector;
        one[2] = IIdentityRegistry.vetoRotation.selector;
        manager.setTargetFunctionRole(address(targets.registry), one, GUARDIAN);
        one = new bytes4[](3);
        one[0] = IIdentityRegistry.registerKey.selector;
        one[1] = IIdentityRegistry.registerKeyWithProof.selector;
        one[2] = IIdentityRegistry.acceptAdmin.selector;
        manager.setTargetFunctionRole(address(targets.registry), one, OPERATIONS);
        one = new bytes4[](2);
        one[0] = IModelRegistry.revoke.selector;
        one[1] = IModelRegistry.endGrant.selector;
        manager.setTargetFunctionRole(address(targets.models), one, GUARDIAN);
        one = new bytes4[](4);
        one[0] = IModelRegistry.makeDeployable.selector;
        one[1] = IModelRegistry.deprecate.selector;
        one[2] = IModelRegistry.setCurrent.selector;
        one[3] = IModelRegistry.grant.selector;
        manager.setTargetFunctionRole(address(targets.models), one, OPERATIONS);
    }
}
