"""Buffers: where messages are safe between receiving and loading, one file a kind."""
