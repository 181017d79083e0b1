"""What holds for all tests."""

import logging

import pytest


@pytest.fixture(autouse=True)
def level_of_the_log_is_kept():
    """Commands set it for their process, in tests and in examples of docstrings."""
    logger = logging.getLogger("sphereflow")
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(logging.NOTSET)
