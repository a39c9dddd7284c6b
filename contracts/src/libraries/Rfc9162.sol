// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Consistency proofs of RFC 9162 Merkle trees over the SHA-256 precompile
/// @notice Trees of `size1` and `size2` leaves are consistent when the first is the second's beginning. The caller
/// compares both returned roots with the ones it holds; sizes it must know from elsewhere, a proof does not bind them.
library Rfc9162 {
    /// @notice Number of nodes in the consistency proof from `size1` to `size2` leaves (RFC 9162 2.1.4.1).
    /// @dev Needs 0 < size1 < size2. At most one more than size2 has bits.
    function consistencyLength(uint64 size1, uint64 size2) internal pure returns (uint256 length) {
        unchecked {
            (uint256 fn, uint256 sn) = _start(size1, size2);
            if (fn != 0) length = 1; // the old tree is not one complete subtree: its last subtree leads the proof
            // Below the level where the two paths meet each level gives one node, above it each set bit does.
            for (; fn != sn; ++length) {
                fn >>= 1;
                sn >>= 1;
            }
            for (; fn != 0; fn &= fn - 1) {
                ++length;
            }
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

    /// @dev Indices of the last leaves, both shifted past the levels at which the old tree's last subtree is complete.
    function _start(uint64 size1, uint64 size2) private pure returns (uint256 fn, uint256 sn) {
        unchecked {
            fn = uint256(size1) - 1;
            sn = uint256(size2) - 1;
            while (fn & 1 == 1) {
                fn >>= 1;
                sn >>= 1;
            }
        }
    }
}
