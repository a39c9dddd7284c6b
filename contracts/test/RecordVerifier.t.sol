// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CborReader} from "../src/libraries/CborReader.sol";
import {DeviceEvidence} from "../src/libraries/DeviceEvidence.sol";
import {Rfc9162} from "../src/libraries/Rfc9162.sol";
import {IFleetLog} from "../src/interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {IRecordVerifier} from "../src/interfaces/IRecordVerifier.sol";
import {IRegisteredSigner} from "../src/interfaces/IRegisteredSigner.sol";
import {Reference9162} from "./Reference9162.sol";
import {TestBase} from "./TestBase.sol";
import {Vm} from "./Vm.sol";

/// @notice A log with the vectors' keys and head.
abstract contract SettlementBase is TestBase {
    IRecordVerifier internal verifier;
    string internal json;

    function setUp() public virtual override {
        super.setUp();
        verifier = IRecordVerifier(deployOver("RecordVerifier"));
        json = vm.readFile("test/vectors/settlement.json");
        for (uint256 i = 0; vm.keyExistsJson(json, string.concat(".keys[", vm.toString(i), "]")); ++i) {
            string memory at_ = string.concat(".keys[", vm.toString(i), "]");
            bytes32 x = vm.parseJsonBytes32(json, string.concat(at_, ".x"));
            bytes32 y = vm.parseJsonBytes32(json, string.concat(at_, ".y"));
            IIdentityRegistry.Role role = IIdentityRegistry.Role(vm.parseJsonUint(json, string.concat(at_, ".role")));
            uint64 from = uint64(vm.parseJsonUint(json, string.concat(at_, ".from")));
            vm.prank(ADMIN);
            registry.registerKey(logId, role, x, y, from, 0);
        }
    }

    function anchorVectors() internal {
        uint64 size = uint64(vm.parseJsonUint(json, ".size"));
        anchor(GATEWAY_KEY, Head(logId, size, vm.parseJsonBytes32(json, ".root"), 0, 0), none());
        bytes32 kid = vm.parseJsonBytes32(json, ".revoked.kid");
        uint64 until = uint64(vm.parseJsonUint(json, ".revoked.until"));
        vm.prank(ADMIN);
        registry.revokeKey(logId, kid, until, IIdentityRegistry.Reason.Compromised);
    }

    function evidence(uint256 i) internal view returns (IRecordVerifier.Evidence memory e) {
        string memory at_ = string.concat(".cases[", vm.toString(i), "]");
        e.fleetLog = logId;
        e.record = vm.parseJsonBytes(json, string.concat(at_, ".record"));
        e.devicePath = vm.parseJsonBytes32Array(json, string.concat(at_, ".devicePath"));
        e.head = vm.parseJsonBytes(json, string.concat(at_, ".head"));
        e.by.x = vm.parseJsonBytes32(json, string.concat(at_, ".x"));
        e.by.y = vm.parseJsonBytes32(json, string.concat(at_, ".y"));
        e.by.r = vm.parseJsonBytes32(json, string.concat(at_, ".r"));
        e.by.s = vm.parseJsonBytes32(json, string.concat(at_, ".s"));
        e.position = uint64(vm.parseJsonUint(json, string.concat(at_, ".position")));
        e.fleetPath = vm.parseJsonBytes32Array(json, string.concat(at_, ".fleetPath"));
    }
}

