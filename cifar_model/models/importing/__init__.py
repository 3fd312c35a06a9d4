"""Somebody's own model: what its file is, whether it is safe, how it wants its pixels, and a folder of it."""
