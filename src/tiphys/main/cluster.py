"""A cluster on this machine: its name, its places and its numbers, so that several live side by side.

The settings are written once, by the first `tiphys up NAME`, into the state directory and only read from then on.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

DEFAULT_NAME = "tiphys"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")


def _places() -> tuple[Path, Path, Path]:
    """Where state, sockets and pidfiles, and kubeconfigs are: the machine's for root, their own for others."""
    if os.geteuid() == 0:
        return Path("/var/lib/tiphys"), Path("/run/tiphys"), Path("/etc/tiphys")
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    run = Path(os.environ.get("XDG_RUNTIME_DIR") or state)
    return (
        state / "tiphys",
        run / "tiphys-run",
        Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "tiphys",
    )


_STATE, _RUN, _ETC = _places()
MAX_NODES, MAX_SIMULATED = 100, 10_000
# Of the network of a cluster's nodes on this machine, the address that its control planes share.
_VIRTUAL = 250
_FIRST_API_PORT, _FIRST_NODE_PORT, _FIRST_ETCD_PORT = 6443, 10250, 2379


class ClusterError(Exception):
    """Something about this machine or cluster is not as needed; the message says what to do."""


class Settings(msgspec.Struct, frozen=True):
    """Every cluster of a machine has its own index, and by it its own networks."""

    name: str
    index: int
    api_port: int
    kubelet_port: int
    address: str
    node: str
    # How many nodes the cluster has on this machine, and how many of them, the first ones, are control planes.
    nodes: int = 1
    control_planes: int = 1
    # The numbers of those nodes that were taken away again.
    removed: list[int] = []
    # Between how many nodes the autoscaler may choose (a maximum of 0: there is none), and for how long one must not be
    # needed before it goes.
    min_nodes: int = 1
    max_nodes: int = 0
    scale_down_seconds: float = 60.0
    # How many nodes are only simulated; a cluster that has such has no others.
    simulated: int = 0
    # What goes on on them: fields of the kubelet's `Behaviours`.
    simulation: dict[str, Any] = {}
    # The URLs of API servers on other machines, for a machine that joined.
    servers: list[str] = []
    joined: bool = False
    # What people reach the API at, whichever control plane is there; "" for this machine's own server.
    virtual_address: str = ""
    # Where its state is kept: sqlite or etcd, whose ports are this one for us and the next for its peers.
    store: str = "sqlite"
    etcd_port: int = 0
    # Admission plugins by upstream's names, besides those that are on by default, and of those that are.
    enable_admission_plugins: list[str] = []
    disable_admission_plugins: list[str] = []
    # For how long pods that do not say so themselves bear a node that is lost; upstream's default for both is 300.
    default_not_ready_toleration_seconds: int = 5
    default_unreachable_toleration_seconds: int = 5
    # How often autoscalers of pods are looked at; upstream's is 15.
    horizontal_pod_autoscaler_sync_period_seconds: float = 5.0

    @property
    def numbers(self) -> list[int]:
        """Of the nodes on this machine."""
        return [number for number in range(1, self.nodes + 1) if number not in self.removed]

    @property
    def planes(self) -> list[int]:
        """Of those that are control planes."""
        return [number for number in self.numbers if number <= self.control_planes]

    @property
    def pods(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(f"10.{42 + 2 * self.index}.0.0/16")

    @property
    def services(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(f"10.{43 + 2 * self.index}.0.0/16")

    @property
    def underlay(self) -> ipaddress.IPv4Network:
        """What the nodes on this machine besides the first have their own addresses from; the machine has its first."""
        return ipaddress.IPv4Network(f"10.41.{self.index}.0/24")

    @property
    def dns(self) -> str:
        return str(self.services[10])

    @property
    def ports(self) -> list[int]:
        """What the cluster listens on in the machine's own network."""
        found = [self.api_port, self.kubelet_port]
        return [*found, self.etcd_port, self.etcd_port + 1] if self.etcd_port else found

    @property
    def server_url(self) -> str:
        """Where people, and what runs on this machine for them, find the API."""
        return f"https://{self.virtual_address or '127.0.0.1'}:{self.api_port}"


class Cluster:
    """Paths of one cluster. Raises ClusterError for a name that cannot be one."""

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        if not _NAME.fullmatch(name):
            raise ClusterError(f"{name!r} is no cluster name: use at most 30 of a-z, 0-9 and '-', not at the ends")
        self.name = name
        self.state, self.run, self.etc = _STATE / name, _RUN / name, _ETC

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def store(self) -> Path:
        return self.state / "store.db"

    @property
    def etcd(self) -> Path:
        return self.state / "etcd"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def kubeconfig(self) -> Path:
        return self.etc / ("admin.kubeconfig" if self.name == DEFAULT_NAME else f"{self.name}.kubeconfig")

    def pidfile(self, role: str) -> Path:
        return self.run / f"{role}.pid"

    @property
    def exists(self) -> bool:
        return (self.state / "cluster.json").exists()

    @property
    def unfinished(self) -> Path:
        """There while a restore has not got as far as a whole state."""
        return self.state / "restoring"

    def settings(self) -> Settings:
        try:
            data = (self.state / "cluster.json").read_bytes()
        except FileNotFoundError:
            raise ClusterError(
                f"there is no cluster {self.name!r} on this machine; `tiphys up {self.name}` makes one"
            ) from None
        return msgspec.json.decode(data, type=Settings)

    def create(self, nodes: int | None = None, store: str | None = None, control_planes: int | None = None) -> Settings:
        """Choose the numbers of a new cluster, or read those of an old one; it may grow, never shrink."""
        if self.unfinished.exists():
            raise ClusterError(
                f"a restore of {self.name!r} was interrupted: run the same `tiphys restore` again with --force, or "
                f"`tiphys down {self.name} --purge`"
            )
        with machine_locked():
            settings = self.settings() if self.exists else self._choose(nodes, store, control_planes)
            wanted = self._grown(settings, nodes, store, control_planes)
            if wanted != settings or not self.exists:
                self.save(wanted)
            return wanted

    def save(self, settings: Settings) -> None:
        for path in (self.state, self.pki, self.logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self.state / "cluster.json", msgspec.json.encode(settings))

    def _grown(self, settings: Settings, nodes: int | None, store: str | None, control_planes: int | None) -> Settings:
        if settings.joined:
            if (nodes or 1, control_planes or 1) != (1, 1):
                raise ClusterError(
                    f"this machine is one node of {self.name!r}, which other machines have begun; join others to it "
                    "with what `tiphys token create` prints on one of its control planes"
                )
            return settings
        if store is not None and store != settings.store:
            raise ClusterError(
                f"cluster {self.name!r} keeps its state in {settings.store}; "
                f"`tiphys store migrate {self.name} --to {store}` moves it"
            )
        held = {"nodes": (nodes, settings.numbers), "control planes": (control_planes, settings.planes)}
        for what, (asked, present) in held.items():
            if asked is not None and asked < len(present):
                raise ClusterError(
                    f"cluster {self.name!r} has {len(present)} {what}, and `up` takes none away: "
                    f"`tiphys node remove NODE {self.name}` does"
                )
        settings = _returned(settings, nodes or 0, control_planes or 0)
        planes = max(settings.control_planes, control_planes or 0)
        count = max(settings.nodes, planes, (nodes or 0) + len(settings.removed))
        if planes > 1 and settings.store != "etcd":
            raise ClusterError(
                f"cluster {self.name!r} keeps its state in {settings.store}, which one control plane only can have; "
                f"`tiphys store migrate {self.name} --to etcd` first"
            )
        if count > 1 and ipaddress.ip_address(settings.address).is_loopback:
            raise ClusterError(
                f"nodes of {self.name!r} cannot reach each other at {settings.address}: when it was made this machine "
                f"had no default route; `tiphys down {self.name} --purge`, then `tiphys up {self.name} --nodes N`"
            )
        virtual = settings.virtual_address or (str(settings.underlay[_VIRTUAL]) if planes > 1 else "")
        return msgspec.structs.replace(settings, nodes=count, control_planes=planes, virtual_address=virtual)

    def _choose(self, nodes: int | None, store: str | None, control_planes: int | None) -> Settings:
        others = _known()
        taken = {settings.index for settings in others}
        index = next(number for number in range(64) if number not in taken)
        used = {port for settings in others for port in settings.ports}
        several = (control_planes or 1) > 1
        kept = store or ("etcd" if several else "sqlite")
        settings = Settings(
            name=self.name, index=index, api_port=_free_port(_FIRST_API_PORT, used),
            kubelet_port=_free_port(_FIRST_NODE_PORT, used), address=host_address(), node=socket.gethostname().lower(),
            store=kept, etcd_port=_free_port(_FIRST_ETCD_PORT, used, 2) if kept == "etcd" else 0,
        )  # fmt: skip
        if (several or (nodes or 1) > 1) and ipaddress.ip_address(settings.address).is_loopback:
            # Without a default route, the machine has still its address on the network of its nodes.
            settings = msgspec.structs.replace(settings, address=str(settings.underlay[1]))
        return settings

    def like(self, settings: Settings, old: Settings) -> Settings:
        """A new cluster's settings with the numbers of an old one, as far as they are free here, and its choices.

        Whoever knew the old one by its address and ports finds the new one there; networks follow from the index.
        """
        others = [other for other in _known() if other.name != self.name]
        used = {port for other in others for port in other.ports}
        ports = {
            name: wanted
            for name in ("api_port", "kubelet_port", "etcd_port")
            if (wanted := getattr(old, name)) and getattr(settings, name) and wanted not in used and _is_free(wanted)
        }
        index = settings.index if old.index in {other.index for other in others} else old.index
        moved = msgspec.structs.replace(settings, index=index, **ports)
        places = {str(settings.underlay[n]): str(moved.underlay[n]) for n in range(settings.underlay.num_addresses)}
        address = places.get(settings.address, settings.address)
        return msgspec.structs.replace(
            moved,
            address=old.address if _is_ours(old.address) else address,
            virtual_address=places.get(settings.virtual_address, settings.virtual_address),
            removed=old.removed,
            enable_admission_plugins=old.enable_admission_plugins,
            disable_admission_plugins=old.disable_admission_plugins,
        )

    def kept_in(self, settings: Settings, store: str) -> Settings:
        """The same settings with the state kept in another store, which has ports of its own where it needs them."""
        if settings.store == store:
            return settings
        used = {port for other in _known() if other.name != self.name for port in other.ports}
        port = _free_port(_FIRST_ETCD_PORT, used, 2) if store == "etcd" else 0
        planes = settings.control_planes if store == "etcd" else 1
        return msgspec.structs.replace(settings, store=store, etcd_port=port, control_planes=planes)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one `up` or `down` of a cluster at a time. Raises ClusterError where another one runs."""
        self.run.mkdir(parents=True, exist_ok=True, mode=0o755)
        with open(self.run / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                raise ClusterError(f"another `tiphys up` or `down` of {self.name!r} is at work; wait for it") from None
            yield


def _returned(settings: Settings, nodes: int, planes: int) -> Settings:
    """Bring back nodes that were taken away, the first ones first, as long as there are fewer than asked for."""
    while settings.removed and (len(settings.planes) < planes or len(settings.numbers) < nodes):
        settings = msgspec.structs.replace(settings, removed=settings.removed[1:])
    return settings


def clusters() -> list[Cluster]:
    """The clusters of this machine."""
    if not _STATE.is_dir():
        return []
    return [Cluster(path.name) for path in sorted(_STATE.iterdir()) if (path / "cluster.json").exists()]


def _known() -> list[Settings]:
    """The settings of the clusters of this machine."""
    found = []
    for cluster in clusters():
        # One may be going at this moment.
        with suppress(ClusterError):
            found.append(cluster.settings())
    return found


@contextmanager
def machine_locked() -> Iterator[None]:
    """One at a time on this machine, for a moment: clusters choose numbers that no other has."""
    _RUN.parent.mkdir(parents=True, exist_ok=True)
    directory = os.open(_RUN.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only root reads, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _free_port(first: int, used: set[int], count: int = 1) -> int:
    """The first of `count` free ports in a row."""
    for port in range(first, first + 500, count):
        if all(number not in used and _is_free(number) for number in range(port, port + count)):
            return port
    raise ClusterError(f"no free port from {first} to {first + 500}; end what listens there")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - asks whether the port is free on any address
        except OSError:
            return False
        return True


def _is_ours(address: str) -> bool:
    """Whether this machine has an address, other than on loopback."""
    if ipaddress.ip_address(address).is_loopback:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def host_address() -> str:
    """The address of the interface that the default route uses, or loopback where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing; it asks the kernel which address it would send from.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address
