"""What the agent costs, measured; run by `make bench`."""
