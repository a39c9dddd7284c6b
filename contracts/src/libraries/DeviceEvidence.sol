// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CborReader, Cursor} from "./CborReader.sol";
import {CborWriter} from "./CborWriter.sol";

/// @title What devices say: record headers and device heads
/// @notice Reads them as strictly as format.md 4.1 and 5.1 ask, so that nothing passes here that a verifier elsewhere
/// refuses, and rebuilds the signed bytes around a device head.
library DeviceEvidence {
    using CborReader for bytes;
    using CborReader for Cursor;

    /// @notice Numbers of the objects in `CborReader.Malformed`.
    uint256 internal constant RECORD = 1;
    uint256 internal constant HEAD = 2;

    uint256 private constant NULL = 0xf6;

    /// @notice Of a record header, what a verifier goes on with.
    struct Record {
        bytes32 log;
        uint64 seq;
        uint64 time;
        bytes32 body;
    }

    /// @notice Of a device head, what a verifier goes on with.
    struct Head {
        bytes32 log;
        uint64 size;
        bytes32 root;
    }

    /// @notice The head's sizes cannot follow each other (format.md 5.1).
    error HeadOrder(uint64 size, uint64 prevSize, bytes32 prevRoot);

    /// @notice Reads a record header (format.md 4.1), all of it.
    function record(bytes calldata data) internal pure returns (Record memory r) {
        Cursor c = data.begin(RECORD).literal(0xa96174, 3);
        (r.time, c) = c.uinteger();
        c = _clockSource(c.literal(0x61760163636c6b82, 8));
        c = c.at_(NULL) ? c.literal(NULL, 1) : _uint(c);
        (r.log, c) = c.literal(0x636c6f67, 4).digest();
        (r.seq, c) = c.literal(0x63736571, 4).uinteger();
        (r.body, c) = c.literal(0x64626f6479, 5).digest();
        c = _uint(c.literal(0x64626f6f74, 5)).literal(0x646b696e64, 5).word();
        _uint(c.literal(0x646d6f6e6f, 5)).end(data);
    }

    /// @notice Reads the payload of a device head (format.md 5.1), all of it.
    function head(bytes calldata data) internal pure returns (Head memory h) {
        Cursor c = data.begin(HEAD).literal(0xa8617601636c6f67, 8);
        uint64 prevSize;
        bytes32 prevRoot;
        (h.log, c) = c.digest();
        (prevSize, c) = c.literal(0x647072657682, 6).uinteger();
        (prevRoot, c) = c.digest();
        (h.root, c) = c.literal(0x64726f6f74, 5).digest();
        c = c.literal(0x647365656e, 5);
        c = c.at_(NULL) ? c.literal(NULL, 1) : _logSizeRoot(c.literal(0x83, 1));
        (h.size, c) = c.literal(0x6473697a65, 5).uinteger();
        c = _clock(c.literal(0x65636c6f636ba4, 7)).literal(0x68616e63686f726564, 9);
        c = c.at_(NULL) ? c.literal(NULL, 1) : _digest(_uint(_logSizeRoot(c.literal(0x85, 1))));
        c.end(data);
        if (h.size < 2 || prevSize >= h.size || prevSize == 1 || (prevSize == 0) != (prevRoot == 0)) {
            revert HeadOrder(h.size, prevSize, prevRoot);
        }
    }

    /// @notice What the key signs and what stands in the fleet log, for a device head's `payload` signed as (r, s).
    /// @dev The protected header (format.md 1.5) follows from kid, log and size. Both hashes are taken from one stretch of
    /// memory: `84 6a "Signature1" 59 LLLL protected 40 payload`, and with its beginning, middle and end changed
    /// `00 d2 84 59 LLLL protected a0 payload 58 40 r s`.
    /// @return signed SHA-256 of the Sig_structure: the digest of ES256.
    /// @return leaf Leaf hash of the COSE_Sign1 (format.md 7.1).
    function hashes(bytes32 kid, bytes32 log, uint64 size, bytes calldata payload, bytes32 r, bytes32 s)
        internal
        view
        returns (bytes32 signed, bytes32 leaf)
    {
        uint256 start;
        assembly ("memory-safe") {
            start := mload(0x40)
            mstore(start, shl(88, 0x846a5369676e617475726531590000a40126045820))
            mstore(add(start, 21), kid)
            mstore(add(start, 53), shl(216, 0x0fa4017840)) // 15: {1: tstr(64)
            mstore(add(start, 122), shl(232, 0x027840)) //         2: tstr(64)
            mstore(add(start, 189), shl(216, 0x3a00011170)) //     -70001: size
        }
        CborWriter.hexadecimal(start + 58, kid);
        CborWriter.hexadecimal(start + 125, log);
        uint256 p = CborWriter.uinteger(start + 194, size);
        bool done;
        assembly ("memory-safe") {
            mstore(p, shl(200, 0x3a000111715820)) //               -70002: log id
            mstore(add(p, 7), log)
            // 16: "application/vnd.edgeseal.device-head+cose" | 40
            mstore(add(p, 39), "\x10\x78\x29application/vnd.edgeseal.devi")
            mstore(add(p, 71), shl(152, 0x63652d686561642b636f736540))
            p := add(p, 84)
            let header := sub(p, add(start, 16))
            mstore8(add(start, 13), shr(8, header))
            mstore8(add(start, 14), header)
            let middle := sub(p, 1)
            // The payload as a byte string; a device head's is never shorter than 24 bytes.
            let length := payload.length
            switch lt(length, 256)
            case 1 {
                mstore(p, or(shl(248, 0x58), shl(240, length)))
                p := add(p, 2)
            }
            default {
                mstore(p, or(shl(248, 0x59), shl(232, length)))
                p := add(p, 3)
            }
            calldatacopy(p, payload.offset, length)
            p := add(p, length)
            done := staticcall(gas(), 2, start, sub(p, start), 0x00, 0x20)
            signed := mload(0x00)

            mstore8(add(start, 9), 0x00)
            mstore8(add(start, 10), 0xd2)
            mstore8(add(start, 11), 0x84)
            mstore8(middle, 0xa0)
            mstore(p, shl(240, 0x5840))
            mstore(add(p, 2), r)
            mstore(add(p, 34), s)
            start := add(start, 9)
            done := and(done, staticcall(gas(), 2, start, sub(add(p, 66), start), 0x00, 0x20))
            leaf := mload(0x00)
        }
        assert(done); // only for want of gas
    }

    /// @notice The id of the device log of a key (format.md 2.3).
    function logId(bytes32 kid) internal pure returns (bytes32) {
        return sha256(abi.encodePacked("edgeseal/v1/device-log", bytes1(0), kid));
    }

    function _uint(Cursor c) private pure returns (Cursor) {
        (, c) = c.uinteger();
        return c;
    }

    function _digest(Cursor c) private pure returns (Cursor) {
        (, c) = c.digest();
        return c;
    }

    function _logSizeRoot(Cursor c) private pure returns (Cursor) {
        return _digest(_uint(_digest(c)));
    }

    /// @dev The four entries of a clock.
    function _clock(Cursor c) private pure returns (Cursor) {
        c = _uint(c.literal(0x6174, 2)).literal(0x6374706d, 4);
        if (c.at_(NULL)) {
            c = c.literal(NULL, 1);
        } else {
            c = _uint(_uint(_uint(c.literal(0x84, 1))));
            c = c.at_(0xf4) ? c.literal(0xf4, 1) : c.literal(0xf5, 1);
        }
        return _uint(_uint(c.literal(0x64626f6f74, 5)).literal(0x646d6f6e6f, 5));
    }

    /// @dev One of none, rtc, ntp, ptp, gnss. Whatever begins like one of these must be that one.
    function _clockSource(Cursor c) private pure returns (Cursor) {
        if (c.at_(0x64)) {
            c = c.literal(0x64, 1);
            return c.at_(0x6e) ? c.literal(0x6e6f6e65, 4) : c.literal(0x676e7373, 4);
        }
        c = c.literal(0x63, 1);
        if (c.at_(0x6e)) return c.literal(0x6e7470, 3);
        return c.at_(0x72) ? c.literal(0x727463, 3) : c.literal(0x707470, 3);
    }
}
