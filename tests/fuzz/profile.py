"""How many examples a fuzz tries: some thousand in every run, as many as one likes by the environment."""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = "TURNBACK_TEST_FUZZ_EXAMPLES"

thorough = settings(
    max_examples=int(os.environ.get(EXAMPLES, "1500")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
