"""The agent beside others that do the same work."""
