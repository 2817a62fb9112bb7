"""A node's VXLAN device in the kernel: made, found again, read and changed, by iproute2."""

from __future__ import annotations

from typing import Any

from tiphys.node import iproute, nft
from tiphys.overlay import plan
from tiphys.overlay.plan import Setting, State, changes, gateway, hardware_address


async def ensure(setting: Setting, cidr: str) -> None:
    """Have the device up as the setting says, with the first address of the node's own pods' range on it."""
    device = setting.device
    lines = []
    if iproute.exists(device):
        [found] = await iproute.show(["-details", "link", "show", "dev", device])
        if not _fits(found, setting):
            lines.append(f"link delete {device}")
    if lines or not iproute.exists(device):
        lines.append(
            f"link add {device} address {hardware_address(setting.node)} mtu {setting.mtu} "
            f"type vxlan id {setting.vni} dstport {setting.port} local {setting.address} nolearning"
        )
    lines += [f"link set {device} up", f"addr replace {gateway(cidr)}/32 dev {device}"]
    await iproute.batch(lines)


async def guard(setting: Setting, state: State) -> None:
    """Let in packets of nodes only. Raises OSError."""
    try:
        await nft.apply(plan.guard(setting, state))
    except nft.NftError as error:
        raise OSError(f"table {setting.table}: {error}") from error


def _fits(link: dict[str, Any], setting: Setting) -> bool:
    data = link.get("linkinfo", {}).get("info_data", {})
    facts = (data.get("id"), data.get("port"), data.get("local"), link.get("mtu"), link.get("address"))
    return facts == (setting.vni, setting.port, setting.address, setting.mtu, hardware_address(setting.node))


async def read(device: str) -> State:
    """The entries that the kernel has for the device."""
    routes = await iproute.show(["-4", "route", "show", "dev", device])
    neighbours = await iproute.show(["-4", "neigh", "show", "dev", device, "nud", "permanent"])
    forwards = await iproute.show(["fdb", "show", "dev", device], program="bridge")
    return State(
        {route["dst"]: route["gateway"] for route in routes if "gateway" in route},
        {entry["dst"]: entry["lladdr"] for entry in neighbours if "lladdr" in entry},
        {entry["mac"]: entry["dst"] for entry in forwards if "dst" in entry},
    )


async def apply(device: str, old: State, new: State) -> None:
    """Lead the device's entries from `old` to `new`. Raises OSError; some may have been changed then."""
    needed = changes(device, old, new)
    await iproute.batch(needed.ip_before)
    await iproute.batch(needed.bridge, program="bridge")
    await iproute.batch(needed.ip_after)
