"""Real English in a dozen topics, on every machine that runs Python: Python's own documentation.

Passages come from ``pydoc_data.topics`` (the language reference) and from the docstrings of the standard library,
read from its source files with ``ast``: nothing is imported, so nothing can have a side effect. The result depends
on the Python installation alone: sources are visited in sorted order, selection is by the hash of the text, and
objects' addresses and paths never enter. The text is under the Python Software Foundation License, version 2.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from crosstune.data.proxies.contract import ORDINARY, TextProxy, Wanted, make_text_proxy

FORMAT = 1  # raise it when a rule below changes, so that older cache files are not read
FEWEST_WORDS, MOST_WORDS = 20, 60
MOST_PER_TOPIC = 280
FEWEST_PER_TOPIC = 40  # a topic whose modules this installation lacks is left out

# topic -> (modules or packages of the standard library, entries of pydoc_data.topics)
TOPICS: dict[str, tuple[str, str]] = {
    "command line and interfaces": (
        "argparse optparse getopt cmd code curses tkinter turtle wave aifc sunau colorsys getpass rlcompleter _pyrepl",
        "",
    ),
    "concurrency": (
        "asyncio concurrent multiprocessing threading _threading_local queue sched selectors signal subprocess",
        "async await coroutine-objects",
    ),
    "containers and functional tools": (
        "collections _collections_abc functools enum dataclasses copy weakref _weakrefset operator contextlib types "
        "heapq bisect graphlib reprlib pprint copyreg abc",
        "typesseq typesseq-mutable typesmapping dict lists sequence-types context-managers typesmethods",
    ),
    "cryptography and encodings": (
        "hashlib hmac secrets ssl uuid base64 codecs quopri crypt uu binhex stringprep _pyio",
        "",
    ),
    "data formats and archives": (
        "json xml csv configparser plistlib pickle pickletools shelve dbm sqlite3 tarfile zipfile gzip bz2 lzma "
        "_compression netrc tomllib xdrlib",
        "",
    ),
    "files and operating system": (
        "os shutil pathlib tempfile fileinput posixpath ntpath genericpath glob fnmatch filecmp stat platform io "
        "linecache pty tty mailcap ctypes errno nturl2path pipes",
        "",
    ),
    "import system and packaging": (
        "importlib pkgutil zipimport runpy site venv sysconfig zipapp modulefinder compileall py_compile distutils "
        "imp ensurepip __future__",
        "import naming",
    ),
    "language syntax": (
        "",
        "assert assignment atom-identifiers atom-literals augassign binary bitwise booleans break calls class "
        "comparisons compound continue conversions del else exceptions execmodel exprlists for function global "
        "identifiers if in lambda nonlocal operator-summary pass power raise return shifting slicings subscriptions "
        "truth try unary while with yield",
    ),
    "mail": ("email mailbox mimetypes smtplib smtpd imaplib poplib nntplib", ""),
    "networking": (
        "http urllib ftplib socket socketserver ipaddress xmlrpc wsgiref telnetlib webbrowser cgi asyncore asynchat "
        "html",
        "",
    ),
    "numbers and time": (
        "_pydecimal decimal statistics fractions random numbers datetime _pydatetime _strptime calendar zoneinfo",
        "numbers numeric-types integers floating imaginary",
    ),
    "object model": (
        "typing",
        "specialnames types customization attribute-access attribute-references bltin-code-objects bltin-type-objects "
        "callable-types dynamic-features id-classes objects specialattrs typesfunctions typesmodules",
    ),
    "source code tools": (
        "inspect ast dis tokenize symtable pyclbr pydoc codeop opcode tabnanny _ast_unparse lib2to3",
        "",
    ),
    "testing and debugging": (
        "unittest doctest pdb bdb trace traceback timeit profile cProfile pstats warnings logging tracemalloc "
        "faulthandler cgitb",
        "debugger",
    ),
    "text processing": (
        "difflib textwrap re string locale gettext shlex _markupbase sre_parse sre_compile",
        "formatstrings string-methods strings",
    ),
}

_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*[.,;:!?)\"']*$")
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+")
_LIST = re.compile(r"^\s*(?:[*+-]|\(?\d+[.)])\s+")
_CODE = re.compile(
    r"^\s*(?:>>>|\.\.\.|\.\. |@|def |class \w+[(:]|import |from \w+ import|print\(|return |for .*:$|if .*:$|while .*:$"
    r"|\w+ ?= ?|[|+=~^_#$\\-]{2})|::=|[{}<>|\\]{2}|-----|=====|\bRFC\b.*\bRFC\b"
)
_SECTION = re.compile(r"^[=\-~^*\"']{3,}\s*$")


class Documentation:
    """The proxy ``documentation``."""

    name = "documentation"
    summary = "passages of 20 to 60 words from Python's own documentation, by topic"
    license = "PSF-2.0"
    modality = "text"
    size = "about 2,000 passages in 10 to 15 topics (as the Python version has them)"

    def load(self, wanted: Wanted = ORDINARY) -> TextProxy:
        """All passages, from the cache file where there is a sound one. A cache that cannot be written is no error."""
        path = cache_file()
        found = _read_cache(path)
        if found is None:
            found = build()
            _write_cache(path, found)
        return found


def build() -> TextProxy:
    """The proxy from the sources of this Python installation; takes one to two seconds."""
    chosen: list[tuple[str, list[str]]] = []
    seen: set[str] = set()
    for topic in sorted(TOPICS):
        passages = [p for text in _texts(topic) for p in passages_of(text)]
        fresh: dict[str, None] = {}
        for passage in passages:
            key = re.sub(r"\W+", " ", passage).lower()
            if key not in seen:
                seen.add(key)
                fresh[passage] = None
        if len(fresh) >= FEWEST_PER_TOPIC:
            kept = sorted(fresh, key=lambda p: hashlib.sha256(p.encode()).hexdigest())[:MOST_PER_TOPIC]
            chosen.append((topic, sorted(kept)))
    passages_all = [p for _, kept in chosen for p in kept]
    labels = [code for code, (_, kept) in enumerate(chosen) for _ in kept]
    return make_text_proxy(passages_all, labels, [topic for topic, _ in chosen])


def _texts(topic: str) -> Iterator[str]:
    modules, entries = TOPICS[topic]
    reference = _reference()
    for entry in entries.split():
        if entry in reference:
            yield reference[entry]
    root = Path(sysconfig.get_paths()["stdlib"])
    for module in modules.split():
        for path in _files(root, module):
            yield from docstrings(path.read_bytes())


def _reference() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions ship it separately
        return {}
    return dict(topics)


def _files(root: Path, module: str) -> list[Path]:
    single = root / f"{module}.py"
    if single.is_file():
        return [single]
    skip = {"test", "tests", "idle_test", "_bundled", "__pycache__"}
    found = [p for p in (root / module).rglob("*.py") if not skip & set(p.relative_to(root).parts)]
    return sorted(found, key=lambda p: p.relative_to(root).as_posix())


def docstrings(source: bytes) -> Iterator[str]:
    """The docstrings of a source file in order: module, classes, functions. Unreadable source yields nothing."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    waiting: list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = [tree]
    while waiting:
        node = waiting.pop(0)
        text = ast.get_docstring(node, clean=False)
        if text:
            yield inspect.cleandoc(text)
        waiting += [n for n in node.body if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]


