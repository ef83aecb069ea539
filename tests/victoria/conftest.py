"""The VictoriaMetrics that the tests here share."""

from collections.abc import Iterator

import pytest

from tests.victoria.server import NoVictoriaError, Victoria, running


@pytest.fixture(scope="session")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victoria]:
    """One for the whole session; each test has a host of its own there."""
    try:
        with running(tmp_path_factory.mktemp("victoria")) as one:
            yield one
    except NoVictoriaError as why:
        # Never a skip: who asks for these tests wants them run.
        raise pytest.fail.Exception(str(why), pytrace=False) from None
