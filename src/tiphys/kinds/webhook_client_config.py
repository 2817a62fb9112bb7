"""What a webhook's clientConfig may say, for admission and for the conversion of custom resources.

Source: upstream's `apiserver/pkg/util/webhook/validation.go`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from tiphys.api import names
from tiphys.api.errors import invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows

REVIEW_VERSIONS = ("v1", "v1beta1")
_FORM = "; desired format: https://host[/path]"


def check_client_config(config: Json, path: str) -> Errors:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield required(path, "exactly one of url or service is required")
    elif url is not None:
        yield from _check_url(url, f"{path}.url")
    else:
        yield from _check_service(service or {}, f"{path}.service")


def _check_url(url: str, path: str) -> Errors:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        yield required(path, f"url must be a valid URL: {error}{_FORM}")
        return
    if parts.scheme != "https":
        yield invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}")
    if not parts.hostname:
        yield invalid(path, parts.netloc, f"host must be specified{_FORM}")
    if parts.username is not None:
        yield invalid(path, parts.username, "user information is not permitted in the URL")
    if parts.fragment:
        yield invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield invalid(path, parts.query, "query parameters are not permitted in the URL")


def _check_service(service: Json, path: str) -> Errors:
    for field in ("name", "namespace"):
        if not service.get(field):
            yield required(f"{path}.{field}", f"service {field} is required")
    port = service.get("port")
    if port is not None:
        for problem in names.port_number(port):
            yield invalid(f"{path}.port", port, f"port is not valid: {problem}")
    where = service.get("path")
    if where is not None:
        yield from _check_path(where, f"{path}.path")


def _check_path(url_path: str, path: str) -> Errors:
    if url_path in ("", "/"):
        return
    if not url_path.startswith("/"):
        yield invalid(path, url_path, "must start with a '/'")
        return
    steps = url_path[1:].removesuffix("/").split("/")
    for index, step in enumerate(steps):
        if not step:
            yield invalid(path, url_path, f"segment[{index}] may not be empty")
            continue
        for problem in names.dns1123_subdomain(step):
            yield invalid(path, url_path, f"segment[{index}]: {problem}")


def check_review_versions(versions: list[str] | None, path: str) -> Errors:
    """Each a label, none twice, and one of them known."""
    known = ", ".join(REVIEW_VERSIONS)
    if not versions:
        yield required(path, f"must specify one of {known}")
        return
    for index, version in enumerate(versions):
        yield from follows(version, f"{path}[{index}]", names.dns1035_label)
        if version in versions[:index]:
            yield invalid(f"{path}[{index}]", version, "duplicate version")
    if not set(versions) & set(REVIEW_VERSIONS):
        yield invalid(path, versions, f"must include at least one of {known}")
