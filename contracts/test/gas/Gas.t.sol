// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "../../src/interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "../../src/interfaces/IIdentityRegistry.sol";
import {Reference9162} from "../Reference9162.sol";
import {TestBase} from "../TestBase.sol";

/// @notice Gas of whole transactions: run with --isolate, under an EVM that has P256VERIFY.
contract GasTest is TestBase {
    uint256 private constant PAIRS = 120;
    uint256 private constant WORST = 85_000;
    uint256 private constant MEDIAN = 72_000;

    uint256 private nextTenant = 0x9000;

    /// Heads of logs of a million leaves: `PAIRS` drawn evenly over the size and over the logarithm of the step.
    function test_AnchorAtAMillionLeaves() public {
        uint256[] memory used = new uint256[](PAIRS);
        uint256 fewest = type(uint256).max;
        uint256 most = 0;
        for (uint256 i = 0; i < PAIRS; ++i) {
            uint256 seed = uint256(keccak256(abi.encode("pair", i)));
            uint64 m = 1_000_000 + uint64(seed % 100_000);
            uint64 n = m + 1 + uint64((seed >> 64) % (uint256(1) << (1 + (seed >> 32) % 14)));
            uint256 nodes;
            (used[i], nodes) = grow(m, n);
            if (nodes < fewest) fewest = nodes;
            if (nodes > most) most = nodes;
        }
        sort(used);
        vm.snapshotValue("anchor", "drawn pairs: median", (used[PAIRS / 2 - 1] + used[PAIRS / 2]) / 2);
        vm.snapshotValue("anchor", "drawn pairs: least", used[0]);
        vm.snapshotValue("anchor", "drawn pairs: worst", used[PAIRS - 1]);
        vm.snapshotValue("anchor", "drawn pairs: fewest nodes", fewest);
        vm.snapshotValue("anchor", "drawn pairs: most nodes", most);
        assertTrue((used[PAIRS / 2 - 1] + used[PAIRS / 2]) / 2 <= MEDIAN, "median above the budget");
        assertTrue(used[PAIRS - 1] <= WORST, "worst above the budget");
    }

    /// The pairs around 2^20 leaves with the shortest and the longest proofs there are.
    function test_AnchorAtTheEdges() public {
        edge(1048576, 1048577);
        edge(1048575, 1048576);
        edge(1048575, 1048577);
        edge(1048575, 1058575);
        edge(1000000, 1010000);
        edge(2, 3);
        edge(2, 1048577);
    }

    function test_OtherCalls() public {
        bytes32 of_ = openTenant(registry, 0x7007, ADMIN);
        note("registry", "openTenant");
        bytes32 id = openLog(of_, GATEWAY_KEY, 0);
        note("log", "open");
        anchor(GATEWAY_KEY, Head(id, 1_000_000, keccak256("root"), 0, 0), none());
        note("log", "anchor: first head");
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.prank(ADMIN);
        log.setGatewayKey(id, x, y);
        note("log", "setGatewayKey");
        forks(id);

        vm.prank(ADMIN);
        bytes32 kid = registry.registerKey(id, IIdentityRegistry.Role.Device, x, y, 900_000, keccak256("evidence"));
        note("registry", "registerKey");
        vm.prank(ADMIN);
        registry.suspendKey(id, kid, 1_000_000);
        note("registry", "suspendKey");
        vm.prank(ADMIN);
        registry.reinstateKey(id, kid, 1_000_000);
        note("registry", "reinstateKey");
        vm.prank(ADMIN);
        registry.revokeKey(id, kid, 950_000, IIdentityRegistry.Reason.Compromised);
        note("registry", "revokeKey");
        vm.prank(ADMIN);
        registry.proposeAdmin(of_, STRANGER);
        note("registry", "proposeAdmin");
        vm.prank(STRANGER);
        registry.acceptAdmin(of_);
        note("registry", "acceptAdmin");
        (x, y) = publicKey(0x7007);
        (bytes32 r, bytes32 s) = sign(0x7007, consentDigest(registry, "edgeseal/v1/tenant-admin", 0x7007, ADMIN, 1));
        registry.recoverAdmin(x, y, ADMIN, r, s);
        note("registry", "recoverAdmin");
    }

    /// @dev What ends a log, or asks of it, in one that stands at a million leaves. The state is set back afterwards.
    function forks(bytes32 id) private {
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        vm.prank(ADMIN);
        log.setTerms(id, 1 days, 0);
        note("log", "setTerms");
        IFleetLog.SignedHead memory a = signedHead(id, keccak256("one"));
        log.challenge(id, x, y, a);
        note("log", "challenge");
        uint256 before = vm.snapshotState();
        log.proveForkOfAnchor(id, x, y, forkOfAnchor(id), 0, none());
        note("log", "proveForkOfAnchor: another previous root");
        vm.revertToState(before);
        before = vm.snapshotState();
        promises(id, a);
        vm.revertToState(before);
        before = vm.snapshotState();
        log.proveFork(id, x, y, a, signedHead(id, keccak256("two")), 0, none());
        note("log", "proveFork: one size, two roots");
        (x, y) = publicKey(0x6006);
        vm.prank(ADMIN);
        log.openSuccessor(id, x, y, bytes32(uint256(1)));
        note("log", "openSuccessor");
        vm.revertToState(before);
    }

    /// @dev A challenge that is answered with a proof, one that is not, and a silence.
    function promises(bytes32 id, IFleetLog.SignedHead memory unanswered) private {
        bytes32 of_ = openLog(openTenant(registry, nextTenant++, ADMIN), OTHER_KEY, 0);
        (bytes32 root1, bytes32 root2, bytes32[] memory proof) = Reference9162.synthetic(1_000_000, 1_010_000, of_);
        anchor(OTHER_KEY, Head(of_, 1_000_000, root1, 0, 0), none());
        (bytes32 r, bytes32 s) = signHead(OTHER_KEY, Head(of_, 1_000_000, root1, 0, 0));
        (bytes32 x, bytes32 y) = publicKey(OTHER_KEY);
        log.challenge(of_, x, y, IFleetLog.SignedHead(1_000_000, root1, 0, 0, r, s));
        anchor(OTHER_KEY, Head(of_, 1_010_000, root2, 1_000_000, root1), proof);
        log.answer(of_, 1_000_000, root1, proof);
        note("log", string.concat("answer: ", vm.toString(proof.length), " nodes"));
        vm.warp(block.timestamp + 8 days);
        log.markDefault(id, unanswered.size, unanswered.root);
        note("log", "markDefault");
        log.noteSilence(id);
        note("log", "noteSilence");
    }

    function forkOfAnchor(bytes32 id) private pure returns (IFleetLog.SignedHead memory) {
        (bytes32 r, bytes32 s) = signHead(OTHER_KEY, Head(id, 1_000_200, "root", 1_000_000, keccak256("another")));
        return IFleetLog.SignedHead(1_000_200, "root", 1_000_000, keccak256("another"), r, s);
    }

    function signedHead(bytes32 id, bytes32 root) private pure returns (IFleetLog.SignedHead memory) {
        (bytes32 r, bytes32 s) = signHead(OTHER_KEY, Head(id, 1_000_100, root, 1_000_000, keccak256("root")));
        return IFleetLog.SignedHead(1_000_100, root, 1_000_000, keccak256("root"), r, s);
    }

    function edge(uint64 m, uint64 n) private {
        (uint256 used, uint256 nodes) = grow(m, n);
        string memory name = string.concat(vm.toString(m), " to ", vm.toString(n), ", ", vm.toString(nodes), " nodes");
        vm.snapshotValue("anchor", name, used);
        assertTrue(used <= WORST, string.concat(name, ": above the budget"));
    }

    /// @dev Gas of anchoring n in a log that stands at m, and the proof's length.
    function grow(uint64 m, uint64 n) private returns (uint256 used, uint256 nodes) {
        bytes32 id = openLog(openTenant(registry, nextTenant++, ADMIN), GATEWAY_KEY, 0);
        (bytes32 root1, bytes32 root2, bytes32[] memory proof) = Reference9162.synthetic(m, n, id);
        anchor(GATEWAY_KEY, Head(id, m, root1, 0, 0), none());
        vm.roll(block.number + 1);
        anchor(GATEWAY_KEY, Head(id, n, root2, m, root1), proof);
        return (vm.lastCallGas().gasTotalUsed, proof.length);
    }

    function note(string memory group, string memory name) private {
        vm.snapshotValue(group, name, vm.lastCallGas().gasTotalUsed);
    }

    function sort(uint256[] memory values) private pure {
        for (uint256 i = 1; i < values.length; ++i) {
            for (uint256 j = i; j > 0 && values[j - 1] > values[j]; --j) {
                (values[j - 1], values[j]) = (values[j], values[j - 1]);
            }
        }
    }
}