/// @notice The vectors that the Python check reads too (tests/unit/test_settlement.py): both must say the same.
contract RecordVerifierTest is SettlementBase {
    function field(uint256 i, string memory name) internal view returns (string memory) {
        return vm.parseJsonString(json, string.concat(".cases[", vm.toString(i), "].", name));
    }

    function selector(string memory name) internal pure returns (bytes4) {
        bytes32 hash = keccak256(bytes(name));
        if (hash == keccak256("Malformed")) return CborReader.Malformed.selector;
        if (hash == keccak256("HeadOrder")) return DeviceEvidence.HeadOrder.selector;
        if (hash == keccak256("HeadOfAnotherLog")) return IRecordVerifier.HeadOfAnotherLog.selector;
        if (hash == keccak256("RecordOfAnotherLog")) return IRecordVerifier.RecordOfAnotherLog.selector;
        if (hash == keccak256("TreeTooLarge")) return IRecordVerifier.TreeTooLarge.selector;
        if (hash == keccak256("IndexBeyondSize")) return IRecordVerifier.IndexBeyondSize.selector;
        if (hash == keccak256("WrongPathLength")) return IRecordVerifier.WrongPathLength.selector;
        if (hash == keccak256("NotInDeviceLog")) return IRecordVerifier.NotInDeviceLog.selector;
        if (hash == keccak256("NotInFleetLog")) return IRecordVerifier.NotInFleetLog.selector;
        if (hash == keccak256("HighS")) return IRegisteredSigner.HighS.selector;
        if (hash == keccak256("BadSignature")) return IRegisteredSigner.BadSignature.selector;
        if (hash == keccak256("WrongRole")) return IRegisteredSigner.WrongRole.selector;
        if (hash == keccak256("KeyNotValid")) return IRegisteredSigner.KeyNotValid.selector;
        if (hash == keccak256("UnknownKey")) return IIdentityRegistry.UnknownKey.selector;
        revert(name);
    }

    function test_EveryVector() public {
        anchorVectors();
        uint64 size = uint64(vm.parseJsonUint(json, ".size"));
        uint256 good = 0;
        uint256 i = 0;
        for (; vm.keyExistsJson(json, string.concat(".cases[", vm.toString(i), "]")); ++i) {
            IRecordVerifier.Evidence memory e = evidence(i);
            string memory error_ = field(i, "error");
            if (bytes(error_).length != 0) {
                (bool done, bytes memory answer) =
                    address(verifier).staticcall(abi.encodeCall(IRecordVerifier.check, (e)));
                assertTrue(!done, string.concat(field(i, "name"), ": accepted"));
                assertTrue(bytes4(answer) == selector(error_), string.concat(field(i, "name"), ": another error"));
                continue;
            }
            IRecordVerifier.Settled memory settled = verifier.check(e);
            assertEq(settled.position, i, field(i, "name"));
            assertEq(settled.size, size, field(i, "name"));
            ++good;
        }
        assertTrue(good >= 25 && i - good >= 50, "too few vectors");
    }

    function test_SettlesAndEmits() public {
        anchorVectors();
        IRecordVerifier.Evidence memory e = evidence(0);
        vm.recordLogs();
        vm.prank(STRANGER);
        IRecordVerifier.Settled memory settled = verifier.settle(e);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].topics[0], IRecordVerifier.RecordSettled.selector, "event");
        assertEq(logs[0].topics[1], logId, "fleet log");
        assertEq(logs[0].topics[2], settled.deviceLog, "device log");
        assertEq(uint256(logs[0].topics[3]), 3, "seq");
        assertEq(
            keccak256(logs[0].data),
            keccak256(
                abi.encode(sha256(abi.encodePacked(hex"00", e.record)), settled.body, settled.position, settled.size)
            ),
            "data"
        );
        assertEq(settled.kid, sha256(abi.encodePacked(hex"a401022001215820", e.by.x, hex"225820", e.by.y)), "kid");
        assertEq(settled.body, sha256("body"), "body");
        assertEq(settled.time, 1_760_000_000_000, "time");
    }

    function test_NothingAnchored() public {
        IRecordVerifier.Evidence memory e = evidence(0);
        vm.expectRevert(abi.encodeWithSelector(IRecordVerifier.NothingAnchored.selector, logId));
        verifier.check(e);
    }

    function test_UnknownFleetLog() public {
        anchorVectors();
        IRecordVerifier.Evidence memory e = evidence(0);
        e.fleetLog = bytes32(uint256(1));
        vm.expectRevert(abi.encodeWithSignature("UnknownLog(bytes32)", e.fleetLog));
        verifier.check(e);
    }

    /// A position below the revocation was good, until the revocation was narrowed to lie before it.
    function test_JudgesByTheRegistryAsItStands() public {
        anchorVectors();
        uint256 i = 0;
        while (keccak256(bytes(field(i, "name"))) != keccak256("before_the_revocation")) ++i;
        IRecordVerifier.Evidence memory e = evidence(i);
        verifier.check(e);
        bytes32 kid = vm.parseJsonBytes32(json, ".revoked.kid");
        vm.prank(ADMIN);
        registry.revokeKey(logId, kid, uint64(i), IIdentityRegistry.Reason.Compromised);
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.KeyNotValid.selector, kid, logId, uint64(i)));
        verifier.check(e);
    }

    function test_OnlyOverARegistry() public {
        FalseRegistry other = new FalseRegistry(log);
        bytes memory code = bytes.concat(vm.getCode(artifactOf("RecordVerifier")), abi.encode(other));
        bytes memory expected = abi.encodeWithSelector(IRegisteredSigner.NotARegistry.selector, other);
        vm.expectRevert(expected);
        this.create(code);
    }

    function create(bytes calldata code) external {
        bytes memory copy = code;
        assembly {
            if iszero(create(0, add(copy, 32), mload(copy))) {
                returndatacopy(0, 0, returndatasize())
                revert(0, returndatasize())
            }
        }
    }
}

