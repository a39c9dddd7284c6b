// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "../../src/interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "../../src/interfaces/IIdentityRegistry.sol";
import {IModelRegistry} from "../../src/interfaces/IModelRegistry.sol";
import {AnyCommandLog, AnyRegistry, NoModelRegistry, NoRegistry, Symbolic} from "./Symbolic.sol";

/// @notice Role checks where a signature is no way in: whatever anybody signs, these are the admin's alone.
contract AdminRoles is Symbolic {
    AnyRegistry private registry;
    IFleetLog private log;
    AnyCommandLog private commands;

    function setUp() public {
        registry = new AnyRegistry();
        log = registry.fleetLog();
        commands = new AnyCommandLog(registry);
        svm.enableSymbolicStorage(address(registry));
        svm.enableSymbolicStorage(address(log));
        svm.enableSymbolicStorage(address(commands));
    }

    /// @dev The tenant of a log that exists, and that the caller is not its admin.
    function stranger(bytes32 id, address caller) private view returns (bytes32 tenant) {
        (bool known, bytes memory answer) = address(log).staticcall(abi.encodeCall(IFleetLog.authorityOf, (id)));
        vm.assume(known);
        (tenant,) = abi.decode(answer, (bytes32, uint64));
        vm.assume(registry.adminOf(tenant) != caller);
    }

    /// Gateway key, terms and tenant of a log, and which log is the tenant's: for nobody but the admin (empty proofs).
    /// @custom:halmos --default-array-lengths 0
    function check_NoStrangerChangesALog(bytes32 id, address caller) public {
        bytes32 tenant = stranger(id, caller);
        bytes32 active = log.activeLogOf(tenant);
        (bytes32 kid,,) = log.gatewayOf(id);
        (uint32 silence, uint32 window,,) = log.termsOf(id);
        bytes memory data = svm.createCalldata("AnyFleetLog");
        // What these two leave alone is in Heads.t.sol.
        vm.assume(bytes4(data) != IFleetLog.anchor.selector && bytes4(data) != IFleetLog.proveFork.selector);
        call(address(log), data, caller);
        (bytes32 tenantAfter,) = log.authorityOf(id);
        (bytes32 kidAfter,,) = log.gatewayOf(id);
        (uint32 silenceAfter, uint32 windowAfter,,) = log.termsOf(id);
        assert(tenantAfter == tenant && log.activeLogOf(tenant) == active);
        assert(kidAfter == kid && silenceAfter == silence && windowAfter == window);
    }

    /// What an operator may have logged: for nobody but the admin.
    /// @custom:halmos --default-array-lengths 0,1
    function check_NoStrangerChangesAScope(bytes32 id, bytes32 operator, bytes32 audience, address caller) public {
        stranger(id, caller);
        (uint8 classes,) = commands.scopeOf(id, operator, audience);
        anyCall(address(commands), "AnyCommandLog", caller);
        (uint8 after_,) = commands.scopeOf(id, operator, audience);
        assert(after_ == classes);
    }
}

