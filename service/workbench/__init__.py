"""The workbench: what the commands do besides running the daemon, without the terminal."""
