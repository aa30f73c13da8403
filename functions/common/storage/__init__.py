"""The object store and what it holds: leases, executions, the dataset. fetch-batch and train use it."""
