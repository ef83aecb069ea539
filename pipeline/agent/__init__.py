"""The process: its threads, start and stop, live settings, systemd, embedding."""
