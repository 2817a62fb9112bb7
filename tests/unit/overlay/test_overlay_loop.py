"""The overlay's loop over a kernel that is simulated: when the device is made, what is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from overlay_kernel import Kernel, Refused, node

from tiphys.base.clock import VirtualClock
from tiphys.kinds.core.node import Node
from tiphys.node import iproute
from tiphys.node.record import Effect, Record
from tiphys.overlay import device
from tiphys.overlay.overlay import Overlay
from tiphys.overlay.plan import Setting, State, changes, wanted

SETTING = Setting("one", "192.0.2.1", "vx0", 4200, 1450, 14200, "tiphys-test")
ONE = node("one", "10.42.0.0/24", "192.0.2.1")
TWO = node("two", "10.42.1.0/24", "192.0.2.2")
THREE = node("three", "10.42.2.0/24", "192.0.2.3")


class Nodes:
    """An informer of nodes that the test changes."""

    def __init__(self, *nodes: Node) -> None:
        self._items = {item.metadata.name: item for item in nodes}
        self._handlers: list[Callable[[Node | None, Node | None], None]] = []
        self.synced = asyncio.Event()
        self.synced.set()

    def of(self, _: object) -> Nodes:
        return self

    def items(self) -> list[Node]:
        return list(self._items.values())

    def get(self, name: str) -> Node | None:
        return self._items.get(name)

    def add_handler(self, handler: Callable[[Node | None, Node | None], None]) -> None:
        self._handlers.append(handler)

    def change(self, name: str, new: Node | None) -> None:
        old = self._items.pop(name, None)
        if new is not None:
            self._items[name] = new
        for handler in self._handlers:
            handler(old, new)


class Device:
    """Stands in for what the overlay does to the kernel: a device in a simulated kernel."""

    def __init__(self) -> None:
        self.kernel: Kernel | None = None
        self.made: list[str] = []
        self.refusals = 0
        self.applied = 0
        self.let_in: set[str] = set()

    def exists(self, _: str) -> bool:
        return self.kernel is not None

    async def ensure(self, _: Setting, cidr: str) -> None:
        self.made.append(cidr)
        self.kernel = self.kernel or Kernel()

    async def read(self, _: str) -> State:
        assert self.kernel is not None
        return Kernel(self.kernel.state).state

    async def guard(self, _: Setting, state: State) -> None:
        self.let_in = set(state.forwards.values())

    async def apply(self, name: str, old: State, new: State) -> None:
        assert self.kernel is not None
        self.applied += 1
        if self.refusals:
            self.refusals -= 1
            raise Refused("not now")
        needed = changes(name, old, new)
        for lines in (needed.ip_before, needed.bridge, needed.ip_after):
            self.kernel.run(lines)

    @property
    def state(self) -> State | None:
        return self.kernel.state if self.kernel else None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(iproute, "exists", made.exists)
    for name in ("ensure", "read", "guard", "apply"):
        monkeypatch.setattr(device, name, getattr(made, name))
    return made


@asynccontextmanager
async def running(nodes: Nodes, record: Record) -> AsyncIterator[VirtualClock]:
    clock = VirtualClock()
    task = asyncio.create_task(Overlay(nodes, SETTING, record, clock).run())  # type: ignore[arg-type]
    yield clock
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def settled() -> None:
    """Let the loop do all that it will do without another event."""
    await asyncio.to_thread(lambda: None)
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_node_alone_has_no_device(kernel: Device, tmp_path: Path) -> None:
    nodes, record = Nodes(ONE), Record(tmp_path / "record")
    async with running(nodes, record):
        await settled()
        assert kernel.made == []
        assert record.effects() == []
        nodes.change("two", TWO)
        await until(lambda: kernel.state == wanted([TWO], "one"))
        assert kernel.made == ["10.42.0.0/24"]
        assert record.effects() == [Effect("link", "vx0"), Effect("nft_table", "ip tiphys-test")]
        assert kernel.let_in == {"192.0.2.2"}


async def test_a_node_waits_for_its_own_range(kernel: Device, tmp_path: Path) -> None:
    nodes = Nodes(node("one", "", "192.0.2.1"), TWO)
    async with running(nodes, Record(tmp_path / "record")):
        await settled()
        assert kernel.made == []
        nodes.change("one", ONE)
        await until(lambda: kernel.state == wanted([TWO], "one"))


async def test_entries_of_nodes_that_went_unseen_are_removed(kernel: Device, tmp_path: Path) -> None:
    kernel.kernel = Kernel(wanted([TWO, THREE], "one"))
    async with running(Nodes(ONE, THREE), Record(tmp_path / "record")):
        await until(lambda: kernel.state == wanted([THREE], "one"))


async def test_a_node_that_moves_is_followed(kernel: Device, tmp_path: Path) -> None:
    nodes = Nodes(ONE, TWO, THREE)
    async with running(nodes, Record(tmp_path / "record")):
        await until(lambda: kernel.state == wanted([TWO, THREE], "one"))
        nodes.change("two", node("two", "10.42.1.0/24", "192.0.2.22"))
        nodes.change("three", None)
        await until(lambda: kernel.state == wanted(nodes.items(), "one"))
        assert kernel.made == ["10.42.0.0/24"]


async def test_what_a_node_reports_besides_changes_nothing(kernel: Device, tmp_path: Path) -> None:
    nodes = Nodes(ONE, TWO)
    async with running(nodes, Record(tmp_path / "record")):
        await until(lambda: kernel.state == wanted([TWO], "one"))
        nodes.change("two", TWO)
        await settled()
        assert kernel.applied == 1


async def test_after_a_refusal_the_kernel_is_asked_what_it_has(kernel: Device, tmp_path: Path) -> None:
    nodes = Nodes(ONE, TWO)
    async with running(nodes, Record(tmp_path / "record")) as clock:
        await until(lambda: kernel.state == wanted([TWO], "one"))
        # Somebody removed an entry that the next change wants to remove.
        assert kernel.kernel is not None
        kernel.kernel.routes.clear()
        nodes.change("two", None)
        await settled()
        nodes.change("three", THREE)
        await clock.advance(1.0)
        await until(lambda: kernel.state == wanted([THREE], "one"))
        assert len(kernel.made) == 2


async def test_a_new_range_of_ones_own_is_put_on_the_device(kernel: Device, tmp_path: Path) -> None:
    nodes = Nodes(ONE, TWO)
    async with running(nodes, Record(tmp_path / "record")):
        await until(lambda: kernel.state == wanted([TWO], "one"))
        nodes.change("one", node("one", "10.42.9.0/24", "192.0.2.1"))
        await until(lambda: kernel.made == ["10.42.0.0/24", "10.42.9.0/24"])
