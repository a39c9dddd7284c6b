// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "./TestBase.sol";

/// @notice The committed bytecode is the one these tests deploy, whatever EVM they run under.
contract ReleasedTest is TestBase {
    function setUp() public override {}

    function test_CommittedBytecode() public view {
        if (vm.envOr("EDGESEAL_COVERAGE", false)) return; // coverage measures the rules over another P-256
        same("IdentityRegistry");
        same("FleetLog");
        same("CommandLog");
        same("ModelRegistry");
        same("RecordVerifier");
        same("TenantAdmin");
    }

    function same(string memory name) private view {
        string memory json = vm.readFile(string.concat("../edgeseal/contracts/", name, ".json"));
        bytes32 committed = keccak256(vm.parseJsonBytes(json, ".bytecode"));
        bytes32 tested = keccak256(vm.getCode(string.concat(name, ".sol:", name)));
        assertEq(committed, tested, string.concat(name, ": run contracts/script/build.py artifacts"));
    }
}
