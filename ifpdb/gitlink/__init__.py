"""The registry in git: set up, read, merged, checked."""
