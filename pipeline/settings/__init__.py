"""Settings: the files and the environment made one frozen, validated value."""

from pipeline.settings.declared import NAMES, CollectorOptions, Downsample, Settings
from pipeline.settings.load import (
    Loaded,
    Row,
    SettingsError,
    describe,
    find_config_dir,
    find_data_dir,
    load,
)
from pipeline.settings.trust import Exposure
from pipeline.settings.validate import refusal
from pipeline.settings.watch import Files

__all__ = [
    "NAMES",
    "CollectorOptions",
    "Downsample",
    "Exposure",
    "Files",
    "Loaded",
    "Row",
    "Settings",
    "SettingsError",
    "describe",
    "find_config_dir",
    "find_data_dir",
    "load",
    "refusal",
]
