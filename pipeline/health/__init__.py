"""How the agent fares: its troubles, its status, the summary, its own metrics."""
