// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Lower-case hexadecimal, 16 bytes at a time
/// @notice All 32 digits of a word are made at once by bit operations on the whole word, without a loop.
library Hex {
    /// @notice The 64 ASCII digits of `value`, lower case, as two words: the first 16 bytes, then the last 16.
    function encode(bytes32 value) internal pure returns (bytes32 high, bytes32 low) {
        high = _half(uint256(value) >> 128);
        low = _half(uint256(value) & 0xffffffffffffffffffffffffffffffff);
    }

    /// @dev `x` is below 2^128. Each step doubles the gaps until every nibble sits alone in a byte; then 0x30 ('0') is
    /// added to each byte, and 0x27 ('a' - '0' - 10) more to those that hold 10 or above. No byte carries into the next.
    function _half(uint256 x) private pure returns (bytes32) {
        x = (x | (x << 64)) & 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff;
        x = (x | (x << 32)) & 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
        x = (x | (x << 16)) & 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff;
        x = (x | (x << 8)) & 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
        x = (x | (x << 4)) & 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
        unchecked {
            uint256 letters = ((x + 0x0606060606060606060606060606060606060606060606060606060606060606) >> 4)
                & 0x0101010101010101010101010101010101010101010101010101010101010101;
            return bytes32(x + 0x3030303030303030303030303030303030303030303030303030303030303030 + letters * 0x27);
        }
    }
}
