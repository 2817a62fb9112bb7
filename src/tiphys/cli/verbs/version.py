"""`version`: of this command line and of the server."""

from __future__ import annotations

from typing import Any

import orjson

from tiphys import KUBERNETES_VERSION, __version__
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError

FLAGS = """
client bool  Of the client only.
output,o str  Format: json or yaml.
"""


def run(call: Call) -> int:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    client = {"major": major, "minor": minor, "gitVersion": f"{KUBERNETES_VERSION}+tiphys-{__version__}"}
    found: dict[str, Any] = {"clientVersion": client, "kustomizeVersion": "not built in"}
    if not call.opts["client"]:
        found["serverVersion"] = orjson.loads(call.transport.call("GET", "/version"))
    output = call.opts["output"]
    if output == "json":
        call.say(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    elif output == "yaml":
        from tiphys.cli.yamls import dump

        call.out.write(dump(found))
    elif output:
        raise CliError("--output must be 'yaml' or 'json'")
    else:
        call.say(f"Client Version: {client['gitVersion']}")
        if "serverVersion" in found:
            call.say(f"Server Version: {found['serverVersion']['gitVersion']}")
    return 0


COMMANDS = {"version": Command(run, "", FLAGS, "kubectl version --client")}
