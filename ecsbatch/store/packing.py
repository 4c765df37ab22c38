"""How the lines of a journal's row are stored: compressed where they are many, since they differ in little."""

from __future__ import annotations

import zlib
from typing import Final

_PACKED_FROM: Final = 600
"""Bytes of lines from which on they are compressed: one event stays as whoever looks into the store can read it."""

_MOST: Final = 2**24
"""Bytes of lines that are ever compressed. What unpacks to more is none of ours: few bytes can stand for gigabytes."""

_ZLIB: Final = b"x"
"""The first byte of what is compressed; lines begin with a brace."""


def packed(lines: bytes) -> bytes:
    """Return lines as they are stored: ten events that one look has shown take a fifth of their bytes."""
    return zlib.compress(lines, 1) if _PACKED_FROM <= len(lines) <= _MOST else lines


def unpacked(stored: bytes) -> bytes:
    """Return lines from what is stored; what somebody has written there by hand is returned as it is."""
    if not stored.startswith(_ZLIB):
        return stored
    try:
        return inflated(stored, _MOST)
    except zlib.error:
        return stored


def inflated(stored: bytes, most: int) -> bytes:
    """Return what was compressed, and take no more memory than that has.

    Raises:
        zlib.error: it was not, there is something behind it, or it has more than ``most`` bytes.
    """
    inflating = zlib.decompressobj()
    # One byte more is asked for: of what has just so many the end is seen, too, and one too many shows.
    found = inflating.decompress(stored, most + 1)
    if len(found) > most or not inflating.eof or inflating.unused_data:
        raise zlib.error(f"it is cut off, longer than it says, or has more than {most:,} bytes")
    return found
