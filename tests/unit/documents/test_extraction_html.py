from __future__ import annotations

import pytest

from headwater.errors import DocumentRefused

from .files import read


def text(html: str) -> str:
    return read(html, "a.html").text


def test_blocks_headings_and_the_title() -> None:
    made = read(
        "<title> The\n page </title><body><h1>One</h1><p>a  <b>b</b>\nc<br> d</p>loose<div>e<section>f</section></div>"
        "<h2>Sub <i>two</i></h2><p>g</p><h1></h1>",
        "a.html",
    )
    assert made.text == "The page\n\n\nOne\n\na b c\nd\n\nloose\n\ne\n\nf\n\n\nSub two\n\ng"
    assert [(made.text[start : start + 3], path) for start, path in made.sections] == [
        ("One", "One"),
        ("Sub", "One > Sub two"),
    ]


def test_a_title_that_the_first_heading_says_is_not_said_twice() -> None:
    assert text("<title>One</title><h1>One</h1><p>a") == "One\n\na"


def test_lists_tables_and_preformatted_text() -> None:
    assert text("<ul><li>a<ul><li>b</ul><li><p>c</p></ul>") == "- a\n\n- b\n\n- c"
    assert text("<ol><li>a</li><li>b</li></ol><p>c") == "- a\n- b\n\nc"
    assert text("<dl><dt>a<dd>b</dl>") == "a\n\nb"
    table = "<table><tr><th>Name<th>Depth</tr><tr><td><p>Baikal</p><p>lake</p></td><td>1642 m</td></tr></table>"
    assert text(table) == "Name | Depth\nBaikal lake | 1642 m"
    assert text("<table><tr><td><div>laid</div><td><div>out</div></table>") == "laid\n\nout"
    assert text("<pre>\nx = 1\n    y  = 2\n</pre>z") == "x = 1\n    y  = 2\n\nz"


def test_what_is_not_seen_is_left_out() -> None:
    assert (
        text(
            "<script>s</script><style>s</style><nav>n</nav><template>t</template><noscript>n</noscript><p hidden>h</p>"
            "<p aria-hidden=TRUE>h</p><p style='color:red; DISPLAY : none'>h</p><p style='visibility:hidden'>h</p>"
            "<!-- c --><svg><text>s</text></svg><select><option>o</select>"
            "<p style='color:red' aria-hidden=false id>seen"
        )
        == "seen"
    )


def test_entities_and_charsets() -> None:
    assert text("&amp;&eacute;&nbsp;x&shy;&#0;") == "&é x\xad\ufffd"
    assert read('<meta charset="iso-8859-2"><p>ř'.encode("iso-8859-2"), "a.html").text == "ř"
    assert (
        read('<meta charset="iso-8859-1"><p>ř'.encode("iso-8859-2"), "a.html", "text/html; charset=iso-8859-2").text
        == "ř"
    )


@pytest.mark.parametrize("html", ["", "<p></p>", "<frameset><frame></frameset>", "<script>x", "<body><nav><p>x"])
def test_without_text(html: str) -> None:
    with pytest.raises(DocumentRefused) as caught:
        text(html)
    assert caught.value.reason == "no_text"


def test_a_million_nested_elements() -> None:
    with pytest.raises(DocumentRefused) as caught:
        text("<div>" * 1_000_000 + "x")
    assert caught.value.reason == "damaged"
    assert text("<div>" * 4_000 + "x" + "</div>" * 5_000 + "<div>y</div>" * 6_000).startswith("x\n\ny")
    assert text("<b>" * 50_000 + "x") == "x"
    assert text("<x-y>" * 50_000 + "x") == "x"
