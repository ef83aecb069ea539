"""The manifests against the schemas that Kubernetes publishes, and what they must not give away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate.utils import validate

import pipeline
from pipeline.settings import load
from tests.deploy.conftest import ROOT

MANIFEST = ROOT / "deploy/kubernetes/metrics-pipeline.yaml"


def resources() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8")))


def of_kind(kind: str) -> dict[str, Any]:
    (one,) = [resource for resource in resources() if resource["kind"] == kind]
    return one


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = of_kind("DaemonSet")["spec"]["template"]["spec"]
    return spec


def containers() -> Iterator[dict[str, Any]]:
    yield from pod()["initContainers"]
    yield from pod()["containers"]


@pytest.mark.parametrize("version", ["1.28", "1.37"])
@pytest.mark.parametrize("resource", resources(), ids=lambda one: one["kind"])
def test_every_manifest_is_what_the_schemas_ask_for(resource: dict[str, Any], version: str) -> None:
    validate(resource, version, strict=True)


def test_the_agent_has_no_rights_and_no_access_to_the_cluster() -> None:
    assert pod()["enableServiceLinks"] is False
    assert pod()["automountServiceAccountToken"] is False
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        assert not pod().get(name)
    for one in containers():
        security = one["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"]["drop"] == ["ALL"]
        assert not security.get("privileged")
    (agent,) = pod()["containers"]
    assert agent["securityContext"]["runAsNonRoot"] is True
    assert "add" not in agent["securityContext"]["capabilities"]
    (host,) = [mount for mount in agent["volumeMounts"] if mount["name"] == "host"]
    assert (host["readOnly"], host["mountPropagation"]) == (True, "HostToContainer")
    # What everybody may write to on the node is covered.
    (cover,) = [one for one in agent["volumeMounts"] if one["mountPath"] == "/hostfs/dev/shm"]
    (empty,) = [one for one in pod()["volumes"] if one["name"] == cover["name"]]
    assert (cover["readOnly"], empty["emptyDir"]) == (True, {})
    assert pod()["shareProcessNamespace"] is True  # whose first process reaps orphans
    assert {one["image"] for one in containers()} == {f"metrics-pipeline:{pipeline.__version__}"}


def test_the_agent_takes_its_settings_and_its_token(tmp_path: Path) -> None:
    for name, text in of_kind("ConfigMap")["data"].items():
        (tmp_path / name).write_text(text)
    (tmp_path / "influxdb_token").write_text("secret")
    (agent,) = pod()["containers"]
    environ = {one["name"]: one.get("value", "node-1") for one in agent["env"]}
    environ["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    loaded = load(tmp_path, environ)
    assert loaded.settings.delivers
    assert (loaded.settings.host, loaded.settings.influxdb_token) == ("node-1", "secret")
    assert str(loaded.settings.host_root) == "/hostfs"
