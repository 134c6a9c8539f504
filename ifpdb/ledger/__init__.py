"""What the registry knows: SQL inside a transaction that it is given. Nothing here begins, commits or does other I/O."""
