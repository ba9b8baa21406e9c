"""One Python source file: its exact lines and its syntax tree."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from functools import cached_property

from tracker.syntax import parse

_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_WORD = re.compile(r"\w+")


class Unparsable(ValueError):
    """The text is not Python of this interpreter; the message names the line."""


class Source:
    """The text of one file, cut into lines as Python's tokenizer counts them.

    ``lines`` keep their line ends, so that joining them gives the text back, byte for byte.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.lines: list[str] = _LINES.findall(text)

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree; raises ``Unparsable``."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in old code are its author's business
                return parse(self.text.removeprefix("\ufeff"))
        except SyntaxError as exc:
            raise Unparsable(f"{exc.msg} in line {exc.lineno}") from exc
        except (ValueError, RecursionError, MemoryError) as exc:
            raise Unparsable(str(exc) or type(exc).__name__) from exc

    def check(self) -> None:
        """Raise ``Unparsable`` unless the text is Python; cheaper than a tree, and stricter (a lost ``await``)."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(self.text.removeprefix("\ufeff"), self.path, "exec", dont_inherit=True)
        except SyntaxError as exc:
            raise Unparsable(f"{exc.msg} in line {exc.lineno}") from exc
        except (ValueError, RecursionError, MemoryError) as exc:
            raise Unparsable(str(exc) or type(exc).__name__) from exc

    @cached_property
    def words(self) -> frozenset[str]:
        """Every identifier-like word of the text, also of comments and strings."""
        return frozenset(_WORD.findall(self.text))

    @cached_property
    def stripped(self) -> frozenset[str]:
        """Lines without indentation, short ones left out: what a file is recognised by."""
        return frozenset(text for line in self.lines if len(text := line.strip()) > 6)

    @cached_property
    def newline(self) -> str:
        """The line end that most lines have."""
        ends = Counter(line[len(line.rstrip("\r\n")) :] for line in self.lines)
        ends.pop("", None)
        return ends.most_common(1)[0][0] if ends else "\n"

    @cached_property
    def unit(self) -> str:
        """What one level of indentation looks like."""
        for node in ast.walk(self.tree):
            body = getattr(node, "body", None)
            if isinstance(node, ast.stmt) and isinstance(body, list) and body[0].lineno > node.lineno:
                outer, inner = self.margin(node.lineno), self.margin(body[0].lineno)
                if inner.startswith(outer) and inner != outer:
                    return inner[len(outer) :]
        return "    "

    def bare(self, line: int) -> str:
        """A line, counted from 1, without its line end."""
        return self.lines[line - 1].rstrip("\r\n")

    def margin(self, line: int) -> str:
        """The white space that a line begins with."""
        text = self.bare(line)
        return text[: len(text) - len(text.lstrip(" \t\f"))].lstrip("\ufeff")

    def column(self, line: int, offset: int) -> int:
        """The character column of a UTF-8 byte offset, which is what ``ast`` counts in."""
        text = self.bare(line)
        if line == 1 and text.startswith("\ufeff"):
            return 1 + len(text[1:].encode()[:offset].decode())
        return (
            offset
            if text.isascii()
            else len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "surrogatepass"))
        )
