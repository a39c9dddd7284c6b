// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "../../src/interfaces/IFleetLog.sol";
import {AnyRegistry, Symbolic} from "./Symbolic.sol";

/// @notice Head monotonicity: no call by anybody, with whatever signatures, lowers an anchored size; a root changes only
/// together with its size; only `anchor` changes either; an ended log stays as it is.
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

    /// Every function but `anchor`: size and root of every log stand as they stood, for sizes up to 2^64 - 1.
    function check_OnlyAnchorMovesAHead(bytes32 id, address caller) public {
        (bool known, uint64 size, bytes32 root) = headOf(id);
        vm.assume(known);
        anyCallBut(address(log), "AnyFleetLog", caller, IFleetLog.anchor.selector);
        (bool still, uint64 sizeAfter, bytes32 rootAfter) = headOf(id);
        assert(still && sizeAfter == size && rootAfter == root);
    }

    /// `anchor` with a size that is not above the anchored one fails, whoever signed, for sizes up to 2^64 - 1.
    function check_NoSizeIsTakenThatDoesNotGrow(Bring calldata b, bytes32[] calldata proof) public {
        (, uint64 anchored,) = headOf(b.id);
        vm.assume(b.size <= anchored);
        assert(!bring(b, proof));
    }

    /// `anchor` raises the size of the log it names to the size it brings and sets the root it brings, and touches no
    /// other log.
    function check_AnchorRaisesTheSizeAndNothingElse(Bring calldata b, bytes32 other, bytes32[] calldata proof) public {
        (, uint64 before,) = headOf(b.id);
        (, uint64 otherSize, bytes32 otherRoot) = headOf(other);
        vm.assume(other != b.id);
        if (bring(b, proof)) {
            (bool known, uint64 size, bytes32 root) = headOf(b.id);
            assert(known && size == b.size && size > before && root == b.root && root != 0);
        }
        (, uint64 otherAfter, bytes32 otherRootAfter) = headOf(other);
        assert(otherAfter == otherSize && otherRootAfter == otherRoot);
    }

    /// A log that was frozen or closed takes no head and gets no other key, whatever is called by whomever.
    function check_AnEndedLogStaysEnded(bytes32 id, address caller) public {
        (IFleetLog.LogState state,,) = log.stateOf(id);
        vm.assume(state == IFleetLog.LogState.Frozen || state == IFleetLog.LogState.Closed);
        (bool known, uint64 size, bytes32 root) = headOf(id);
        vm.assume(known);
        (bytes32 kid,,) = log.gatewayOf(id);
        anyCall(address(log), "AnyFleetLog", caller);
        (IFleetLog.LogState after_,,) = log.stateOf(id);
        (, uint64 sizeAfter, bytes32 rootAfter) = headOf(id);
        (bytes32 kidAfter,,) = log.gatewayOf(id);
        assert(after_ == state && sizeAfter == size && rootAfter == root && kidAfter == kid);
    }
}
