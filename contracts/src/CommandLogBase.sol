// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RegisteredSigner} from "./RegisteredSigner.sol";
import {ICommandLog} from "./interfaces/ICommandLog.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";

/// @title The rules of CommandLog, over any P-256 implementation
abstract contract CommandLogBase is ICommandLog, RegisteredSigner {
    struct Chain {
        bytes32 head;
        uint64 entries;
        uint64 next;
        uint48 lastBlock;
    }

    struct Scope {
        uint8 classes;
        uint48 lastBlock;
    }

    uint256 private constant MAX_ENTRIES = 64;
    uint64 private constant UNSEQUENCED = type(uint64).max;
    uint8 private constant ALL_CLASSES = uint8(1 << (uint8(type(ActionClass).max) + 1)) - 1;

    mapping(bytes32 logId => mapping(bytes32 audience => Chain)) private _chains;
    mapping(bytes32 logId => mapping(bytes32 operator => mapping(bytes32 audience => Scope))) private _scopes;

    /// @inheritdoc ICommandLog
    function setScope(bytes32 logId, bytes32 operator, bytes32 audience, uint8 classes) external {
        (bytes32 tenant,) = fleetLog.authorityOf(logId);
        _onlyAdmin(tenant);
        if (classes & ~ALL_CLASSES != 0) revert UnknownClasses(classes);
        (IIdentityRegistry.Role role,,,,) = registry.keyOf(logId, operator);
        if (role != IIdentityRegistry.Role.Operator) {
            revert WrongRole(operator, IIdentityRegistry.Role.Operator, role);
        }

        Scope storage scope = _scopes[logId][operator][audience];
        uint48 prevBlock = scope.lastBlock;
        (scope.classes, scope.lastBlock) = (classes, uint48(block.number));
        emit ScopeChanged(logId, operator, audience, classes, prevBlock);
    }

    /// @inheritdoc ICommandLog
    function log(bytes32 logId, bytes32 audience, Entry[] calldata entries, uint64 deadline, Signed calldata by)
        external
    {
        if (entries.length == 0 || entries.length > MAX_ENTRIES) revert EntryCount(entries.length, MAX_ENTRIES);
        _notAfter(deadline);
        Chain storage chain = _chains[logId][audience];
        bytes32 head = chain.head;
        for (uint256 i = 0; i < entries.length; ++i) {
            head = _step(head, entries[i].digest, entries[i].position, entries[i].class);
        }
        bytes32 operator = _requireSignature(_message("edgeseal/v1/command-log", logId, audience, head, deadline), by);
        _appendAll(logId, audience, entries, operator);
    }

    /// @inheritdoc ICommandLog
    function halt(bytes32 logId, bytes32 audience, bytes32 digest, uint64 deadline, Signed calldata by) external {
        if (digest == 0) revert ZeroDigest(0);
        _notAfter(deadline);
        Chain storage chain = _chains[logId][audience];
        bytes32 head = _step(chain.head, digest, UNSEQUENCED, ActionClass.Halt);
        bytes32 operator = _requireSignature(_message("edgeseal/v1/command-halt", logId, audience, head, deadline), by);
        (, uint64 anchored) = fleetLog.authorityOf(logId);
        _requireKey(logId, operator, IIdentityRegistry.Role.Operator, anchored);
        _requireScope(operator, audience, ActionClass.Halt, _classes(logId, operator, audience));

        uint48 prevBlock = chain.lastBlock;
        chain.head = head;
        (chain.entries, chain.lastBlock) = (chain.entries + 1, uint48(block.number));
        emit HaltLogged(logId, audience, operator, digest, head, prevBlock);
    }

    /// @inheritdoc ICommandLog
    function chainOf(bytes32 logId, bytes32 audience)
        external
        view
        returns (bytes32 chain, uint64 entries, uint64 next, uint64 lastBlock)
    {
        Chain storage found = _chains[logId][audience];
        return (found.head, found.entries, found.next, found.lastBlock);
    }

    /// @inheritdoc ICommandLog
    function scopeOf(bytes32 logId, bytes32 operator, bytes32 audience)
        external
        view
        returns (uint8 classes, uint64 lastBlock)
    {
        Scope storage scope = _scopes[logId][operator][audience];
        return (scope.classes, scope.lastBlock);
    }

    /// @dev Checks operator, scope and positions of entries whose chain the operator signed, and appends them.
    function _appendAll(bytes32 logId, bytes32 audience, Entry[] calldata entries, bytes32 operator) private {
        (, uint64 anchored) = fleetLog.authorityOf(logId);
        _requireKey(logId, operator, IIdentityRegistry.Role.Operator, anchored);
        uint8 classes = _classes(logId, operator, audience);
        Chain storage chain = _chains[logId][audience];
        (bytes32 head, uint64 next, uint48 prevBlock) = (chain.head, chain.next, chain.lastBlock);
        for (uint256 i = 0; i < entries.length; ++i) {
            Entry calldata entry = entries[i];
            if (entry.class == ActionClass.Halt) revert HaltAsEntry(i);
            if (entry.digest == 0) revert ZeroDigest(i);
            if (entry.position < next) revert PositionNotAbove(entry.position, next);
            if (entry.position >= anchored) revert PositionNotAnchored(entry.position, anchored);
            if (!registry.isValidAt(operator, logId, entry.position)) {
                revert KeyNotValid(operator, logId, entry.position);
            }
            _requireScope(operator, audience, entry.class, classes);
            head = _step(head, entry.digest, entry.position, entry.class);
            next = entry.position + 1;
            emit CommandLogged(logId, audience, operator, entry.digest, entry.position, entry.class, head, prevBlock);
            prevBlock = uint48(block.number);
        }
        chain.head = head;
        (chain.entries, chain.next, chain.lastBlock) =
        (chain.entries + uint64(entries.length), next, uint48(block.number));
    }

    function _classes(bytes32 logId, bytes32 operator, bytes32 audience) private view returns (uint8 classes) {
        classes = _scopes[logId][operator][audience].classes;
        if (audience != 0) classes |= _scopes[logId][operator][0].classes;
    }

    function _requireScope(bytes32 operator, bytes32 audience, ActionClass class, uint8 classes) private pure {
        if (classes & (1 << uint8(class)) == 0) revert OutOfScope(operator, audience, class, classes);
    }

    function _step(bytes32 chain, bytes32 digest, uint64 position, ActionClass class) private pure returns (bytes32) {
        return sha256(abi.encodePacked("edgeseal/v1/command-chain", bytes1(0), chain, digest, position, uint8(class)));
    }

    function _message(string memory what, bytes32 logId, bytes32 audience, bytes32 head, uint64 deadline)
        private
        view
        returns (bytes32)
    {
        return sha256(abi.encodePacked(what, bytes1(0), block.chainid, address(this), logId, audience, head, deadline));
    }
}
