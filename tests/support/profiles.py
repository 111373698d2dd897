"""How hard Hypothesis tries: a profile by name, or the one for where we run."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hypothesis import HealthCheck, settings

VARIABLE = "HYPOTHESIS_PROFILE"

PROFILES: Mapping[str, settings] = {
    "dev": settings(settings.get_profile("default"), derandomize=False, print_blob=False),
    # hack/check gives it a seed, so that a change is judged by what it changed. What it finds leaves a blob in the log, for `@reproduce_failure`.
    "ci": settings(settings.get_profile("default"), derandomize=False, print_blob=True, deadline=None),
}


def chosen(environment: Mapping[str, str]) -> str:
    """Return the profile that HYPOTHESIS_PROFILE names, else `ci` where CI=true, else `dev`. Raises ValueError for a name that is none."""
    name = environment.get(VARIABLE) or ("ci" if environment.get("CI", "").lower() == "true" else "dev")
    if name not in PROFILES:
        raise ValueError(f"{VARIABLE}={name} is no profile; choose one of {', '.join(PROFILES)}")
    return name


def thorough(count: int) -> settings:
    """Return the settings of a property that CI tries so often, and anybody else a tenth as often: the fast gate is to stay fast.

    HYPOTHESIS_PROFILE=ci tries it as often anywhere.
    """
    is_everything = chosen(os.environ) == "ci"
    return settings(max_examples=count if is_everything else count // 10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def load(environment: Mapping[str, str]) -> None:
    """Let all tests run by the chosen profile; `--hypothesis-profile` on the command line still wins."""
    for name, profile in PROFILES.items():
        settings.register_profile(name, profile)
    settings.load_profile(chosen(environment))
