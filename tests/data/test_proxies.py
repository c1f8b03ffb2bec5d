"""The documentation proxy: enough real English, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from crosstune.data.proxies import documentation
from crosstune.discovery import discover

BUILD = (
    "import json; from crosstune.data.proxies.documentation import PROXY; p = PROXY.load();"
    "print(json.dumps([p.digest, p.passages, p.labels.tolist(), p.classes]))"
)


@pytest.fixture(scope="module")
def proxy():
    return documentation.build()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_found_by_discovery():
    found = discover("crosstune.data.proxies", "PROXY")
    assert found["documentation"] is documentation.PROXY
    assert documentation.PROXY.license == "PSF-2.0"


def test_enough_passages_in_enough_topics(proxy):
    assert len(proxy) >= 2000
    assert len(proxy.classes) >= 10
    counts = np.bincount(proxy.labels, minlength=len(proxy.classes))
    assert counts.min() >= documentation.FEWEST_PER_TOPIC
    assert counts.max() <= documentation.MOST_PER_TOPIC
    assert counts.max() / np.median(counts) < 2.5
    assert len(proxy.labels) == len(proxy.passages)
    assert proxy.labels.dtype == np.int64


def test_passages_are_prose_of_the_promised_size(proxy):
    sizes = np.array([len(p.split()) for p in proxy.passages])
    assert sizes.min() >= 20
    assert sizes.max() <= 60
    normal = {re.sub(r"\W+", " ", p).lower() for p in proxy.passages}
    assert len(normal) == len(proxy.passages)
    for passage in proxy.passages:
        assert passage.isascii()
        assert not re.search(r">>>| at 0x", passage)
        assert os.path.dirname(os.__file__) not in passage
        assert sys.prefix not in passage


def test_topics_can_be_told_apart(proxy):
    """A linear classifier on word counts does far better than chance: the labels mean something."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import ComplementNB

    X = TfidfVectorizer(stop_words="english").fit_transform(proxy.passages)
    test = np.arange(len(proxy)) % 5 == 0
    model = ComplementNB().fit(X[~test], proxy.labels[~test])
    assert model.score(X[test], proxy.labels[test]) > 4 / len(proxy.classes)


def test_same_bytes_in_processes_with_different_hash_seeds(tmp_path, proxy):
    seen = []
    for seed in ("1", "77"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "CROSSTUNE_CACHE": str(tmp_path / f"cache{seed}")}
        run = subprocess.run([sys.executable, "-c", BUILD], env=env, check=True, capture_output=True, cwd=tmp_path)
        seen.append(json.loads(run.stdout))
    assert seen[0] == seen[1]
    assert seen[0][0] == proxy.digest
    text = json.dumps(seen[0][1:], ensure_ascii=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == proxy.digest


def test_cache_is_used_checked_and_rebuilt(cache, proxy, monkeypatch):
    first = documentation.PROXY.load()
    path = documentation.cache_file()
    assert list(cache.iterdir()) == [path]
    with monkeypatch.context() as patch:
        patch.setattr(documentation, "build", lambda: pytest.fail("built although cached"))
        second = documentation.PROXY.load()
    assert second.passages == first.passages == proxy.passages
    assert second.digest == proxy.digest
    stored = json.loads(path.read_text())
    stored["passages"][0] = "changed"
    path.write_text(json.dumps(stored))
    monkeypatch.setattr(documentation, "build", lambda: proxy)
    assert documentation.PROXY.load() is proxy
    path.write_text(path.read_text()[:1000])
    assert documentation.PROXY.load() is proxy
    assert json.loads(path.read_text())["digest"] == proxy.digest


def test_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, proxy):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CROSSTUNE_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(documentation, "build", lambda: proxy)
    assert documentation.PROXY.load() is proxy


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("CROSSTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert documentation.cache_file().parent == tmp_path / "crosstune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert documentation.cache_file().parent == tmp_path / ".cache" / "crosstune"


def test_passages_of_text():
    prose = "The quick brown fox jumps over the lazy dog and then it goes home to sleep for a very long time indeed. "
    code = ">>> import fox\n>>> fox.jump(over='dog')\nTrue\n"
    assert documentation.passages_of(prose + "\n\n" + code) == [prose.strip()]
    assert documentation.passages_of("Too short to count.") == []
    long = documentation.passages_of(prose * 7)
    assert all(20 <= len(p.split()) <= 60 for p in long)
    assert " ".join(long).split() == (prose * len(long) * 2).split()[: sum(len(p.split()) for p in long)]


def test_docstrings_without_importing():
    source = b'"""Module."""\nraise SystemExit\nclass A:\n    """Class."""\n    def f(self):\n        """Method."""\n'
    assert list(documentation.docstrings(source)) == ["Module.", "Class.", "Method."]
    assert list(documentation.docstrings(b"def broken(:")) == []
