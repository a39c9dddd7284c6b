// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Proofs of RFC 9162 Merkle trees over the SHA-256 precompile
/// @notice Trees of `size1` and `size2` leaves are consistent when the first is the second's beginning; a leaf is included
/// when a path leads from it to the root. The caller compares the returned roots with the ones it holds; sizes it must
/// know from elsewhere, a proof does not bind them.
library Rfc9162 {
    /// @notice Number of nodes in the consistency proof from `size1` to `size2` leaves (RFC 9162 2.1.4.1).
    /// @dev Needs 0 < size1 < size2. At most one more than size2 has bits.
    function consistencyLength(uint64 size1, uint64 size2) internal pure returns (uint256 length) {
        unchecked {
            (uint256 fn, uint256 sn) = _start(size1, size2);
            // Below the level where the two paths meet each level gives one node, above it each set bit does.
            uint256 inner = _bitLength(fn ^ sn);
            length = inner + _ones(fn >> inner);
            if (fn != 0) ++length; // the old tree is not one complete subtree: its last subtree leads the proof
        }
    }

    /// @notice Folds `proof` into the root of the old tree and the root of the new one (RFC 9162 2.1.4.2).
    /// @dev Needs 0 < size1 < size2 and proof.length == consistencyLength(size1, size2): then the RFC's end condition
    /// holds by construction. Consistent if and only if old == the known root of size1 and grown == the root of size2.
    /// @param root1 Root of the old tree; where it is one complete subtree the fold starts from it.
    function foldConsistency(uint64 size1, uint64 size2, bytes32 root1, bytes32[] calldata proof)
        internal
        view
        returns (bytes32 old, bytes32 grown)
    {
        (uint256 fn, uint256 sn) = _start(size1, size2);
        uint256 next = 0;
        if (fn == 0) {
            old = root1;
        } else {
            old = proof[0];
            next = 1;
        }
        grown = old;
        bool done = true;
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, 1) // byte 31 is the node prefix 0x01; left child at p + 32, right child at p + 64
            let input := add(p, 31)
            let left := add(p, 32)
            let right := add(p, 64)
            let end := add(proof.offset, shl(5, proof.length))
            for { let node := add(proof.offset, shl(5, next)) } lt(node, end) { node := add(node, 32) } {
                switch or(and(fn, 1), eq(fn, sn))
                case 0 {
                    mstore(left, grown)
                    mstore(right, calldataload(node))
                    done := and(done, staticcall(gas(), 2, input, 65, 0x00, 0x20))
                    grown := mload(0x00)
                }
                default {
                    mstore(left, calldataload(node))
                    mstore(right, old)
                    done := and(done, staticcall(gas(), 2, input, 65, 0x00, 0x20))
                    old := mload(0x00)
                    mstore(right, grown)
                    done := and(done, staticcall(gas(), 2, input, 65, 0x00, 0x20))
                    grown := mload(0x00)
                    for {} iszero(or(and(fn, 1), iszero(fn))) {} {
                        fn := shr(1, fn)
                        sn := shr(1, sn)
                    }
                }
                fn := shr(1, fn)
                sn := shr(1, sn)
            }
        }
        assert(done); // only for want of gas
    }

    /// @notice Number of nodes in the inclusion path of leaf `index` in a tree of `size` leaves (RFC 9162 2.1.3.1).
    /// @dev Needs index < size.
    function inclusionLength(uint64 index, uint64 size) internal pure returns (uint256 length) {
        unchecked {
            // Below the level where the paths of leaf and last leaf meet each level gives one node, above it each set bit.
            uint256 inner = _bitLength(uint256(index) ^ (uint256(size) - 1));
            return inner + _ones(uint256(index) >> inner);
        }
    }

    /// @notice Folds `path` from leaf hash `leaf` at `index` into the root of a tree of `size` leaves (RFC 9162 2.1.3.2).
    /// @dev Needs index < size and path.length == inclusionLength(index, size). Included if and only if the result is the
    /// known root of that size.
    function foldInclusion(bytes32 leaf, uint64 index, uint64 size, bytes32[] calldata path)
        internal
        view
        returns (bytes32 root)
    {
        root = leaf;
        bool done = true;
        uint256 inner;
        unchecked {
            inner = _bitLength(uint256(index) ^ (uint256(size) - 1));
        }
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, 1) // byte 31 is the node prefix 0x01; left child at p + 32, right child at p + 64
            let input := add(p, 31)
            let left := add(p, 32)
            let right := add(p, 64)
            // Where the two paths have met, only left siblings are left: a bit of 1 for each node of the path above.
            let sides := or(index, shl(inner, not(0)))
            let end := add(path.offset, shl(5, path.length))
            for { let node := path.offset } lt(node, end) { node := add(node, 32) } {
                let shift := shl(5, and(sides, 1)) // 32 where we are the right child
                mstore(add(left, shift), root)
                mstore(sub(right, shift), calldataload(node))
                done := and(done, staticcall(gas(), 2, input, 65, 0x00, 0x20))
                root := mload(0x00)
                sides := shr(1, sides)
            }
        }
        assert(done); // only for want of gas
    }

    /// @dev Bits needed to write `x`, which has at most 64.
    function _bitLength(uint256 x) private pure returns (uint256 length) {
        assembly ("memory-safe") {
            length := shl(5, lt(0xffffffff, x))
            length := or(length, shl(4, lt(0xffff, shr(length, x))))
            length := or(length, shl(3, lt(0xff, shr(length, x))))
            length := or(length, shl(2, lt(0xf, shr(length, x))))
            length := or(length, shl(1, lt(0x3, shr(length, x))))
            length := or(length, lt(0x1, shr(length, x)))
            length := add(length, iszero(iszero(x)))
        }
    }

    /// @dev Number of bits set in `x`, which has at most 64.
    function _ones(uint256 x) private pure returns (uint256) {
        unchecked {
            x -= (x >> 1) & 0x5555555555555555;
            x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333);
            x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
            return ((x * 0x0101010101010101) >> 56) & 0xff;
        }
    }

    /// @dev Indices of the last leaves, both shifted past the levels at which the old tree's last subtree is complete.
    function _start(uint64 size1, uint64 size2) private pure returns (uint256 fn, uint256 sn) {
        unchecked {
            uint256 level = _bitLength(size1 & (~size1 + 1)) - 1;
            fn = (uint256(size1) - 1) >> level;
            sn = (uint256(size2) - 1) >> level;
        }
    }
}
