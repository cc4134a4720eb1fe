import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.report import (
    Figure,
    Listing,
    Notice,
    Page,
    Prose,
    Section,
    Table,
    Tile,
    Verdict,
    render,
)
from bids_qsmthal.report.page import Rating, data_uri

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


class Elements(HTMLParser):
    """Every element with its attributes, and the text of the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):  # noqa: ARG002 - the parser's signature
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)


def hostile_page() -> Page:
    frame = pd.DataFrame({HOSTILE: [HOSTILE], "outcome": [HOSTILE]})
    return Page(
        HOSTILE,
        HOSTILE,
        (Tile(HOSTILE, HOSTILE, HOSTILE),),
        Verdict("exclude", (HOSTILE,)),
        (
            Section(
                HOSTILE,
                (
                    Prose(HOSTILE, HOSTILE),
                    Table(HOSTILE, frame, HOSTILE, HOSTILE, status_column="outcome"),
                    Listing(HOSTILE, HOSTILE),
                    Figure(HOSTILE, HOSTILE, HOSTILE, f"<svg>{HOSTILE}</svg>".encode()),
                    Rating(HOSTILE, HOSTILE, HOSTILE, "check", HOSTILE, HOSTILE),
                ),
            ),
        ),
        (Notice(HOSTILE, HOSTILE),),
        {HOSTILE: HOSTILE},
        ((HOSTILE, "javascript:alert(1)"), ("data", "data:text/html,x"), ("ok", "group.html")),
    )


def test_no_markup_from_data_gets_into_a_page() -> None:
    elements = Elements(render(hostile_page()))
    assert [tag for tag, _ in elements.found].count("script") == 1
    handlers = [name for _, given in elements.found for name in given if name.startswith("on")]
    assert handlers == []
    assert all(given.get("src") != "x" for _, given in elements.found)
    addresses = [given["href"] for tag, given in elements.found if tag == "a"]
    assert not any(address.startswith(("javascript:", "data:text/html")) for address in addresses)
    assert "group.html" in addresses


def test_a_page_asks_for_nothing_from_outside() -> None:
    elements = Elements(render(hostile_page()))
    for tag, given in elements.found:
        loaded = [given.get("src"), given.get("href") if tag == "link" else None]
        assert all(address is None or address.startswith("data:") for address in loaded)
    # A place on the page itself is one that begins with #.
    assert not re.findall(r"url\((?!#)", render(hostile_page()))


def test_the_security_policy_allows_our_script_and_no_other() -> None:
    elements = Elements(render(Page("x")))
    policy = next(
        given["content"]
        for tag, given in elements.found
        if given.get("http-equiv") == "Content-Security-Policy"
    )
    digest = hashlib.sha256("".join(elements.scripts).encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}';" in policy
    assert "default-src 'none'" in policy


def test_a_page_shows_another_one_only_where_it_names_it() -> None:
    among = "group/quality.html#sub-01"
    framed, alone = render(Page("x", among=among)), render(Page("x"))
    (given,) = (given for tag, given in Elements(framed).found if tag == "iframe")
    assert given["src"] == among
    # Loaded when a reader opens it, not with the page: the group level may not have run.
    assert given["loading"] == "lazy"
    assert '<details class="among"><summary>' in framed
    assert "frame-src" in framed
    assert "frame-src" not in alone
    assert "<iframe" not in alone


def test_a_table_is_saved_in_full_precision_with_missing_values_named() -> None:
    frame = pd.DataFrame({"region": ["a\tb", "c"], "value": [1 / 3, np.nan]})
    head, content = Table("t", frame).uri.split(",")
    assert head == "data:text/tab-separated-values;base64"
    saved = pd.read_csv(io.BytesIO(base64.b64decode(content)), sep="\t", na_values=["n/a"])
    pd.testing.assert_frame_equal(saved, frame)
    assert b"n/a" in base64.b64decode(content)


def test_a_table_shows_status_with_a_sign_and_not_by_colour_alone() -> None:
    frame = pd.DataFrame({"outcome": ["pass", "warn", "fail", "other"]})
    text = render(
        Page("x", sections=(Section("s", (Table("t", frame, status_column="outcome"),)),))
    )
    marks = re.findall(r'class="mark (\w+)">(\w+)<', text)
    assert marks == [("ok", "pass"), ("look", "warn"), ("bad", "fail")]


def test_an_svg_address_carries_the_same_bytes() -> None:
    content = "<svg a='1' b=\"2%\">#\n\u2212 & é</svg>".encode()
    address = Figure("t", "c", "a", content).uri
    assert '"' not in address
    assert "#" not in address
    assert unquote_to_bytes(address.removeprefix("data:image/svg+xml,")) == content


def test_every_heading_has_its_own_address_and_every_link_a_target() -> None:
    page = Page("x", sections=(Section("Same"), Section("Same"), Section("\u00e9")))
    elements = Elements(render(page))
    names = [given["id"] for _, given in elements.found if "id" in given]
    assert len(names) == len(set(names))
    inside = [given["href"] for tag, given in elements.found if tag == "a"]
    assert {address[1:] for address in inside if address.startswith("#")} <= set(names)


def test_web_addresses_in_prose_become_links() -> None:
    text = render(Page("x", sections=(Section("s", (Prose("see https://doi.org/10.1/x, and"),)),)))
    assert '<a href="https://doi.org/10.1/x" rel="noopener noreferrer"' in text


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_every_picture_has_a_description(kind: str) -> None:
    figure = Figure("t", "c", "what it shows", b"<svg/>", kind)
    elements = Elements(render(Page("x", sections=(Section("s", (figure,)),))))
    pictures = [given for tag, given in elements.found if tag == "img" and "decoding" in given]
    assert [given["alt"] for given in pictures] == ["what it shows"]


def test_equal_pages_are_equal_text() -> None:
    assert render(hostile_page()) == render(hostile_page())


def test_a_data_uri_can_be_read_back() -> None:
    assert base64.b64decode(data_uri(b"\x00\xff", "image/png").split(",")[1]) == b"\x00\xff"
