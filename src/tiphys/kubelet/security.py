"""Security contexts: what of the pod's and the container's holds for each, as the runtime takes it. Pure.

https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
"""

from __future__ import annotations

from tiphys.kinds.core.container import Container, SeccompProfile
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.runtime import Image, Seccomp, Security


class NotAllowed(Exception):
    """The container may not run as the image or the spec says; the message is upstream's."""


def profile(said: SeccompProfile | None, root: str = "") -> Seccomp | None:
    """A seccomp profile; `root` is where Localhost profiles lie."""
    if said is None:
        return None
    path = f"{root}/{said.localhost_profile}" if said.type == "Localhost" and root else said.localhost_profile
    return Seccomp(said.type, path)


def groups(pod: Pod) -> tuple[int, ...]:
    """Supplemental groups of every container, the volumes' fsGroup among them."""
    rules = pod.spec.security_context
    found = list(rules.supplemental_groups)
    if rules.fs_group is not None and rules.fs_group not in found:
        found.append(rules.fs_group)
    return tuple(found)


def effective(pod: Pod, container: Container, image: Image, seccomp_root: str = "") -> Security:
    """The container's security settings over the pod's. Raises NotAllowed."""
    rules, whole = container.security_context, pod.spec.security_context
    user = whole.run_as_user if rules.run_as_user is None else rules.run_as_user
    group = whole.run_as_group if rules.run_as_group is None else rules.run_as_group
    non_root = whole.run_as_non_root if rules.run_as_non_root is None else rules.run_as_non_root
    if non_root:
        _check_non_root(pod, container, user, image)
    name = ""
    if user is None and image.user:
        # Group alone cannot be set in CRI: the image's user goes with it.
        user, name = (int(image.user), "") if image.user.isdigit() else (None, image.user)
    elif user is None and group is not None:
        user = 0
    seccomp = rules.seccomp_profile or whole.seccomp_profile
    return Security(
        privileged=rules.privileged, run_as_user=user, run_as_group=group, run_as_username=name,
        readonly_rootfs=rules.read_only_root_filesystem,
        no_new_privs=rules.allow_privilege_escalation is False,
        supplemental_groups=groups(pod),
        add_capabilities=tuple(cap.removeprefix("CAP_") for cap in rules.capabilities.add),
        drop_capabilities=tuple(cap.removeprefix("CAP_") for cap in rules.capabilities.drop),
        seccomp=Seccomp("Unconfined") if rules.privileged else profile(seccomp, seccomp_root) or Seccomp("Unconfined"),
        apparmor=profile(rules.app_armor_profile or whole.app_armor_profile),
        masked_paths=rules.proc_mount != "Unmasked",
    )  # fmt: skip


def _check_non_root(pod: Pod, container: Container, user: int | None, image: Image) -> None:
    where = f'pod: "{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})", container: {container.name}'
    if user is not None:
        if user == 0:
            raise NotAllowed(f"container's runAsUser breaks non-root policy ({where})")
        return
    if image.user in ("", "0"):
        raise NotAllowed(f"container has runAsNonRoot and image will run as root ({where})")
    if not image.user.isdigit():
        raise NotAllowed(
            f"container has runAsNonRoot and image has non-numeric user ({image.user}), "
            f"cannot verify user is non-root ({where})"
        )
