"""ResourceType: all that the server, the clients and the CLI know about one served resource.

A kind is one file that builds one of these and one line in a registry. Discovery, OpenAPI, tables and CLI names derive
from it; behaviour that differs from the generic road goes into its `Strategy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from tiphys.api.errors import FieldError
from tiphys.api.meta import Object

if TYPE_CHECKING:
    from tiphys.api.schema import Schema

T = TypeVar("T", bound=msgspec.Struct)
Json = dict[str, Any]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def _text(value: Any) -> str:
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class TextAt:
    """A reader for field selectors that a server need not hand the whole object: what `show` makes of one value.

    Where there is nothing at `path`, or only an empty text, the value at `otherwise` counts.
    """

    path: tuple[str, ...]
    show: Callable[[Any], str] = _text
    otherwise: tuple[str, ...] = ()

    def __call__(self, obj: Json) -> str:
        found = _at(obj, self.path)
        return self.show(_at(obj, self.otherwise) if self.otherwise and not found else found)


def _at(obj: Json, path: Sequence[str]) -> Any:
    value: Any = obj
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


class Strategy:
    """What a kind does besides the generic: four hooks, all no-ops. `old is None` means create.

    `default` and `prepare` change `new` in place. `default` fills what the user left out (also for objects read back);
    `prepare` enforces what the user may not set. `validate` yields what is wrong, in the order of the fields.
    """

    # Whether `default` sets anything in the status.
    defaults_status = False

    def default(self, new: Json) -> None: ...

    def prepare(self, new: Json, old: Json | None) -> None: ...

    def validate(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        return iter(())

    def validate_part(self, new: Json, old: Json, part: str) -> Iterator[FieldError]:
        """What is wrong with an update that came through the subresource `part`, "" for the object itself."""
        return self.validate(new, old)

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        return iter(())


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the Table output. `priority` 0 shows always, 1 with `-o wide`.

    `value` takes the object as a dict and `now` (unix seconds) and returns a str, int or bool cell.
    """

    name: str
    value: Callable[[Json, float], Any]
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource finds its fields: dotted JSON paths without a leading dot."""

    spec_replicas: str = "spec.replicas"
    status_replicas: str = "status.replicas"
    # A path to a LabelSelector object, a map of labels, or a selector string.
    selector: str = "spec.selector"


@dataclass(frozen=True, slots=True)
class Subresource:
    """An entry of discovery besides the resource itself, such as `pods/log`; `kind` may be of another group."""

    name: str
    kind: str
    verbs: Sequence[str] = ("get", "patch", "update")
    group: str = ""
    version: str = ""


class Written(Protocol):
    """An `openAPIV3Schema` that is read where it is stored; `digest` changes whenever it does."""

    digest: str

    def read(self) -> Json: ...


@dataclass(frozen=True, slots=True, eq=False)
class ResourceType(Generic[T]):
    group: str
    version: str
    kind: str
    plural: str
    # The partial, frozen Struct that components decode; it declares only the fields that they use.
    model: type[T]
    namespaced: bool = True
    short_names: Sequence[str] = ()
    categories: Sequence[str] = ()
    verbs: Sequence[str] = ALL_VERBS
    status: bool = False
    scale: ScalePaths | None = None
    subresources: Sequence[Subresource] = ()
    columns: Sequence[Column] = ()
    # Field selector name -> reader; metadata.name and metadata.namespace are always selectable.
    selectable_fields: Mapping[str, Callable[[Json], str]] = field(default_factory=dict)
    strategy: Strategy = field(default_factory=Strategy)
    # Name of its definition in the schema facts, such as "io.k8s.api.core.v1.Pod".
    schema: str = ""
    # A custom resource brings its own schema instead.
    structural: Schema | None = None
    singular: str = ""
    list_kind: str = ""
    # A version that is not the stored one names its hub and converts: `to_hub(obj)`, `from_hub(obj)`, new dicts both.
    hub: ResourceType[Any] | None = None
    to_hub: Callable[[Json], Json] | None = None
    from_hub: Callable[[Json], Json] | None = None
    # Seconds that deletion waits for this object (0: not at all), given the request's gracePeriodSeconds, if any.
    grace: Callable[[Json, int | None], int] | None = None
    # Finalizers that the kind keeps outside its metadata (Namespace's spec.finalizers).
    own_finalizers: Callable[[Json], Sequence[str]] | None = None
    # The propagation policy of a deletion that names none (empty: dependents are collected), and what is said of it.
    default_propagation: str = ""
    deletion_warning: str = ""
    # Whether an update may leave out the resourceVersion that it was made from, and so replace whatever is there.
    unconditional_update: bool = True
    # Whether an update of an object that is not there creates it.
    create_on_update: bool = False
    # Not stored: `create` is answered by a handler of the server (reviews, tokens).
    virtual: bool = False
    # A custom resource's way from the store's objects to this version (`server.custom.view`), where that is one.
    view: Any = None
    # The custom resource's definition is being deleted: no new objects.
    terminating: bool = False
    # Said to everyone who uses the version.
    deprecation_warning: str = ""
    # The schema of a custom resource as it was written, to be published.
    openapi: Written | None = None

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """Upstream's `plural.group`, as error messages print it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def prefix(self) -> str:
        """The store's prefix, shared by every version: `/registry/GROUP/PLURAL/`, with core for the legacy group."""
        return f"/registry/{self.group or 'core'}/{self.plural}/"

    def key(self, name: str, namespace: str = "") -> str:
        return f"{self.prefix}{namespace}/{name}" if self.namespaced else f"{self.prefix}{name}"

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """The URL path of the collection, the object or its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def resource(model: type[T] | None = None, **facts: Any) -> ResourceType[Any]:
    """A ResourceType with the usual derivations: singular and list kind from the kind; without a model, `Object`."""
    facts.setdefault("singular", facts["kind"].lower())
    facts.setdefault("list_kind", facts["kind"] + "List")
    return ResourceType(model=model or Object, **facts)
