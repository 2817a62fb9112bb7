"""`tiphys certificates`: when each certificate of this machine expires; `rotate-ca`: another CA takes over in steps."""

from __future__ import annotations

import argparse
import sys
import time
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from tiphys.api.errors import ApiError, NotFound
from tiphys.api.time import rfc3339
from tiphys.main import admin, rotation
from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError
from tiphys.main.leaf import is_authority, leaf_of, pin_of, renewal_time
from tiphys.main.pki import Pki
from tiphys.main.rotation import FINISH, SWITCH, TRUST, State
from tiphys.main.rotation_check import shows_not, trusts_not

_SECRETS = f"/api/v1/namespaces/{rotation.NAMESPACE}/secrets"
# How long servers and agents have to take a step, seconds.
_PATIENCE = 60.0


def certificates(arguments: Sequence[str]) -> int:
    try:
        if arguments and arguments[0] == "rotate-ca":
            _rotate(_rotate_parser().parse_args(arguments[1:]))
        else:
            _list(_list_parser().parse_args(arguments))
    except (ClusterError, ApiError) as error:
        print(f"tiphys certificates: {error}", file=sys.stderr)
        return 1
    return 0


def _list_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tiphys certificates",
        description="When each certificate of a cluster on this machine expires. They renew themselves; `tiphys "
        "certificates rotate-ca` replaces the CA.",
    )
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    parser.add_argument("-o", "--output", choices=("json",), help="for scripts")
    return parser


def listed(directory: Path, now: float) -> list[dict[str, Any]]:
    """The certificates under a directory, the first to expire first."""
    rows = []
    for name, certificate in Pki(directory).certificates():
        authority = is_authority(certificate)
        expires = certificate.not_valid_after_utc.timestamp()
        rows.append({
            "name": name, "authority": authority, "subject": leaf_of(certificate).common_name,
            "expires": rfc3339(expires), "daysLeft": int((expires - now) // 86400),
            "renewed": None if authority else rfc3339(renewal_time(certificate)),
        })  # fmt: skip
    return sorted(rows, key=lambda row: (row["expires"], row["name"]))


def _list(options: argparse.Namespace) -> None:
    cluster = Cluster(options.name)
    cluster.settings()
    try:
        rows = listed(cluster.pki, time.time())
    except PermissionError:
        raise ClusterError(f"the certificates of {options.name!r} are root's; run the command with sudo") from None
    if options.output == "json":
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    print(f"{'NAME':<24} {'EXPIRES':<21} {'DAYS':>5}  {'RENEWED FROM':<21} SUBJECT")
    for row in rows:
        renewed = row["renewed"] or "rotate-ca"
        print(f"{row['name']:<24} {row['expires']:<21} {row['daysLeft']:>5}  {renewed:<21} {row['subject']}")


def _rotate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tiphys certificates rotate-ca",
        description="Replace the cluster's CA in three steps, each of which may be repeated: make a new one that is "
        "trusted beside the old (no option), let it sign (--switch), forget the old one (--finish).",
    )
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    step = parser.add_mutually_exclusive_group()
    step.add_argument("--switch", action="store_true", help="make every certificate anew, by the new CA")
    step.add_argument("--finish", action="store_true", help="trust the new CA only")
    parser.add_argument("--force", action="store_true", help="though some node does not follow; it must join again")
    return parser


def _rotate(options: argparse.Namespace) -> None:
    cluster = Cluster(options.name)
    state = _state(cluster)
    if options.switch:
        state = _step(cluster, state, (TRUST, SWITCH), SWITCH, force=options.force)
    elif options.finish:
        state = _step(cluster, state, (SWITCH, FINISH), FINISH, force=options.force)
    elif state is None or state.phase == FINISH:
        state = rotation.begin(Pki(cluster.pki), cluster.name, time.time())
        _put(cluster, state)
    _await(cluster, state, force=options.force)
    print(_told(cluster.name, state))


def _step(cluster: Cluster, state: State | None, at: tuple[str, ...], to: str, *, force: bool) -> State:
    """The state after a step, which must not be taken before everybody has followed the one before."""
    if state is None or state.phase not in at:
        here = "has not begun" if state is None else f"is at {state.phase!r}"
        raise ClusterError(f"the rotation of the CA of {cluster.name!r} {here}: {to!r} is not the next step")
    if state.phase == to:
        return state
    _await(cluster, state, force=force)
    sealed = b"" if to == FINISH else state.sealed
    following = State(to, state.certificate, sealed)
    _put(cluster, following)
    return following


def _await(cluster: Cluster, state: State, *, force: bool) -> None:
    """Wait until every server and node has followed. Raises ClusterError that names those that have not."""
    check = trusts_not if state.phase == TRUST else shows_not
    deadline = time.monotonic() + (0 if force else _PATIENCE)
    while True:
        behind = check(cluster, state)
        if not behind or force:
            return
        if time.monotonic() > deadline:
            what = "trust the new CA" if state.phase == TRUST else "show a certificate of the new CA"
            raise ClusterError(
                f"these do not {what} after {_PATIENCE:.0f} s: {', '.join(behind)}; start them and repeat the command, "
                "or leave them behind with --force: they must then join again"
            )
        # Nobody tells when another machine has taken up a file; it is asked, at leisure.
        time.sleep(1.0)


def _told(name: str, state: State) -> str:
    pin = pin_of(state.certificate)
    again = "" if name == DEFAULT_NAME else f" {name}"
    if state.phase == TRUST:
        return (
            f"The new CA {pin[:16]}... is trusted beside the old one. Now make clients trust it too: restart the pods "
            "that talk to the API, which read their CA when they start, and give people their kubeconfigs anew. Then "
            f"`tiphys certificates rotate-ca{again} --switch`."
        )
    if state.phase == SWITCH:
        return (
            f"The new CA {pin[:16]}... has signed every certificate. Give people their kubeconfigs anew, with "
            f"certificates of it. Then `tiphys certificates rotate-ca{again} --finish`: from then on, what the old CA "
            "signed is worth nothing."
        )
    return f"The old CA is forgotten; {pin[:16]}... is the only one. Join tokens made before do not work any more."


def _state(cluster: Cluster) -> State | None:
    from tiphys.kinds.core.secret import Secret

    try:
        found = admin.call(cluster, "GET", f"{_SECRETS}/{rotation.NAME}")
    except NotFound:
        return None
    data = {key: b64decode(value) for key, value in (found.get("data") or {}).items()}
    state = rotation.state_of(Secret(data=data))
    if state is None:
        raise ClusterError(
            f"Secret {rotation.NAMESPACE}/{rotation.NAME} is of another version; use that one's `tiphys`"
        )
    return state


def _put(cluster: Cluster, state: State) -> None:
    try:
        admin.call(cluster, "PUT", f"{_SECRETS}/{rotation.NAME}", state.secret())
    except NotFound:
        admin.call(cluster, "POST", _SECRETS, state.secret())
