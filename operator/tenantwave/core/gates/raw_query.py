"""Verifies raw queries, when a policy changes and never per tick. A query is accepted as it stands or refused: it is never rewritten.

Each number must belong to the tenant that it is blamed on. So every selector is scoped by our matcher, and no step of the query loses
or invents the label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from .constants import MAX_WINDOW
from .promql import fill_in
from .selector import Matcher

MAX_CHARACTERS = 4096
MAX_NESTING = 64
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`[^`]*`', re.DOTALL)
_COSTLY = re.compile(r"[(\[{]|[-+*/%^]|[=!<>]=?~?|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_INVENTS = frozenset({"absent", "absent_over_time", "vector", "scalar", "label_replace", "label_join", "info"})
_PANIC = "PanicException"
"""What a fault inside the parser arrives as; no `Exception`, so that it would end the process."""
_SENTINEL = "tenantwave-a|tenantwave-b"

_PARSER_MISSING = (
    "the PromQL parser (promql-parser) is not installed, so raw queries cannot be verified; install it, or use ratio, latency or increase"
)


def why_not_accepted(query: str, label: str) -> str | None:
    """Return why a raw query is refused, with the mend; None if it is accepted. Cost: bounded before the parser sees the text."""
    try:
        import promql_parser
    except ImportError:
        return _PARSER_MISSING
    if len(query) > MAX_CHARACTERS:
        return f"it has {len(query)} characters, at most {MAX_CHARACTERS} are allowed; record a part of it as a rule in Prometheus"
    scope = Matcher(label, "=~", _SENTINEL)
    text = fill_in(query, scope)
    bare = _STRING.sub('""', text)
    if len(_COSTLY.findall(bare)) > MAX_NESTING:
        return f"it has more than {MAX_NESTING} brackets and operators; record a part of it as a rule in Prometheus"
    if "#" in bare:
        return "it contains a comment; remove it"
    try:
        return _first_problem(list(_nodes(promql_parser.parse(text), promql_parser)), label, promql_parser)
    except (
        BaseException
    ) as error:  # the parser's errors have no common type, and come late, too: an offset of 1e7 years is read, but is no number
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        return f"it cannot be read ({str(error)[:200]}); correct it, and avoid what only other dialects know"


def _first_problem(nodes: list[Any], label: str, parser: Any) -> str | None:  # Any: the parser has no types
    if not any(isinstance(node, parser.VectorSelector) for node in nodes):
        return "it selects no series; write for example max by ({{ label }}) (queue_lag_seconds{ {{ tenants }} })"
    return next((problem for node in nodes if (problem := _problem(node, label, parser))), None)


def _nodes(node: Any, parser: Any) -> Iterator[Any]:
    """Yield the node and all below it."""
    yield node
    match node:
        case parser.AggregateExpr():
            children = [node.expr, *([node.param] if node.param is not None else [])]
        case parser.BinaryExpr():
            children = [node.lhs, node.rhs]
        case parser.UnaryExpr() | parser.ParenExpr() | parser.SubqueryExpr():
            children = [node.expr]
        case parser.Call():
            children = list(node.args)
        case parser.MatrixSelector():
            children = [node.vector_selector]
        case _:
            children = []
    for child in children:
        yield from _nodes(child, parser)


def _problem(node: Any, label: str, parser: Any) -> str | None:
    """Return what is wrong with this one node."""
    match node:
        case parser.VectorSelector():
            return _selector_problem(node, label, parser)
        case parser.MatrixSelector():
            return _too_long("range", node.range)
        case parser.SubqueryExpr():
            return "it has a subquery, which costs the server too much; record the inner part as a rule in Prometheus"
        case parser.AggregateExpr():
            return _aggregation_problem(node, label, parser)
        case parser.BinaryExpr():
            return _matching_problem(node, label, parser)
        case parser.Call():
            return (
                f"{node.func.name}() makes or renames labels, so a number could reach the wrong tenant; write it without"
                if (node.func.name in _INVENTS)
                else None
            )
        case parser.NumberLiteral() | parser.StringLiteral() | parser.UnaryExpr() | parser.ParenExpr():
            return None
        case _:
            return f"it uses {type(node).__name__}, which cannot be verified; write it in plain PromQL"


def _selector_problem(node: Any, label: str, parser: Any) -> str | None:
    if not node.name:
        return "a selector has no exact metric name in front of its braces; write the name there"
    matchers = list(node.matchers.matchers)
    if node.matchers.or_matchers:
        return f'the selector of {node.name} has an "or" inside its braces; use =~ instead'
    if any(matcher.name == "__name__" for matcher in matchers):
        return f"the selector of {node.name} matches on __name__; write the name in front of the braces alone"
    ours = [matcher for matcher in matchers if matcher.name == label]
    if len(ours) != 1 or ours[0].op != parser.MatchOp.Re or ours[0].value != _SENTINEL:
        fixed = next((f'{label}="{matcher.value[:40]}"' for matcher in ours if matcher.value != _SENTINEL), "")
        found = f"matches on {fixed}, which fixes the tenant" if fixed else f"matches on {label} {len(ours)} times"
        return (
            f"the selector of {node.name} {found}; ask for all tenants at once: put {{{{ tenants }}}} once into the braces of every "
            f"selector and group "
            f"the result, as in max by ({{{{ label }}}}) ({node.name}{{ {{{{ tenants }}}} }})"
        )
    if node.at is not None:
        return f"the selector of {node.name} has an @; every number must belong to the time of the tick, so remove it"
    return _too_long("offset", node.offset) if node.offset is not None else None


def _aggregation_problem(node: Any, label: str, parser: Any) -> str | None:
    modifier = node.modifier
    keeps = modifier is not None and (
        label in modifier.labels if modifier.type == parser.AggModifierType.By else label not in modifier.labels
    )
    if not keeps:
        return f"{node.op} loses the label {label}, which names the tenant; write {node.op} by ({{{{ label }}}}) (...)"
    if str(node.op).endswith("count_values") and getattr(node.param, "val", None) == label:
        return f"count_values writes the label {label}, which names the tenant; give it another label"
    return None


def _matching_problem(node: Any, label: str, parser: Any) -> str | None:
    matching = node.modifier.matching if node.modifier is not None else None
    if matching is None:
        return None  # all labels match, so ours does
    keeps = label in matching.labels if matching.type == parser.LabelModifierType.Include else label not in matching.labels
    return None if keeps else f"the operator {node.op} does not match on {label}, which names the tenant; write on ({{{{ label }}}})"


def _too_long(what: str, length: timedelta) -> str | None:
    return f"it has a{'n' if what == 'offset' else ''} {what} of {length}, at most 6h are allowed" if abs(length) > MAX_WINDOW else None
