"""How the lines of a journal's row are stored: compressed where they are many, since they differ in little."""

from __future__ import annotations

import zlib
from typing import Final

_PACKED_FROM: Final = 600
"""Bytes of lines from which on they are compressed: one event stays as whoever looks into the store can read it."""

_ZLIB: Final = b"x"
"""The first byte of what is compressed; lines begin with a brace."""


def packed(lines: bytes) -> bytes:
    """Return lines as they are stored: ten events that one look has shown take a fifth of their bytes."""
    return zlib.compress(lines, 1) if len(lines) >= _PACKED_FROM else lines


def unpacked(stored: bytes) -> bytes:
    """Return lines from what is stored; what somebody has written there by hand is returned as it is."""
    if not stored.startswith(_ZLIB):
        return stored
    unpacking = zlib.decompressobj()
    try:
        lines = unpacking.decompress(stored)
    except zlib.error:
        return stored
    return lines if unpacking.eof and not unpacking.unused_data else stored
