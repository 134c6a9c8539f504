"""Training data: any table described, by the digest of its values."""
