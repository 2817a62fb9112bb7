"""What a verb is, and what it is given when it runs.

A verb's module has `COMMANDS`, from the words that name the verb to a `Command`; `verbs/table.py` says which module
has which, so that only the one that is asked for is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TextIO

from tiphys.cli.config import Connection, load
from tiphys.cli.discovery import Discovery
from tiphys.cli.errors import CliError
from tiphys.cli.flags import Options
from tiphys.cli.transport import Http, Transport

Json = dict[str, Any]

GLOBAL_FLAGS = """
kubeconfig str  Path of the kubeconfig file.
context str  Context of the kubeconfig to use.
cluster str  Cluster of the kubeconfig to use.
user str  User of the kubeconfig to use.
namespace,n str  Namespace of the request.
server,s str  Address of the API server.
token str  Bearer token.
as str  Act as this user.
as-group array  Act as a member of this group; may repeat.
as-uid str  Act as the user with this UID.
username str  Name for basic authentication.
password str  Password for basic authentication.
client-certificate str  Path of the client certificate.
client-key str  Path of the client certificate's key.
certificate-authority str  Path of the authority that signed the server's certificate.
tls-server-name str  Name to expect in the server's certificate.
insecure-skip-tls-verify bool  Trust any server.
request-timeout time  How long a request may take; 0 is for ever.
cache-dir str  Where discovery is kept.
match-server-version bool  Require the server to have the client's version.
disable-compression bool  Do not ask for compressed answers.
warnings-as-errors bool  Exit with 1 when the server warned.
v,v int  Print each request's line from 6 on.
"""


class Call:
    """One run of a verb: its options, its words, and the session with the server, opened when first used."""

    def __init__(
        self, opts: Options, args: list[str], dash: int = -1, *, transport: Transport | None = None,
        shadowed: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.opts = opts
        self.args = args
        # How many of `args` came before `--`; -1 without one.
        self.dash = dash
        self.out: TextIO = sys.stdout
        self.err: TextIO = sys.stderr
        self._given = transport
        # Global flags that the verb has for itself, such as --user of `create rolebinding`.
        self._shadowed = shadowed

    @cached_property
    def connection(self) -> Connection:
        options = {name: value for name, value in self.opts.items() if name not in self._shadowed}
        return Connection(load(self.opts.get("kubeconfig", "")), options)

    @cached_property
    def transport(self) -> Transport:
        if self._given is not None:
            return self._given
        return Http(self.connection, timeout=self.opts.get("request-timeout", 0), verbose=self.opts.get("v", 0))

    @cached_property
    def discovery(self) -> Discovery:
        return Discovery(self.transport, self.opts.get("cache-dir", ""))

    @property
    def namespace(self) -> str:
        return self.connection.namespace

    def say(self, text: str) -> None:
        self.out.write(text + "\n")

    def warn(self, text: str) -> None:
        self.out.flush()
        self.err.write(text + "\n")

    @property
    def dry_run(self) -> str:
        """ "none", "client" or "server". Raises CliError for anything else."""
        value: str = self.opts.get("dry-run") or "none"
        if value == "unchanged":
            raise CliError('--dry-run requires a value: "none", "client" or "server"')
        if value == "true":
            return "client"
        if value == "false":
            return "none"
        if value not in ("none", "client", "server"):
            raise CliError(f'Invalid dry-run value ({value}). Must be "none", "server", or "client".')
        return value


class Command(NamedTuple):
    """`usage` is what follows the verb; `flags` and `examples` are lines."""

    run: Callable[[Call], int]
    usage: str
    flags: str = ""
    examples: str = ""


# Groups of flags that many verbs have.
FILES = """
filename,f list  Files, directories or - for standard input.
recursive,R bool  Descend into directories.
kustomize,k str  A kustomization directory (not built in).
"""
SELECT = """
selector,l str  Label query, such as -l app=web,tier!=db.
field-selector str  Field query, such as --field-selector status.phase=Running.
all bool  All objects of the types.
all-namespaces,A bool  In every namespace.
"""
OUTPUT = """
output,o str  Format: json, yaml, name, go-template(-file)=..., jsonpath(-as-json, -file)=...
template str  Template of -o go-template and -o jsonpath.
show-managed-fields bool  Keep metadata.managedFields in what is printed.
allow-missing-template-keys bool=true  A template may name fields that are not there.
"""
DRY_RUN = """
dry-run opt:unchanged=none  "none", "client" (only print) or "server" (the server does all but store).
"""
MANAGER = """
field-manager str  Name of the owner of what is written.
"""
VALIDATE = """
validate opt:strict=strict  How the server takes unknown fields: strict, warn or ignore.
"""
