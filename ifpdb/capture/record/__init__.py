"""The run record: code, packages, machine, git, random state."""
