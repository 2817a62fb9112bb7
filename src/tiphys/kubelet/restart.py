"""Whether and when a container starts again. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tiphys.kinds.core.container import Container, RestartRule
from tiphys.kinds.core.pod import Pod

CRASH_INITIAL, CRASH_MAXIMUM = 10.0, 300.0
# A container that ran this long without another crash starts over.
CRASH_RESET = 2 * CRASH_MAXIMUM


def should_restart(pod: Pod, container: Container, exit_code: int, *, init: bool) -> bool:
    """Whether a container that ended with `exit_code` is to run again."""
    rule = next((rule for rule in container.restart_policy_rules if _applies(rule, exit_code)), None)
    if rule is not None and rule.action == "Restart":
        return True
    policy = container.restart_policy or pod.spec.restart_policy
    if policy == "Always":
        # A completed init container has done its work; only a sidecar, "Always" by its own policy, goes on.
        return not init or container.sidecar or exit_code != 0
    return policy == "OnFailure" and exit_code != 0


def _applies(rule: RestartRule, exit_code: int) -> bool:
    if rule.exit_codes is None:
        return False
    return (exit_code in rule.exit_codes.values) == (rule.exit_codes.operator == "In")


@dataclass(slots=True)
class CrashLoop:
    """The back-off of a pod's containers: the first restart is immediate, then 10 s, doubling to 5 minutes.

    `maximum` may be lowered. Times are unix seconds.
    """

    initial: float = CRASH_INITIAL
    maximum: float = CRASH_MAXIMUM
    _delays: dict[str, tuple[float, float]] = field(default_factory=dict)

    def delay(self, name: str) -> float:
        """Seconds that `name` waits after its end now; 0 before its first crash."""
        return self._delays.get(name, (0.0, 0.0))[0]

    def until(self, name: str, finished_at: float) -> float:
        """The moment from which `name`, ended at `finished_at`, may start again."""
        delay, updated = self._delays.get(name, (0.0, 0.0))
        return 0.0 if finished_at - updated > CRASH_RESET else finished_at + delay

    def restarted(self, name: str, now: float) -> None:
        """`name` starts again now: its next delay is twice as long, or the first one."""
        delay, updated = self._delays.get(name, (0.0, 0.0))
        fresh = delay == 0.0 or now - updated > CRASH_RESET
        self._delays[name] = (self.initial if fresh else min(self.maximum, delay * 2), now)
