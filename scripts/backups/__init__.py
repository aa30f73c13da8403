"""Copies of a deployment's database and buckets: made by scripts/backup, loaded by scripts/restore."""
