"""Live provider feeds into correct, current Postgres tables."""
