"""The admission policies of one kind with their bindings, compiled: read again only after one of them changed.

A policy is compiled when a request first meets it, and again only when it was written again.
Source: upstream's `apiserver/pkg/admission/plugin/policy/generic/policy_source.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from tiphys.api import errors
from tiphys.api.registry import AnyResource, Registry
from tiphys.api.resource import Json
from tiphys.api.selectors import from_object
from tiphys.base.log import Log
from tiphys.server.admission.chain import Attributes
from tiphys.server.admission.matching import Criteria
from tiphys.server.cache import Cache, Entry

_log = Log("admission")
_PREFIX = "/registry/admissionregistration.k8s.io/"
C = TypeVar("C")


class ConfigurationError(Exception):
    """A policy or binding that cannot be applied; the policy's failurePolicy decides what that means."""


class Binding:
    __slots__ = ("actions", "criteria", "name", "param_ref", "raw")

    def __init__(self, raw: Json) -> None:
        spec = raw["spec"]
        self.raw = raw
        self.name: str = raw["metadata"]["name"]
        self.criteria = Criteria.of_policy(spec.get("matchResources"))
        self.param_ref: Json | None = spec.get("paramRef")
        self.actions: Sequence[str] = spec.get("validationActions") or ()


class Policy(Generic[C]):
    """`compiled` is whatever the plugin makes of the spec, when it is first asked for."""

    __slots__ = ("_compile", "_compiled", "bindings", "criteria", "fails_open", "name", "spec")

    def __init__(self, raw: Json, compile_spec: Any) -> None:
        self.name: str = raw["metadata"]["name"]
        self.spec: Json = raw["spec"]
        self.criteria = Criteria.of_policy(self.spec.get("matchConstraints"))
        self.fails_open = self.spec.get("failurePolicy") == "Ignore"
        self.bindings: list[Binding] = []
        self._compile = compile_spec
        self._compiled: C | None = None

    @property
    def compiled(self) -> C:
        if self._compiled is None:
            self._compiled = self._compile(self.spec)
        found: C = self._compiled
        return found


class PolicySet(Generic[C]):
    """Policies that have bindings, by name; `compile_spec` turns a policy's spec into its expressions."""

    def __init__(self, cache: Cache, plural: str, compile_spec: Any) -> None:
        self._policies = cache.of(f"{_PREFIX}{plural}policies/")
        self._bindings = cache.of(f"{_PREFIX}{plural}policybindings/")
        self._compile = compile_spec
        self._known: dict[str, tuple[Entry, Policy[C]]] = {}
        self._current: Sequence[Policy[C]] = ()
        self._of: tuple[int, ...] = (0, 0, 0, 0)

    def current(self) -> Sequence[Policy[C]]:
        policies, bindings = self._policies, self._bindings
        state = policies.changed, len(policies.items), bindings.changed, len(bindings.items)
        if state != self._of:
            self._current = self._read()
            self._of = state
        return self._current

    def _read(self) -> Sequence[Policy[C]]:
        known: dict[str, tuple[Entry, Policy[C]]] = {}
        for entry in self._policies.scan("/"):
            found = self._known.get(entry.name)
            try:
                policy = found[1] if found is not None and found[0] is entry else Policy(entry.decode(), self._compile)
            except (ValueError, KeyError) as error:
                _log.error("admission policy cannot be used", policy=entry.name, error=error)
                continue
            policy.bindings = []
            known[entry.name] = entry, policy
        self._known = known
        for entry in self._bindings.scan("/"):
            raw = entry.decode()
            name = (raw.get("spec") or {}).get("policyName")
            if name in known:
                try:
                    known[name][1].bindings.append(Binding(raw))
                except (ValueError, KeyError) as error:
                    _log.error("admission policy binding cannot be used", binding=entry.name, error=error)
        return [policy for _, policy in known.values() if policy.bindings]


class Parameters:
    """The parameter objects that bindings refer to."""

    def __init__(self, registry: Registry, cache: Cache) -> None:
        self._registry, self._cache = registry, cache

    def find(self, kind: Json | None, reference: Json | None, namespace: str) -> list[Json | None]:
        """What to evaluate a policy with, one after the other; `[None]` without parameters.

        Raises ConfigurationError.
        """
        if kind is None or reference is None:
            return [None]
        group, _, version = kind["apiVersion"].rpartition("/")
        resource = self._registry.kind(group, version, kind["kind"])
        if resource is None:
            shown = f"&ParamKind{{APIVersion:{kind['apiVersion']},Kind:{kind['kind']},}}"
            raise ConfigurationError(f"paramKind kind `{shown}` not known")
        place = self._place(resource, reference, namespace)
        found = self._named(resource, reference, place) if reference.get("name") else None
        if found is None:
            found = self._selected(resource, reference, place)
        if not found and reference.get("parameterNotFoundAction") == "Deny":
            raise ConfigurationError("no params found for policy binding with `Deny` parameterNotFoundAction")
        return [*found]

    def _place(self, resource: AnyResource, reference: Json, namespace: str) -> str:
        wanted = reference.get("namespace") or ""
        if not resource.namespaced:
            if wanted:
                raise ConfigurationError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
            return ""
        if not (wanted or namespace):
            raise ConfigurationError(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            )
        return wanted or namespace

    def _named(self, resource: AnyResource, reference: Json, namespace: str) -> list[Json]:
        entry = self._cache.of(resource.prefix).items.get(resource.key(reference["name"], namespace))
        return [] if entry is None else [_shown(resource, entry)]

    def _selected(self, resource: AnyResource, reference: Json, namespace: str) -> list[Json]:
        if reference.get("selector") is None:
            raise ConfigurationError("one of name or selector must be provided")
        selector = from_object(reference["selector"])
        prefix = f"{resource.prefix}{namespace}/" if resource.namespaced else resource.prefix
        entries = self._cache.of(resource.prefix).scan(prefix)
        return [_shown(resource, entry) for entry in entries if selector.matches(entry.labels)]


def _shown(resource: AnyResource, entry: Entry) -> Json:
    obj = entry.decode()
    return obj if resource.from_hub is None else resource.from_hub(obj)


def refused(attributes: Attributes, message: str, reason: str, code: int) -> errors.ApiError:
    """The error of a request that a policy denies."""
    resource = attributes.resource
    error = errors.denied(resource.group, resource.plural, attributes.name, message)
    error.reason, error.code = reason, code
    error.details["causes"] = [{"message": message}]
    return error
