"""A small twin of Prometheus for tests: two pages of metrics and an expression in, what Prometheus would answer out.

It knows what the deployment kit's expressions use: rate, increase, sum and max by labels, histogram_quantile, arithmetic, `or`
and `>`. Series are looked at twice only, so a rate is the difference over the time between the pages, without Prometheus's
extrapolation to the window. promql-parser reads the expressions.
"""

import re

import promql_parser

_SAMPLE = re.compile(r"(?P<name>[\w:]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MATCHES = {
    "MatchOp.Equal": lambda value, wanted: value == wanted,
    "MatchOp.NotEqual": lambda value, wanted: value != wanted,
    "MatchOp.Re": lambda value, wanted: re.fullmatch(wanted, value) is not None,
    "MatchOp.NotRe": lambda value, wanted: re.fullmatch(wanted, value) is None,
}
_ARITHMETIC = {
    "+": lambda left, right: left + right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right if right else float("nan"),
}


def read_page(text, **added):
    """Return {(name, labels): value}; labels are a frozenset of pairs, `added` as a scrape adds them, empty ones dropped."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        sample = _SAMPLE.match(line)
        pairs = {**dict(_LABEL.findall(sample["labels"] or "")), **added}
        samples[sample["name"], _labels(pairs)] = float(sample["value"])
    return samples


def ask(expression, before, after, *, seconds):
    """Return {labels: value}, labels as a frozenset of pairs; `before` and `after` are pages, `seconds` lie between them."""
    return _evaluate(promql_parser.parse(expression), before, after, seconds)


def _evaluate(node, before, after, seconds):
    def inner(part):
        return _evaluate(part, before, after, seconds)

    match type(node).__name__:
        case "NumberLiteral":
            return node.val
        case "ParenExpr":
            return inner(node.expr)
        case "VectorSelector":
            return _select(node, after)
        case "AggregateExpr":
            assert str(node.modifier.type) == "AggModifierType.By" if node.modifier else True
            return _aggregate(str(node.op), node.modifier.labels if node.modifier else [], inner(node.expr))
        case "Call":
            return _call(node, before, after, seconds, inner)
        case "BinaryExpr":
            return _combine(str(node.op), inner(node.lhs), inner(node.rhs))
    raise AssertionError(f"the twin does not know {type(node).__name__}")


def _select(selector, page):
    def fits(labels):
        values = dict(labels)
        return all(_MATCHES[str(m.op)](values.get(m.name, ""), m.value) for m in selector.matchers.matchers)

    return {labels: value for (name, labels), value in page.items() if name == selector.name and fits(labels)}


def _call(node, before, after, seconds, inner):
    name = node.func.name
    if name == "vector":
        return {frozenset(): inner(node.args[0])}
    if name == "histogram_quantile":
        return _quantile(inner(node.args[0]), inner(node.args[1]))
    old, new = (_select(node.args[0].vector_selector, page) for page in (before, after))
    over = {"rate": seconds, "increase": 1}[name]
    return {labels: (new[labels] - value) / over for labels, value in old.items() if labels in new}


def _aggregate(operation, by, vector):
    groups = {}
    for labels, value in vector.items():
        groups.setdefault(_labels({name: value for name, value in labels if name in by}), []).append(value)
    return {labels: {"sum": sum, "max": max}[operation](values) for labels, values in groups.items()}


def _combine(operation, left, right):
    if operation == "or":
        return {**right, **left}
    if operation == ">":
        return {labels: value for labels, value in left.items() if value > right}
    apply = _ARITHMETIC[operation]
    if isinstance(left, float):
        return {labels: apply(left, value) for labels, value in right.items()}
    if isinstance(right, float):
        return {labels: apply(value, right) for labels, value in left.items()}
    return {labels: apply(value, right[labels]) for labels, value in left.items() if labels in right}


def _quantile(share, buckets):
    """Interpolate within the bucket that holds the rank, per group of labels other than `le`, as Prometheus does."""
    groups = {}
    for labels, count in buckets.items():
        pairs = dict(labels)
        groups.setdefault(_labels({k: v for k, v in pairs.items() if k != "le"}), []).append(
            (float(pairs["le"]), count)
        )
    return {labels: _of_histogram(share, sorted(bounds)) for labels, bounds in groups.items()}


def _of_histogram(share, bounds):
    rank = share * bounds[-1][1]
    place = next(k for k, (_, count) in enumerate(bounds) if count >= rank)
    if place == len(bounds) - 1:
        return bounds[-2][0]
    start, below = bounds[place - 1] if place else (0.0, 0.0)
    end, count = bounds[place]
    return start + (end - start) * (rank - below) / (count - below) if count > below else float("nan")


def _labels(pairs):
    return frozenset((name, value) for name, value in pairs.items() if value)
