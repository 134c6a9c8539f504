"""What changed between versions, along which path, since when, and which one broke it."""
