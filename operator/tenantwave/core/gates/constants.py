"""The fixed numbers of the gates, in one table, each with its reason. They are part of the contract of what a verdict means, so no
policy changes them."""

from __future__ import annotations

from datetime import timedelta

ALPHA_FAILING = 0.001
"""Chance that a tenant exactly at its limit is ever called Failing, however often one looks. At 0.01 a wave of 500 with a budget of 1%
halts falsely
in 38 of 100 upgrades, at 0.001 in 1.4e-5."""

ALPHA_HEALTHY = 0.05
"""Chance that a tenant at the unacceptable rate is ever called Healthy."""

ALPHA_CATASTROPHIC = 0.0001
"""For the pooled rate of a whole wave, which fails the wave at once and so must be surer."""

CATASTROPHIC_RATE = 0.3
"""A wave that fails more than this share of all its requests needs no statistics per tenant."""

GRID = (1.5, 2, 3, 5, 10, 30, 100)
"""Rates that the mixture bets on, as multiples of the limit: 1.5 finds slow regressions, 100 finds an outage after a few requests."""

MIN_EVENTS = 5
"""Fewer requests than this never fail a tenant: 2 of 2 bad would be enough for the e-value at a limit of 1%."""

DISPERSION = 3.0
"""Errors come in bursts (a retry storm, one bad user). Until that is measured, counts are divided by this. It is right for bursts of two or three;
at bursts of ten, 60 of 1,000 tenants at their limit would be failed, so it is measured as soon as there is anything to measure."""

LARGEST_NUMBER = 1e18
"""Beyond this a number is taken for infinite: no counter gets there, and differences of such numbers are noise."""

INDIFFERENCE = 5.0
"""The unacceptable rate is this many times the limit; between the two neither answer is wrong."""

BASELINE_WINDOW = timedelta(hours=1)
"""How far back a tenant's own error rate is taken from: the hour before its first write."""

BASELINE_PRIOR = 500.0
"""Requests of the pooled rate that each tenant's baseline is mixed with, so that one error in two requests is not taken for 50%."""

BASELINE_TOLERANCE = 2.0
"""A tenant may reach twice its own rate before the upgrade, if that is more than the limit, and never more than half of all requests."""

FIRST_LOOK_INTERVALS = 4
"""`increase` needs two samples in the window; a shorter window looks like lost traffic."""

LATCH_TICKS = 2
"""A sign of Failing must be seen this many ticks in a row before a tenant is failed."""

MAX_WINDOW = timedelta(hours=6)
"""Longer ranges cost the server too much. A longer soak is judged by its last six hours."""

COHORT_STEPS = 10
"""Window starts are rounded up to a tenth of the soak, so that tenants share queries."""

LOOK_BACK = timedelta(hours=1)
"""A series that had a sample in the hour before the window is not new. Scrape gaps are shorter; after a longer one, all that the fleet ever
counted would look as if it had happened in the window. Costs 40 ms a query of 500 names more than ten minutes would."""

CHUNK_NAMES = 1000
CHUNK_BYTES = 256 * 1024
GROUP_ALL_NAMES = 1000
"""Tenants in one query, at most so many or so much text: one cohort with its control is one question. Larger groups than the last number
are asked for all tenants and filtered by us: cheaper than alternations of names (measured: 1,500 names 143 ms, all 20,000 series 585 ms)."""

MIN_FRESHNESS = timedelta(minutes=2)
FRESHNESS_INTERVALS = 4
"""The newest sample of the fleet may be this old (the larger of the two) before nothing follows from a tick."""

COVERAGE_STEPS = 500
"""Missed ticks asked for at once after an outage."""

RESUME_TICKS = 3
"""Usable ticks in a row that end an outage, for the `onUnknown` timer and for the pace of asking."""

MAX_INTERVAL = timedelta(minutes=5)
"""The interval stretches up to this while a source throttles us."""
