"""Transform: records become rows, by a mapping that is compiled once per feed."""
