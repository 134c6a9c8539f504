"""What a run observes by itself, one noun a file. Nothing here reads or writes the registry."""
