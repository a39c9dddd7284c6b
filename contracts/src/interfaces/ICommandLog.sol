// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRegisteredSigner} from "./IRegisteredSigner.sol";

/// @title Commands, logged on chain
/// @notice Holds, for each audience of a fleet log, a digest chain over the commands that operators had logged here. The
/// fleet log carries the command itself; this shows whether, in which order and under whose authority it was logged.
/// @dev Promise: an entry is appended if and only if an operator signed the chain it leads to, and that operator was
/// registered, valid and in scope (audience, action class) in the block of the entry. Entries are never changed. Not
/// promised: that every command is logged here, or that the digest is a command's. An audience is a device log id, or
/// for a group SHA-256("edgeseal/v1/audience" 00, "group:" and its name); zero is everybody in the tenant.
interface ICommandLog is IRegisteredSigner {
    /// @notice What kind of action a command is of: what an operator's scope is cut by.
    enum ActionClass {
        Query,
        Model,
        Policy,
        Configuration,
        Maintenance,
        Halt
    }

    /// @notice One command: digest of the signed statement, its position in the fleet log, its class (not `Halt`).
    struct Entry {
        bytes32 digest;
        uint64 position;
        ActionClass class;
    }

    /// @notice A command was logged.
    /// @param logId Fleet log id.
    /// @param audience Whom it is for.
    /// @param operator Thumbprint of the operator's key.
    /// @param digest Digest of the command statement.
    /// @param position Its position in the fleet log.
    /// @param class What kind of action it is.
    /// @param chain The audience's digest chain, this entry included.
    /// @param prevBlock Number of the block with this audience's previous event.
    event CommandLogged(
        bytes32 indexed logId,
        bytes32 indexed audience,
        bytes32 indexed operator,
        bytes32 digest,
        uint64 position,
        ActionClass class,
        bytes32 chain,
        uint64 prevBlock
    );

    /// @notice An emergency halt was logged: a topic of its own, so that a monitor needs no other filter.
    event HaltLogged(
        bytes32 indexed logId,
        bytes32 indexed audience,
        bytes32 indexed operator,
        bytes32 digest,
        bytes32 chain,
        uint64 prevBlock
    );

    /// @notice The admin set what an operator may have logged for an audience (zero: for every one).
    /// @param classes Bit i set: the class with number i.
    /// @param prevBlock Number of the block with the previous event of this operator and audience.
    event ScopeChanged(
        bytes32 indexed logId, bytes32 indexed operator, bytes32 indexed audience, uint8 classes, uint64 prevBlock
    );

    /// @notice A call logs 1 to `limit` commands.
    error EntryCount(uint256 given, uint256 limit);
    /// @notice A halt is logged with `halt` alone.
    error HaltAsEntry(uint256 index);
    /// @notice No digest is zero.
    error ZeroDigest(uint256 index);
    /// @notice Positions of an audience rise: this one is below `least`.
    error PositionNotAbove(uint64 position, uint64 least);
    /// @notice The position is not anchored yet.
    error PositionNotAnchored(uint64 position, uint64 anchored);
    /// @notice The operator's scope for this audience lacks the class.
    error OutOfScope(bytes32 operator, bytes32 audience, ActionClass class, uint8 classes);
    /// @notice The bitmap names classes there are none of.
    error UnknownClasses(uint8 classes);

    /// @notice Sets what an operator may have logged for one audience. Only the tenant's admin.
    function setScope(bytes32 logId, bytes32 operator, bytes32 audience, uint8 classes) external;

    /// @notice Logs commands of one operator to one audience. Callable by anyone.
    /// @dev Signed message (ES256): "edgeseal/v1/command-log" 00, chain id (32), this contract (20), log id, audience,
    /// the digest chain all entries lead to (32), deadline (8). The chain names everything before and in the call, so a
    /// signature fits one place of one chain and cannot be brought twice. One step of the chain:
    /// SHA-256("edgeseal/v1/command-chain" 00, chain before, digest, position (8), class (1)).
    /// @param deadline Unix seconds after which the signature is not taken.
    function log(bytes32 logId, bytes32 audience, Entry[] calldata entries, uint64 deadline, Signed calldata by)
        external;

    /// @notice Logs an emergency halt, which need not be sequenced yet. Callable by anyone.
    /// @dev As `log`, with "edgeseal/v1/command-halt"; in the chain its position is 2^64 - 1 and its class `Halt`.
    function halt(bytes32 logId, bytes32 audience, bytes32 digest, uint64 deadline, Signed calldata by) external;

    /// @notice The audience's digest chain (zero: nothing logged), its entries, the least position the next may have, and
    /// the block of its last event.
    function chainOf(bytes32 logId, bytes32 audience)
        external
        view
        returns (bytes32 chain, uint64 entries, uint64 next, uint64 lastBlock);

    /// @notice The classes an operator may have logged for this audience; zero as audience: for every one.
    function scopeOf(bytes32 logId, bytes32 operator, bytes32 audience)
        external
        view
        returns (uint8 classes, uint64 lastBlock);
}
