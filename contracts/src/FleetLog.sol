// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FleetLogBase} from "./FleetLogBase.sol";
import {OpenZeppelinP256} from "./OpenZeppelinP256.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";

/// @title FleetLog, as deployed
/// @notice Deployed by the registry it belongs to.
contract FleetLog is FleetLogBase, OpenZeppelinP256 {
    constructor() FleetLogBase(IIdentityRegistry(msg.sender)) {}
}
