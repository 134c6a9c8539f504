"""Feature schemas: what a model expects, read, inferred and held against batches."""
