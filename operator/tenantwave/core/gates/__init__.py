"""Gating on Prometheus: which numbers to ask for, what they say about each tenant and wave, and how long they have been saying it.

Read in this order: `rules` (what is judged), `samples` (question and answer), `promql` and `ticks` (what is asked), `statistics` and
`verdicts` (what it
means), `book` and `reduce` (what is remembered), `waves` and `passing` (what follows), `journal` (what survives a restart), `evidence`
(what people see).
"""

from .book import (
    Comparison,
    GateBook,
    MetricVerdict,
    SourceHealth,
    SourceState,
    TenantGate,
    Verdict,
    WaveGate,
    worst,
)
from .control import sample_control
from .counts import Counts
from .evidence import gate_status
from .journal import dump_tenant, dump_wave, load_tenant, load_wave, restore, worth_storing
from .passing import is_excused, needed_ticks, soak_left, tenant_is_through, wave_is_through
from .policy import evaluation_of, rules_of, source_of
from .problems import gate_problems
from .reduce import advance
from .rules import (
    Evaluation,
    GateContext,
    GateRule,
    Increase,
    Latency,
    OnNoData,
    Ratio,
    RawQuery,
    Role,
    TenantInContext,
    WaveInContext,
)
from .samples import Answer, Ask, FailureKind, Part, Purpose, QueryFailure, Row, Rows, Source, TickRequest, TickSample
from .ticks import due, halved, is_due, next_tick_time
from .waves import judge_wave

__all__ = [
    "Answer",
    "Ask",
    "Comparison",
    "Counts",
    "Evaluation",
    "FailureKind",
    "GateBook",
    "GateContext",
    "GateRule",
    "Increase",
    "Latency",
    "MetricVerdict",
    "OnNoData",
    "Part",
    "Purpose",
    "QueryFailure",
    "Ratio",
    "RawQuery",
    "Role",
    "Row",
    "Rows",
    "Source",
    "SourceHealth",
    "SourceState",
    "TenantGate",
    "TenantInContext",
    "TickRequest",
    "TickSample",
    "Verdict",
    "WaveGate",
    "WaveInContext",
    "advance",
    "due",
    "dump_tenant",
    "dump_wave",
    "evaluation_of",
    "gate_problems",
    "gate_status",
    "halved",
    "is_due",
    "is_excused",
    "judge_wave",
    "load_tenant",
    "load_wave",
    "needed_ticks",
    "next_tick_time",
    "restore",
    "rules_of",
    "sample_control",
    "soak_left",
    "source_of",
    "tenant_is_through",
    "wave_is_through",
    "worst",
    "worth_storing",
]
