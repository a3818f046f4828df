"""Infer: a table and a map that fit the records of a sample, with the reasons."""
