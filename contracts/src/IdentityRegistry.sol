// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FleetLog} from "./FleetLog.sol";
import {IdentityRegistryBase} from "./IdentityRegistryBase.sol";
import {OpenZeppelinP256} from "./OpenZeppelinP256.sol";

/// @title IdentityRegistry, as deployed
/// @notice Its constructor deploys the FleetLog it belongs to, so one transaction makes both, each bound to the other.
contract IdentityRegistry is IdentityRegistryBase, OpenZeppelinP256 {
    constructor() IdentityRegistryBase(new FleetLog()) {}
}
