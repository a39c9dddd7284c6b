// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rfc9162} from "../src/libraries/Rfc9162.sol";
import {Reference9162} from "./Reference9162.sol";
import {TestBase} from "./TestBase.sol";

/// @notice The library behind calldata.
contract Fold {
    function fold(uint64 size1, uint64 size2, bytes32 root1, bytes32[] calldata proof)
        external
        view
        returns (bytes32 old, bytes32 grown)
    {
        return Rfc9162.foldConsistency(size1, size2, root1, proof);
    }
}

contract Rfc9162Test is TestBase {
    uint256 private constant SIZES = 130;
    uint256 private immutable SPOILT = vm.envOr("EDGESEAL_PAIRS", uint256(32)); // to this size each proof is spoilt as well

    Fold private lib;
    bytes32[] private leaves;

    function setUp() public override {
        lib = new Fold();
        for (uint256 i = 0; i < SIZES; ++i) {
            leaves.push(sha256(abi.encode("leaf", i)));
        }
    }

    function test_PublishedRoots() public pure {
        // The tree of RFC 6962's test data (certificate-transparency, 8 leaves), leaves by their published hashes.
        bytes[8] memory data = [
            bytes(""),
            hex"00",
            hex"10",
            hex"2021",
            hex"3031",
            hex"40414243",
            hex"5051525354555657",
            hex"606162636465666768696a6b6c6d6e6f"
        ];
        bytes32[] memory d = new bytes32[](8);
        for (uint256 i = 0; i < 8; ++i) {
            d[i] = sha256(abi.encodePacked(bytes1(0), data[i]));
        }
        assertEq(
            Reference9162.mth(d, 0, 8), 0x5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328, "root of 8"
        );
        assertEq(
            Reference9162.mth(d, 0, 7), 0xddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c, "root of 7"
        );
    }

    /// Every pair 0 < m < n <= 130: the right proof folds to both roots, and each changed proof to another pair.
    function test_EveryPair() public view {
        bytes32[][] memory all = Reference9162.subtrees(leaves);
        bytes32[] memory roots = new bytes32[](SIZES + 1);
        for (uint256 n = 1; n <= SIZES; ++n) {
            roots[n] = Reference9162.mth(leaves, 0, n);
        }
        for (uint256 n = 2; n <= SIZES; ++n) {
            for (uint256 m = 1; m < n; ++m) {
                uint256 free = _freeMemory();
                _pair(uint64(m), uint64(n), roots[m], roots[n], Reference9162.proof(all, n, m));
                _release(free);
            }
        }
    }

    function testFuzz_LargeSizes(uint64 a, uint64 b, bytes32 seed, uint256 flip) public view {
        uint64 n = uint64(bound(b, 2, type(uint64).max));
        uint64 m = uint64(bound(a, 1, n - 1));
        (bytes32 root1, bytes32 root2, bytes32[] memory proof) = Reference9162.synthetic(m, n, seed);
        assertEq(Rfc9162.consistencyLength(m, n), proof.length, "length");
        (bytes32 old, bytes32 grown) = lib.fold(m, n, root1, proof);
        assertEq(old, root1, "old root");
        assertEq(grown, root2, "new root");

        proof[flip % proof.length] ^= bytes32(uint256(1) << (flip % 256));
        (old, grown) = lib.fold(m, n, root1, proof);
        assertTrue(old != root1 || grown != root2, "flipped bit taken");
    }

    /// Sizes that a log may come to, each power of two as likely as the next.
    function testFuzz_SizesTo2_40(uint8 bits1, uint8 bits2, uint64 a, uint64 b, bytes32 seed) public view {
        uint64 n = uint64(bound(b, 2, uint256(1) << bound(bits2, 1, 40)));
        uint64 m = uint64(bound(a, 1, uint256(1) << bound(bits1, 0, 40)));
        if (m >= n) m = 1 + m % (n - 1);
        (bytes32 root1, bytes32 root2, bytes32[] memory proof) = Reference9162.synthetic(m, n, seed);
        assertEq(Rfc9162.consistencyLength(m, n), proof.length, "length");
        (bytes32 old, bytes32 grown) = lib.fold(m, n, root1, proof);
        assertTrue(old == root1 && grown == root2, "roots");
    }

    function testFuzz_NearbySizes(uint64 start, uint16 step, bytes32 seed) public view {
        uint64 m = uint64(bound(start, 1, 1 << 40));
        uint64 n = m + 1 + step;
        (bytes32 root1, bytes32 root2, bytes32[] memory proof) = Reference9162.synthetic(m, n, seed);
        assertEq(Rfc9162.consistencyLength(m, n), proof.length, "length");
        (bytes32 old, bytes32 grown) = lib.fold(m, n, root1, proof);
        assertEq(old, root1, "old root");
        assertEq(grown, root2, "new root");
    }

    function test_LongestProofs() public pure {
        assertEq(Rfc9162.consistencyLength(type(uint64).max - 1, type(uint64).max), 64, "densest pair");
        assertEq(Rfc9162.consistencyLength(1, type(uint64).max), 64, "widest pair");
        assertEq(Rfc9162.consistencyLength(1, 2), 1, "shortest");
    }

    function testFuzz_NeverMoreThan65Nodes(uint64 a, uint64 b) public pure {
        uint64 n = uint64(bound(b, 2, type(uint64).max));
        uint256 length = Rfc9162.consistencyLength(uint64(bound(a, 1, n - 1)), n);
        assertTrue(length <= (n < 1 << 63 ? 64 : 65), "more nodes than levels allow");
    }

    function _pair(uint64 m, uint64 n, bytes32 root1, bytes32 root2, bytes32[] memory proof) private view {
        assertEq(Rfc9162.consistencyLength(m, n), proof.length, "length");
        (bytes32 old, bytes32 grown) = lib.fold(m, n, root1, proof);
        assertEq(old, root1, "old root");
        assertEq(grown, root2, "new root");
        if (n > SPOILT) return;
        for (uint256 i = 0; i < proof.length; ++i) {
            proof[i] ^= bytes32(uint256(1) << ((m * 7 + n * 3 + i) % 256));
            (old, grown) = lib.fold(m, n, root1, proof);
            assertTrue(old != root1 || grown != root2, "flipped bit taken");
            proof[i] ^= bytes32(uint256(1) << ((m * 7 + n * 3 + i) % 256));
        }
        for (uint256 i = 1; i < proof.length; ++i) {
            (proof[i - 1], proof[i]) = (proof[i], proof[i - 1]);
            (old, grown) = lib.fold(m, n, root1, proof);
            assertTrue(old != root1 || grown != root2, "swapped nodes taken");
            (proof[i - 1], proof[i]) = (proof[i], proof[i - 1]);
        }
    }

    /// @dev Memory is never freed by the compiler, and its price grows with the square.
    function _freeMemory() private pure returns (uint256 p) {
        assembly ("memory-safe") {
            p := mload(0x40)
        }
    }

    function _release(uint256 p) private pure {
        assembly ("memory-safe") {
            mstore(0x40, p)
        }
    }
}
