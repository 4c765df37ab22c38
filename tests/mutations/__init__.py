"""Engines that break one promise each, by the smallest change of the source, and what catches each of them."""
