"""The configured admission webhooks, compiled: read again only after a configuration changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiphys.api.resource import Json
from tiphys.base.log import Log
from tiphys.server.admission.conditions import Condition, compile_conditions
from tiphys.server.admission.matching import Criteria
from tiphys.server.admission.review import VERSIONS
from tiphys.server.authz import Authorizer
from tiphys.server.cache import Cache

_log = Log("admission")
MUTATING = "/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/"
VALIDATING = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/"


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook of one configuration. `seconds` bounds a call; `version` is that of the AdmissionReview."""

    configuration: str
    index: int
    name: str
    client: Json
    criteria: Criteria
    seconds: float
    fails_open: bool
    dry_run_safe: bool
    reinvoke: bool
    version: str
    # matchConditions, of the few that have them.
    condition: Condition | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.configuration, self.index


class Hooks:
    """All webhooks under a store prefix, ordered by the name of their configuration and their place in it."""

    def __init__(self, cache: Cache, prefix: str, authorizer: Authorizer) -> None:
        self._collection, self._authorizer = cache.of(prefix), authorizer
        self._compiled: Sequence[Hook] = ()
        self._of: tuple[int, int] = (0, 0)

    def current(self) -> Sequence[Hook]:
        state = self._collection.changed, len(self._collection.items)
        if state != self._of:
            self._compiled = [hook for entry in self._collection.scan("/") for hook in self._compile(entry.decode())]
            self._of = state
        return self._compiled

    def _compile(self, configuration: Json) -> list[Hook]:
        hooks, name = [], configuration["metadata"]["name"]
        for index, webhook in enumerate(configuration.get("webhooks") or ()):
            try:
                hooks.append(_hook(name, index, webhook, self._authorizer))
            except (ValueError, KeyError) as error:
                _log.error("webhook cannot be used", configuration=name, index=index, error=error)
        return hooks


def _hook(configuration: str, index: int, webhook: Json, authorizer: Authorizer) -> Hook:
    conditions = webhook.get("matchConditions")
    known = [version for version in webhook.get("admissionReviewVersions") or () if version in VERSIONS]
    return Hook(
        configuration, index, webhook["name"], webhook["clientConfig"], Criteria.of_webhook(webhook),
        webhook.get("timeoutSeconds") or 10, webhook.get("failurePolicy") == "Ignore",
        webhook.get("sideEffects") in ("None", "NoneOnDryRun"), webhook.get("reinvocationPolicy") == "IfNeeded",
        known[0] if known else "v1", compile_conditions(conditions, authorizer) if conditions else None,
    )  # fmt: skip
