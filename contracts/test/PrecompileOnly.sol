// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommandLogBase} from "../src/CommandLogBase.sol";
import {FleetLogBase} from "../src/FleetLogBase.sol";
import {IdentityRegistryBase} from "../src/IdentityRegistryBase.sol";
import {ModelRegistryBase} from "../src/ModelRegistryBase.sol";
import {P256Scheme} from "../src/P256Scheme.sol";
import {RecordVerifierBase} from "../src/RecordVerifierBase.sol";
import {RegisteredSigner} from "../src/RegisteredSigner.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";

/// @notice P-256 over the precompile alone. `forge coverage` compiles without the optimizer, which OpenZeppelin's P256
/// does not survive; the rules are measured over this instead.
abstract contract PrecompileP256 is P256Scheme {
    uint256 private constant P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF;
    uint256 private constant B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B;

    function _verifyP256(bytes32 digest, bytes32 r, bytes32 s, bytes32 x, bytes32 y)
        internal
        view
        override
        returns (bool)
    {
        (bool done, bytes memory out) = address(0x100).staticcall(abi.encode(digest, r, s, x, y));
        return done && out.length == 32 && abi.decode(out, (uint256)) == 1;
    }

    function _isP256Point(bytes32 x, bytes32 y) internal pure override returns (bool) {
        uint256 a = uint256(x);
        uint256 b = uint256(y);
        if (a >= P || b >= P) return false;
        return mulmod(b, b, P) == addmod(mulmod(addmod(mulmod(a, a, P), P - 3, P), a, P), B, P);
    }
}

contract PrecompileFleetLog is FleetLogBase, PrecompileP256 {
    constructor() FleetLogBase(IIdentityRegistry(msg.sender)) {}
}

contract PrecompileRegistry is IdentityRegistryBase, PrecompileP256 {
    constructor() IdentityRegistryBase(new PrecompileFleetLog()) {}
}

contract PrecompileCommandLog is CommandLogBase, PrecompileP256 {
    constructor(IIdentityRegistry registry_) RegisteredSigner(registry_) {}
}

contract PrecompileModelRegistry is ModelRegistryBase, PrecompileP256 {
    constructor(IIdentityRegistry registry_) RegisteredSigner(registry_) {}
}

contract PrecompileRecordVerifier is RecordVerifierBase, PrecompileP256 {
    constructor(IIdentityRegistry registry_) RegisteredSigner(registry_) {}
}
