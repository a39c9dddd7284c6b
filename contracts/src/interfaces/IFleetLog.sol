// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IIdentityRegistry} from "./IIdentityRegistry.sol";

/// @title Anchored heads of fleet logs
/// @notice Holds the newest (size, root) of each fleet log, an RFC 9162 SHA-256 Merkle log of signed statements. A head
/// is taken from whoever brings it, if and only if the log's registered gateway key signed it, it is larger than the
/// anchored one, and it is proved to contain the anchored one as its beginning. There is no owner, no pause and no way to
/// change or remove an anchored head.
/// @dev Promise: the sequence of `Anchored` events of a log is one append-only history; two signed heads that cannot both
/// be true, brought by anyone, end it. Not promised: that the gateway showed everybody this history (a second history
/// stays possible off chain until one of its heads is brought here), nor that the statements are true. Assumes SHA-256 (precompile 0x02) and P-256; where P256VERIFY (0x100) is absent OpenZeppelin's
/// Solidity implementation decides, at about 30 times the gas. Sizes are in leaves.
interface IFleetLog {
    /// @notice Where a log stands. `Frozen`: two histories were proved. `Closed`: a successor was opened without that.
    enum LogState {
        None,
        Open,
        Frozen,
        Closed
    }

    /// @notice Where a challenge stands.
    enum ChallengeState {
        None,
        Open,
        Answered,
        Defaulted,
        AnsweredLate
    }

    /// @notice A fleet head and its ES256 signature, as in `anchor`.
    struct SignedHead {
        uint64 size;
        bytes32 root;
        uint64 prevSize;
        bytes32 prevRoot;
        bytes32 r;
        bytes32 s;
    }

    /// @notice A log was opened; nothing is anchored in it.
    /// @param logId Fleet log id, see `open`.
    /// @param tenant Thumbprint of the tenant root key.
    /// @param kid Thumbprint of the first gateway key.
    /// @param nonce The nonce in `logId`.
    /// @param x First coordinate of the gateway key.
    /// @param y Second coordinate of the gateway key.
    event Opened(bytes32 indexed logId, bytes32 indexed tenant, bytes32 kid, bytes32 nonce, bytes32 x, bytes32 y);

    /// @notice A head was anchored.
    /// @param logId Fleet log id.
    /// @param size Leaves under the head.
    /// @param root Merkle root of these leaves.
    /// @param kid Thumbprint of the gateway key that signed it.
    /// @param prevBlock Number of the block with this log's previous event, as the chain's NUMBER opcode counts.
    event Anchored(bytes32 indexed logId, uint64 size, bytes32 root, bytes32 kid, uint64 prevBlock);

    /// @notice Heads larger than `size` are now taken from another key only.
    /// @param logId Fleet log id.
    /// @param oldKid Thumbprint of the retired gateway key.
    /// @param newKid Thumbprint of the new gateway key.
    /// @param size Anchored size at which the key changed.
    /// @param x First coordinate of the new key.
    /// @param y Second coordinate of the new key.
    /// @param prevBlock Number of the block with this log's previous event.
    event GatewayKeyChanged(
        bytes32 indexed logId, bytes32 oldKid, bytes32 newKid, uint64 size, bytes32 x, bytes32 y, uint64 prevBlock
    );

    /// @notice Two heads of the gateway key cannot both be true: no head is taken any more.
    /// @param kid Thumbprint of the gateway key.
    /// @param sizeA Size of the smaller head (or of the anchored one, which need not be the key's).
    /// @param rootA Its root.
    /// @param sizeB Size of the other.
    /// @param rootB Its root.
    /// @param size Anchored size: the last good head.
    /// @param root Its root.
    /// @param prevBlock Number of the block with this log's previous event.
    event ForkProved(
        bytes32 indexed logId,
        bytes32 indexed kid,
        uint64 sizeA,
        bytes32 rootA,
        uint64 sizeB,
        bytes32 rootB,
        uint64 size,
        bytes32 root,
        uint64 prevBlock
    );

