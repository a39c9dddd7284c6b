// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IIdentityRegistry} from "../../src/interfaces/IIdentityRegistry.sol";
import {IRecordVerifier} from "../../src/interfaces/IRecordVerifier.sol";
import {Rfc9162} from "../../src/libraries/Rfc9162.sol";
import {TestBase} from "../TestBase.sol";

/// @notice Gas of settling one record: run with --isolate, under an EVM that has P256VERIFY.
contract RecordGasTest is TestBase {
    uint256 private constant BUDGET = 120_000;
    uint256 private constant DEVICE_KEY = 0xD00D;

    function fold(bytes32 leaf, uint64 index, uint64 size, bytes32[] calldata path) external view returns (bytes32) {
        return Rfc9162.foldInclusion(leaf, index, size, path);
    }

    /// Both logs hold a million leaves; the head states everything it may.
    function test_SettleAtAMillionAndAMillion() public {
        settle(1_000_000, 765_432, 1_000_000, 654_321, "settle: 1 million records, 1 million statements");
    }

    function test_SettleInSmallLogs() public {
        settle(1_000, 999, 1_000, 500, "settle: 1,000 records, 1,000 statements");
    }

    function test_SettleWithTheLongestPaths() public {
        settle(1 << 20, 5, 1 << 20, 7, "settle: 2^20 records, 2^20 statements");
    }

    function settle(uint64 records, uint64 seq, uint64 size, uint64 position, string memory name) private {
        IRecordVerifier verifier = IRecordVerifier(deployOver("RecordVerifier"));
        IRecordVerifier.Evidence memory e;
        e.fleetLog = logId;
        e.position = position;
        bytes32 kid = registerKey(DEVICE_KEY, IIdentityRegistry.Role.Device, 0);
        bytes32 deviceLog = sha256(abi.encodePacked("edgeseal/v1/device-log", hex"00", kid));
        e.record = record(deviceLog, seq);
        e.devicePath = nodes("device", Rfc9162.inclusionLength(seq, records));
        bytes32 root = this.fold(sha256(abi.encodePacked(hex"00", e.record)), seq, records, e.devicePath);
        e.head = head(deviceLog, records, root);
        bytes memory header = abi.encodePacked(
            abi.encodePacked(hex"a40126045820", kid, hex"0fa4017840", digits(kid), hex"027840", digits(deviceLog)),
            abi.encodePacked(hex"3a00011170", cborUint(records), hex"3a000111715820", deviceLog, hex"107829"),
            "application/vnd.edgeseal.device-head+cose"
        );
        bytes memory payload = abi.encodePacked(hex"59", uint16(e.head.length), e.head);
        e.by = signedBy(
            DEVICE_KEY,
            sha256(abi.encodePacked(hex"846a", "Signature1", hex"59", uint16(header.length), header, hex"40", payload))
        );
        bytes32 leaf = sha256(
            abi.encodePacked(hex"00d28459", uint16(header.length), header, hex"a0", payload, hex"5840", e.by.r, e.by.s)
        );
        e.fleetPath = nodes("fleet", Rfc9162.inclusionLength(position, size));
        bytes32 anchored = this.fold(leaf, position, size, e.fleetPath);
        anchor(GATEWAY_KEY, Head(logId, size, anchored, 0, 0), none());
        verifier.settle(e);
        uint256 used = vm.lastCallGas().gasTotalUsed;
        vm.snapshotValue("records", name, used);
        assertTrue(used <= BUDGET, string.concat(name, ": above the budget: ", vm.toString(used)));
    }

    function nodes(string memory seed, uint256 count) private pure returns (bytes32[] memory path) {
        path = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            path[i] = keccak256(abi.encode(seed, i));
        }
    }

    function record(bytes32 deviceLog, uint64 seq) private pure returns (bytes memory) {
        return abi.encodePacked(
            abi.encodePacked(hex"a96174", cborUint(1_760_000_000_000), hex"61760163636c6b82636e7470", cborUint(15)),
            abi.encodePacked(hex"636c6f675820", deviceLog, hex"63736571", cborUint(seq), hex"64626f64795820"),
            abi.encodePacked(keccak256("body"), hex"64626f6f74", cborUint(12), hex"646b696e6469", "inference"),
            abi.encodePacked(hex"646d6f6e6f", cborUint(123_456_789))
        );
    }

    function head(bytes32 deviceLog, uint64 size, bytes32 root) private pure returns (bytes memory) {
        bytes memory seen =
            abi.encodePacked(hex"5820", keccak256("fleet"), cborUint(1_000_000), hex"5820", keccak256("seen"));
        return abi.encodePacked(
            abi.encodePacked(hex"a8617601636c6f675820", deviceLog, hex"647072657682", cborUint(size - 32), hex"5820"),
            abi.encodePacked(keccak256("previous"), hex"64726f6f745820", root, hex"647365656e83", seen),
            abi.encodePacked(hex"6473697a65", cborUint(size), hex"65636c6f636ba46174", cborUint(1_760_000_000_000)),
            abi.encodePacked(hex"6374706df664626f6f74", cborUint(12), hex"646d6f6e6f", cborUint(123_456_789)),
            abi.encodePacked(hex"68616e63686f72656485", seen, cborUint(8453), hex"5820", keccak256("block"))
        );
    }
}
