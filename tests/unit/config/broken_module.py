"""A module that cannot be imported, for the tests of functions of the user's own."""

raise RuntimeError("no licence")