    /// @notice A log has a successor, which commits to the last good head (size, root); no head of `logId` is taken any more.
    event Succeeded(
        bytes32 indexed logId, bytes32 indexed successor, uint64 size, bytes32 root, bool frozen, uint64 prevBlock
    );

    /// @notice The tenant declared how long its log may be silent (0: says nothing) and how long an answer may take.
    event TermsDeclared(bytes32 indexed logId, uint32 maxSilence, uint32 answerWindow, uint64 prevBlock);

    /// @notice No head came for longer than declared: since `due`, noted at `time` (Unix seconds).
    event SilenceNoted(bytes32 indexed logId, uint64 size, uint64 due, uint64 time, uint64 prevBlock);

    /// @notice Somebody holds this signed head and asks for it to be shown consistent with the anchored one by `deadline`.
    event Challenged(bytes32 indexed logId, uint64 indexed size, bytes32 indexed root, uint64 deadline);

    /// @notice A challenged head was shown to be the beginning of the anchored one.
    event Answered(bytes32 indexed logId, uint64 indexed size, bytes32 indexed root, bool late);

    /// @notice A challenge was not answered in time. `defaults` counts those of the log.
    event Defaulted(bytes32 indexed logId, uint64 indexed size, bytes32 indexed root, uint64 defaults);

    /// @notice No log has this id.
    error UnknownLog(bytes32 logId);
    /// @notice The caller is not the tenant's admin, which the registry names as `admin` (zero: no such tenant).
    error NotTenantAdmin(bytes32 tenant, address caller, address admin);
    /// @notice The tenant has an active log already.
    error LogIsActive(bytes32 tenant, bytes32 logId);
    /// @notice (x, y) is no point of P-256.
    error KeyOffCurve(bytes32 x, bytes32 y);
    /// @notice This key is the log's gateway key already.
    error SameGatewayKey(bytes32 kid);
    /// @notice A key that was replaced as this log's gateway key does not come back.
    error RetiredGatewayKey(bytes32 kid);
    /// @notice The log takes no more heads.
    error LogNotOpen(bytes32 logId, LogState state);
    /// @notice A log with this id exists: take another nonce.
    error LogExists(bytes32 logId);
    /// @notice The log has its successor already.
    error HasSuccessor(bytes32 logId, bytes32 successor);
    /// @notice The key in force since anchored size `since` counts for larger heads only.
    error NotThisKeysHead(uint64 size, uint64 since);
    /// @notice The two heads can both be true, as far as the evidence goes.
    error NoContradiction(uint64 sizeA, uint64 sizeB);
    /// @notice Silence is bounded by `maxLimit`, an answer takes `minWindow` to `maxWindow` seconds.
    error BadTerms(uint32 maxSilence, uint32 answerWindow, uint32 minWindow, uint32 maxWindow);
    /// @notice The log is not silent beyond what is declared, or that was noted already.
    error NotSilent(bytes32 logId, uint64 due);
    /// @notice The challenge's state does not allow this.
    error WrongChallengeState(uint64 size, bytes32 root, ChallengeState state);
    /// @notice The answer is not due yet.
    error NotDue(uint64 deadline, uint256 time);
    /// @notice The challenged head is larger than what is anchored: anchor first.
    error NotAnchoredYet(uint64 size, uint64 anchored);
    /// @notice The head is not larger than the anchored one.
    error StaleSize(uint64 size, uint64 anchored);
    /// @notice The first head of a log must have at least two leaves: keyset and snapshot.
    error FirstHeadTooSmall(uint64 size);
    /// @notice The root is zero.
    error ZeroRoot();
    /// @notice A consistency proof between these sizes has another number of nodes (none for the first head).
    error WrongProofLength(uint256 expected, uint256 actual);
    /// @notice The key given is not the log's gateway key.
    error WrongKey(bytes32 registered, bytes32 given);
    /// @notice The head names a previous head that cannot precede it: not smaller, or of size 0 with a root.
    error PreviousImpossible(uint64 prevSize, bytes32 prevRoot, uint64 size);
    /// @notice The head denies the anchored head: its previous head is smaller, or of the same size with another root.
    error PreviousContradictsAnchor(uint64 prevSize, bytes32 prevRoot, uint64 anchored, bytes32 anchoredRoot);
    /// @notice s is above half the group order: only the low one of the two twin signatures is taken.
    error HighS(bytes32 s);
    /// @notice (r, s) is no signature of `digest` by the gateway key.
    error BadSignature(bytes32 digest, bytes32 r, bytes32 s);
    /// @notice The proof does not start from the anchored root.
    error OldRootMismatch(bytes32 anchored, bytes32 computed);
    /// @notice The proof does not lead to the head's root.
    error NewRootMismatch(bytes32 root, bytes32 computed);
    /// @notice The chain lacks the SHA-256 precompile; the contract cannot be deployed there.
    error MissingPrecompile(address precompile);

