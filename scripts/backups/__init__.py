"""Copies of a deployment's database and buckets: scripts/backup makes them, scripts/restore loads them."""
