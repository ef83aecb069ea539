"""Dashboards, variables and checks, and how they are applied."""
