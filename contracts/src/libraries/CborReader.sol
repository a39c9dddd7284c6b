// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev Where reading stands in calldata: object number (bits 192 up), offset of the object's first byte (96 up) and of
/// the next byte (0 up).
type Cursor is uint256;

/// @title Strict reading of deterministic CBOR, in the order of its bytes
/// @notice Each step takes one item and gives the cursor behind it. Anything but the one form that format.md 1.2 allows
/// (shortest heads, definite lengths, the expected type) reverts with the object's number and the offset of the item.
/// @dev Steps do not look where the object ends; the cursor only grows, so `end`, which must come last, catches whatever
/// was read beyond.
library CborReader {
    /// @notice The item at `offset` is not what object `what` has there.
    error Malformed(uint256 what, uint256 offset);

    uint256 private constant PLACE = 0xffffffffffffffffffffffff;

    /// @notice The cursor at the first byte of `data`, which is object number `what`.
    function begin(bytes calldata data, uint256 what) internal pure returns (Cursor c) {
        assembly ("memory-safe") {
            c := or(or(shl(192, what), shl(96, data.offset)), data.offset)
        }
    }

    /// @notice Takes the `length` (1 to 32) bytes that are the number `expected`.
    function literal(Cursor c, uint256 expected, uint256 length) internal pure returns (Cursor) {
        if (_peek(c, length) != expected) fail(c);
        return _skip(c, length);
    }

    /// @notice Whether the next byte is `expected`; takes nothing.
    function at_(Cursor c, uint256 expected) internal pure returns (bool) {
        return _peek(c, 1) == expected;
    }

    /// @notice Takes a byte string of 32 bytes.
    function digest(Cursor c) internal pure returns (bytes32 value, Cursor) {
        c = literal(c, 0x5820, 2);
        return (bytes32(_peek(c, 32)), _skip(c, 32));
    }

    /// @notice Takes an unsigned integer in its shortest form.
    function uinteger(Cursor c) internal pure returns (uint64 value, Cursor) {
        unchecked {
            uint256 first = _peek(c, 1);
            if (first < 0x18) return (uint64(first), _skip(c, 1));
            if (first > 0x1b) fail(c);
            uint256 width = 1 << (first - 0x18);
            uint256 wide = _peek(_skip(c, 1), width);
            // A width is needed if and only if the value does not fit half of it (one byte: if it is 24 or more).
            if (wide < (width == 1 ? 0x18 : 1 << (4 * width))) fail(c);
            return (uint64(wide), _skip(c, width + 1));
        }
    }

    /// @notice Takes text of 1 to 32 letters a-z and dots.
    function word(Cursor c) internal pure returns (Cursor) {
        unchecked {
            uint256 length = _peek(c, 1);
            uint256 head = 1;
            if (length == 0x78) {
                length = _peek(_skip(c, 1), 1);
                head = 2;
                if (length < 24 || length > 32) fail(c);
            } else {
                length -= 0x60; // wraps below 0x60
                if (length == 0 || length > 23) fail(c);
            }
            uint256 letters = _peek(_skip(c, head), 32);
            bool good = true;
            assembly ("memory-safe") {
                for { let i := 0 } lt(i, length) { i := add(i, 1) } {
                    let letter := byte(i, letters)
                    good := and(good, or(lt(sub(letter, 0x61), 26), eq(letter, 0x2e)))
                }
            }
            if (!good) fail(c);
            return _skip(c, head + length);
        }
    }

    /// @notice Reverts unless exactly `data` was taken.
    function end(Cursor c, bytes calldata data) internal pure {
        unchecked {
            if (_place(c) - _start(c) != data.length) fail(c);
        }
    }

    /// @notice Says that the item at the cursor is not what it must be.
    function fail(Cursor c) internal pure {
        unchecked {
            revert Malformed(Cursor.unwrap(c) >> 192, _place(c) - _start(c));
        }
    }

    /// @dev The `length` (1 to 32) bytes at the cursor as a number.
    function _peek(Cursor c, uint256 length) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, length)), calldataload(and(c, PLACE)))
        }
    }

    function _skip(Cursor c, uint256 length) private pure returns (Cursor) {
        unchecked {
            return Cursor.wrap(Cursor.unwrap(c) + length);
        }
    }

    function _place(Cursor c) private pure returns (uint256) {
        return Cursor.unwrap(c) & PLACE;
    }

    function _start(Cursor c) private pure returns (uint256) {
        return (Cursor.unwrap(c) >> 96) & PLACE;
    }
}
