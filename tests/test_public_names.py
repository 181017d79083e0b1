"""What the package shows of itself."""

import sphereflow as sf


def test_dir_is_the_public_interface():
    assert dir(sf) == sorted(sf.__all__)
    assert all(hasattr(sf, name) for name in dir(sf))
