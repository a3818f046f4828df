"""config.yaml: its models, and how a file becomes one or a list of everything that is wrong with it."""
