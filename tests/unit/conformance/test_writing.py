"""The statement as Markdown and as a page, read by other parsers than those who wrote it."""

from html.parser import HTMLParser
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt

from triage_agent.conformance.document import Document, Example, Paragraph, Section, table
from triage_agent.conformance.writing import as_html, as_markdown

NASTY = [
    "a|b",
    "*not bold*",
    "`code`",
    "<script>alert(1)</script>",
    "[x](http://x)",
    "back\\slash",
    "&amp;",
    "_a_",
    "~~s~~",
]


def document(*blocks):
    return Document("A | title", (Paragraph("Before."),), (Section("One", tuple(blocks), (Section("Below"),)),))


def cells(markdown):
    """The rows of every table as CommonMark's reference parser reads them, as plain text."""
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(markdown)
    rows = []
    for token, content in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type in {"td_open", "th_open"}:
            assert {child.type for child in content.children or []} <= {"text", "text_special", "softbreak"}
            rows[-1].append("".join(child.content for child in content.children or []))
    return rows


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.names, self.inside = [], [], False

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

        self.inside = tag in {"td", "th"}

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


@pytest.mark.parametrize("text", NASTY)
def test_what_a_cell_says_is_what_is_read_of_it(text):
    made = document(table("T", ("Head", text), [(text, "x"), ("y", text)]))
    assert cells(as_markdown(made)) == [["Head", text], [text, "x"], ["y", text]]
    parser = Cells()
    parser.feed(as_html(made))
    assert parser.rows == [["Head", text], [text, "x"], ["y", text]]


def test_controls_are_shown_and_lines_stay_lines():
    made = document(table("T", ("A", "B"), [("\x1b[31m", "one\ntwo")]), Example("E", ("MSH|^~\\&|\x1b", "</pre><b>")))
    for text in (as_markdown(made), as_html(made)):
        assert "\x1b" not in text
    assert cells(as_markdown(made))[1] == ["\\x1b[31m", "one\\x0atwo"]
    assert "</pre><b>" not in as_html(made)


def test_an_example_stays_one_whatever_it_says():
    tokens = MarkdownIt("commonmark").parse(
        as_markdown(document(Example("E", ("```", "# not a heading", "| a | b |"))))
    )
    (block,) = (token for token in tokens if token.type == "code_block")
    assert block.content == "```\n# not a heading\n| a | b |\n"


def test_a_table_whose_rows_do_not_fit_cannot_be_made():
    with pytest.raises(ValueError, match="does not fit"):
        table("T", ("A", "B"), [("x",)])


def test_a_table_without_rows_says_so():
    assert table("T", ("A", "B"), []).rows == (("none", "-"),)


def test_every_section_has_its_number_and_stands_in_the_contents():
    made = document()
    text = as_markdown(made)
    assert "- 1 One\n  - 1.1 Below\n" in text
    assert "\n## 1 One\n" in text
    assert "\n### 1.1 Below\n" in text
    assert 'href="#s1.1"' in as_html(made)
    assert 'id="s1.1"' in as_html(made)


def test_the_whole_statement_is_well_formed_and_the_same_in_both(statement):
    """Every cell of every table, in both; no table is cut or joined, and nothing comes from elsewhere."""
    markdown, page = as_markdown(statement), as_html(statement)
    parser = Cells()
    parser.feed(page)
    assert cells(markdown) == parser.rows
    assert len(parser.rows) > 600
    assert not {"script", "link", "img", "iframe"} & {*parser.names}
    assert "http://" not in page
