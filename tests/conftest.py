"""How hard the laws are tried: 2,000 examples each, 200 with HYPOTHESIS_PROFILE=quick."""

import os

from hypothesis import HealthCheck, settings

# A busy machine makes examples slow, which says nothing about the code: hence no deadline and
# no check for slowness.
for profile, examples in {"quick": 200, "laws": 2_000}.items():
    settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "laws"))
