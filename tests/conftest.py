"""What holds for all tests."""

import logging

import pytest


@pytest.fixture(autouse=True)
def level_of_the_log_is_kept():
    """Commands set it for their process."""
    logger = logging.getLogger("sphereflow")
    level = logger.level
    yield
    logger.setLevel(level)
