"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: other servers change or refuse what is written.

Mutating webhooks are asked one after the other, each shown what those before it made; validating ones all at once.
A request waits for its own webhooks only, and where none is configured this costs a comparison.
Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson

from tiphys.api import errors, patch
from tiphys.api.registry import AnyResource
from tiphys.base.log import Log
from tiphys.base.metrics import Counter, Histogram
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.admission.hooks import MUTATING, VALIDATING, Hook, Hooks
from tiphys.server.admission.matching import Matching, exempt
from tiphys.server.admission.mutation import Rounds, take
from tiphys.server.admission.review import InvalidAnswer, Verdict, refusal, review, verdict
from tiphys.server.authz import Authorizer
from tiphys.server.cache import Cache
from tiphys.server.webhook_client import WebhookClient, WebhookError

_log = Log("admission")
_SECONDS = Histogram(
    "apiserver_admission_webhook_admission_duration_seconds", "Time that admission webhooks took.",
    ("name", "type", "operation", "rejected"), buckets=(0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25),
)  # fmt: skip
_REJECTED = Counter(
    "apiserver_admission_webhook_rejection_count", "Requests that admission webhooks refused.",
    ("name", "type", "operation", "error_type", "rejection_code"),
)  # fmt: skip
_FAILED_OPEN = Counter(
    "apiserver_admission_webhook_fail_open_count", "Admission webhooks that failed and were passed over.",
    ("name", "type"),
)  # fmt: skip
_TOO_LATE = "request did not complete within requested timeout - context deadline exceeded"
# Authentication's and authorization's own questions; a webhook must not stand in the way of them.
_UNASKED = ("authentication.k8s.io", "authorization.k8s.io")


