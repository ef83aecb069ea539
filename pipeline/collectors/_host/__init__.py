"""How a host is read."""
