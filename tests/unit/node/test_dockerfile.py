import pytest

from tiphys.node.dockerfile import parse
from tiphys.node.oci import ImageError


def test_instructions_become_settings_and_copies() -> None:
    plan = parse(
        "# comment\nFROM busybox\nENV A=1 B='two words'\nWORKDIR /srv\nCOPY a b \\\n  ./dir/\n"
        'EXPOSE 80\nUSER 1000\nLABEL x=y\nCMD ["httpd", "-f"]\nENTRYPOINT run ${A}\n'
    )
    assert plan.base == "busybox"
    assert plan.env == {"A": "1", "B": "two words"}
    assert plan.copies == [(["a", "b"], "/srv/./dir/")]
    assert plan.config["Cmd"] == ["httpd", "-f"]
    assert plan.config["Entrypoint"] == ["/bin/sh", "-c", "run 1"]
    assert plan.config["ExposedPorts"] == {"80/tcp": {}}
    assert (plan.config["User"], plan.config["Labels"], plan.config["WorkingDir"]) == ("1000", {"x": "y"}, "/srv")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM scratch\nRUN make", "Dockerfile:2: RUN is not supported: use buildah"),
        ("COPY a b", "COPY before FROM"),
        ("FROM a\nFROM b", "a second FROM"),
        ("FROM a\nCOPY x", "needs a source and a destination"),
        ("FROM a\nCMD [1]", "must be a list of strings"),
        ("", "no FROM"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        parse(text)
