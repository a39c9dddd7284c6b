// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the contracts need of P-256
/// @notice The seam between our rules and the curve arithmetic, so that rules can be built and measured without it.
abstract contract P256Scheme {
    /// @dev Half the group order, rounded down: the largest s taken.
    bytes32 internal constant HALF_N = 0x7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8;

    /// @dev True if and only if (r, s) is an ECDSA P-256 signature of `digest` by the key (x, y). Must not revert for bad
    /// input, must tell a bad signature from an absent precompile, and may refuse s above HALF_N.
    function _verifyP256(bytes32 digest, bytes32 r, bytes32 s, bytes32 x, bytes32 y)
        internal
        view
        virtual
        returns (bool);

    /// @dev True if and only if (x, y) is a point of P-256: coordinates below the field's order, not the point at infinity.
    function _isP256Point(bytes32 x, bytes32 y) internal pure virtual returns (bool);
}
