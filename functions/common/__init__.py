"""What the three functions share: thin, nothing runs at import, imports no function."""