    /// @notice Opens the tenant's log. Only the tenant's admin; one active log per tenant.
    /// @dev The id is SHA-256("edgeseal/v1/fleet-log" 00, tenant, chain id (32 bytes), this contract (20 bytes), nonce).
    /// Naming chain and contract, it cannot be opened elsewhere. Possession of the gateway key is not proved here: a
    /// wrong key can sign no head and is replaced with `setGatewayKey`.
    /// @param tenant Thumbprint of the tenant root key.
    /// @param x First coordinate of the gateway key.
    /// @param y Second coordinate of the gateway key.
    /// @param nonce Any 32 bytes.
    /// @return logId The new log's id.
    function open(bytes32 tenant, bytes32 x, bytes32 y, bytes32 nonce) external returns (bytes32 logId);

    /// @notice Anchors a signed head. Callable by anyone: what counts is the signature, not the sender.
    /// @dev The signed bytes are rebuilt from these arguments (format.md 7.2). Every refusal reverts with its own error.
    /// A head brought twice reverts with `StaleSize` and changes nothing.
    /// @param logId Fleet log id.
    /// @param size Leaves under the head, above the anchored size; at least 2.
    /// @param root Merkle root of these leaves, not zero.
    /// @param prevSize Size of the previous *signed* head, which need not be anchored; 0 before the first.
    /// @param prevRoot Root of the previous signed head; zero before the first.
    /// @param x First coordinate of the gateway key.
    /// @param y Second coordinate of the gateway key.
    /// @param r First half of the ES256 signature.
    /// @param s Second half, not above half the group order.
    /// @param proof RFC 9162 consistency proof from the anchored size to `size`; empty for the log's first head.
    function anchor(
        bytes32 logId,
        uint64 size,
        bytes32 root,
        uint64 prevSize,
        bytes32 prevRoot,
        bytes32 x,
        bytes32 y,
        bytes32 r,
        bytes32 s,
        bytes32[] calldata proof
    ) external;

    /// @notice Makes (x, y) the gateway key for every head larger than the anchored one. Only the tenant's admin.
    /// @dev In an orderly rotation the old key's last head is anchored first. The old key's heads above the anchored size
    /// are refused from here on. Takes no expected size, so that a thief of the old key cannot hold the change up by
    /// anchoring in front of it. A key once replaced never comes back. Where the old key is revoked in the registry too,
    /// revoke it there and replace it here: neither does the other.
    function setGatewayKey(bytes32 logId, bytes32 x, bytes32 y) external;

    /// @notice Opens the successor of a log, which takes no more heads from then on. Only the tenant's admin.
    /// @dev The successor commits to the last good head: the anchored one. After a fork its key must be another.
    function openSuccessor(bytes32 logId, bytes32 x, bytes32 y, bytes32 nonce) external returns (bytes32 successor);

