"""What the HTML pages share: escaping, and a digest that a browser would agree with."""

from __future__ import annotations

from pathlib import Path

import pytest

from landbridge.shared.pages import digest, own_text, templates


def test_what_is_filled_in_is_escaped_and_nothing_may_be_missing(tmp_path: Path) -> None:
    from jinja2 import UndefinedError

    (tmp_path / "page.j2").write_text("<p>{{ text }}</p>")
    page = templates(tmp_path).get_template("page.j2")
    assert page.render(text="<script>") == "<p>&lt;script&gt;</p>"
    with pytest.raises(UndefinedError):
        page.render()


def test_the_digest_is_of_the_text_as_it_stands() -> None:
    # printf 'alert(1)' | openssl dgst -sha256 -binary | base64
    assert digest("alert(1)") == "sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI="


@pytest.mark.parametrize("text", ["p {} </style>", "</SCRIPT >"])
def test_an_own_file_cannot_end_its_element(text: str, tmp_path: Path) -> None:
    (tmp_path / "own.css").write_text(text)
    with pytest.raises(AssertionError):
        own_text(tmp_path, "own.css")
    (tmp_path / "own.css").write_text("p {}")
    assert own_text(tmp_path, "own.css") == "p {}"
