// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommandLogBase} from "./CommandLogBase.sol";
import {OpenZeppelinP256} from "./OpenZeppelinP256.sol";
import {RegisteredSigner} from "./RegisteredSigner.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";

/// @title CommandLog, as deployed
contract CommandLog is CommandLogBase, OpenZeppelinP256 {
    constructor(IIdentityRegistry registry_) RegisteredSigner(registry_) {}
}