/// @notice Good evidence with one bit changed.
contract RecordVerifierMutationTest is SettlementBase {
    IRecordVerifier.Evidence private good;

    function setUp() public override {
        super.setUp();
        anchorVectors();
        good = evidence(0);
    }

    function test_GoodAsItIs() public view {
        verifier.check(good);
    }

    /// One bit anywhere in the evidence changed: never accepted.
    function testFuzz_AnyBitCounts(uint256 where, uint8 bit) public view {
        IRecordVerifier.Evidence memory e = good;
        bytes memory encoded = bytes.concat(e.record, e.head, e.by.x, e.by.y, e.by.r, e.by.s);
        where %= encoded.length;
        encoded[where] = bytes1(uint8(encoded[where]) ^ uint8(1 << (bit % 8)));
        uint256 record = e.record.length;
        uint256 head = e.head.length;
        for (uint256 k = 0; k < record; ++k) {
            e.record[k] = encoded[k];
        }
        for (uint256 k = 0; k < head; ++k) {
            e.head[k] = encoded[record + k];
        }
        bytes32[4] memory words;
        for (uint256 w = 0; w < 4; ++w) {
            uint256 from = record + head + 32 * w;
            bytes32 word;
            assembly {
                word := mload(add(add(encoded, 32), from))
            }
            words[w] = word;
        }
        (e.by.x, e.by.y, e.by.r, e.by.s) = (words[0], words[1], words[2], words[3]);
        (bool done,) = address(verifier).staticcall(abi.encodeCall(IRecordVerifier.check, (e)));
        assertTrue(!done, "accepted");
    }
}

/// @notice Names a FleetLog that does not name it.
contract FalseRegistry {
    IFleetLog public fleetLog;

    constructor(IFleetLog fleetLog_) {
        fleetLog = fleetLog_;
    }
}

/// @notice Inclusion, against the RFC's recursive definitions.
contract InclusionTest is TestBase {
    function setUp() public override {}

    function length(uint64 index, uint64 size) external pure returns (uint256) {
        return Rfc9162.inclusionLength(index, size);
    }

    function fold(bytes32 leaf, uint64 index, uint64 size, bytes32[] calldata path) external view returns (bytes32) {
        return Rfc9162.foldInclusion(leaf, index, size, path);
    }

    function test_EveryIndexOfEverySize() public view {
        for (uint64 size = 1; size <= 33; ++size) {
            bytes32[] memory leaves = new bytes32[](size);
            for (uint64 i = 0; i < size; ++i) {
                leaves[i] = keccak256(abi.encode(size, i));
            }
            bytes32 root = Reference9162.mth(leaves, 0, size);
            for (uint64 i = 0; i < size; ++i) {
                bytes32[] memory path = Reference9162.path(leaves, i, 0, size);
                assertEq(this.length(i, size), path.length, "length");
                assertEq(this.fold(leaves[i], i, size, path), root, "root");
            }
        }
    }

    function testFuzz_LengthIsBounded(uint64 index, uint64 size) public view {
        if (size == 0) return;
        assertTrue(this.length(index % size, size) <= 64, "length");
    }
}
