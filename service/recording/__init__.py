"""Recordings: what passed between us and a provider, with its timing, in a file.

A recording is a row of zstd frames (RFC 8878), each with a checksum and each a block of whole lines of JSON: first a
header, then one event a line, in order. ``zstd -dc FILE`` shows it. A block is added as a whole, and nothing that
was written is changed: after a crash all blocks but perhaps the last can be read.
"""
