// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title COSE keys of P-256
library CoseKey {
    /// @notice The RFC 9679 SHA-256 thumbprint (kid) of the P-256 point (`x`, `y`); format.md 2.2.
    /// @dev Does not check that the point lies on the curve. SHA-256 over the 75 bytes
    /// `a4 01 02 20 01 21 5820 x 22 5820 y`.
    function thumbprint(bytes32 x, bytes32 y) internal view returns (bytes32 kid) {
        bool done;
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, shl(192, 0xa401022001215820))
            mstore(add(p, 8), x)
            mstore(add(p, 40), shl(232, 0x225820))
            mstore(add(p, 43), y)
            done := staticcall(gas(), 2, p, 75, 0x00, 0x20)
            kid := mload(0x00)
        }
        assert(done); // only for want of gas
    }
}
