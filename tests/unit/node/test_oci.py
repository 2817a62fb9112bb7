import io
import tarfile
from pathlib import Path

import orjson
import pytest

from tiphys.node import oci


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("a/b:1", "docker.io/a/b:1"),
        ("quay.io/a/b", "quay.io/a/b:latest"),
        ("localhost:5000/b:2", "localhost:5000/b:2"),
        ("localhost/b", "localhost/b:latest"),
        ("b@sha256:ab", "docker.io/library/b@sha256:ab"),
    ],
)
def test_names_take_their_full_form(name: str, full: str) -> None:
    assert oci.normalize(name) == full


def _tar(path: Path, files: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return str(path)


def test_an_oci_layout_gives_back_the_image(tmp_path: Path) -> None:
    made = oci.simple({"Cmd": ["x"]}, oci.layer({"x": b"data"}))
    files = {f"blobs/sha256/{part.digest[7:]}": part.read() for part in [*made.blobs, made.manifest]}
    notes = {"io.containerd.image.name": "docker.io/library/x:1"}
    files["index.json"] = orjson.dumps({"manifests": [made.manifest.descriptor() | {"annotations": notes}]})
    [(names, image)] = oci.Archive(_tar(tmp_path / "a.tar", files)).images()
    assert names == ["docker.io/library/x:1"]
    assert image.manifest.read() == made.manifest.read()
    assert {part.digest for part in image.blobs} == {part.digest for part in made.blobs}
    assert {part.read() for part in image.blobs} == {part.read() for part in made.blobs}


def test_a_docker_archive_becomes_an_oci_image(tmp_path: Path) -> None:
    layer = oci.layer({"x": b"data"})
    files = {
        "c.json": b'{"config":{}}', "l/layer.tar": layer.read(),
        "manifest.json": orjson.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l/layer.tar"]}]),
    }  # fmt: skip
    [(names, image)] = oci.Archive(_tar(tmp_path / "a.tar", files)).images()
    assert names == ["docker.io/library/x:1"]
    assert image.layers[0]["digest"] == layer.digest


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "no").write_bytes(b"nonsense")
    with pytest.raises(oci.ImageError, match="no"):
        oci.Archive(str(tmp_path / "no"))
    with pytest.raises(oci.ImageError, match=r"neither index\.json nor manifest\.json"):
        oci.Archive(_tar(tmp_path / "b.tar", {"x": b""})).images()
