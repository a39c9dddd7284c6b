// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CborWriter} from "./CborWriter.sol";

/// @title The signed bytes of a fleet head
/// @notice A fleet head is a COSE_Sign1 (format.md 7.2). Every byte its signature covers follows from the six values
/// below, so a contract rebuilds them and believes nothing that was not signed.
library FleetHead {
    /// @notice SHA-256 of the Sig_structure `["Signature1", protected, h'', root]`: what ES256 signs.
    /// @param kid Thumbprint of the gateway key; becomes `kid` and, in hexadecimal, `iss`.
    /// @param logId Fleet log id; becomes the log id claim and, in hexadecimal, `sub`.
    /// @param size Leaves under the head.
    /// @param root Merkle root of these leaves, the payload.
    /// @param prevSize Leaves under the previous signed head, 0 before the first.
    /// @param prevRoot Root of the previous signed head, zero before the first.
    function digest(bytes32 kid, bytes32 logId, uint64 size, bytes32 root, uint64 prevSize, bytes32 prevRoot)
        internal
        view
        returns (bytes32 hash)
    {
        uint256 start;
        assembly ("memory-safe") {
            start := mload(0x40)
            // 84 6a "Signature1" 59 LLLL | a5 01 26 04 5820 ; the length is filled in below
            mstore(start, shl(88, 0x846a5369676e617475726531590000a50126045820))
            mstore(add(start, 21), kid)
            mstore(add(start, 53), shl(216, 0x0fa5017840)) // 15: {1: tstr(64)
            mstore(add(start, 122), shl(232, 0x027840)) //         2: tstr(64)
            mstore(add(start, 189), shl(216, 0x3a00011170)) //     -70001: size
        }
        CborWriter.hexadecimal(start + 58, kid);
        CborWriter.hexadecimal(start + 125, logId);
        // Each store may write past its field: what follows overwrites it, in this order.
        uint256 p = CborWriter.uinteger(start + 194, size);
        assembly ("memory-safe") {
            mstore(p, shl(200, 0x3a000111715820)) //               -70002: log id
            mstore(add(p, 7), logId)
            mstore(add(p, 39), shl(208, 0x3a0001117282)) //        -70003: [size, root]
        }
        p = CborWriter.uinteger(p + 45, prevSize);
        bool done;
        assembly ("memory-safe") {
            mstore(p, shl(240, 0x5820))
            mstore(add(p, 2), prevRoot)
            // 16: "application/vnd.edgeseal.fleet-head+cose", 395: 1 | 40 | 58 20 root
            mstore(add(p, 34), "\x10\x78\x28application/vnd.edgeseal.flee")
            mstore(add(p, 66), shl(112, 0x742d686561642b636f736519018b01405820))
            mstore(add(p, 84), root)
            let length := sub(p, start)
            let protected := add(length, 66) // 81 bytes follow p, 15 precede the protected header
            mstore8(add(start, 13), shr(8, protected))
            mstore8(add(start, 14), protected)
            done := staticcall(gas(), 2, start, add(length, 116), 0x00, 0x20)
            hash := mload(0x00)
        }
        assert(done); // only for want of gas
    }
}
