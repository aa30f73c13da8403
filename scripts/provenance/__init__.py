"""Where data went: which samples a version was made of, which versions a sample went into, snapshots as files."""
