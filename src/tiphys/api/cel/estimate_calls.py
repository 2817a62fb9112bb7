"""Static costs of calls, by function: cost, and the size of the result where the function says something about it.

Source: upstream's `apiserver/pkg/cel/library/cost.go`, cel-go's `checker/cost.go`, `ext/lists.go` and `ext/sets.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tiphys.api.cel.ast import Call, Literal, Node
from tiphys.api.cel.estimate import MOST, UNKNOWN, Entry, Range, fixed

if TYPE_CHECKING:
    from tiphys.api.cel.estimate import Coster

_Estimate = tuple[Range, Range | None]
_Rule = Callable[["Coster", Call], _Estimate | None]

_ONE = fixed(1)


def call_cost(coster: Coster, node: Call, overload: str, costs: list[Range]) -> _Estimate:
    """The cost of the call with its arguments, but without its receiver."""
    rule = _BY_OVERLOAD.get(overload) or _BY_NAME.get(node.function)
    found = rule(coster, node) if rule is not None else None
    if found is not None:
        return found[0].plus(_sum(costs)), found[1]
    standard = _STANDARD.get(overload)
    if standard is None:
        return _ONE.plus(_sum(costs)), None
    return standard(coster, node, costs)


def _sum(costs: list[Range]) -> Range:
    total = fixed(0)
    for cost in costs:
        total = total.plus(cost)
    return total


def _nominal(units: int) -> _Rule:
    return lambda coster, node: (fixed(units), None)


def _subject(node: Call) -> Node | None:
    """What the function is about: the receiver, or the first argument."""
    return node.target if node.target is not None else node.args[0] if node.args else None


def _traversal(factor: float, *, sized: bool = False) -> _Rule:
    def rule(coster: Coster, node: Call) -> _Estimate | None:
        subject = _subject(node)
        if subject is None:
            return None
        size = coster.size(subject)
        return size.scaled(factor), size if sized else None

    return rule


def _elements(coster: Coster, node: Call) -> _Estimate | None:
    """Functions that look at each element of a list, or at each character of a string."""
    if node.target is None:
        return None
    params = node.target.type.params
    size = coster.size(node.target)
    if not params:
        return size.scaled(0.1), None
    each = _ONE
    if params[0].kind in ("string", "bytes"):
        each = each.plus(coster.element_size(node.target).scaled(0.1))
    return size.times(each), None


def _replace(coster: Coster, node: Call) -> _Estimate | None:
    if node.target is None or len(node.args) < 2:
        return None
    size, old, new = coster.size(node.target), coster.size(node.args[0]), coster.size(node.args[1])
    most_count, most_kept = -(-size.most // old.least) if old.least else min(size.most + 1, MOST), 0
    if old.least == 0:
        most_kept = size.most
    elif new.most <= old.least:
        most_count, most_kept = 0, size.most
    least_count, least_kept = -(-size.least // old.most) if old.most else min(size.least + 1, MOST), 0
    if old.most == 0:
        least_kept = size.least
    elif old.most <= new.least:
        least_count, least_kept = 0, size.least
    result = Range(least_count, most_count).times(new).plus(Range(least_kept, most_kept))
    return size.scaled(0.2), result


def _split(coster: Coster, node: Call) -> _Estimate | None:
    if node.target is None:
        return None
    size = coster.size(node.target)
    most = _whole(node.args[1], size.most) if len(node.args) > 1 else size.most
    return size.scaled(0.2), Range(0, most)


def _join(coster: Coster, node: Call) -> _Estimate | None:
    if node.target is None:
        return None
    count = coster.size(node.target)
    size = fixed(0)
    if node.target.type.params:
        size = count.times(coster.element_size(node.target))
    if node.args:
        gaps = Range(max(count.least - 1, 0), max(count.most - 1, 0))
        size = size.plus(coster.size(node.args[0]).times(gaps))
    return size.scaled(0.1), size


def _find(coster: Coster, node: Call) -> _Estimate | None:
    if node.target is None or not node.args:
        return None
    size = coster.size(node.target)
    cost = size.plus(_ONE).scaled(0.1).times(coster.size(node.args[0]).scaled(0.25))
    return cost, Range(0, size.most)


def _ip(coster: Coster, node: Call) -> _Estimate | None:
    return (_ONE, None) if node.target is not None else _traversal(0.1)(coster, node)


def _contains(text: str, extra: bool) -> _Rule:
    def rule(coster: Coster, node: Call) -> _Estimate | None:
        address = Range(4, 16)
        cost = address.plus(address).scaled(0.1)
        if extra:
            cost = cost.plus(address.scaled(0.1)).plus(_ONE)
        if node.overloads and any(each.id == text for each in node.overloads):
            cost = cost.plus(coster.size(node.args[0]).scaled(0.1))
        return cost, None

    return rule


def _validate(coster: Coster, node: Call) -> _Estimate | None:
    return (coster.size(node.args[0]).scaled(0.1).scaled(32), None) if node.args else None


def _selector(coster: Coster, node: Call) -> _Estimate | None:
    if len(node.args) != 1:
        return None
    length = coster.size(node.args[0])
    return fixed(10).plus(length.scaled(0.1)).plus(length.scaled(0.5).scaled(50)), None


def _equals(coster: Coster, node: Call) -> _Estimate | None:
    one, two = node.args
    if one.type != two.type or one.type.kind not in ("opaque", "struct"):
        return None
    name = one.type.name
    if name in _CHEAP:
        return _ONE, None
    if name == "kubernetes.NamedFormat":
        return Range(1, 64).scaled(0.1), None
    if name == "kubernetes.URL":
        return Range(1, coster.size(two).most).scaled(0.1), None
    return None


_CHEAP = frozenset({
    "net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver", "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.PathCheck", "kubernetes.authorization.GroupCheck",
    "kubernetes.authorization.ResourceCheck", "kubernetes.authorization.Decision",
})  # fmt: skip


def _whole(node: Node, default: int) -> int:
    if isinstance(node, Literal) and type(node.value) is int:
        return max(0, node.value)
    return default


def _made(factor: float, size: Range) -> _Estimate:
    """A call that makes a list of so many elements."""
    return size.scaled(factor).plus(fixed(11)), size


def _slice(coster: Coster, node: Call) -> _Estimate | None:
    assert node.target is not None
    end = _whole(node.args[1], coster.size(node.target).most)
    return _made(1, fixed((end - _whole(node.args[0], 0)) % 2**64))


def _reverse(coster: Coster, node: Call) -> _Estimate | None:
    assert node.target is not None
    return _made(1, coster.size(node.target))


def _flatten(coster: Coster, node: Call) -> _Estimate | None:
    assert node.target is not None
    depth = _whole(node.args[0], MOST) if node.args else 1
    return _made(float(depth), coster.size(node.target))


def _sorted(factor: float) -> _Rule:
    def rule(coster: Coster, node: Call) -> _Estimate | None:
        subject = node.args[0] if node.args else node.target
        assert subject is not None
        size = coster.size(subject)
        return _made(factor, size.times(size))

    return rule


def _sets(factor: float) -> _Rule:
    def rule(coster: Coster, node: Call) -> _Estimate | None:
        if len(node.args) != 2:
            return None
        return coster.size(node.args[0]).times(coster.size(node.args[1])).scaled(factor).plus(_ONE), None

    return rule


_BY_OVERLOAD: dict[str, _Rule] = {
    "list_slice": _slice, "list_reverse": _reverse, "list_flatten": _flatten, "list_flatten_int": _flatten,
    "lists_range": lambda coster, node: _made(1, fixed(_whole(node.args[0], MOST))), "list_distinct": _sorted(2.0),
    "list_sets_contains_list": _sets(1), "list_sets_intersects_list": _sets(1), "list_sets_equivalent_list": _sets(2),
}  # fmt: skip
for _kind in ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"):
    _factor = 2.1 if _kind in ("string", "bytes") else 2.0
    _BY_OVERLOAD[f"list_{_kind}_sort"] = _BY_OVERLOAD[f"list_{_kind}_sortByAssociatedKeys"] = _sorted(_factor)

_BY_NAME: dict[str, _Rule] = {
    "check": _nominal(350_000), "fieldSelector": _selector, "labelSelector": _selector,
    "replace": _replace, "split": _split, "join": _join, "find": _find, "findAll": _find,
    "ip": _ip, "ip.isCanonical": _traversal(0.2), "containsIP": _contains("cidr_contains_ip_string", False),
    "containsCIDR": _contains("cidr_contains_cidr_string", True), "validate": _validate, "_==_": _equals,
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _elements),
    **dict.fromkeys(("url", "jsonpatch.escapeKey", "lowerAscii", "upperAscii", "substring", "trim"),
                    _traversal(0.1, sized=True)),
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"), _traversal(0.1)),
}  # fmt: skip


def _text_to_bytes(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    size = coster.size(node.args[0])
    return size.scaled(0.1).plus(_sum(costs)), Range(size.least, min(size.most * 4, MOST))


def _bytes_to_text(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    size = coster.size(node.args[0])
    return size.scaled(0.1).plus(_sum(costs)), Range(size.least // 4, size.most)


def _quote(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    size = coster.size(node.args[0])
    return size.scaled(0.1).plus(_sum(costs)), size.times(Range(1, 2)).plus(fixed(2))


def _format(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    size = coster.size(node.target) if node.target is not None else UNKNOWN
    return size.scaled(0.1).plus(_sum(costs)), None


def _affix(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    return coster.size(node.args[0]).scaled(0.1).plus(_sum(costs)), None


def _in_list(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    return coster.size(node.args[1]).plus(_sum(costs)), None


def _matches(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    if node.target is None:
        return _ONE.plus(_sum(costs)), None
    text = coster.size(node.target).plus(_ONE).scaled(0.1)
    return text.times(coster.size(node.args[0]).scaled(0.25)).plus(_sum(costs)), None


def _substring(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    assert node.target is not None
    cost = coster.size(node.target).scaled(0.1).times(coster.size(node.args[0]).scaled(0.1))
    return cost.plus(_sum(costs)), None


def _logical(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    return Range(costs[0].least, _sum(costs).most), None


def _conditional(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    size = coster.size(node.args[1]).union(coster.size(node.args[2]))
    coster.set_entry(node, _joined(coster.entry(node.args[1]), coster.entry(node.args[2])))
    return costs[0].plus(costs[1].union(costs[2])), size


def _concatenation(factor: float) -> Callable[[Coster, Call, list[Range]], _Estimate]:
    def rule(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
        size = coster.size(node.args[0]).plus(coster.size(node.args[1]))
        coster.set_entry(node, _joined(coster.entry(node.args[0]), coster.entry(node.args[1])))
        cost = size.scaled(factor) if factor else _ONE
        return cost.plus(_sum(costs)), size

    return rule


def _joined(one: Entry | None, two: Entry | None) -> Entry | None:
    if one is None or two is None:
        return None
    return Entry(one.kind, one.key.union(two.key), one.value.union(two.value))


def _comparison(coster: Coster, node: Call, costs: list[Range]) -> _Estimate:
    most = min(coster.size(node.args[0]).most, coster.size(node.args[1]).most)
    return Range(1 if most else 0, most).scaled(0.1).plus(_sum(costs)), None


_STANDARD: dict[str, Callable[[Coster, Call, list[Range]], _Estimate]] = {
    "string_format": _format, "string_to_bytes": _text_to_bytes, "bytes_to_string": _bytes_to_text,
    "strings_quote": _quote, "starts_with_string": _affix, "ends_with_string": _affix, "in_list": _in_list,
    "matches_string": _matches, "contains_string": _substring, "logical_or": _logical, "logical_and": _logical,
    "conditional": _conditional, "add_list": _concatenation(0), "add_string": _concatenation(0.1),
    "add_bytes": _concatenation(0.1), "equals": _comparison, "not_equals": _comparison,
}  # fmt: skip
for _name in ("less", "greater", "less_equals", "greater_equals"):
    _STANDARD[f"{_name}_string"] = _STANDARD[f"{_name}_bytes"] = _comparison
