// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {P256Scheme} from "./P256Scheme.sol";
import {IFleetLog} from "./interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";
import {IRegisteredSigner} from "./interfaces/IRegisteredSigner.sol";
import {CoseKey} from "./libraries/CoseKey.sol";

/// @title Signatures of keys that the IdentityRegistry knows
abstract contract RegisteredSigner is IRegisteredSigner, P256Scheme {
    /// @inheritdoc IRegisteredSigner
    IIdentityRegistry public immutable registry;

    /// @inheritdoc IRegisteredSigner
    IFleetLog public immutable fleetLog;

    constructor(IIdentityRegistry registry_) {
        IFleetLog log = registry_.fleetLog();
        if (address(log.registry()) != address(registry_)) revert NotARegistry(address(registry_));
        registry = registry_;
        fleetLog = log;
    }

    /// @dev Reverts unless the caller is the tenant's admin.
    function _onlyAdmin(bytes32 tenant) internal view {
        address admin = registry.adminOf(tenant);
        if (msg.sender != admin) revert NotTenantAdmin(tenant, msg.sender, admin);
    }

    /// @dev Reverts after `deadline`.
    function _notAfter(uint64 deadline) internal view {
        if (block.timestamp > deadline) revert Expired(deadline, block.timestamp);
    }

    /// @dev Reverts unless the key is registered in the log for `role`, and counts at `position`.
    function _requireKey(bytes32 logId, bytes32 kid, IIdentityRegistry.Role role, uint64 position) internal view {
        (IIdentityRegistry.Role actual,,,,) = registry.keyOf(logId, kid); // reverts for an unknown key
        if (actual != role) revert WrongRole(kid, role, actual);
        if (!registry.isValidAt(kid, logId, position)) revert KeyNotValid(kid, logId, position);
    }

    /// @dev Reverts unless `by` is a good low-s signature of `digest`; gives the key's thumbprint.
    function _requireSignature(bytes32 digest, Signed calldata by) internal view returns (bytes32 kid) {
        if (by.s > HALF_N) revert HighS(by.s);
        if (!_verifyP256(digest, by.r, by.s, by.x, by.y)) revert BadSignature(digest, by.r, by.s);
        return CoseKey.thumbprint(by.x, by.y);
    }
}
