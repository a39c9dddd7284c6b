// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommandLogTest} from "../CommandLog.t.sol";
import {ModelBase} from "../ModelRegistry.t.sol";
import {ICommandLog} from "../../src/interfaces/ICommandLog.sol";
import {IModelRegistry} from "../../src/interfaces/IModelRegistry.sol";
import {IRegisteredSigner} from "../../src/interfaces/IRegisteredSigner.sol";

/// @notice Gas of logging commands: run with --isolate, under an EVM that has P256VERIFY.
contract CommandGasTest is CommandLogTest {
    function test_Gas() public {
        send(1, 10, "log: first command of an audience");
        vm.roll(block.number + 1);
        send(1, 20, "log: one command");
        send(10, 30, "log: ten commands");
        send(50, 40, "log: fifty commands");
        scope(0, HALT_BIT);
        vm.snapshotValue("commands", "setScope", vm.lastCallGas().gasTotalUsed);
        (IRegisteredSigner.Signed memory by,) = halting(DEVICE, keccak256("halt"));
        commands.halt(logId, DEVICE, keccak256("halt"), deadline, by);
        vm.snapshotValue("commands", "halt", vm.lastCallGas().gasTotalUsed);
    }

    function send(uint256 count, uint64 position, string memory name) private {
        ICommandLog.Entry[] memory entries = new ICommandLog.Entry[](count);
        for (uint256 i = 0; i < count; ++i) {
            entries[i] = entry(name, position + uint64(i), ICommandLog.ActionClass.Model);
            entries[i].digest = keccak256(abi.encode(name, i));
        }
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        commands.log(logId, DEVICE, entries, deadline, by);
        vm.snapshotValue("commands", name, vm.lastCallGas().gasTotalUsed);
    }
}

/// @notice Gas of a model version's life: run with --isolate, under an EVM that has P256VERIFY.
contract ModelGasTest is ModelBase {
    function note(string memory name) private {
        vm.snapshotValue("models", name, vm.lastCallGas().gasTotalUsed);
    }

    function test_Gas() public {
        policy(1, true);
        note("setPolicy");
        propose(proposal(1));
        note("propose");
        approve(APPROVER, 1, keccak256("evaluation"));
        note("approve: evaluation");
        approve(APPROVER + 1, 1, 0);
        note("approve: last approval needed");
        vm.warp(block.timestamp + WAIT);
        vm.prank(ADMIN);
        models.makeDeployable(tenant, LINE, 1);
        note("makeDeployable");
        vm.prank(ADMIN);
        models.setCurrent(tenant, LINE, 1);
        note("setCurrent");
        grant(1, block.timestamp, block.timestamp + 1 days);
        note("grant");
        vm.prank(ADMIN);
        models.endGrant(tenant, artifactOf(1), DEVICE);
        note("endGrant");
        uint256 before = vm.snapshotState();
        vm.prank(ADMIN);
        models.deprecate(tenant, LINE, 1, 0);
        note("deprecate");
        vm.revertToState(before);
        revoke(1);
        note("revoke");
    }
}
