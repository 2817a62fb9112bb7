"""`tiphys token`: invitations for machines, as one string each that also tells them which cluster to trust.

What is printed is `ID.SECRET:PIN`: a bootstrap token of Kubernetes and, in hex, the SHA-256 of the CA's public key.
Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
"""

from __future__ import annotations

import argparse
import re
import secrets
import string
import sys
import time as system_time
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tiphys.api import bootstrap_tokens
from tiphys.api.bootstrap_tokens import CONTROL_PLANE, NAME_PREFIX, NAMESPACE, TYPE, BootstrapToken
from tiphys.api.errors import ApiError, NotFound
from tiphys.api.time import age, rfc3339
from tiphys.main import admin
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError, Settings
from tiphys.main.pki import Pki, pin_of

_ALPHABET = string.ascii_lowercase + string.digits
_PLACE = f"/api/v1/namespaces/{NAMESPACE}/secrets"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TTL = re.compile(r"([0-9]+)([smhd])")
_PIN = re.compile(r"[0-9a-f]{64}")
DEFAULT_TTL = "24h"


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`pin` is the SHA-256 of the CA's public key, in hex."""

    id: str
    secret: str = field(repr=False)
    pin: str

    @property
    def bearer(self) -> str:
        return f"{self.id}.{self.secret}"

    def __str__(self) -> str:
        return f"{self.bearer}:{self.pin}"


def parse(text: str) -> JoinToken:
    """Raises ClusterError for what is not as `tiphys token create` prints it."""
    bearer, _, pin = text.strip().partition(":")
    both = bootstrap_tokens.split(bearer)
    if both is None or not _PIN.fullmatch(pin):
        raise ClusterError(
            "this is no join token: one is 6 characters, a dot, 16 characters, a colon and 64 hexadecimal digits; copy "
            "it whole from what `tiphys token create` printed"
        )
    return JoinToken(*both, pin)


def token(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
    except (ClusterError, ApiError) as error:
        print(f"tiphys token: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tiphys token", description="Invite machines into a cluster.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    create = verbs.add_parser("create", help="make a token and print the command that joins with it")
    create.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    create.add_argument("--ttl", type=_ttl, default=DEFAULT_TTL, help="its life, as 30m or 7d (default: %(default)s)")
    create.add_argument("--control-plane", action="store_true", help="for a machine that becomes a control plane")
    shown = create.add_mutually_exclusive_group()
    shown.add_argument("--print-join-command", action="store_true", help="print nothing but the command")
    shown.add_argument("-o", "--output", choices=("json",), help="for scripts")
    create.set_defaults(run=_create)
    list_ = verbs.add_parser("list", help="the tokens that there are")
    list_.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    list_.add_argument("-o", "--output", choices=("json",), help="for scripts")
    list_.set_defaults(run=_list)
    delete = verbs.add_parser("delete", help="take a token back; who has joined with it stays")
    delete.add_argument("id", help="its first six characters")
    delete.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    delete.set_defaults(run=_delete)
    return parser


def _ttl(text: str) -> float:
    """Seconds."""
    match = _TTL.fullmatch(text)
    if match is None or not 60 <= int(match[1]) * _UNITS[match[2]] <= 365 * 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no time from 1m to 365d: write a number and s, m, h or d")
    return float(int(match[1]) * _UNITS[match[2]])


def create(cluster: Cluster, seconds: float, *, control_plane: bool = False) -> JoinToken:
    """Make a token that lasts for so many seconds. Raises ApiError and ClusterError."""
    made = JoinToken(_random(6), _random(16), pin_of(Pki(cluster.pki).ca.read_bytes()))
    data = {
        "token-id": made.id, "token-secret": made.secret, "expiration": rfc3339(system_time.time() + seconds),
        "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
        "description": "joins a control plane" if control_plane else "joins a node",
    }  # fmt: skip
    if control_plane:
        data["auth-extra-groups"] = CONTROL_PLANE
    meta = {"name": NAME_PREFIX + made.id, "namespace": NAMESPACE}
    admin.call(cluster, "POST", _PLACE, {"metadata": meta, "type": TYPE, "stringData": data})
    return made


def join_command(settings: Settings, made: JoinToken, *, control_plane: bool = False) -> str:
    url = public_url(settings)
    role = f"server --join {url}" if control_plane else f"agent --server {url}"
    return f"tiphys {role} --token {made}"


def public_url(settings: Settings) -> str:
    """The URL at which other machines reach this one's API server."""
    return f"https://{settings.address}:{settings.api_port}"


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _create(options: argparse.Namespace) -> None:
    cluster = Cluster(options.name)
    settings = cluster.settings()
    made = create(cluster, options.ttl, control_plane=options.control_plane)
    command = join_command(settings, made, control_plane=options.control_plane)
    if options.output == "json":
        found = {
            "token": str(made), "id": made.id, "controlPlane": options.control_plane, "server": public_url(settings),
            "command": command, "expires": rfc3339(system_time.time() + options.ttl),
        }  # fmt: skip
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    elif options.print_join_command:
        print(command)
    else:
        role = "a control plane" if options.control_plane else "a node"
        print(f"On the machine that is to be {role} of {options.name!r}, within {age(options.ttl)}, as root:\n")
        print(f"  {command}\n")
        if options.control_plane:
            print("Keep it secret: with it anybody can read the keys of the cluster's CAs.")


def _list(options: argparse.Namespace) -> None:
    rows = tokens(Cluster(options.name))
    now = system_time.time()
    if options.output == "json":
        print(orjson.dumps([_row(row) for row in rows], option=orjson.OPT_INDENT_2).decode())
        return
    print(f"{'ID':<8} {'EXPIRES IN':<12} {'USAGES':<24} DESCRIPTION")
    for row in rows:
        left = "never" if row.expires is None else age(max(row.expires - now, 0))
        print(f"{row.id:<8} {left:<12} {','.join(sorted(row.usages)):<24} {row.description}")


def tokens(cluster: Cluster) -> list[BootstrapToken]:
    """Those that there are, the first to expire first. Raises ApiError and ClusterError."""
    listed = admin.call(cluster, "GET", f"{_PLACE}?fieldSelector=type%3D{TYPE.replace('/', '%2F')}")
    found = []
    for secret in listed["items"]:
        data = {key: b64decode(value) for key, value in (secret.get("data") or {}).items()}
        read = bootstrap_tokens.of_secret(secret["metadata"]["name"], data)
        if read is not None:
            found.append(read)
    return sorted(found, key=lambda read: read.expires or float("inf"))


def _row(row: BootstrapToken) -> dict[str, Any]:
    return {
        "id": row.id, "expires": None if row.expires is None else rfc3339(row.expires), "usages": sorted(row.usages),
        "groups": list(row.groups), "description": row.description,
    }  # fmt: skip


def _delete(options: argparse.Namespace) -> None:
    # Whoever pastes the whole token means its ID.
    identity = options.id.partition(".")[0]
    try:
        admin.call(Cluster(options.name), "DELETE", f"{_PLACE}/{NAME_PREFIX}{identity}")
    except NotFound:
        raise ClusterError(f"there is no token {identity!r}; `tiphys token list {options.name}` shows those") from None
    print(f"token {identity} deleted")
