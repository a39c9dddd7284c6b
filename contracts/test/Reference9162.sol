// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice RFC 9162 roots and consistency proofs by their recursive definitions (2.1.1, 2.1.4.1), sharing no code with
/// the library under test, which follows the iterative verification (2.1.4.2).
library Reference9162 {
    /// @notice MTH(D[begin:end]).
    function mth(bytes32[] memory leaves, uint256 begin, uint256 end) internal pure returns (bytes32) {
        if (end - begin == 1) return leaves[begin];
        uint256 k = split(end - begin);
        return node(mth(leaves, begin, begin + k), mth(leaves, begin + k, end));
    }

    /// @notice The roots of all complete subtrees: levels[k][i] = MTH(D[i 2^k : (i + 1) 2^k]).
    function subtrees(bytes32[] memory leaves) internal pure returns (bytes32[][] memory levels) {
        uint256 height = 1;
        while (leaves.length >> height != 0) {
            ++height;
        }
        levels = new bytes32[][](height);
        levels[0] = leaves;
        for (uint256 k = 1; k < height; ++k) {
            levels[k] = new bytes32[](leaves.length >> k);
            for (uint256 i = 0; i < levels[k].length; ++i) {
                levels[k][i] = node(levels[k - 1][2 * i], levels[k - 1][2 * i + 1]);
            }
        }
    }

    /// @notice MTH(D[begin:end]), with the complete subtrees at hand.
    function mth(bytes32[][] memory levels, uint256 begin, uint256 end) internal pure returns (bytes32) {
        uint256 k = 0;
        while (1 << k < end - begin) ++k;
        if (1 << k == end - begin && begin % (1 << k) == 0) return levels[k][begin >> k];
        uint256 half = split(end - begin);
        return node(mth(levels, begin, begin + half), mth(levels, begin + half, end));
    }

    /// @notice PROOF(size, D[0:leaves.length]).
    function proof(bytes32[] memory leaves, uint256 size) internal pure returns (bytes32[] memory nodes) {
        return proof(subtrees(leaves), leaves.length, size);
    }

    /// @notice PROOF(size, D[0:grown]).
    function proof(bytes32[][] memory levels, uint256 grown, uint256 size)
        internal
        pure
        returns (bytes32[] memory nodes)
    {
        bytes32[] memory buffer = new bytes32[](65);
        uint256 count = _subproof(levels, 0, grown, size, true, buffer, 0);
        nodes = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            nodes[i] = buffer[i];
        }
    }

    /// @notice PATH(index, D[begin:end]), lowest sibling first (2.1.3.1); `index` counts from `begin`.
    function path(bytes32[] memory leaves, uint256 index, uint256 begin, uint256 end)
        internal
        pure
        returns (bytes32[] memory nodes)
    {
        if (end - begin == 1) return new bytes32[](0);
        uint256 k = split(end - begin);
        bool left = index < k;
        bytes32[] memory below = left ? path(leaves, index, begin, begin + k) : path(leaves, index - k, begin + k, end);
        nodes = new bytes32[](below.length + 1);
        for (uint256 i = 0; i < below.length; ++i) {
            nodes[i] = below[i];
        }
        nodes[below.length] = left ? mth(leaves, begin + k, end) : mth(leaves, begin, begin + k);
    }

    /// @notice A consistent pair of roots for trees too large to build: every complete subtree the proof names is
    /// replaced by a hash of `seed`.
    function synthetic(uint64 size1, uint64 size2, bytes32 seed)
        internal
        pure
        returns (bytes32 root1, bytes32 root2, bytes32[] memory nodes)
    {
        bytes32[] memory buffer = new bytes32[](65);
        uint256 count;
        (root1, root2, count) = _synthetic(size1, size2, true, seed, buffer, 0);
        nodes = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            nodes[i] = buffer[i];
        }
    }

    /// @notice The largest power of two below `n` (n > 1).
    function split(uint256 n) internal pure returns (uint256 k) {
        for (k = 1; k * 2 < n; k *= 2) {}
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    function _subproof(
        bytes32[][] memory levels,
        uint256 begin,
        uint256 end,
        uint256 size,
        bool whole,
        bytes32[] memory out,
        uint256 count
    ) private pure returns (uint256) {
        if (size == end - begin) {
            if (whole) return count;
            out[count] = mth(levels, begin, end);
            return count + 1;
        }
        uint256 k = split(end - begin);
        if (size <= k) {
            count = _subproof(levels, begin, begin + k, size, whole, out, count);
            out[count] = mth(levels, begin + k, end);
        } else {
            count = _subproof(levels, begin + k, end, size - k, false, out, count);
            out[count] = mth(levels, begin, begin + k);
        }
        return count + 1;
    }

    function _synthetic(uint256 size1, uint256 size2, bool whole, bytes32 seed, bytes32[] memory out, uint256 count)
        private
        pure
        returns (bytes32 root1, bytes32 root2, uint256)
    {
        if (size1 == size2) {
            root1 = sha256(abi.encode(seed, count, whole));
            if (whole) return (root1, root1, count);
            out[count] = root1;
            return (root1, root1, count + 1);
        }
        uint256 k = split(size2);
        if (size1 <= k) {
            (root1, root2, count) = _synthetic(size1, k, whole, seed, out, count);
            out[count] = sha256(abi.encode(seed, count, "right"));
            return (root1, node(root2, out[count]), count + 1);
        }
        (root1, root2, count) = _synthetic(size1 - k, size2 - k, false, seed, out, count);
        out[count] = sha256(abi.encode(seed, count, "left"));
        return (node(out[count], root1), node(out[count], root2), count + 1);
    }
}
