// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {P256Scheme} from "./P256Scheme.sol";

/// @title P-256 by OpenZeppelin
/// @notice Asks P256VERIFY at 0x100; where that precompile is absent, computes in Solidity.
abstract contract OpenZeppelinP256 is P256Scheme {
    /// @inheritdoc P256Scheme
    function _verifyP256(bytes32 digest, bytes32 r, bytes32 s, bytes32 x, bytes32 y)
        internal
        view
        override
        returns (bool)
    {
        return P256.verify(digest, r, s, x, y);
    }

    /// @inheritdoc P256Scheme
    function _isP256Point(bytes32 x, bytes32 y) internal pure override returns (bool) {
        return P256.isValidPublicKey(x, y);
    }
}
