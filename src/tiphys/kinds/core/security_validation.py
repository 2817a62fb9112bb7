"""Validation of security contexts: of the pod and of its containers.

Source: upstream's `validatePodSpecSecurityContext`, `ValidateSecurityContext` and what they call.
"""

from __future__ import annotations

import re

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_supported, required, too_long
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows

_MAX_ID = 2**31 - 1
_ID_RULE = f"must be between 0 and {_MAX_ID}, inclusive"
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_SYSCTL_FORM = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_SYSCTL = re.compile(_SYSCTL_FORM)
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")
_MAX_PROFILE = 4095
_GMSA_KIB = 64
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_NET_BIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_DOMAIN_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*")
_USER_CHARACTERS = re.compile(r'["/\\:;|=,+*?<>@\[\]]')


def check_id(context: Json, path: str, *fields: str) -> Errors:
    for field in fields:
        value = context.get(field)
        if value is not None and not 0 <= value <= _MAX_ID:
            yield invalid(f"{path}.{field}", value, _ID_RULE)


def check_pod_context(context: Json, spec: Json, path: str, *, created: bool) -> Errors:
    """`created`: whether sysctls of the host's namespaces are still to be refused."""
    yield from check_id(context, path, "fsGroup", "runAsUser", "runAsGroup")
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= _MAX_ID:
            yield invalid(f"{path}.supplementalGroups[{index}]", group, _ID_RULE)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        rule = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{path}.shareProcessNamespace", True, rule)
    if not context:
        return
    yield from _check_sysctls(context.get("sysctls") or [], spec, f"{path}.sysctls", created=created)
    yield from _one_of(context, path, "fsGroupChangePolicy", ("Always", "OnRootMismatch"))
    yield from _check_profiles(context, path)
    yield from _one_of(context, path, "supplementalGroupsPolicy", ("Merge", "Strict"))
    yield from _one_of(context, path, "seLinuxChangePolicy", ("MountOption", "Recursive"))


def _one_of(context: Json, path: str, field: str, allowed: tuple[str, ...]) -> Errors:
    value = context.get(field)
    if value is not None and value not in allowed:
        yield not_supported(f"{path}.{field}", value, allowed)


