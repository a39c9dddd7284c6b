// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RecordVerifierBase} from "./RecordVerifierBase.sol";
import {OpenZeppelinP256} from "./OpenZeppelinP256.sol";
import {RegisteredSigner} from "./RegisteredSigner.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";

/// @title RecordVerifier, as deployed
contract RecordVerifier is RecordVerifierBase, OpenZeppelinP256 {
    constructor(IIdentityRegistry registry_) RegisteredSigner(registry_) {}
}
