// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "../../src/interfaces/IFleetLog.sol";
import {AnyRegistry, Symbolic} from "./Symbolic.sol";

/// @notice Head monotonicity: no call by anybody, with whatever signatures, lowers an anchored size; a root changes only
/// together with its size; only `anchor` changes either; an ended log takes no head.
/// @custom:halmos --default-array-lengths 0,1
contract Heads is Symbolic {
    struct Bring {
        bytes32 id;
        uint64 size;
        bytes32 root;
        uint64 prevSize;
        bytes32 prevRoot;
        bytes32 x;
        bytes32 y;
        bytes32 r;
        bytes32 s;
    }

    uint64 private constant SMALL = 24;

    AnyRegistry private registry;
    IFleetLog private log;

    function setUp() public {
        registry = new AnyRegistry();
        log = registry.fleetLog();
        svm.enableSymbolicStorage(address(registry));
        svm.enableSymbolicStorage(address(log));
    }

    function headOf(bytes32 id) private view returns (bool known, uint64 size, bytes32 root) {
        bytes memory answer;
        (known, answer) = address(log).staticcall(abi.encodeCall(IFleetLog.head, (id)));
        if (known) (size, root) = abi.decode(answer, (uint64, bytes32));
    }

    function bring(Bring memory b, bytes32[] memory proof) private returns (bool) {
        try log.anchor(b.id, b.size, b.root, b.prevSize, b.prevRoot, b.x, b.y, b.r, b.s, proof) {
            return true;
        } catch {
            return false;
        }
    }

    /// Every function but `anchor` and `proveFork`, with empty proofs: size and root of every log there is stand as they stood.
    /// @custom:halmos --default-array-lengths 0
    function check_OnlyAnchorMovesAHead(bytes32 id, address caller) public {
        (bool known, uint64 size, bytes32 root) = headOf(id);
        (bool exists,) = address(log).staticcall(abi.encodeCall(IFleetLog.gatewayOf, (id)));
        vm.assume(known && exists); // no state that is reached has a head without a key
        bytes memory data = svm.createCalldata("AnyFleetLog");
        vm.assume(bytes4(data) != IFleetLog.anchor.selector && bytes4(data) != IFleetLog.proveFork.selector);
        call(address(log), data, caller);
        (bool still, uint64 sizeAfter, bytes32 rootAfter) = headOf(id);
        assert(still && sizeAfter == size && rootAfter == root);
    }

    /// `proveFork` of heads of any content and sizes below 24: size, root and gateway key of every log stand as they stood.
    function check_AProofOfForkMovesNoHead(
        bytes32 id,
        bytes32 other,
        IFleetLog.SignedHead calldata a,
        IFleetLog.SignedHead calldata b,
        bytes32[4] calldata words
    ) public {
        vm.assume(a.size < SMALL && b.size < SMALL);
        (bool known, uint64 size, bytes32 root) = headOf(other);
        vm.assume(known);
        (bytes32 kid,,) = log.gatewayOf(other);
        try log.proveFork(id, words[0], words[1], a, b, words[2], new bytes32[](0)) {} catch {}
        (bool still, uint64 sizeAfter, bytes32 rootAfter) = headOf(other);
        (bytes32 kidAfter,,) = log.gatewayOf(other);
        assert(still && sizeAfter == size && rootAfter == root && kidAfter == kid);
    }

    /// `anchor` with a size that is not above the anchored one fails, whoever signed, for sizes up to 2^64 - 1.
    function check_NoSizeIsTakenThatDoesNotGrow(Bring calldata b, bytes32[] calldata proof) public {
        (, uint64 anchored,) = headOf(b.id);
        vm.assume(b.size <= anchored);
        assert(!bring(b, proof));
    }

    /// `anchor` raises the size of the log it names to the size it brings and sets the root it brings; sizes below 24.
    /// @custom:halmos --loop 6
    function check_AnchorRaisesTheSize(Bring calldata b, bytes32[] calldata proof) public {
        (, uint64 before,) = headOf(b.id);
        vm.assume(b.size < SMALL);
        if (!bring(b, proof)) return;
        (bool known, uint64 size, bytes32 root) = headOf(b.id);
        assert(known && size == b.size && size > before && root == b.root && root != 0);
    }

    /// `anchor` touches no log but the one it names; sizes below 24.
    /// @custom:halmos --loop 6
    function check_AnchorTouchesNoOtherLog(Bring calldata b, bytes32 other, bytes32[] calldata proof) public {
        (, uint64 size, bytes32 root) = headOf(other);
        vm.assume(other != b.id && b.size < SMALL);
        bring(b, proof);
        (, uint64 sizeAfter, bytes32 rootAfter) = headOf(other);
        assert(sizeAfter == size && rootAfter == root);
    }

    /// A log that was frozen or closed takes no head, for sizes up to 2^64 - 1.
    function check_AnEndedLogTakesNoHead(Bring calldata b, bytes32[] calldata proof) public {
        (bool known, bytes memory answer) = address(log).staticcall(abi.encodeCall(IFleetLog.stateOf, (b.id)));
        vm.assume(known);
        (IFleetLog.LogState state,,) = abi.decode(answer, (IFleetLog.LogState, bytes32, bytes32));
        vm.assume(state != IFleetLog.LogState.Open);
        assert(!bring(b, proof));
    }
}
