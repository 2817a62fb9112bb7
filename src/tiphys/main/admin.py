"""One request to a cluster's API server with the administrator's certificate, for commands that need no more."""

from __future__ import annotations

from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import orjson

from tiphys.api.errors import from_status
from tiphys.main.cluster import Cluster, ClusterError
from tiphys.main.pki import Pki

_SECONDS = 10.0


def call(
    cluster: Cluster, method: str, path: str, body: Any = None, *, url: str = "", certificate: str = "admin"
) -> Any:
    """The object that a server answers, or its text. Raises ApiError, and ClusterError where no server answers.

    `url` is one server's, instead of any; `certificate` another one of this machine's than the administrator's.
    """
    url = url or cluster.settings().server_url
    try:
        tls = Pki(cluster.pki).client_tls(certificate)
    except FileNotFoundError as error:
        raise ClusterError(
            f"{error.filename} is not on this machine: run the command where a control plane of {cluster.name!r} is"
        ) from None
    except PermissionError:
        raise ClusterError(f"the certificates of {cluster.name!r} are root's; run the command with sudo") from None
    data = None if body is None else orjson.dumps(body)
    request = Request(  # noqa: S310 - our own https URL
        url + path, data, {"Content-Type": "application/json"}, method=method
    )
    try:
        with urlopen(request, context=tls, timeout=_SECONDS) as answer:  # noqa: S310 - our own https URL
            said = answer.read()
            return orjson.loads(said) if answer.headers.get_content_type() == "application/json" else said.decode()
    except HTTPError as error:
        with error:
            said = error.read()
        try:
            raise from_status(orjson.loads(said), error.code) from None
        except orjson.JSONDecodeError:
            raise ClusterError(f"{url} answered {error.code} to {method} {path}") from None
    except (URLError, OSError) as error:
        raise ClusterError(
            f"the API server at {url} does not answer ({error}); `tiphys up {cluster.name}` starts it"
        ) from None
