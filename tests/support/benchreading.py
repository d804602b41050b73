"""What benchmarks wrote, for whoever reports it: a figure is there or it was not measured, and nothing is made up."""

import json
import math
import statistics

from support.benchnote import KEY

MISSING = "not measured"


class Bench:
    """The JSON files of a folder."""

    def __init__(self, folder):
        self._documents = {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}

    def __contains__(self, name):
        return name in self._documents

    def at(self, name, *path):
        """The value under some keys of a file; None where there is none."""
        value = self._documents.get(name)
        for step in path:
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
                value = value[step]
            else:
                return None
        return value

    def made(self, name):
        """Where and when a file's figures were measured, in a sentence."""
        if name not in self:
            return f"`build/bench/{name}.json`: {MISSING}."
        made = self.at(name, KEY) or self._own(name)
        if made is None:
            return f"`build/bench/{name}.json` does not say where it was measured."
        machine = f"{made.get('cores')} cores of {made.get('cpu')}"
        said = f"{made.get('date')}, {machine}, commit {made.get('commit')}"
        return f"`build/bench/{name}.json`, {said}; `{made.get('command')}`."

    def _own(self, name):
        """What a file of another machine says of itself."""
        document = self._documents[name]
        return document if isinstance(document, dict) and "date" in document else None


def number(value, digits=2, unit=""):
    """For a table."""
    if value is None:
        return MISSING
    return f"{value:,.{digits}f}{unit}"


def table(head, rows):
    """Markdown; the first column stands left, the others right."""
    lines = [" | ".join(head), "|".join(["---", *["---:"] * (len(head) - 1)])]
    lines += [" | ".join(str(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def exponent(sizes, seconds):
    """The slope of a straight line through the logarithms: 0 is flat, 1 is in proportion."""
    xs, ys = [math.log(size) for size in sizes], [math.log(one) for one in seconds]
    if len(set(xs)) < 2:  # a line needs two points
        return None
    return round(statistics.linear_regression(xs, ys).slope, 3)
