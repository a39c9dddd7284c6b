// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "../TestBase.sol";

/// @notice What is called of the Ethereum Attestation Service.
interface IEas {
    struct AttestationRequestData {
        address recipient;
        uint64 expirationTime;
        bool revocable;
        bytes32 refUID;
        bytes data;
        uint256 value;
    }

    struct AttestationRequest {
        bytes32 schema;
        AttestationRequestData data;
    }

    function attest(AttestationRequest calldata request) external payable returns (bytes32);
    function timestamp(bytes32 data) external returns (uint64);
    function multiTimestamp(bytes32[] calldata data) external returns (uint64);
}

interface ISchemaRegistry {
    function register(string calldata schema, address resolver, bool revocable) external returns (bytes32);
}

/// @notice What is called of ERC-1056.
interface IDidRegistry {
    function setAttribute(address identity, bytes32 name, bytes calldata value, uint256 validity) external;
}

/// @notice Gas of what peers offer for one root on chain, by the bytecode they publish: run with --isolate beside ours.
/// @dev None of them asks for a signature of the log's key or for consistency with what was there before.
contract PeerGasTest is TestBase {
    string private constant EAS = "peers/node_modules/@ethereum-attestation-service/eas-contracts/artifacts/contracts/";
    string private constant DID =
        "peers/node_modules/ethr-did-registry/artifacts/contracts/EthereumDIDRegistry.sol/EthereumDIDRegistry.json";

    function setUp() public override {
        vm.warp(1_760_000_000);
        vm.roll(10_000_000);
    }

    function test_PeerEas() public {
        address schemas = published(string.concat(EAS, "SchemaRegistry.sol/SchemaRegistry.json"), "");
        IEas eas = IEas(published(string.concat(EAS, "EAS.sol/EAS.json"), abi.encode(schemas)));
        bytes32 schema = ISchemaRegistry(schemas).register("bytes32 root", address(0), true);
        eas.timestamp(root(0));
        note("EAS timestamp");
        eas.multiTimestamp(roots(10));
        note("EAS multiTimestamp of 10 roots");
        eas.multiTimestamp(roots(100));
        note("EAS multiTimestamp of 100 roots");
        IEas.AttestationRequestData memory data =
            IEas.AttestationRequestData(address(0), 0, true, 0, abi.encode(root(1)), 0);
        eas.attest(IEas.AttestationRequest(schema, data));
        note("EAS attest");
    }

    function test_PeerErc1056() public {
        IDidRegistry did = IDidRegistry(published(DID, ""));
        // The owner's first attribute opens a slot; every later one, as a log's anchors are, changes it.
        bytes memory value = abi.encode(root(1));
        did.setAttribute(address(this), "did/svc/root", value, 365 days);
        vm.roll(block.number + 1);
        did.setAttribute(address(this), "did/svc/root", abi.encode(root(2)), 365 days);
        note("ERC-1056 setAttribute");
    }

    function root(uint256 i) private pure returns (bytes32) {
        return keccak256(abi.encode("root", i));
    }

    function roots(uint256 count) private pure returns (bytes32[] memory list) {
        list = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = root(count * 1_000 + i);
        }
    }

    function note(string memory name) private {
        vm.snapshotValue("peers", name, vm.lastCallGas().gasTotalUsed);
    }

    /// @dev Deploys the bytecode of a hardhat artifact with its constructor's arguments.
    function published(string memory artifact, bytes memory arguments) private returns (address made) {
        bytes memory code = bytes.concat(vm.parseJsonBytes(vm.readFile(artifact), ".bytecode"), arguments);
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
        assertTrue(made != address(0), artifact);
    }
}
