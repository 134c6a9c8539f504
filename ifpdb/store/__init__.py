"""Where bytes and rows lie: the only code that reads or writes a registry's files."""
