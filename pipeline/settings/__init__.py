"""Settings: files, credentials and the environment, made one frozen and validated value."""

from pipeline.settings.ages import HOUR_NS, Age, Ages, hours_text
from pipeline.settings.changes import changes
from pipeline.settings.config_files import SettingsFiles
from pipeline.settings.constraints import MAIN, NEEDED, SERVER, duration_s, setting_name
from pipeline.settings.declared import (
    LATE_S,
    NAMES,
    SYSTEM_DATA_DIR,
    CollectorOptions,
    Downsample,
    Mirror,
    Settings,
)
from pipeline.settings.load import (
    Loaded,
    SettingRow,
    SettingsError,
    describe,
    find_config_dir,
    find_data_dir,
    load,
)
from pipeline.settings.sources import FILES, SYSTEM_CONFIG_DIR, variable
from pipeline.settings.trust import (
    Exposure,
    changeable,
    is_written_by_others,
    make_folder,
    owner,
)
from pipeline.settings.validate import refusal
from pipeline.settings.watch import Files

__all__ = [
    "FILES",
    "HOUR_NS",
    "LATE_S",
    "MAIN",
    "NAMES",
    "NEEDED",
    "SERVER",
    "SYSTEM_CONFIG_DIR",
    "SYSTEM_DATA_DIR",
    "Age",
    "Ages",
    "CollectorOptions",
    "Downsample",
    "Exposure",
    "Files",
    "Loaded",
    "Mirror",
    "SettingRow",
    "Settings",
    "SettingsError",
    "SettingsFiles",
    "changeable",
    "changes",
    "describe",
    "duration_s",
    "find_config_dir",
    "find_data_dir",
    "hours_text",
    "is_written_by_others",
    "load",
    "make_folder",
    "owner",
    "refusal",
    "setting_name",
    "variable",
]