class _Webhooks(Plugin):
    type = ""

    def __init__(self, hooks: Hooks, matching: Matching, client: WebhookClient) -> None:
        self._hooks, self._matching, self._client = hooks, matching, client

    def _asks(self, attributes: Attributes) -> bool:
        return not exempt(attributes) and attributes.resource.group not in _UNASKED

    def _find(self, hook: Hook, attributes: Attributes) -> AnyResource | None:
        """The version in which `hook` wants to see the request, or None if it does not. Raises ApiError."""
        resource = self._matching.find(hook.criteria, attributes)
        if resource is None or hook.condition is None:
            return resource
        from tiphys.api.policies.compiled import PolicyError  # the language is there already, or nobody needs it

        try:
            return resource if hook.condition(attributes, resource) else None
        except PolicyError as error:
            if hook.fails_open:
                _log.warning("matchConditions failed, webhook passed over", webhook=hook.name, error=str(error))
                return None
            about = attributes.requested
            raise errors.denied(about.group, about.plural, attributes.name, str(error)) from error

    async def _ask(self, hook: Hook, resource: AnyResource, attributes: Attributes) -> Verdict | None:
        """The verdict of an allowed request, or None of a webhook that failed and may. Raises ApiError."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        failure: errors.ApiError | None = None
        kind = "no_error"
        try:
            found = await self._exchange(hook, resource, attributes, attributes.seconds_left(started))
            if not found.allowed:
                failure = refusal(hook.name, found.status)
        except (WebhookError, InvalidAnswer) as error:
            kind, failure = "calling_webhook_error", _broken(hook, error)
            if hook.fails_open:
                failure = self._fail_open(hook, error, attributes)
            found = None
        rejected = failure is not None
        _SECONDS.observe(
            loop.time() - started, hook.name, self.type, attributes.operation, "true" if rejected else "false"
        )
        if failure is not None:
            code = str(failure.code) if kind == "no_error" else "0"
            _REJECTED.inc(hook.name, self.type, attributes.operation, kind, code)
            raise failure
        return found

    async def _exchange(self, hook: Hook, resource: AnyResource, attributes: Attributes, left: float) -> Verdict:
        if attributes.dry_run and not hook.dry_run_safe:
            raise errors.BadRequest(f'admission webhook "{hook.name}" does not support dry run')
        if left <= 0:
            raise errors.Timeout(f"Timeout: {_TOO_LATE}")
        await attributes.convert_for(resource)
        sent = review(attributes, resource, hook.version)
        try:
            answer = await self._client.call(hook.client, sent, min(hook.seconds, left))
        except WebhookError as error:
            raise WebhookError(f"failed to call webhook: {error}") from error
        try:
            found = verdict(sent, answer, mutating=self.type == "admit")
        except InvalidAnswer as error:
            raise InvalidAnswer(f"received invalid webhook response: {error}") from error
        attributes.warnings.extend(found.warnings)
        attributes.annotations.update({f"{hook.name}/{key}": value for key, value in found.annotations.items()})
        return found

    def _fail_open(self, hook: Hook, error: Exception, attributes: Attributes) -> errors.ApiError | None:
        if attributes.seconds_left(asyncio.get_running_loop().time()) <= 0:
            return errors.Timeout(f"Timeout: {_TOO_LATE}")
        _FAILED_OPEN.inc(hook.name, self.type)
        _log.warning("webhook failed, passed over as its failurePolicy says", webhook=hook.name, error=str(error))
        return None


def _broken(hook: Hook, error: Exception) -> errors.ApiError:
    why = f'failed calling webhook "{hook.name}": {error}'
    return errors.InternalError(f"Internal error occurred: {why}", details={"causes": [{"message": why}]})


class MutatingAdmissionWebhook(_Webhooks):
    type = "admit"

    def __init__(self, cache: Cache, authorizer: Authorizer, matching: Matching, client: WebhookClient) -> None:
        super().__init__(Hooks(cache, MUTATING, authorizer), matching, client)

    async def admit(self, attributes: Attributes) -> None:
        if not self._hooks.current() or not self._asks(attributes):
            return
        rounds = Rounds.of(attributes, self.type)
        for position, hook in enumerate(self._hooks.current()):
            resource = self._find(hook, attributes)
            if resource is None or not rounds.due(hook.key, attributes):
                continue
            found = await self._ask(hook, resource, attributes)
            changed = False
            if found is not None and found.patch:
                changed = await self._apply(hook, resource, attributes, found.patch)
            where = f"mutation.webhook.admission.k8s.io/round_{int(attributes.reinvoking)}_index_{position}"
            told = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
            attributes.annotations[where] = orjson.dumps(told).decode()
            rounds.took(hook.key, attributes, changed=changed, reinvoke=hook.reinvoke)
        rounds.done(attributes)

    async def _apply(
        self, hook: Hook, resource: AnyResource, attributes: Attributes, operations: Sequence[object] | None
    ) -> bool:
        if attributes.obj is None:
            raise errors.InternalError(
                f'Internal error occurred: admission webhook "{hook.name}" attempted to modify the object, which is '
                "not supported for this operation"
            )
        shown = attributes.shown_in(resource, attributes.obj)
        try:
            new = patch.json_patch(shown, operations)
        except errors.ApiError as error:
            raise errors.InternalError(f"Internal error occurred: {error}") from error
        if new == shown:
            return False
        await take(attributes, resource, new)
        return True


class ValidatingAdmissionWebhook(_Webhooks):
    type = "validating"

    def __init__(self, cache: Cache, authorizer: Authorizer, matching: Matching, client: WebhookClient) -> None:
        super().__init__(Hooks(cache, VALIDATING, authorizer), matching, client)

    async def validate(self, attributes: Attributes) -> None:
        if not self._hooks.current() or not self._asks(attributes):
            return
        found = [(hook, self._find(hook, attributes)) for hook in self._hooks.current()]
        outcomes = await asyncio.gather(
            *(self._ask(hook, resource, attributes) for hook, resource in found if resource is not None),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
