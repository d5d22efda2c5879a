"""What the page says: every English text in its HTML and its scripts, and where it stands."""

from __future__ import annotations

import re
from html.parser import HTMLParser

SPOKEN = ("aria-label", "title", "alt", "placeholder")
VOID = {"meta", "link", "img", "input", "br"}
CALL = re.compile(r'(?<![\w.])t\(\s*("(?:[^"\\\n]|\\.)*")?')
COMMENT = re.compile(r"^\s*(?://|/?\*).*$", re.MULTILINE)


class _Texts(HTMLParser):
    """Finds the texts as ``language.js`` does: of each text node, and of the attributes that people hear."""

    def __init__(self):
        super().__init__()
        self.found, self.open = [], []

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.found += [known[name] for name in SPOKEN if known.get(name)]
        if tag not in VOID:
            self.open.append(tag if known.get("translate") != "no" else "no")

    def handle_endtag(self, _tag):
        self.open.pop()

    def handle_data(self, data):
        text = data.strip()
        if any(map(str.isalpha, text)) and not {"no", "kbd", "script", "style"} & set(self.open):
            self.found.append(text)


def of_html(text):
    parser = _Texts()
    parser.feed(text)
    return parser.found


def of_script(text):
    """Return the texts given to ``t()``, and the calls that are given something else than one text."""
    found, others = [], []
    text = COMMENT.sub("", text)
    for call in CALL.finditer(text):
        if call[1] is None:
            others.append(text[call.start() : call.start() + 60].split("\n")[0])
        else:
            found.append(call[1][1:-1].replace('\\"', '"').replace("\\\\", "\\"))
    return found, others


def entries(text):
    """Return the entries of a file of languages/, in order: English and the other, as they stand there."""
    lines = re.findall(r'^ {2}("(?:[^"\\]|\\.)*"): ("(?:[^"\\]|\\.)*"),$', text, re.MULTILINE)
    assert len(lines) == text.count("\n") - 3, "a file of languages has one entry a line, and nothing else"
    return [tuple(one[1:-1].replace('\\"', '"').replace("\\\\", "\\") for one in line) for line in lines]


def used(folder):
    """Return of each text that the page of ``folder`` says in which file it stands first."""
    found = {}
    for path in sorted(folder.glob("*.html")):
        for text in of_html(path.read_text()):
            found.setdefault(text, path.name)
    for path in sorted(folder.glob("*.js")):
        if path.name != "language.js":
            for text in of_script(path.read_text())[0]:
                found.setdefault(text, path.name)
    return {text: place for text, place in found.items() if text != "differnet"}  # its name
