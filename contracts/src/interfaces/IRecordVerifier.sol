// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRegisteredSigner} from "./IRegisteredSigner.sol";

/// @title One record, settled
/// @notice Shows in one call that a device said this, in this place, under a key that counted, and that the fleet log
/// anchored here contains it. Holds no state and nobody's power.
/// @dev Promise: accepts if and only if edgeseal's Python check of the same evidence does (`edgeseal.settlement`; shared
/// vectors). Sizes and positions come from signed bytes or from the chain: the record's index is the `seq` it states, the
/// device log's size is the signed head's, the fleet log's is the anchored one; the head's position is the caller's claim,
/// but only the true one fits the path and that size. Not promised: that what the record says is true, nor anything about
/// records that are not shown. Validity is judged by the registry as it stands now.
interface IRecordVerifier is IRegisteredSigner {
    /// @notice The evidence. Nothing in it is believed.
    /// @param fleetLog Fleet log id.
    /// @param record Record header, the bytes the device hashed (format.md 4.1).
    /// @param devicePath RFC 9162 inclusion path of the record in the device log under `head`.
    /// @param head Payload of the device head (format.md 5.1).
    /// @param by The device key and its signature of that head.
    /// @param position Position of the device head in the fleet log.
    /// @param fleetPath RFC 9162 inclusion path of the device head under the anchored head.
    struct Evidence {
        bytes32 fleetLog;
        bytes record;
        bytes32[] devicePath;
        bytes head;
        Signed by;
        uint64 position;
        bytes32[] fleetPath;
    }

    /// @notice What is proved.
    /// @param kid Thumbprint of the device key.
    /// @param deviceLog Device log id.
    /// @param seq The record's place in it.
    /// @param body Hash of the record's body.
    /// @param time What the device's clock said, Unix milliseconds: said, not proved.
    /// @param position Fleet log position of the device head.
    /// @param size Anchored size it was proved under.
    struct Settled {
        bytes32 kid;
        bytes32 deviceLog;
        uint64 seq;
        bytes32 body;
        uint64 time;
        uint64 position;
        uint64 size;
    }

    /// @notice A record was settled.
    /// @param leaf Its leaf hash in the device log; the rest as in `Settled`.
    event RecordSettled(
        bytes32 indexed fleetLog,
        bytes32 indexed deviceLog,
        uint64 indexed seq,
        bytes32 leaf,
        bytes32 body,
        uint64 position,
        uint64 size
    );

    /// @notice The device head belongs to another log than the key's own.
    error HeadOfAnotherLog(bytes32 stated, bytes32 ofKey);
    /// @notice The record belongs to another log than the head.
    error RecordOfAnotherLog(bytes32 stated, bytes32 ofHead);
    /// @notice No tree of ours has this size (limit 2^63 - 1).
    error TreeTooLarge(uint64 size);
    /// @notice There is no leaf with this index in a tree of this size.
    error IndexBeyondSize(uint64 index, uint64 size);
    /// @notice The path has not the one number of nodes that its index and size give.
    error WrongPathLength(uint256 expected, uint256 actual);
    /// @notice The record's path does not lead to the device head's root.
    error NotInDeviceLog(bytes32 root, bytes32 computed);
    /// @notice The device head's path does not lead to the anchored root.
    error NotInFleetLog(bytes32 root, bytes32 computed);
    /// @notice Nothing is anchored in the log yet.
    error NothingAnchored(bytes32 fleetLog);

    /// @notice Checks the evidence; reverts with the first thing wrong, in the order of its steps.
    function check(Evidence calldata evidence) external view returns (Settled memory);

    /// @notice As `check`, and leaves `RecordSettled` behind.
    function settle(Evidence calldata evidence) external returns (Settled memory);
}
