"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A busy machine makes slow examples: that says nothing of the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
