"""A pod as the scheduler sees it: its requests as numbers, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tiphys.api.quantity import parse
from tiphys.api.selectors import LabelSelector
from tiphys.base.lazy import lazy
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.volume_binding import names_of
from tiphys.scheduler.matching import Spread, Terms, spread_of, terms_of

CPU, MEMORY, EPHEMERAL, PODS = "cpu", "memory", "ephemeral-storage", "pods"
# What scoring assumes of a container that requests nothing, so that such pods spread too (upstream's figures).
_UNSAID = {CPU: 100, MEMORY: 200 * 1024 * 1024}
# More than any machine has; sums of such amounts still fit 64 bits.
_CEILING = 1 << 53

Amounts = Mapping[str, int]
Shape = tuple[tuple[str, int], ...]
HostPort = tuple[str, str, int]
Group = tuple[str, frozenset[tuple[str, str]], bool]


def amount(name: str, quantity: str) -> int:
    """A quantity in the unit of its resource: milli-cores for CPU, whole units for all else."""
    parsed = parse(quantity)
    return min(parsed.milli() if name == CPU else parsed.value(), _CEILING)


def _requests(containers: list[Container], unsaid: Amounts) -> Iterator[tuple[Container, dict[str, int]]]:
    for container in containers:
        requests = {name: amount(name, text) for name, text in container.resources.requests.items()}
        yield container, {**unsaid, **requests}


def pod_requests(pod: Pod, unsaid: Amounts | None = None) -> dict[str, int]:
    """What a pod takes of a node: its containers together, or its largest init step if that is more, plus overhead.

    Restartable init containers (sidecars) run beside what follows them. `unsaid` is assumed where nothing is requested.
    What the pod requests as a whole (KEP-2837) stands for the sum of its containers.
    Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
    """
    total: dict[str, int] = {}
    for _, requests in _requests(pod.spec.containers, unsaid or {}):
        _add(total, requests)
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container, requests in _requests(pod.spec.init_containers, unsaid or {}):
        if container.restart_policy == "Always":
            _add(sidecars, requests)
            _add(total, requests)
            _raise(peak, sidecars)
        else:
            step = dict(sidecars)
            _add(step, requests)
            _raise(peak, step)
    _raise(total, peak)
    total |= {name: amount(name, text) for name, text in pod.spec.resources.requests.items()}
    _add(total, {name: amount(name, text) for name, text in pod.spec.overhead.items()})
    return total


def _add(total: dict[str, int], more: Amounts) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise(total: dict[str, int], floor: Amounts) -> None:
    for name, value in floor.items():
        total[name] = max(total.get(name, 0), value)


_SHAPES = 4096
_KNOWN: dict[object, tuple[Amounts, tuple[int, int], Shape]] = {}


def _asks(container: Container) -> tuple[object, ...]:
    """All of a container that its pod's requests depend on."""
    return container.restart_policy, *container.resources.requests.items()


@dataclass(frozen=True)
class PodInfo:
    """`kin` finds the selector of the pods that belong with one that says nothing of spreading, when asked for."""

    pod: Pod
    kin: Callable[[Pod], LabelSelector | None] | None = None

    @property
    def key(self) -> str:
        return self.pod.metadata.key

    def renew(self, pod: Pod) -> None:
        """Take over a newer form of the pod that differs in nothing which counts here."""
        object.__setattr__(self, "pod", pod)

    @property
    def priority(self) -> int:
        return self.pod.spec.priority

    @lazy
    def _amounts(self) -> tuple[Amounts, tuple[int, int], Shape]:
        """Requests, what scoring counts, and the shape: worked out once for all pods of equal containers."""
        spec = self.pod.spec
        key = (
            tuple(_asks(container) for container in spec.containers),
            tuple(_asks(container) for container in spec.init_containers),
            tuple(spec.overhead.items()), tuple(spec.resources.requests.items()),
        )  # fmt: skip
        found = _KNOWN.get(key)
        if found is None:
            if len(_KNOWN) >= _SHAPES:
                _KNOWN.clear()
            requests, scored = {**pod_requests(self.pod), PODS: 1}, pod_requests(self.pod, _UNSAID)
            shape = tuple(sorted(requests.items()))
            found = _KNOWN[key] = requests, (scored.get(CPU, 0), scored.get(MEMORY, 0)), shape
        return found

    @property
    def requests(self) -> Amounts:
        return self._amounts[0]

    @property
    def scored(self) -> tuple[int, int]:
        """CPU in milli-cores and memory in bytes as scoring counts them."""
        return self._amounts[1]

    @property
    def shape(self) -> Shape:
        """The requests, to tell pods apart by."""
        return self._amounts[2]

    @lazy
    def group(self) -> Group:
        """Namespace, labels, and whether it is being deleted: what selectors tell pods apart by."""
        meta = self.pod.metadata
        return meta.namespace, frozenset(meta.labels.items()), self.pod.deleted

    @lazy
    def terms(self) -> Terms:
        return terms_of(self.pod)

    @lazy
    def spread(self) -> tuple[Spread, ...]:
        return spread_of(self.pod)

    @lazy
    def kinship(self) -> LabelSelector | None:
        return self.kin(self.pod) if self.kin is not None else None

    @lazy
    def claims(self) -> tuple[tuple[str, bool], ...]:
        """(key of a PersistentVolumeClaim, whether it is an ephemeral volume's) for each that the pod uses."""
        namespace = self.pod.metadata.namespace
        return tuple((f"{namespace}/{name}", owned) for name, owned in names_of(self.pod))

    @lazy
    def ports(self) -> tuple[HostPort, ...]:
        """(address, protocol, port) for each host port wanted for as long as the pod runs."""
        spec = self.pod.spec
        containers = [*spec.containers, *(c for c in spec.init_containers if c.restart_policy == "Always")]
        return tuple(
            (port.host_ip or "0.0.0.0", port.protocol, port.host_port)  # noqa: S104 - the API's word for any address
            for container in containers
            for port in container.ports
            if port.host_port
        )
