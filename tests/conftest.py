"""Settings shared by every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples every time, and no clock: a busy machine must not fail a property.
settings.register_profile(
    "kit",
    deadline=None,
    max_examples=50,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("kit")