/// @notice Role checks for callers who hold no key: nothing of the registries is theirs to change.
contract KeylessRoles is Symbolic {
    NoRegistry private registry;
    IFleetLog private log;
    NoModelRegistry private models;

    function setUp() public {
        registry = new NoRegistry();
        log = registry.fleetLog();
        models = new NoModelRegistry(registry);
        svm.enableSymbolicStorage(address(registry));
        svm.enableSymbolicStorage(address(log));
        svm.enableSymbolicStorage(address(models));
    }

    /// A tenant's admin changes by the admin's proposal and the proposed one's consent, or by the root key.
    function check_NoStrangerBecomesAdmin(bytes32 tenant, address caller) public {
        address admin = registry.adminOf(tenant);
        address proposed = registry.proposedAdminOf(tenant);
        vm.assume(caller != admin && caller != proposed);
        anyCall(address(registry), "NoRegistry", caller);
        assert(registry.adminOf(tenant) == admin && registry.proposedAdminOf(tenant) == proposed);
    }

    /// Role, status and interval of a key: for nobody but the admin, and whoever finishes a rotation (below).
    function check_NoStrangerChangesAKey(bytes32 id, bytes32 kid, address caller) public {
        (bool known, bytes memory answer) = address(log).staticcall(abi.encodeCall(IFleetLog.authorityOf, (id)));
        vm.assume(known);
        (bytes32 tenant,) = abi.decode(answer, (bytes32, uint64));
        vm.assume(registry.adminOf(tenant) != caller);
        (bool registered, bytes memory key) =
            address(registry).staticcall(abi.encodeCall(IIdentityRegistry.keyOf, (id, kid)));
        bytes memory data = svm.createCalldata("NoRegistry");
        vm.assume(bytes4(data) != IIdentityRegistry.finishRotation.selector);
        call(address(registry), data, caller);
        (bool registeredAfter, bytes memory keyAfter) =
            address(registry).staticcall(abi.encodeCall(IIdentityRegistry.keyOf, (id, kid)));
        assert(registered == registeredAfter);
        assert(!registered || keccak256(key) == keccak256(keyAfter));
    }

    /// A rotation is finished only as it was proposed, of an active key, and after the window for a veto.
    function check_ARotationWaits(bytes32 id, bytes32 oldKid, bytes32 x, bytes32 y, uint256 time) public {
        vm.assume(time < 1 << 40);
        vm.warp(time);
        (bytes32 newKid, uint64 readyAt) = registry.rotationOf(id, oldKid);
        (bool known, bytes memory key) =
            address(registry).staticcall(abi.encodeCall(IIdentityRegistry.keyOf, (id, oldKid)));
        (bool done, bytes memory answer) =
            address(registry).call(abi.encodeCall(IIdentityRegistry.finishRotation, (id, oldKid, x, y)));
        if (!done) return;
        (, IIdentityRegistry.Status status,,,) =
            abi.decode(key, (IIdentityRegistry.Role, IIdentityRegistry.Status, uint64, uint64, uint64));
        assert(known && status == IIdentityRegistry.Status.Active);
        assert(time >= readyAt && abi.decode(answer, (bytes32)) == newKid);
    }

    /// State and artifact of a model version, and a line's policy and current version: for nobody but the admin.
    function check_NoStrangerChangesAModel(bytes32 tenant, bytes32 line, uint64 version, address caller) public {
        vm.assume(registry.adminOf(tenant) != caller);
        (IModelRegistry.Policy memory policy, uint64 current,) = models.lineOf(tenant, line);
        (bool known, bytes memory was) =
            address(models).staticcall(abi.encodeCall(IModelRegistry.versionOf, (tenant, line, version)));
        anyCall(address(models), "NoModelRegistry", caller);
        (IModelRegistry.Policy memory policyAfter, uint64 currentAfter,) = models.lineOf(tenant, line);
        (bool knownAfter, bytes memory is_) =
            address(models).staticcall(abi.encodeCall(IModelRegistry.versionOf, (tenant, line, version)));
        assert(keccak256(abi.encode(policy)) == keccak256(abi.encode(policyAfter)) && current == currentAfter);
        assert(known == knownAfter && (!known || keccak256(was) == keccak256(is_)));
    }
}

/// @notice Terminal states, whoever calls, with whatever signatures and rights.
contract Terminal is Symbolic {
    AnyRegistry private registry;

    function setUp() public {
        registry = new AnyRegistry();
        svm.enableSymbolicStorage(address(registry));
        svm.enableSymbolicStorage(address(registry.fleetLog()));
    }

    /// A revoked key stays revoked, and its end is only ever lowered.
    function check_RevokedIsFinal(bytes32 id, bytes32 kid, address caller) public {
        (bool known, bytes memory key) =
            address(registry).staticcall(abi.encodeCall(IIdentityRegistry.keyOf, (id, kid)));
        vm.assume(known);
        (, IIdentityRegistry.Status status,,, uint64 until) =
            abi.decode(key, (IIdentityRegistry.Role, IIdentityRegistry.Status, uint64, uint64, uint64));
        vm.assume(status == IIdentityRegistry.Status.Revoked);
        anyCall(address(registry), "AnyRegistry", caller);
        (, IIdentityRegistry.Status after_,,, uint64 untilAfter) = registry.keyOf(id, kid);
        assert(after_ == IIdentityRegistry.Status.Revoked && untilAfter <= until);
    }
}
