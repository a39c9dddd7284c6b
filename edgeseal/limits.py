"""Every named limit of ``docs/format.md`` section 17. Readers compare a received length with these before they
allocate.
"""

from __future__ import annotations

from typing import Final

MAX_HEADER: Final = 512
MAX_BODY: Final = 65_536
MAX_KIND: Final = 32
MAX_TEXT: Final = 512
MAX_SEGMENT: Final = 1_048_576
MAX_SEGMENT_ITEMS: Final = 1_024
MAX_STATEMENT: Final = 32_768
MAX_COMMAND: Final = 4_096
MAX_HEAD: Final = 2_048
MAX_RECEIPT: Final = 4_096
MAX_ARGS: Final = 4_096
MAX_PATH: Final = 64
MAX_KEYS: Final = 256
MAX_SCOPES: Final = 32
MAX_GROUPS: Final = 32
MAX_RANGES: Final = 256
MAX_MESSAGE: Final = 1_114_112
MAX_CHUNK: Final = 262_144
MAX_PACK: Final = 65_536
MAX_ENTRY: Final = 1_024
MAX_OPENING: Final = 16_777_216
MAX_BUNDLE_FILES: Final = 200_000
MAX_BUNDLE_FILE: Final = 268_435_456
MAX_BUNDLE_TOTAL: Final = 17_179_869_184
MAX_BUNDLE_RATIO: Final = 200
MAX_CHUNK_ITEMS: Final = 4_096
MAX_YAML: Final = 262_144
MAX_ENROLMENT: Final = 65_536
MAX_OFFER: Final = 32_768
MAX_TPM_STRUCTURE: Final = 1_024
MAX_CERTIFICATE: Final = 8_192
MAX_CERTIFICATES: Final = 8
MAX_DEPTH: Final = 16
MAX_CBOR_ITEMS: Final = 262_144

MAX_PUB_ENTRIES: Final = 32
MAX_PUB_KEY: Final = 64
MAX_PUB_VALUE: Final = 256
MAX_RUNTIME_TEXT: Final = 64
UINT64: Final = 2**64 - 1
DIGEST: Final = 32
"""Length in bytes of every hash, kid, log id and salt."""
