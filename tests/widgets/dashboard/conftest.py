"""Dashboards that are closed after each test."""

import pytest

from ipyllm import UsageDashboard


@pytest.fixture
def dashboard():
    made = []

    def make(**options):
        made.append(UsageDashboard(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()
