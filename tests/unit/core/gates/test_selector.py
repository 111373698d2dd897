"""Plain selectors: what is read, and what is refused with which mend."""

import pytest

from tenantwave.core.gates.selector import Matcher, Selector, SelectorError, parse_selector


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("http_requests_total", Selector("http_requests_total")),
        ('a:b{code=~"5..", path!="/x"}', Selector("a:b", (Matcher("code", "=~", "5.."), Matcher("path", "!=", "/x")))),
        ("up{job='x',}", Selector("up", (Matcher("job", "=", "x"),))),
        ("  up { }  ", Selector("up")),
        (r'up{path="C:\\dir \"q\"\n"}', Selector("up", (Matcher("path", "=", 'C:\\dir "q"\n'),))),
        ('up{path=~"a\\\\.b"}', Selector("up", (Matcher("path", "=~", "a\\.b"),))),
    ],
)
def test_a_plain_selector_is_read_and_printed(text: str, selector: Selector) -> None:
    """What is printed reads back the same."""
    assert parse_selector(text, reserved="namespace") == selector
    assert parse_selector(str(selector), reserved="namespace") == selector


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with a metric's name"),
        ('{__name__="up"}', "begins with a metric's name"),
        ('{"up"}', "begins with a metric's name"),
        ('up{"a.b"="x"}', "quoted names are not supported"),
        ("on", "is a word of PromQL and no metric's name"),
        ('NaN{a="x"}', "is a word of PromQL and no metric's name"),
        ("up[5m]", "no functions, ranges"),
        ("up offset 5m", "no functions, ranges"),
        ("up @ 5", "no functions, ranges"),
        ("rate(up)", "no functions, ranges"),
        ("up or down", "no functions, ranges"),
        ('up{a="x"} # c', "no functions, ranges"),
        ('up{a="x" or b="y"}', 'expected "," or "}"'),
        ('up{namespace="acme"}', "names the tenant"),
        ('up{namespace=~".*"}', "names the tenant"),
        ('up{__name__="down"}', "matches on __name__"),
        ('up{a="x}', "closing quote is missing"),
        ("up{a=`x`}", "double quotes"),
        ("up{a=x}", "double quotes"),
        ('up{a=="x"}', "double quotes"),
        ('up{a<"x"}', "expected one of"),
        ('up{a="\\x41"}', "after a backslash"),
        ('up{a="x\ny"}', "line break"),
        ('up{a="\x00"}', "control characters"),
        ('up{a="x"}} or vector(1)', "no functions, ranges"),
        ("up{" + ",".join(f'a{n}="x"' for n in range(17)) + "}", "at most 16"),
        ("u" * 1025, "at most 1024"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_mend(text: str, words: str) -> None:
    """Never repaired."""
    with pytest.raises(SelectorError, match=words.replace("(", r"\(").replace("+", r"\+")):
        parse_selector(text, reserved="namespace")
