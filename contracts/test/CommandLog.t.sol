// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ICommandLog} from "../src/interfaces/ICommandLog.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {IRegisteredSigner} from "../src/interfaces/IRegisteredSigner.sol";
import {TestBase} from "./TestBase.sol";
import {Vm} from "./Vm.sol";

contract CommandLogTest is TestBase {
    uint256 internal constant OPERATOR = 0x4004;
    uint64 internal constant ANCHORED = 100;
    uint8 internal constant MODEL_AND_QUERY = 3;
    uint8 internal constant HALT_BIT = 32;
    bytes32 internal constant DEVICE = keccak256("device log");
    bytes32 internal constant GROUP = keccak256("group");

    ICommandLog internal commands;
    bytes32 internal operator;
    uint64 internal deadline;

    function setUp() public override {
        super.setUp();
        commands = ICommandLog(deployOver("CommandLog"));
        anchorFirst(ANCHORED);
        operator = registerKey(OPERATOR, IIdentityRegistry.Role.Operator, 10);
        scope(DEVICE, MODEL_AND_QUERY);
        deadline = uint64(block.timestamp + 1 hours);
    }

    function scope(bytes32 audience, uint8 classes) internal {
        vm.prank(ADMIN);
        commands.setScope(logId, operator, audience, classes);
    }

    function entry(string memory what, uint64 position, ICommandLog.ActionClass class)
        internal
        pure
        returns (ICommandLog.Entry memory)
    {
        return ICommandLog.Entry(keccak256(bytes(what)), position, class);
    }

    function one(uint64 position) internal pure returns (ICommandLog.Entry[] memory entries) {
        entries = new ICommandLog.Entry[](1);
        entries[0] = entry("one", position, ICommandLog.ActionClass.Model);
    }

    function chained(bytes32 chain, ICommandLog.Entry[] memory entries) internal pure returns (bytes32) {
        for (uint256 i = 0; i < entries.length; ++i) {
            chain = sha256(
                abi.encodePacked(
                    "edgeseal/v1/command-chain",
                    hex"00",
                    chain,
                    entries[i].digest,
                    entries[i].position,
                    uint8(entries[i].class)
                )
            );
        }
        return chain;
    }

    function signedChain(uint256 key, string memory what, bytes32 audience, bytes32 chain)
        internal
        view
        returns (IRegisteredSigner.Signed memory)
    {
        return signedBy(
            key,
            sha256(
                abi.encodePacked(
                    what, hex"00", block.chainid, address(commands), logId, audience, chain, uint64(deadline)
                )
            )
        );
    }

    function signed(bytes32 audience, ICommandLog.Entry[] memory entries)
        internal
        view
        returns (IRegisteredSigner.Signed memory)
    {
        (bytes32 chain,,,) = commands.chainOf(logId, audience);
        return signedChain(OPERATOR, "edgeseal/v1/command-log", audience, chained(chain, entries));
    }

    function refused(ICommandLog.Entry[] memory entries, bytes memory err) internal {
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        vm.expectRevert(err);
        commands.log(logId, DEVICE, entries, deadline, by);
    }

    function test_LogsManyInOneCall() public {
        ICommandLog.Entry[] memory entries = new ICommandLog.Entry[](3);
        entries[0] = entry("a", 10, ICommandLog.ActionClass.Query);
        entries[1] = entry("b", 11, ICommandLog.ActionClass.Model);
        entries[2] = entry("c", 99, ICommandLog.ActionClass.Model);
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        vm.recordLogs();
        vm.prank(STRANGER); // anybody may bring it
        commands.log(logId, DEVICE, entries, deadline, by);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 3, "events");
        assertEq(logs[2].topics[0], ICommandLog.CommandLogged.selector, "event");
        assertEq(logs[2].topics[1], logId, "log");
        assertEq(logs[2].topics[2], DEVICE, "audience");
        assertEq(logs[2].topics[3], operator, "operator");
        bytes32 head = chained(0, entries);
        assertEq(
            keccak256(logs[2].data),
            keccak256(abi.encode(entries[2].digest, uint64(99), uint8(1), head, uint64(block.number))),
            "digest, position, class, chain, previous block"
        );
        (bytes32 chain, uint64 count, uint64 next, uint64 lastBlock) = commands.chainOf(logId, DEVICE);
        assertEq(chain, head, "chain");
        assertEq(count, 3, "entries");
        assertEq(next, 100, "next");
        assertEq(lastBlock, block.number, "block");
    }

    function test_ChainGoesOn() public {
        ICommandLog.Entry[] memory entries = one(20);
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        commands.log(logId, DEVICE, entries, deadline, by);
        ICommandLog.Entry[] memory more = one(30);
        by = signed(DEVICE, more);
        commands.log(logId, DEVICE, more, deadline, by);
        (bytes32 chain,,,) = commands.chainOf(logId, DEVICE);
        assertEq(chain, chained(chained(0, entries), more), "chain");
        (chain,,,) = commands.chainOf(logId, GROUP);
        assertEq(chain, 0, "each audience has its own");
    }

    /// The signature names the chain it leads to: brought again it leads elsewhere.
    function test_Replay() public {
        ICommandLog.Entry[] memory entries = one(20);
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        commands.log(logId, DEVICE, entries, deadline, by);
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        commands.log(logId, DEVICE, entries, deadline, by);
    }

    function test_OtherAudienceChainContractOrDeadline() public {
        ICommandLog.Entry[] memory entries = one(20);
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        scope(GROUP, MODEL_AND_QUERY);
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        commands.log(logId, GROUP, entries, deadline, by);
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        commands.log(logId, DEVICE, entries, deadline + 1, by);
        ICommandLog second = ICommandLog(deployOver("CommandLog"));
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        second.log(logId, DEVICE, entries, deadline, by);
        vm.chainId(5);
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        commands.log(logId, DEVICE, entries, deadline, by);
    }

    function test_Deadline() public {
        ICommandLog.Entry[] memory entries = one(20);
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.Expired.selector, deadline, deadline + 1));
        commands.log(logId, DEVICE, entries, deadline, by);
        vm.warp(deadline);
        commands.log(logId, DEVICE, entries, deadline, by);
    }

    function test_HighS() public {
        ICommandLog.Entry[] memory entries = one(20);
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        by.s = bytes32(N - uint256(by.s));
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.HighS.selector, by.s));
        commands.log(logId, DEVICE, entries, deadline, by);
    }

    function test_PositionsRise() public {
        ICommandLog.Entry[] memory entries = one(20);
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        commands.log(logId, DEVICE, entries, deadline, by);
        refused(one(20), abi.encodeWithSelector(ICommandLog.PositionNotAbove.selector, uint64(20), uint64(21)));
        entries = new ICommandLog.Entry[](2);
        entries[0] = entry("a", 30, ICommandLog.ActionClass.Query);
        entries[1] = entry("b", 29, ICommandLog.ActionClass.Query);
        refused(entries, abi.encodeWithSelector(ICommandLog.PositionNotAbove.selector, uint64(29), uint64(31)));
    }

    function test_PositionIsAnchored() public {
        refused(one(ANCHORED), abi.encodeWithSelector(ICommandLog.PositionNotAnchored.selector, ANCHORED, ANCHORED));
        refused(
            one(type(uint64).max),
            abi.encodeWithSelector(ICommandLog.PositionNotAnchored.selector, type(uint64).max, ANCHORED)
        );
    }

    function test_EntryCountAndContent() public {
        refused(new ICommandLog.Entry[](0), abi.encodeWithSelector(ICommandLog.EntryCount.selector, 0, 64));
        ICommandLog.Entry[] memory entries = new ICommandLog.Entry[](65);
        refused(entries, abi.encodeWithSelector(ICommandLog.EntryCount.selector, 65, 64));
        entries = one(20);
        entries[0].digest = 0;
        refused(entries, abi.encodeWithSelector(ICommandLog.ZeroDigest.selector, 0));
        entries = one(20);
        entries[0].class = ICommandLog.ActionClass.Halt;
        refused(entries, abi.encodeWithSelector(ICommandLog.HaltAsEntry.selector, 0));
    }

    function test_OutOfScope() public {
        ICommandLog.Entry[] memory entries = one(20);
        entries[0].class = ICommandLog.ActionClass.Policy;
        refused(
            entries,
            abi.encodeWithSelector(
                ICommandLog.OutOfScope.selector, operator, DEVICE, ICommandLog.ActionClass.Policy, MODEL_AND_QUERY
            )
        );
        scope(0, 4); // policy, for every audience
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        commands.log(logId, DEVICE, entries, deadline, by);
        scope(0, 0);
        entries[0].position = 40;
        refused(
            entries,
            abi.encodeWithSelector(
                ICommandLog.OutOfScope.selector, operator, DEVICE, ICommandLog.ActionClass.Policy, MODEL_AND_QUERY
            )
        );
    }

    function test_OperatorSuspendedRevokedTooEarlyOrNone() public {
        refused(one(9), abi.encodeWithSelector(IRegisteredSigner.KeyNotValid.selector, operator, logId, uint64(9)));
        vm.prank(ADMIN);
        registry.suspendKey(logId, operator, ANCHORED);
        bytes memory now_ = abi.encodeWithSelector(IRegisteredSigner.KeyNotValid.selector, operator, logId, ANCHORED);
        refused(one(20), now_);
        vm.prank(ADMIN);
        registry.reinstateKey(logId, operator, ANCHORED);
        ICommandLog.Entry[] memory entries = one(20);
        IRegisteredSigner.Signed memory by = signed(DEVICE, entries);
        commands.log(logId, DEVICE, entries, deadline, by);
        vm.prank(ADMIN);
        registry.revokeKey(logId, operator, ANCHORED, IIdentityRegistry.Reason.Lost);
        refused(one(30), now_);

        by = signedChain(OTHER_KEY, "edgeseal/v1/command-log", GROUP, chained(0, entries));
        vm.expectRevert(abi.encodeWithSelector(IIdentityRegistry.UnknownKey.selector, logId, kidOf(OTHER_KEY)));
        commands.log(logId, GROUP, entries, deadline, by);
        registerKey(OTHER_KEY, IIdentityRegistry.Role.Device, 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRegisteredSigner.WrongRole.selector,
                kidOf(OTHER_KEY),
                IIdentityRegistry.Role.Operator,
                IIdentityRegistry.Role.Device
            )
        );
        commands.log(logId, GROUP, entries, deadline, by);
    }

    function halting(bytes32 audience, bytes32 digest)
        internal
        view
        returns (IRegisteredSigner.Signed memory, bytes32)
    {
        (bytes32 chain,,,) = commands.chainOf(logId, audience);
        ICommandLog.Entry[] memory entries = new ICommandLog.Entry[](1);
        entries[0] = ICommandLog.Entry(digest, type(uint64).max, ICommandLog.ActionClass.Halt);
        chain = chained(chain, entries);
        return (signedChain(OPERATOR, "edgeseal/v1/command-halt", audience, chain), chain);
    }

    function test_HaltHasItsOwnTopicAndNeedsNoPosition() public {
        scope(0, HALT_BIT);
        bytes32 digest = keccak256("halt");
        (IRegisteredSigner.Signed memory by, bytes32 chain) = halting(0, digest);
        vm.recordLogs();
        commands.halt(logId, 0, digest, deadline, by);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].topics[0], ICommandLog.HaltLogged.selector, "event");
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(digest, chain, uint64(0))), "data");
        (bytes32 head, uint64 count, uint64 next,) = commands.chainOf(logId, 0);
        assertEq(head, chain, "chain");
        assertEq(count, 1, "entries");
        assertEq(next, 0, "a halt moves no position");
        vm.expectPartialRevert(IRegisteredSigner.BadSignature.selector);
        commands.halt(logId, 0, digest, deadline, by);
    }

    function test_HaltRefused() public {
        bytes32 digest = keccak256("halt");
        (IRegisteredSigner.Signed memory by,) = halting(DEVICE, digest);
        vm.expectRevert(
            abi.encodeWithSelector(
                ICommandLog.OutOfScope.selector, operator, DEVICE, ICommandLog.ActionClass.Halt, MODEL_AND_QUERY
            )
        );
        commands.halt(logId, DEVICE, digest, deadline, by);
        vm.expectRevert(abi.encodeWithSelector(ICommandLog.ZeroDigest.selector, 0));
        commands.halt(logId, DEVICE, 0, deadline, by);
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.Expired.selector, deadline, deadline + 1));
        commands.halt(logId, DEVICE, digest, deadline, by);
    }

    function test_Scopes() public {
        vm.expectRevert(abi.encodeWithSelector(IRegisteredSigner.NotTenantAdmin.selector, tenant, STRANGER, ADMIN));
        vm.prank(STRANGER);
        commands.setScope(logId, operator, DEVICE, 1);
        vm.expectRevert(abi.encodeWithSelector(ICommandLog.UnknownClasses.selector, uint8(64)));
        vm.prank(ADMIN);
        commands.setScope(logId, operator, DEVICE, 64);
        bytes32 device = registerKey(OTHER_KEY, IIdentityRegistry.Role.Device, 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRegisteredSigner.WrongRole.selector,
                device,
                IIdentityRegistry.Role.Operator,
                IIdentityRegistry.Role.Device
            )
        );
        vm.prank(ADMIN);
        commands.setScope(logId, device, DEVICE, 1);
        uint64 before = uint64(block.number);
        vm.roll(block.number + 3);
        vm.recordLogs();
        scope(DEVICE, 63);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs[0].topics[0], ICommandLog.ScopeChanged.selector, "event");
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(uint8(63), before)), "classes, previous block");
        (uint8 classes, uint64 lastBlock) = commands.scopeOf(logId, operator, DEVICE);
        assertEq(classes, 63, "classes");
        assertEq(lastBlock, block.number, "block");
    }
}
