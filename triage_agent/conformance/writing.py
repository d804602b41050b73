"""The document as Markdown (CommonMark with tables), and as one HTML page that needs nothing else."""

import re
from collections.abc import Iterator
from html import escape

from triage_agent.conformance.document import Block, Document, Example, Paragraph, Table, numbered
from triage_agent.domain.visible import visible

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&])")  # what CommonMark, or its tables, would take for its own
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 75rem; margin: 2rem auto;
       padding: 0 1rem; }
h1, h2, h3, h4 { line-height: 1.2; margin: 1.6em 0 .5em; }
table { border-collapse: collapse; margin: .5em 0 1.2em; }
caption { text-align: left; font-weight: 600; padding: .3em 0; }
th, td { border: 1px solid #bbb; padding: .25em .5em; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { background: #eef1f4; }
pre { background: #f5f5f5; padding: .7em; overflow-x: auto; }
nav ul { list-style: none; padding-left: 1em; }
@media print { body { max-width: none; font-size: 10pt; } h2 { break-before: page; } tr { break-inside: avoid; } }
"""


def as_markdown(document: Document) -> str:
    """Markdown with a table of contents; every cell is one line."""
    lines = [f"# {_plain(document.title)}", "", *_markdown_blocks(document.blocks), "## Contents", ""]
    chapters = list(numbered(document.sections))
    lines += [f"{'  ' * (depth - 1)}- {number} {_plain(section.title)}" for number, depth, section in chapters]
    for number, depth, section in chapters:
        lines += ["", f"{'#' * min(depth + 1, 6)} {number} {_plain(section.title)}", ""]
        lines += _markdown_blocks(section.blocks)
    return "\n".join(lines).rstrip() + "\n"


def _markdown_blocks(blocks: tuple[Block, ...]) -> list[str]:
    return [line for block in blocks for line in _markdown_block(block)]


def _markdown_block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(text):
            yield from (_plain(text), "")
        case Table(title, heads, rows):
            yield from (f"**{_plain(title)}**", "")
            for row in (heads, ("---",) * len(heads), *rows):
                yield f"| {' | '.join(row if row[0] == '---' else map(_plain, row))} |"
            yield ""
        case Example(title, lines):
            yield from (f"**{_plain(title)}**", "")
            yield from (f"    {visible(line)}" for line in lines)  # indented: no line can end it
            yield ""


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: nothing in a configuration or an example is markup."""
    return _MARKDOWN.sub(r"\\\1", " ".join(visible(text).split()))


def as_html(document: Document) -> str:
    """One page, without scripts and without anything from elsewhere."""
    chapters = list(numbered(document.sections))
    contents = "".join(
        f'<li style="margin-left:{depth - 1}em"><a href="#s{number}">{number} {_text(section.title)}</a></li>\n'
        for number, depth, section in chapters
    )
    body = [f"<h1>{_text(document.title)}</h1>", *map(_html_block, document.blocks), f"<nav><ul>{contents}</ul></nav>"]
    for number, depth, section in chapters:
        level = min(depth + 1, 6)
        body.append(f'<h{level} id="s{number}">{number} {_text(section.title)}</h{level}>')
        body += map(_html_block, section.blocks)
    head = f'<meta charset="utf-8"><title>{_text(document.title)}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def _html_block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{_text(text)}</p>"
        case Example(title, lines):
            return f"<p><strong>{_text(title)}</strong></p><pre>" + "\n".join(map(_text, lines)) + "</pre>"
        case Table(title, heads, rows):
            top = "".join(f"<th>{_text(cell)}</th>" for cell in heads)
            below = "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
            caption = f"<caption>{_text(title)}</caption>"
            return f"<table>{caption}<thead><tr>{top}</tr></thead><tbody>\n{below}\n</tbody></table>"


def _text(text: str) -> str:
    return escape(visible(text))
