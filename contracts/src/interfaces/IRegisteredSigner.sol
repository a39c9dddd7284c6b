// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "./IFleetLog.sol";
import {IIdentityRegistry} from "./IIdentityRegistry.sol";

/// @title What the contracts that take signatures of registered keys have in common
/// @notice Who may sign is the IdentityRegistry's word; who sends the transaction does not matter where a signature counts.
interface IRegisteredSigner {
    /// @notice An ES256 signature with the public key it is said to be of.
    struct Signed {
        bytes32 x;
        bytes32 y;
        bytes32 r;
        bytes32 s;
    }

    /// @notice The address given is no IdentityRegistry whose FleetLog names it back.
    error NotARegistry(address given);
    /// @notice The caller is not the tenant's admin, which the registry names as `admin` (zero: no such tenant).
    error NotTenantAdmin(bytes32 tenant, address caller, address admin);
    /// @notice s is above half the group order: only the low one of the two twin signatures is taken.
    error HighS(bytes32 s);
    /// @notice (r, s) is no signature of `digest` by the key given.
    error BadSignature(bytes32 digest, bytes32 r, bytes32 s);
    /// @notice The signature was meant to be brought by `deadline` (Unix seconds, inclusive).
    error Expired(uint64 deadline, uint256 time);
    /// @notice The key is registered for something else.
    error WrongRole(bytes32 kid, IIdentityRegistry.Role expected, IIdentityRegistry.Role actual);
    /// @notice The key's signatures do not count at this position: not yet, suspended or revoked.
    error KeyNotValid(bytes32 kid, bytes32 logId, uint64 position);

    /// @notice The registry that says who signs what.
    function registry() external view returns (IIdentityRegistry);

    /// @notice That registry's fleet logs.
    function fleetLog() external view returns (IFleetLog);
}
