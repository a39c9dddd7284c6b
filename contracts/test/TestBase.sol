// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFleetLog} from "../src/interfaces/IFleetLog.sol";
import {IIdentityRegistry} from "../src/interfaces/IIdentityRegistry.sol";
import {IRegisteredSigner} from "../src/interfaces/IRegisteredSigner.sol";
import {Vm} from "./Vm.sol";

/// @notice A deployed pair of contracts with one tenant and one open log, and the means to sign for it. Signed bytes are
/// put together here with abi.encodePacked, apart from the library that does it for the contracts.
abstract contract TestBase {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 internal constant N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;

    uint256 internal constant ROOT_KEY = 0x1001;
    uint256 internal constant GATEWAY_KEY = 0x2002;
    uint256 internal constant OTHER_KEY = 0x3003;
    address internal constant ADMIN = address(0xA11CE);
    address internal constant STRANGER = address(0xBAD);

    struct Head {
        bytes32 logId;
        uint64 size;
        bytes32 root;
        uint64 prevSize;
        bytes32 prevRoot;
    }

    IIdentityRegistry internal registry;
    IFleetLog internal log;
    bytes32 internal tenant;
    bytes32 internal logId;

    function setUp() public virtual {
        registry = deploy();
        log = registry.fleetLog();
        tenant = openTenant(registry, ROOT_KEY, ADMIN);
        logId = openLog(tenant, GATEWAY_KEY, bytes32(uint256(7)));
    }

    /// @dev The released contracts, by artifact name so that coverage, which cannot compile OpenZeppelin's P256, can
    /// take the same rules over the precompile alone.
    function deploy() internal returns (IIdentityRegistry) {
        bool coverage = vm.envOr("EDGESEAL_COVERAGE", false);
        return IIdentityRegistry(
            vm.deployCode(coverage ? "PrecompileOnly.sol:PrecompileRegistry" : "IdentityRegistry.sol:IdentityRegistry")
        );
    }

    /// @dev One of the contracts over a registry, as released or, for coverage, over the precompile alone.
    function deployOver(string memory name) internal returns (address) {
        return vm.deployCode(artifactOf(name), abi.encode(registry));
    }

    function artifactOf(string memory name) internal view returns (string memory) {
        return vm.envOr("EDGESEAL_COVERAGE", false)
            ? string.concat("PrecompileOnly.sol:Precompile", name)
            : string.concat(name, ".sol:", name);
    }

    /// @dev Registers a key of the test tenant's log, without more.
    function registerKey(uint256 key, IIdentityRegistry.Role role, uint64 from) internal returns (bytes32) {
        (bytes32 x, bytes32 y) = publicKey(key);
        vm.prank(ADMIN);
        return registry.registerKey(logId, role, x, y, from, 0);
    }

    /// @dev Anchors a synthetic head of `size` as the first one.
    function anchorFirst(uint64 size) internal {
        anchor(GATEWAY_KEY, Head(logId, size, keccak256("first"), 0, 0), none());
    }

    function signedBy(uint256 key, bytes32 digest) internal pure returns (IRegisteredSigner.Signed memory by) {
        (by.x, by.y) = publicKey(key);
        (by.r, by.s) = sign(key, digest);
    }

    function openTenant(IIdentityRegistry where, uint256 rootKey, address admin) internal returns (bytes32) {
        (bytes32 x, bytes32 y) = publicKey(rootKey);
        (bytes32 r, bytes32 s) = sign(rootKey, consentDigest(where, "edgeseal/v1/tenant-open", rootKey, admin, 0));
        return where.openTenant(x, y, admin, r, s);
    }

    function openLog(bytes32 of_, uint256 gatewayKey, bytes32 nonce) internal returns (bytes32) {
        (bytes32 x, bytes32 y) = publicKey(gatewayKey);
        vm.prank(registry.adminOf(of_));
        return log.open(of_, x, y, nonce);
    }

    function consentDigest(IIdentityRegistry where, string memory what, uint256 rootKey, address admin, uint256 nonce)
        internal
        view
        returns (bytes32)
    {
        return sha256(abi.encodePacked(what, bytes1(0), kidOf(rootKey), block.chainid, address(where), admin, nonce));
    }

    function publicKey(uint256 privateKey) internal pure returns (bytes32 x, bytes32 y) {
        (uint256 px, uint256 py) = vm.publicKeyP256(privateKey);
        return (bytes32(px), bytes32(py));
    }

    function kidOf(uint256 privateKey) internal pure returns (bytes32) {
        (bytes32 x, bytes32 y) = publicKey(privateKey);
        return sha256(abi.encodePacked(hex"a401022001215820", x, hex"225820", y));
    }

    /// @dev Low-s signature.
    function sign(uint256 privateKey, bytes32 digest) internal pure returns (bytes32 r, bytes32 s) {
        (r, s) = vm.signP256(privateKey, digest);
        if (uint256(s) > N / 2) s = bytes32(N - uint256(s));
    }

    function headDigest(uint256 gatewayKey, Head memory h) internal pure returns (bytes32) {
        bytes32 kid = kidOf(gatewayKey);
        bytes memory claims = abi.encodePacked(
            hex"0fa5017840", digits(kid), hex"027840", digits(h.logId), hex"3a00011170", cborUint(h.size)
        );
        claims = abi.encodePacked(
            claims, hex"3a000111715820", h.logId, hex"3a0001117282", cborUint(h.prevSize), hex"5820", h.prevRoot
        );
        bytes memory header = abi.encodePacked(
            hex"a50126045820", kid, claims, hex"107828", "application/vnd.edgeseal.fleet-head+cose", hex"19018b01"
        );
        return
            sha256(
                abi.encodePacked(hex"846a", "Signature1", hex"59", uint16(header.length), header, hex"405820", h.root)
            );
    }

    function signHead(uint256 gatewayKey, Head memory h) internal pure returns (bytes32 r, bytes32 s) {
        return sign(gatewayKey, headDigest(gatewayKey, h));
    }

    function anchor(uint256 gatewayKey, Head memory h, bytes32[] memory proof) internal {
        (bytes32 r, bytes32 s) = signHead(gatewayKey, h);
        send(gatewayKey, h, r, s, proof);
    }

    function send(uint256 gatewayKey, Head memory h, bytes32 r, bytes32 s, bytes32[] memory proof) internal {
        (bytes32 x, bytes32 y) = publicKey(gatewayKey);
        log.anchor(h.logId, h.size, h.root, h.prevSize, h.prevRoot, x, y, r, s, proof);
    }

    function anchorRefused(uint256 gatewayKey, Head memory h, bytes32[] memory proof, bytes memory err) internal {
        (bytes32 r, bytes32 s) = signHead(gatewayKey, h);
        sendRefused(gatewayKey, h, r, s, proof, err);
    }

    function sendRefused(
        uint256 gatewayKey,
        Head memory h,
        bytes32 r,
        bytes32 s,
        bytes32[] memory proof,
        bytes memory err
    ) internal {
        (bytes32 x, bytes32 y) = publicKey(gatewayKey);
        vm.expectRevert(err);
        log.anchor(h.logId, h.size, h.root, h.prevSize, h.prevRoot, x, y, r, s, proof);
    }

    function none() internal pure returns (bytes32[] memory) {
        return new bytes32[](0);
    }

    function digits(bytes32 value) internal pure returns (bytes memory text) {
        text = new bytes(64);
        for (uint256 i = 0; i < 64; ++i) {
            text[i] = bytes("0123456789abcdef")[(uint256(value) >> (252 - 4 * i)) & 15];
        }
    }

    function cborUint(uint64 value) internal pure returns (bytes memory) {
        if (value < 24) return abi.encodePacked(uint8(value));
        if (value <= type(uint8).max) return abi.encodePacked(hex"18", uint8(value));
        if (value <= type(uint16).max) return abi.encodePacked(hex"19", uint16(value));
        if (value <= type(uint32).max) return abi.encodePacked(hex"1a", uint32(value));
        return abi.encodePacked(hex"1b", value);
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    function assertTrue(bool condition, string memory what) internal pure {
        require(condition, what);
    }

    function assertEq(uint256 a, uint256 b, string memory what) internal pure {
        require(a == b, string.concat(what, ": ", vm.toString(a), " != ", vm.toString(b)));
    }

    function assertEq(bytes32 a, bytes32 b, string memory what) internal pure {
        require(a == b, string.concat(what, ": ", string(digits(a)), " != ", string(digits(b))));
    }

    function assertEq(address a, address b, string memory what) internal pure {
        assertEq(uint256(uint160(a)), uint256(uint160(b)), what);
    }
}
