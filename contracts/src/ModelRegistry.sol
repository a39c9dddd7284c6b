// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModelRegistryBase} from "./ModelRegistryBase.sol";
import {OpenZeppelinP256} from "./OpenZeppelinP256.sol";
import {RegisteredSigner} from "./RegisteredSigner.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";

/// @title ModelRegistry, as deployed
contract ModelRegistry is ModelRegistryBase, OpenZeppelinP256 {
    constructor(IIdentityRegistry registry_) RegisteredSigner(registry_) {}
}
