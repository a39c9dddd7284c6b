// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hex} from "./Hex.sol";

/// @title Writing parts of signed bytes into memory
/// @notice The caller owns the memory at `p`. A write may reach up to 32 bytes past its field: what follows is written
/// after it.
library CborWriter {
    /// @notice Writes the 64 lower-case hexadecimal digits of `value` at `p`.
    function hexadecimal(uint256 p, bytes32 value) internal pure {
        (bytes32 high, bytes32 low) = Hex.encode(value);
        assembly ("memory-safe") {
            mstore(p, high)
            mstore(add(p, 32), low)
        }
    }

    /// @notice Writes `value` as a CBOR unsigned integer in its shortest form at `p`; returns where the next item starts.
    function uinteger(uint256 p, uint256 value) internal pure returns (uint256 end) {
        assembly ("memory-safe") {
            switch lt(value, 0x18)
            case 1 {
                mstore(p, shl(248, value))
                end := add(p, 1)
            }
            default {
                switch lt(value, 0x100)
                case 1 {
                    mstore(p, or(shl(248, 0x18), shl(240, value)))
                    end := add(p, 2)
                }
                default {
                    switch lt(value, 0x10000)
                    case 1 {
                        mstore(p, or(shl(248, 0x19), shl(232, value)))
                        end := add(p, 3)
                    }
                    default {
                        switch lt(value, 0x100000000)
                        case 1 {
                            mstore(p, or(shl(248, 0x1a), shl(216, value)))
                            end := add(p, 5)
                        }
                        default {
                            mstore(p, or(shl(248, 0x1b), shl(184, value)))
                            end := add(p, 9)
                        }
                    }
                }
            }
        }
    }
}
