"""Names of signers, `example.com/path`, and of the trust bundles that belong to one.

Source: upstream's `ValidateSignerName` and `ValidateClusterTrustBundleName`.
"""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import invalid, required, too_long
from tiphys.kinds.checks import Errors

_MAX_DOMAIN = 253
_MAX = 2 * _MAX_DOMAIN + 63 + 2


def check_signer_name(name: str, path: str) -> Errors:
    if not name:
        yield required(path)
        return
    domain, _, tail = name.partition("/")
    if name.count("/") != 1:
        rule = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield invalid(path, name, rule)
        return
    if len(domain) > _MAX_DOMAIN:
        yield too_long(path, _MAX_DOMAIN)
    labels = domain.split(".")
    for label in labels:
        problems = names.dns1123_label(label)
        for problem in problems:
            yield invalid(path, domain, f'validating label "{label}": {problem}')
        if problems:
            break
    if len(labels) < 2:
        yield invalid(path, domain, "should be a domain with at least two segments separated by dots")
    for label in tail.split("."):
        problems = names.dns1123_subdomain(label)
        for problem in problems:
            yield invalid(path, tail, f'validating label "{label}": {problem}')
        if problems:
            break
    if len(name) > _MAX:
        yield too_long(path, _MAX)


def bundle_name_problems(name: str, signer: str | None = None) -> list[str]:
    """What is wrong with a ClusterTrustBundle's name; without `signer` the one that the name says."""
    if signer is None:
        signer = name.rpartition(":")[0].replace(":", "/")
    if not signer:
        if ":" in name:
            return ['ClusterTrustBundle without signer name must not have ":" in its name']
        return names.dns1123_subdomain(name)
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        return [f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"]
    return names.dns1123_subdomain(name.removeprefix(prefix))
