"""Secret. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, required, too_long
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, immutable
from tiphys.kinds.columns import AGE, NAME, at, column
from tiphys.kinds.core.configmap import MAX_SIZE, decoded_size, frozen
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import put_text, text_at
from tiphys.kinds.strategy import KindStrategy


class Secret(Model):
    """`data` decodes from base64 to bytes."""

    metadata: ObjectMeta = ObjectMeta()
    type: str = "Opaque"
    data: dict[str, bytes] = {}
    immutable: bool = False


# Keys that secrets of a type must have.
_REQUIRED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class SecretStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        """`stringData` is for writing only: it goes into `data`, over what is there."""
        put_text(new, "type", "Opaque")
        given = new.pop("stringData", None)
        if given:
            encoded = {key: b64encode(value.encode()).decode() for key, value in given.items()}
            new["data"] = {**(new.get("data") or {}), **encoded}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from immutable(new, old, "type")
        yield from frozen(new, old, "data")
        data = new.get("data") or {}
        for key in data:
            yield from follows(key, f"data[{key}]", names.config_key)
        if sum(map(decoded_size, data.values())) > MAX_SIZE:
            yield too_long("data", MAX_SIZE)
        type_ = new.get("type") or ""
        for key in _REQUIRED.get(type_, ()):
            if key not in data or (key == "ssh-privatekey" and not data[key]):
                yield required(f"data[{key}]")
            elif key in (".dockercfg", ".dockerconfigjson"):
                yield from _check_json(data[key], f"data[{key}]")
        if type_ == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
            yield required("data[username]")
            yield required("data[password]")
        if type_ == "kubernetes.io/service-account-token":
            annotations = (new.get("metadata") or {}).get("annotations") or {}
            if not annotations.get("kubernetes.io/service-account.name"):
                yield required("metadata.annotations[kubernetes.io/service-account.name]")


def _check_json(encoded: str, path: str) -> Iterator[FieldError]:
    """That a value is a JSON object; what it says is not shown."""
    text = b64decode(encoded).decode(errors="replace")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        rule = "unexpected end of JSON input"
        if error.pos < len(text):
            rule = f"invalid character '{text[error.pos]}' looking for beginning of value"
        yield invalid(path, "<secret contents redacted>", rule)
        return
    if value is not None and not isinstance(value, dict):
        kind = {str: "string", bool: "bool", list: "array"}.get(type(value), "number")
        rule = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        yield invalid(path, "<secret contents redacted>", rule)


SECRETS = declare(
    Secret, group="", version="v1", kind="Secret", plural="secrets", selectable_fields={"type": text_at("type")},
    columns=(NAME, at("Type", "type"), column("Data", lambda obj: len(obj.get("data") or {})), AGE),
    strategy=SecretStrategy(),
)  # fmt: skip
