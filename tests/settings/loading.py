"""Settings from texts, as files and variables."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.settings import Loaded, Mirror, SettingsError, load

ROOT = Path(__file__).parents[2]
NOWHERE = Path("/nonexistent/metrics-pipeline")
COLLECTORS = ("cpu", "disk", "net")
INFLUXDB = {
    "METRICS_INFLUXDB_URL": "https://influx.example:8086",
    "METRICS_INFLUXDB_ORG": "o",
    "METRICS_INFLUXDB_BUCKET": "b",
    "METRICS_INFLUXDB_TOKEN": "t",
}
A_MIRROR = Mirror("http://b:8086", "o", "b", "t")
MIRROR = {
    f"METRICS_MIRRORS__B__{part.upper()}": getattr(A_MIRROR, part)
    for part in ("url", "org", "bucket", "token")
}
TOKEN = "k3y-nobody-may-see"
Env = Mapping[str, str] | None


def loads(
    folder: Path = NOWHERE,
    toml: str | None = None,
    secrets: str | None = None,
    env: Env = None,
    local: str | None = None,
) -> Loaded:
    texts = {"settings.toml": toml, "settings.local.toml": local, ".secrets.toml": secrets}
    for name, text in texts.items():
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    return load(folder, env or {}, collectors=COLLECTORS, hostname=lambda: "here")


def problems(
    folder: Path = NOWHERE, toml: str | None = None, secrets: str | None = None, *, env: Env = None
) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loads(folder, toml, secrets, env)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.replace(str(folder), "DIR") for problem in caught.value.problems]


def problem(folder: Path = NOWHERE, toml: str | None = None, *, env: Env = None) -> str:
    (only,) = problems(folder, toml, env=env)
    return only
