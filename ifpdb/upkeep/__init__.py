"""Looking after a registry: what is damaged, what can go, what to keep elsewhere."""
