// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IIdentityRegistry} from "../../src/interfaces/IIdentityRegistry.sol";
import {RotationTest} from "../Rotation.t.sol";

/// @notice Gas of keys that sign for themselves: run with --isolate, under an EVM that has P256VERIFY.
contract KeyGasTest is RotationTest {
    uint256 private constant BUDGET = 75_000;

    function test_Gas() public {
        vm.roll(10_000_000);
        IIdentityRegistry.Registration memory r = registration();
        r.from = 900_000;
        IIdentityRegistry.Signature memory by = possession(NEW, registry, r);
        uint256 before = vm.snapshotState();
        vm.prank(ADMIN);
        registry.registerKeyWithProof(r, by);
        uint256 used = note("registerKeyWithProof");
        vm.revertToState(before);
        assertTrue(used <= BUDGET, string.concat("above the budget: ", vm.toString(used)));
        propose();
        note("proposeRotation");
        before = vm.snapshotState();
        vm.prank(ADMIN);
        registry.vetoRotation(logId, oldKid);
        note("vetoRotation");
        vm.revertToState(before);
        vm.warp(block.timestamp + 1 days);
        finish();
        note("finishRotation");
    }

    function note(string memory name) private returns (uint256 used) {
        used = vm.lastCallGas().gasTotalUsed;
        vm.snapshotValue("registry", name, used);
    }
}
