// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CoseKey} from "../src/libraries/CoseKey.sol";
import {FleetHead} from "../src/libraries/FleetHead.sol";
import {Hex} from "../src/libraries/Hex.sol";
import {TestBase} from "./TestBase.sol";

contract EncodingTest is TestBase {
    function setUp() public override {}

    function testFuzz_Hex(bytes32 value) public pure {
        (bytes32 high, bytes32 low) = Hex.encode(value);
        assertEq(keccak256(abi.encodePacked(high, low)), keccak256(digits(value)), "digits");
    }

    function test_HexOfEveryByte() public pure {
        for (uint256 i = 0; i < 256; ++i) {
            bytes32 value = bytes32(i * 0x0101010101010101010101010101010101010101010101010101010101010101);
            (bytes32 high, bytes32 low) = Hex.encode(value);
            assertEq(keccak256(abi.encodePacked(high, low)), keccak256(digits(value)), "digits");
        }
    }

    function testFuzz_Thumbprint(bytes32 x, bytes32 y) public view {
        bytes32 expected = sha256(abi.encodePacked(hex"a401022001215820", x, hex"225820", y));
        assertEq(CoseKey.thumbprint(x, y), expected, "kid");
    }

    function testFuzz_HeadDigest(Head memory h, uint8 sizeBits, uint8 prevBits) public view {
        h.size >>= sizeBits % 64; // every width of a CBOR integer, not the widest alone
        h.prevSize >>= prevBits % 64;
        bytes32 digest = FleetHead.digest(kidOf(GATEWAY_KEY), h.logId, h.size, h.root, h.prevSize, h.prevRoot);
        assertEq(digest, headDigest(GATEWAY_KEY, h), "digest");
    }

    /// @dev The library writes past its fields and above the free memory pointer; neither may be seen outside.
    function test_HeadDigestLeavesMemoryAlone() public view {
        bytes memory before = abi.encode(uint256(1), uint256(2), uint256(3));
        bytes32 expected = keccak256(before);
        bytes memory dirt = new bytes(1024);
        for (uint256 i = 0; i < dirt.length; ++i) {
            dirt[i] = 0xff;
        }
        assembly ("memory-safe") {
            mstore(0x40, dirt) // gives the dirty bytes back: the next user finds them
        }
        Head memory h = Head(bytes32(uint256(1)), 300, bytes32(uint256(2)), 20, bytes32(uint256(3)));
        bytes32 digest = FleetHead.digest(kidOf(GATEWAY_KEY), h.logId, h.size, h.root, h.prevSize, h.prevRoot);
        assertEq(digest, headDigest(GATEWAY_KEY, h), "digest over dirty memory");
        assertEq(keccak256(before), expected, "memory below");
    }

    function test_Vectors() public view {
        string memory json = vm.readFile("test/vectors/fleet_head_tbs.json");
        uint256 count = 0;
        for (; vm.keyExistsJson(json, field(count, "")); ++count) {
            bytes memory message = vm.parseJsonBytes(json, field(count, ".message"));
            bytes32 digest = FleetHead.digest(
                vm.parseJsonBytes32(json, field(count, ".kid")),
                vm.parseJsonBytes32(json, field(count, ".logId")),
                uint64(vm.parseJsonUint(json, field(count, ".size"))),
                vm.parseJsonBytes32(json, field(count, ".root")),
                uint64(vm.parseJsonUint(json, field(count, ".prevSize"))),
                vm.parseJsonBytes32(json, field(count, ".prevRoot"))
            );
            assertEq(digest, sha256(message), "digest of the message");
            assertEq(digest, vm.parseJsonBytes32(json, field(count, ".digest")), "digest");
            bytes32 kid = CoseKey.thumbprint(
                vm.parseJsonBytes32(json, field(count, ".x")), vm.parseJsonBytes32(json, field(count, ".y"))
            );
            assertEq(kid, vm.parseJsonBytes32(json, field(count, ".kid")), "kid");
        }
        assertEq(count, 55, "vectors read");
    }

    function field(uint256 index, string memory name) private pure returns (string memory) {
        return string.concat(".heads[", vm.toString(index), "]", name);
    }
}
