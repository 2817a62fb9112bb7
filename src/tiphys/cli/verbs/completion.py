"""`completion bash|zsh`: verbs, and names of types and objects, by asking this very program."""

from __future__ import annotations

from tiphys.cli.command import Call, Command
from tiphys.cli.errors import UsageError
from tiphys.cli.verbs.table import VERBS

_BASH = """# bash completion for kubectl; load it with: source <(kubectl completion bash)
_tiphys_kubectl() {
    local word="${COMP_WORDS[COMP_CWORD]}" verb="${COMP_WORDS[1]}" kind="${COMP_WORDS[2]}" program="${COMP_WORDS[0]}"
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "@VERBS@" -- "$word"))
        return
    fi
    case "$verb" in
@GROUPS@
    logs|exec|attach|cp|port-forward|debug)
        COMPREPLY=($(compgen -W "$("$program" get pods -o name 2>/dev/null | cut -d/ -f2)" -- "$word")) ;;
    get|describe|delete|edit|label|annotate|patch|scale|wait|explain)
        if [ "$COMP_CWORD" -eq 2 ]; then
            COMPREPLY=($(compgen -W "$("$program" api-resources --no-headers -o name 2>/dev/null)" -- "$word"))
        else
            COMPREPLY=($(compgen -W "$("$program" get "$kind" -o name 2>/dev/null | cut -d/ -f2)" -- "$word"))
        fi ;;
    esac
}
complete -o default -F _tiphys_kubectl kubectl
"""


def run(call: Call) -> int:
    shell = call.args[0] if len(call.args) == 1 else ""
    if shell not in ("bash", "zsh"):
        raise UsageError("Shell not specified or not known: bash and zsh are.\n"
                         "See 'kubectl completion -h' for help and examples")  # fmt: skip
    verbs = [words for words in VERBS if " " not in words]
    cases = []
    for verb in verbs:
        below = [words.split()[1] for words in VERBS if words.startswith(f"{verb} ")]
        if below:
            names = " ".join(dict.fromkeys(below))
            cases.append(f'    {verb})\n        COMPREPLY=($(compgen -W "{names}" -- "$word")) ;;')
    text = _BASH.replace("@VERBS@", " ".join(verbs)).replace("@GROUPS@", "\n".join(cases))
    if shell == "zsh":
        text = "autoload -U +X bashcompinit && bashcompinit\n" + text
    call.out.write(text)
    return 0


COMMANDS = {"completion": Command(run, "SHELL", "", "source <(kubectl completion bash)")}
