// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommandLogBase} from "../../src/CommandLogBase.sol";
import {FleetLogBase} from "../../src/FleetLogBase.sol";
import {IdentityRegistryBase} from "../../src/IdentityRegistryBase.sol";
import {ModelRegistryBase} from "../../src/ModelRegistryBase.sol";
import {P256Scheme} from "../../src/P256Scheme.sol";
import {RegisteredSigner} from "../../src/RegisteredSigner.sol";
import {IIdentityRegistry} from "../../src/interfaces/IIdentityRegistry.sol";

/// @notice The cheatcodes of halmos and forge that the properties use.
interface Svm {
    function createAddress(string calldata name) external pure returns (address);
    function createBytes32(string calldata name) external pure returns (bytes32);
    function createUint256(string calldata name) external pure returns (uint256);
    function createUint(uint256 bits, string calldata name) external pure returns (uint256);
    function createCalldata(string calldata contractName) external pure returns (bytes memory);
    function enableSymbolicStorage(address target) external;
    function assume(bool condition) external pure;
    function prank(address sender) external;
    function warp(uint256 time) external;
}

/// @notice Signatures about which nothing is known: any may be good. What is proved over this holds whatever P-256 says,
/// also when every key was stolen.
abstract contract AnySignature is P256Scheme {
    mapping(bytes32 => bool) private _good; // symbolic, so any function of the arguments

    function _verifyP256(bytes32 digest, bytes32 r, bytes32 s, bytes32 x, bytes32 y)
        internal
        view
        override
        returns (bool)
    {
        return _good[keccak256(abi.encode(digest, r, s, x, y))];
    }

    function _isP256Point(bytes32 x, bytes32 y) internal pure override returns (bool) {
        return uint256(keccak256(abi.encode(x, y))) & 1 == 1;
    }
}

/// @notice Nobody's signature is good: what is proved over this holds for callers who hold no key.
abstract contract NoSignature is P256Scheme {
    function _verifyP256(bytes32, bytes32, bytes32, bytes32, bytes32) internal pure override returns (bool) {
        return false;
    }

    function _isP256Point(bytes32 x, bytes32 y) internal pure override returns (bool) {
        return uint256(keccak256(abi.encode(x, y))) & 1 == 1;
    }
}

contract AnyFleetLog is FleetLogBase, AnySignature {
    constructor() FleetLogBase(IIdentityRegistry(msg.sender)) {}
}

contract AnyRegistry is IdentityRegistryBase, AnySignature {
    constructor() IdentityRegistryBase(new AnyFleetLog()) {}
}

contract AnyCommandLog is CommandLogBase, AnySignature {
    constructor(IIdentityRegistry registry_) RegisteredSigner(registry_) {}
}

contract NoFleetLog is FleetLogBase, NoSignature {
    constructor() FleetLogBase(IIdentityRegistry(msg.sender)) {}
}

contract NoRegistry is IdentityRegistryBase, NoSignature {
    constructor() IdentityRegistryBase(new NoFleetLog()) {}
}

contract NoModelRegistry is ModelRegistryBase, NoSignature {
    constructor(IIdentityRegistry registry_) RegisteredSigner(registry_) {}
}

/// @notice Arbitrary contracts in an arbitrary state, and an arbitrary caller with an arbitrary call.
/// @dev Each property says: whatever the state, one call keeps it. So no sequence of calls breaks it.
abstract contract Symbolic {
    Svm internal constant svm = Svm(address(uint160(uint256(keccak256("svm cheat code")))));
    Svm internal constant vm = Svm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function call(address target, bytes memory data, address caller) internal returns (bool done) {
        vm.prank(caller);
        (done,) = target.call(data);
    }

    /// @dev One call of any function of the contract with this name.
    function anyCall(address target, string memory name, address caller) internal returns (bool) {
        return call(target, svm.createCalldata(name), caller);
    }
}
