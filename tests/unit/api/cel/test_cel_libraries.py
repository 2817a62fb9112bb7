"""The functions that Kubernetes adds."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.cel.errors import EvalError

TRUE = [
    "'hello'.charAt(1) == 'e' && 'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b'",
    "'abcabc'.indexOf('c', 3) == 5 && 'abcabc'.lastIndexOf('a') == 3 && 'abc'.substring(1, 2) == 'b'",
    "'aXbX'.replace('X', '-', 1) == 'a-bX' && ' a '.trim() == 'a' && 'ÀbC'.lowerAscii() == 'Àbc'",
    "'%s is %d, %.2f, %x'.format(['a', 1, 1.5, 255]) == 'a is 1, 1.50, ff'",
    "strings.quote('a\"b') == '\"a\\\\\"b\"'",
    "'abc 123'.find('[0-9]+') == '123' && 'a1b2'.findAll('[0-9]', 1) == ['1']",
    "[3, 1, 2].max() == 3 && [3, 1, 2].min() == 1 && [1, 2].sum() == 3 && [1, 2].isSorted() && [].sum() == 0",
    "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2",
    "[3, 1].sort() == [1, 3] && ['bb', 'a'].sortBy(x, x.size()) == ['a', 'bb'] && [1, 1].distinct() == [1]",
    "[[1], [2]].flatten() == [1, 2] && [1, 2, 3].slice(1, 2) == [2] && [1, 2].reverse() == [2, 1]",
    "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])",
    "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1500m').compareTo(quantity('1.5')) == 0",
    "quantity('1k').asInteger() == 1000 && !quantity('0.5').isInteger() && sign(quantity('-1')) == -1",
    "quantity('1').add(2) == quantity('3') && isQuantity('5Mi') && !isQuantity('5MB')",
    "ip('::1').isLoopback() && ip('10.0.0.1').family() == 4 && ip.isCanonical('::1') && !isIP('10.0.0')",
    "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
    "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && string(cidr('10.1.2.3/8').ip()) == '10.1.2.3'",
    "url('https://u@example.com:80/a%20b?x=1&x=2').getQuery() == {'x': ['1', '2']}",
    "url('https://[::1]:80/').getHostname() == '::1' && url('https://a:80').getPort() == '80' && !isURL('a b')",
    "format.dns1123Label().validate('Not') != optional.none() && !format.dns1123Label().validate('a').hasValue()",
    "format.named('uuid').hasValue() && !format.named('nope').hasValue()",
    "semver('1.10.0').isGreaterThan(semver('1.9.0')) && semver('v1.2', true).minor() == 2 && !isSemver('1.2')",
    "semver('1.0.0-alpha').isLessThan(semver('1.0.0')) && semver('1.0.0-2').isLessThan(semver('1.0.0-10'))",
]


@pytest.mark.parametrize("source", TRUE)
def test_holds(evaluate: Any, source: str) -> None:
    assert evaluate(source) is True


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("quantity('5MB')", "quantities must match the regular expression"),
        ("ip('x')", "parse error"),
        ("ip('::ffff:1.2.3.4')", "is not allowed"),
        ("url(':x')", "URL parse error"),
        ("'abc'.substring(2, 1)", "invalid substring range. start: 2, end: 1"),
        ("'abc'.charAt(4)", "index out of range: 4"),
        ("self.max()", "max called on empty list"),
        ("'%d'.format(['a'])", "decimal clause can only be used on integers"),
    ],
)
def test_has_no_value(evaluate: Any, source: str, why: str) -> None:
    with pytest.raises(EvalError, match=why):
        evaluate(source, [])
