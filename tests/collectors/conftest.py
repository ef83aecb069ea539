"""The fake host, as a fixture."""

import pytest

from .fakes import FakeHost


@pytest.fixture
def fake() -> FakeHost:
    return FakeHost()
