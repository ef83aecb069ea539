"""Settings: settings.toml, .secrets.toml and the environment made one frozen, validated value."""

from pipeline.settings.checker import refusal
from pipeline.settings.declared import NAMES, CollectorOptions, Settings
from pipeline.settings.load import Loaded, Row, SettingsError, describe, find_config_dir, load

__all__ = [
    "NAMES",
    "CollectorOptions",
    "Loaded",
    "Row",
    "Settings",
    "SettingsError",
    "describe",
    "find_config_dir",
    "load",
    "refusal",
]