def check_context(context: Json, path: str, *, host_users: bool) -> Errors:
    """Of one container; `host_users`: whether root in it is root outside."""
    yield from check_id(context, path, "runAsUser", "runAsGroup")
    mount = context.get("procMount")
    if mount is not None:
        if mount not in ("Default", "Unmasked"):
            yield not_supported(f"{path}.procMount", mount, ("Default", "Unmasked"))
        if host_users and mount == "Unmasked":
            yield invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    if context.get("seccompProfile") is not None:
        yield from check_seccomp(context["seccompProfile"], f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            yield invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        for name in (context.get("capabilities") or {}).get("add") or ():
            if name == "CAP_SYS_ADMIN":
                rule = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
                yield invalid(path, context, rule)
    if context.get("windowsOptions") is not None:
        yield from check_windows_options(context["windowsOptions"], f"{path}.windowsOptions")
    if context.get("appArmorProfile") is not None:
        yield from check_app_armor(context["appArmorProfile"], f"{path}.appArmorProfile")


def _check_profiles(context: Json, path: str) -> Errors:
    if context.get("seccompProfile") is not None:
        yield from check_seccomp(context["seccompProfile"], f"{path}.seccompProfile")
    if context.get("windowsOptions") is not None:
        yield from check_windows_options(context["windowsOptions"], f"{path}.windowsOptions")
    if context.get("appArmorProfile") is not None:
        yield from check_app_armor(context["appArmorProfile"], f"{path}.appArmorProfile")


def check_seccomp(profile: Json, path: str) -> Errors:
    kind, file = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        yield required(f"{path}.type", "type is required when seccompProfile is set")
    elif kind not in _PROFILES:
        yield not_supported(f"{path}.type", kind, _PROFILES)
    where = f"{path}.localhostProfile"
    if kind != "Localhost":
        if file is not None:
            yield invalid(where, profile, "can only be set when seccomp type is Localhost")
    elif file is None:
        yield required(where, "must be set when seccomp type is Localhost")
    else:
        if file.startswith("/"):
            yield invalid(where, file, "must be a relative path")
        if ".." in file.split("/"):
            yield invalid(where, file, "must not contain '..'")


def check_app_armor(profile: Json, path: str) -> Errors:
    kind, name = profile.get("type") or "", profile.get("localhostProfile")
    where = f"{path}.localhostProfile"
    if kind == "Localhost":
        if not name:
            yield required(where, "must be set when AppArmor type is Localhost")
            return
        if name.strip() != name:
            yield invalid(where, name, "must not be padded with whitespace")
        if len(name.encode()) > _MAX_PROFILE:
            yield too_long(where, _MAX_PROFILE)
    elif kind in _PROFILES:
        if name is not None:
            yield invalid(where, name, "can only be set when AppArmor type is Localhost")
    elif not kind:
        yield required(f"{path}.type", "type is required when appArmorProfile is set")
    else:
        yield not_supported(f"{path}.type", kind, _PROFILES)


def _check_sysctls(sysctls: list[Json], spec: Json, path: str, *, created: bool) -> Errors:
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        where, name = f"{path}[{index}].name", sysctl.get("name") or ""
        if not name:
            yield required(where)
        elif len(name) > 253 or _SYSCTL.match(name) is None:
            yield invalid(where, name, f"must have at most 253 characters and match regex {_SYSCTL_FORM}")
        elif name in seen:
            yield duplicate(where, name)
        seen.add(name)
        if created:
            dotted = name.replace("/", ".")
            if spec.get("hostNetwork") and dotted.startswith("net."):
                yield invalid(where, name, "may not be specified when 'hostNetwork' is true")
            elif spec.get("hostIPC") and (dotted == "kernel.sem" or dotted.startswith(_IPC_SYSCTLS)):
                yield invalid(where, name, "may not be specified when 'hostIPC' is true")


def check_windows_options(options: Json, path: str) -> Errors:
    name, text = options.get("gmsaCredentialSpecName"), options.get("gmsaCredentialSpec")
    if name is not None:
        yield from follows(name, f"{path}.gmsaCredentialSpecName", names.dns1123_subdomain)
    if text is not None:
        where = f"{path}.gmsaCredentialSpec"
        if not text:
            yield invalid(where, text, "gmsaCredentialSpec cannot be an empty string")
        elif len(text.encode()) > _GMSA_KIB * 1024:
            yield invalid(where, text, f"gmsaCredentialSpec size must be under {_GMSA_KIB} KiB")
    if options.get("runAsUserName") is not None:
        user = options["runAsUserName"]
        for problem in _user_problems(user):
            yield invalid(f"{path}.runAsUserName", user, problem)


def _user_problems(name: str) -> list[str]:
    """What is wrong with a Windows user, `DOMAIN\\USER` or `USER`."""
    if not name:
        return ["runAsUserName cannot be an empty string"]
    if _CONTROL.search(name):
        return ["runAsUserName cannot contain control characters"]
    parts = name.split("\\")
    if len(parts) > 2:
        return ["runAsUserName cannot contain more than one backslash"]
    user, domain, found = parts[-1], parts[0] if len(parts) == 2 else None, []
    if domain is not None and len(domain) >= 256:
        found.append("runAsUserName's Domain length must be under 256 characters")
    if domain is not None and not (_NET_BIOS.fullmatch(domain) or _DOMAIN.fullmatch(domain)):
        found.append("runAsUserName's Domain doesn't match the NetBios nor the DNS format")
    if not user:
        found.append("runAsUserName's User cannot be empty")
    elif len(user) > 104:
        found.append("runAsUserName's User length must not be longer than 104 characters")
    if user and not user.strip(". "):
        found.append("runAsUserName's User cannot contain only periods or spaces")
    if _USER_CHARACTERS.search(user):
        found.append("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return found


def check_no_host_namespaces(spec: Json, path: str) -> Errors:
    """A pod whose users are its own shares no namespace with the host. The spelling of the paths is upstream's."""
    for field, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get(field):
            yield forbidden(f"{path}.{shown}", "when `pod.Spec.HostUsers` is false")