def passages_of(text: str) -> list[str]:
    """Passages of ``FEWEST_WORDS`` to ``MOST_WORDS`` words of prose; code, tables and headings are left out.

    Paragraphs too short to stand alone join the next; longer ones are cut between sentences.
    """
    sentences: list[str] = []
    for paragraph in _paragraphs(text):
        sentences += _SENTENCE.split(paragraph)
    out: list[str] = []
    words: list[str] = []
    for sentence in [*sentences, ""]:
        add = sentence.split()
        if words and (not sentence or len(words) + len(add) > MOST_WORDS):
            if len(words) >= FEWEST_WORDS and _is_prose(words):
                out.append(" ".join(words))
            words = []
        if len(add) <= MOST_WORDS:
            words += add
        if len(words) >= 2 * FEWEST_WORDS:
            if _is_prose(words):
                out.append(" ".join(words))
            words = []
    return out


def _paragraphs(text: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", text.expandtabs()):
        lines = [line.strip() for line in block.splitlines()]
        lines = [_LIST.sub("", line) for line in lines if line and not _CODE.search(line) and not _SECTION.match(line)]
        joined = " ".join(lines).replace("``", "").replace('"', "").replace("*", "")
        joined = re.sub(
            r":(?:class|meth|func|mod|exc|attr|data|ref|pep|rfc|term|const|keyword):`~?([^`]*)`", r"\1", joined
        )
        joined = " ".join(joined.replace("`", "").split())
        if len(joined.split()) >= 6:
            yield joined


def _is_prose(words: list[str]) -> bool:
    text = " ".join(words)
    plain = sum(bool(_WORD.match(w)) and len(w) > 1 for w in words)
    # Memory addresses and absolute paths would tie the text to one machine.
    return plain >= 0.72 * len(words) and text.isascii() and text.isprintable() and " at 0x" not in text


def cache_file() -> Path:
    """Where the passages of this installation are cached: CROSSTUNE_CACHE, XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("CROSSTUNE_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "crosstune")
    key = hashlib.sha256(f"{FORMAT} {sys.version} {sysconfig.get_paths()['stdlib']}".encode()).hexdigest()[:12]
    major, minor = sys.version_info[:2]
    return Path(base).expanduser() / f"documentation-py{major}.{minor}-{key}.json"


def _read_cache(path: Path) -> TextProxy | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        proxy = make_text_proxy(stored["passages"], stored["labels"], stored["classes"])
        return proxy if proxy.digest == stored["digest"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_cache(path: Path, proxy: TextProxy) -> None:
    content = {
        "passages": list(proxy.passages),
        "labels": proxy.labels.tolist(),
        "classes": list(proxy.classes),
        "digest": proxy.digest,
    }
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
            temporary = file.name
            json.dump(content, file)
        os.replace(temporary, path)
    except OSError:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


PROXY = Documentation()
