// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RegisteredSigner} from "./RegisteredSigner.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";
import {IRecordVerifier} from "./interfaces/IRecordVerifier.sol";
import {CoseKey} from "./libraries/CoseKey.sol";
import {DeviceEvidence} from "./libraries/DeviceEvidence.sol";
import {Rfc9162} from "./libraries/Rfc9162.sol";

/// @title The rules of RecordVerifier, over any P-256 implementation
abstract contract RecordVerifierBase is IRecordVerifier, RegisteredSigner {
    /// @inheritdoc IRecordVerifier
    function check(Evidence calldata e) external view returns (Settled memory settled) {
        (settled,) = _check(e);
    }

    /// @inheritdoc IRecordVerifier
    function settle(Evidence calldata e) external returns (Settled memory) {
        (Settled memory settled, bytes32 leaf) = _check(e);
        emit RecordSettled(
            e.fleetLog, settled.deviceLog, settled.seq, leaf, settled.body, settled.position, settled.size
        );
        return settled;
    }

    /// @dev Steps: (1) the record header, strictly; (2) the device head, strictly; (3) both are of the key's own log;
    /// (4) the record lies under the head's root; (5) the key signed the head; (6) the signed head lies under the
    /// anchored root; (7) the key is a device's and counts at that position.
    function _check(Evidence calldata e) private view returns (Settled memory settled, bytes32 leaf) {
        DeviceEvidence.Record memory record = DeviceEvidence.record(e.record); // (1)
        DeviceEvidence.Head memory head = DeviceEvidence.head(e.head); // (2)
        bytes32 kid = CoseKey.thumbprint(e.by.x, e.by.y);
        bytes32 own = DeviceEvidence.logId(kid);
        if (head.log != own) revert HeadOfAnotherLog(head.log, own); // (3)
        if (record.log != own) revert RecordOfAnotherLog(record.log, own);

        leaf = sha256(abi.encodePacked(bytes1(0), e.record));
        bytes32 computed = _fold(leaf, record.seq, head.size, e.devicePath);
        if (computed != head.root) revert NotInDeviceLog(head.root, computed); // (4)

        uint64 size = _checkHead(e, kid, head); // (5), (6)
        _requireKey(e.fleetLog, kid, IIdentityRegistry.Role.Device, e.position); // (7)
        settled = Settled(kid, own, record.seq, record.body, record.time, e.position, size);
    }

    /// @dev Gives the anchored size the head was found under.
    function _checkHead(Evidence calldata e, bytes32 kid, DeviceEvidence.Head memory head)
        private
        view
        returns (uint64 size)
    {
        (bytes32 signed, bytes32 leaf) = DeviceEvidence.hashes(kid, head.log, head.size, e.head, e.by.r, e.by.s);
        _requireSignature(signed, e.by);
        bytes32 root;
        (size, root) = fleetLog.head(e.fleetLog);
        if (size == 0) revert NothingAnchored(e.fleetLog);
        bytes32 computed = _fold(leaf, e.position, size, e.fleetPath);
        if (computed != root) revert NotInFleetLog(root, computed);
    }

    function _fold(bytes32 leaf, uint64 index, uint64 size, bytes32[] calldata path) private view returns (bytes32) {
        if (size > uint64(type(int64).max)) revert TreeTooLarge(size);
        if (index >= size) revert IndexBeyondSize(index, size);
        uint256 expected = Rfc9162.inclusionLength(index, size);
        if (path.length != expected) revert WrongPathLength(expected, path.length);
        return Rfc9162.foldInclusion(leaf, index, size, path);
    }
}