    /// @notice Freezes a log for which two heads by its gateway key are shown that cannot both be true. Callable by anyone.
    /// @dev They cannot if they have one size and two roots; if one names the other's size as its previous head's, with
    /// another root; if both name one previous size with two roots; or if the larger is proved to begin with another root
    /// of the smaller's size than the smaller has (`proof`: RFC 9162 consistency proof from the smaller size to the larger;
    /// `earlierRoot`: the true root of that size, needed where the smaller tree is one complete subtree). Only heads of the
    /// key in force count, and only such as are larger than the size since which it is: a retired key's never do.
    /// @param x First coordinate of the gateway key.
    /// @param y Second coordinate of the gateway key.
    function proveFork(
        bytes32 logId,
        bytes32 x,
        bytes32 y,
        SignedHead calldata a,
        SignedHead calldata b,
        bytes32 earlierRoot,
        bytes32[] calldata proof
    ) external;

    /// @notice As `proveFork`, with the anchored head in place of the other.
    function proveForkOfAnchor(
        bytes32 logId,
        bytes32 x,
        bytes32 y,
        SignedHead calldata signed,
        bytes32 earlierRoot,
        bytes32[] calldata proof
    ) external;

    /// @notice Declares how long the log may be silent and how long an answer to a challenge may take. Only the tenant's
    /// admin; each change is an event.
    /// @param maxSilence Seconds between heads; 0 declares nothing.
    /// @param answerWindow Seconds, 1 hour to 30 days; 0 is 7 days. Open challenges keep their deadline.
    function setTerms(bytes32 logId, uint32 maxSilence, uint32 answerWindow) external;

    /// @notice Whether an open log is silent for longer than declared, and when its next head was due (0: not declared).
    function stale(bytes32 logId) external view returns (bool late, uint64 due);

    /// @notice Leaves an event behind that the log was silent for too long, once for each silence. Callable by anyone.
    function noteSilence(bytes32 logId) external;

    /// @notice Asks the gateway to show that a head it signed is the beginning of what it anchors. Callable by anyone who
    /// holds a head of the key in force: the one in a receipt, say. Each head once.
    function challenge(bytes32 logId, bytes32 x, bytes32 y, SignedHead calldata signed) external;

    /// @notice Answers a challenge with a consistency proof from its head to the anchored one. Callable by anyone; after
    /// the default was marked the answer counts as late, and the default stays.
    function answer(bytes32 logId, uint64 size, bytes32 root, bytes32[] calldata proof) external;

    /// @notice Marks the log in default for a challenge that was not answered in time. Callable by anyone.
    function markDefault(bytes32 logId, uint64 size, bytes32 root) external;

    /// @notice The anchored head: (0, 0) while nothing is anchored. Reverts for an unknown log.
    function head(bytes32 logId) external view returns (uint64 size, bytes32 root);

    /// @notice The tenant of a log and its anchored size. Reverts for an unknown log.
    function authorityOf(bytes32 logId) external view returns (bytes32 tenant, uint64 anchored);

    /// @notice The gateway key in force, the anchored size from which on it is, and the block of the log's last event.
    /// @dev Reverts for an unknown log.
    function gatewayOf(bytes32 logId) external view returns (bytes32 kid, uint64 since, uint64 lastBlock);

    /// @notice Where a log stands, and its successor and predecessor (zero: none). Never reverts.
    /// @dev A successor's last good head is `head(predecessor)`, which cannot change any more.
    function stateOf(bytes32 logId) external view returns (LogState state, bytes32 successor, bytes32 predecessor);

    /// @notice What was declared, when the last head was anchored (or the log opened), and how many challenges defaulted.
    function termsOf(bytes32 logId)
        external
        view
        returns (uint32 maxSilence, uint32 answerWindow, uint64 anchoredAt, uint64 defaults);

    /// @notice Where a challenge stands and until when it may be answered. Never reverts.
    function challengeOf(bytes32 logId, uint64 size, bytes32 root)
        external
        view
        returns (ChallengeState state, uint64 deadline);

    /// @notice The tenant's active log, zero if it has none.
    function activeLogOf(bytes32 tenant) external view returns (bytes32 logId);

    /// @notice The id `open` gives with this nonce.
    function logIdOf(bytes32 tenant, bytes32 nonce) external view returns (bytes32 logId);

    /// @notice The registry that says who a tenant's admin is.
    function registry() external view returns (IIdentityRegistry);
}
