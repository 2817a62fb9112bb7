"""The Pod Security Standards: what baseline and restricted forbid, each as a reason and a detail in upstream's words.

A check gets a pod's metadata and spec and yields details; with any, the pod violates it. Pure; the newest version of
the standards. Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tiphys.api.resource import Json

Details = Iterator[str]
Check = Callable[[Json, Json], Details]
LEVELS = ("privileged", "baseline", "restricted")

_CAPABILITIES = frozenset(
    ("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
     "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT")
)  # fmt: skip
_SYSCTLS = frozenset(
    ("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
     "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
     "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
     "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")
)  # fmt: skip
_SELINUX_TYPES = frozenset(("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"))
_VOLUMES = frozenset(
    ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
     "secret")
)  # fmt: skip
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def violations(level: str, meta: Json, spec: Json) -> list[str]:
    """What a pod has that `level` forbids, as `reason (detail; detail)`."""
    if level == "privileged":
        return []
    checks = _BASELINE if level == "baseline" else _RESTRICTED
    found = []
    for reason, check in checks:
        details = "; ".join(check(meta, spec))
        if details:
            found.append(f"{reason} ({details})")
    return found


def containers(spec: Json) -> Iterator[Json]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def _security(holder: Json) -> Json:
    found: Json = holder.get("securityContext") or {}
    return found


def _named(names: Iterable[str], what: str = "container") -> str:
    listed = list(names)
    return f"{what}{'s' if len(listed) > 1 else ''} {_quoted(listed)}"


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


def _such(spec: Json, wanted: Callable[[Json], Any]) -> list[str]:
    return [container["name"] for container in containers(spec) if wanted(container)]


def _windows(spec: Json) -> bool:
    return (spec.get("os") or {}).get("name") == "windows"


def _apparmor(meta: Json, spec: Json) -> Details:
    profile = (_security(spec).get("appArmorProfile") or {}).get("type")
    if profile not in (None, "RuntimeDefault", "Localhost"):
        yield f'pod must not set AppArmor profile type to "{profile}"'
    bad = _such(spec, lambda c: (_security(c).get("appArmorProfile") or {}).get("type") == "Unconfined")
    if bad:
        yield f'{_named(bad)} must not set AppArmor profile type to "Unconfined"'
    for key, value in sorted((meta.get("annotations") or {}).items()):
        if key.startswith(_APPARMOR) and value not in ("", "runtime/default") and not value.startswith("localhost/"):
            yield f'annotation {key}="{value}"'


def _added(allowed: frozenset[str]) -> Check:
    def check(meta: Json, spec: Json) -> Details:
        bad: dict[str, list[str]] = {}
        for container in containers(spec):
            for capability in (_security(container).get("capabilities") or {}).get("add") or ():
                if capability not in allowed:
                    bad.setdefault(container["name"], []).append(capability)
        if bad:
            forbidden = sorted({capability for listed in bad.values() for capability in listed})
            yield f"{_named(bad)} must not include {_quoted(forbidden)} in securityContext.capabilities.add"

    return check


def _host_namespaces(meta: Json, spec: Json) -> Details:
    found = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if found:
        yield ", ".join(found)


def _host_paths(meta: Json, spec: Json) -> Details:
    found = [volume["name"] for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    if found:
        yield _named(found, "volume")


def _host_ports(meta: Json, spec: Json) -> Details:
    found = _such(spec, lambda c: any(port.get("hostPort") for port in c.get("ports") or ()))
    if found:
        ports = sorted({p["hostPort"] for c in containers(spec) for p in c.get("ports") or () if p.get("hostPort")})
        verb, many = ("use", "s") if len(found) > 1 else ("uses", "s" if len(ports) > 1 else "")
        yield f"{_named(found)} {verb} hostPort{many} {', '.join(map(str, ports))}"


def _probe_hosts(meta: Json, spec: Json) -> Details:
    found: dict[str, None] = {}
    for container in containers(spec):
        handlers = [container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
        handlers += [(container.get("lifecycle") or {}).get(name) for name in ("postStart", "preStop")]
        for handler in handlers:
            for kind in ("httpGet", "tcpSocket"):
                if ((handler or {}).get(kind) or {}).get("host"):
                    found[container["name"]] = None
    if found:
        yield f"{_named(found)} must not set the host of a probe or lifecycle handler"


def _privileged(meta: Json, spec: Json) -> Details:
    found = _such(spec, lambda c: _security(c).get("privileged"))
    if found:
        yield f"{_named(found)} must not set securityContext.privileged=true"


def _proc_mount(meta: Json, spec: Json) -> Details:
    found = _such(spec, lambda c: _security(c).get("procMount") not in (None, "", "Default"))
    if found:
        yield f'{_named(found)} must not set securityContext.procMount to "Unmasked"'


def _selinux(meta: Json, spec: Json) -> Details:
    holders = [("pod", spec), *((f'container "{c["name"]}"', c) for c in containers(spec))]
    for label, holder in holders:
        options = _security(holder).get("seLinuxOptions") or {}
        wrong = []
        if (options.get("type") or "") not in _SELINUX_TYPES:
            wrong.append(f'type "{options["type"]}"')
        wrong += [f"{name} may not be set" for name in ("user", "role") if options.get(name)]
        if wrong:
            yield f"{label} set forbidden securityContext.seLinuxOptions: {'; '.join(wrong)}"


def _seccomp_type(holder: Json) -> str | None:
    found: str | None = (_security(holder).get("seccompProfile") or {}).get("type")
    return found


def _seccomp(meta: Json, spec: Json) -> Details:
    if _seccomp_type(spec) == "Unconfined":
        yield 'pod must not set securityContext.seccompProfile.type to "Unconfined"'
    found = _such(spec, lambda c: _seccomp_type(c) == "Unconfined")
    if found:
        yield f'{_named(found)} must not set securityContext.seccompProfile.type to "Unconfined"'


def _sysctls(meta: Json, spec: Json) -> Details:
    found = [s["name"] for s in _security(spec).get("sysctls") or () if s["name"].replace("/", ".") not in _SYSCTLS]
    if found:
        yield ", ".join(found)


def _host_process(meta: Json, spec: Json) -> Details:
    if (_security(spec).get("windowsOptions") or {}).get("hostProcess"):
        yield "pod must not set securityContext.windowsOptions.hostProcess=true"
    found = _such(spec, lambda c: (_security(c).get("windowsOptions") or {}).get("hostProcess"))
    if found:
        yield f"{_named(found)} must not set securityContext.windowsOptions.hostProcess=true"


def _escalation(meta: Json, spec: Json) -> Details:
    found = _such(spec, lambda c: _security(c).get("allowPrivilegeEscalation") is not False)
    if found and not _windows(spec):
        yield f"{_named(found)} must set securityContext.allowPrivilegeEscalation=false"


def _drops_all(meta: Json, spec: Json) -> Details:
    if _windows(spec):
        return
    found = _such(spec, lambda c: "ALL" not in ((_security(c).get("capabilities") or {}).get("drop") or ()))
    if found:
        yield f'{_named(found)} must set securityContext.capabilities.drop=["ALL"]'
    yield from _added(frozenset(("NET_BIND_SERVICE",)))(meta, spec)


def _volume_types(meta: Json, spec: Json) -> Details:
    bad = {v["name"]: next((t for t in v if t != "name" and t not in _VOLUMES), "") for v in spec.get("volumes") or ()}
    bad = {name: kind for name, kind in bad.items() if kind}
    if bad:
        verb, many = ("use", "s") if len(bad) > 1 else ("uses", "")
        yield f"{_named(bad, 'volume')} {verb} restricted volume type{many} {_quoted(sorted(set(bad.values())))}"


def _non_root(meta: Json, spec: Json) -> Details:
    own = _security(spec).get("runAsNonRoot")
    if own is False:
        yield "pod must not set securityContext.runAsNonRoot=false"
    wrong = _such(spec, lambda c: _security(c).get("runAsNonRoot") is False)
    if wrong:
        yield f"{_named(wrong)} must not set securityContext.runAsNonRoot=false"
    unset = _such(spec, lambda c: _security(c).get("runAsNonRoot") is None)
    if unset and own is None:
        yield f"pod or {_named(unset)} must set securityContext.runAsNonRoot=true"


def _user(meta: Json, spec: Json) -> Details:
    if _security(spec).get("runAsUser") == 0:
        yield "pod must not set runAsUser=0"
    found = _such(spec, lambda c: _security(c).get("runAsUser") == 0)
    if found:
        yield f"{_named(found)} must not set runAsUser=0"


def _seccomp_set(meta: Json, spec: Json) -> Details:
    if _windows(spec):
        return
    good = ("RuntimeDefault", "Localhost")
    own = _seccomp_type(spec)
    if own is not None and own not in good:
        yield f'pod must not set securityContext.seccompProfile.type to "{own}"'
    wrong = _such(spec, lambda c: _seccomp_type(c) not in (None, *good))
    if wrong:
        yield f'{_named(wrong)} must not set securityContext.seccompProfile.type to "Unconfined"'
    unset = _such(spec, lambda c: _seccomp_type(c) is None)
    if unset and own is None:
        kinds = '"RuntimeDefault" or "Localhost"'
        yield f"pod or {_named(unset)} must set securityContext.seccompProfile.type to {kinds}"


_BOTH: tuple[tuple[str, Check], ...] = (
    ("host namespaces", _host_namespaces), ("hostPort", _host_ports), ("probe or lifecycle host", _probe_hosts),
    ("privileged", _privileged), ("procMount", _proc_mount), ("seLinuxOptions", _selinux),
)  # fmt: skip
_BOTH_LAST: tuple[tuple[str, Check], ...] = (("forbidden sysctls", _sysctls), ("hostProcess", _host_process))
_BASELINE: tuple[tuple[str, Check], ...] = (
    ("forbidden AppArmor profile", _apparmor), ("non-default capabilities", _added(_CAPABILITIES)),
    ("hostPath volumes", _host_paths), *_BOTH, ("seccompProfile", _seccomp), *_BOTH_LAST,
)  # fmt: skip
_RESTRICTED: tuple[tuple[str, Check], ...] = (
    ("forbidden AppArmor profile", _apparmor), *_BOTH, *_BOTH_LAST, ("allowPrivilegeEscalation != false", _escalation),
    ("unrestricted capabilities", _drops_all), ("restricted volume types", _volume_types),
    ("runAsNonRoot != true", _non_root), ("runAsUser=0", _user), ("seccompProfile", _seccomp_set),
)  # fmt: skip
