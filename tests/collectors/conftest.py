"""The fake host, as a fixture."""

import pytest

from .fakes import FakeHost


@pytest.fixture
def fake() -> FakeHost:
    return FakeHost()


@pytest.fixture(params=[False, True], ids=["own", "contained"])
def either(request: pytest.FixtureRequest) -> FakeHost:
    """The fake host, read by a process of its own, and from a container on it."""
    fake = FakeHost()
    if request.param:
        fake.contain()
    return fake
