import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import arff as scipy_arff

from crosstune.data.arff import Arff, Attribute, read_arff, write_arff
from crosstune.errors import DataError

AWKWARD = r"""% a comment with a , and a 'quote
%   indented
@RELATION 'two words'

@attribute   plain	REAL
@ATTRIBUTE 'with space' { a, 'b c', "d,e", 'it\'s', ? }
@attribute "double" integer
@attribute note string
@attribute when date "yyyy-MM-dd"

@DATA
1.5, a, 3, hello, 2001-05-17
% between the rows
?, 'b c', ?, 'say ''no''', ?
-2e-3,"d,e",-4,'a % sign, and a comma',  "2002-01-01"

1,'it\'s',7,?,?
1,?,7,'?','?'
"""


def written(tmp_path, text, name="x.arff"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_awkward_text(tmp_path):
    arff = read_arff(written(tmp_path, AWKWARD))
    assert arff.relation == "two words"
    assert arff.comments == ("a comment with a , and a 'quote", "indented")
    assert arff.names == ("plain", "with space", "double", "note", "when")
    assert [attribute.type for attribute in arff.attributes] == ["numeric", "nominal", "numeric", "string", "string"]
    assert arff.attributes[1].values == ("a", "b c", "d,e", "it's", "?")
    np.testing.assert_array_equal(arff.columns[0], [1.5, np.nan, -2e-3, 1, 1])
    assert arff.columns[1].tolist() == [0, 1, 2, 3, -1]
    np.testing.assert_array_equal(arff.columns[2], [3, np.nan, -4, 7, 7])
    assert arff.columns[3].tolist() == ["hello", "say ''no''", "a % sign, and a comma", None, "?"]
    assert arff.columns[4].tolist() == ["2001-05-17", None, "2002-01-01", None, "?"]
    assert arff.index("DOUBLE") == 2
    with pytest.raises(DataError, match="did you mean 'double'"):
        arff.index("duoble")


def test_sparse_rows(tmp_path):
    head = "@relation r\n@attribute a numeric\n@attribute b {x,y}\n@attribute c numeric\n@data\n"
    text = head + "{0 2, 1 y}\n{}\n{2 ?,1 'y'}\n"
    arff = read_arff(written(tmp_path, text))
    np.testing.assert_array_equal(arff.columns[0], [2, 0, 0])
    assert arff.columns[1].tolist() == [1, 0, 1]  # what is left out has the first value
    np.testing.assert_array_equal(arff.columns[2], [0, 0, np.nan])


def test_tabs_and_line_ends_of_other_systems(tmp_path):
    path = tmp_path / "x.arff"
    path.write_bytes(
        b"\xef\xbb\xbf@relation r\r\n@attribute a numeric\r\n@attribute b {u,\xc3\xa9}\r\n@data\r\n1\t\xc3\xa9\r\n"
    )
    assert read_arff(path).columns[1].tolist() == [1]
    path.write_bytes(b"@relation r\r@attribute a {\xe9}\r@data\r\xe9\r")
    assert read_arff(path).attributes[0].values == ("é",)


def test_scipy_reads_the_same_numbers(tmp_path):
    rng = np.random.default_rng(0)
    numbers, codes = rng.normal(size=(2, 40)) * 10.0 ** rng.integers(-8, 9, (2, 40)), rng.integers(-1, 3, 40)
    numbers[0, 3] = np.nan
    attributes = (Attribute("a", "numeric"), Attribute("b", "numeric"), Attribute("c", "nominal", ("u", "v", "w")))
    write_arff(tmp_path / "x.arff", Arff("r", attributes, (numbers[0], numbers[1], codes)))
    theirs, meta = scipy_arff.loadarff(tmp_path / "x.arff")
    ours = read_arff(tmp_path / "x.arff")
    assert list(meta.names()) == list(ours.names)
    for i, name in enumerate("ab"):
        np.testing.assert_array_equal(theirs[name], numbers[i])
        np.testing.assert_array_equal(ours.columns[i], numbers[i])
    assert [value.decode() for value in theirs["c"]] == [("u", "v", "w", "?")[code] for code in codes]
    assert ours.columns[2].tolist() == codes.tolist()


@pytest.mark.parametrize(
    ("number", "file"), [(61, "61"), (292, "49822"), (40966, "17928620"), (3, "3"), (1119, "54002")]
)
def test_files_as_openml_serves_them(tmp_path, number, file):
    """scikit-learn keeps some for its own tests, cut short; its reader is the witness."""
    import sklearn.datasets

    folder = Path(sklearn.datasets.__file__).parent / "tests" / "data" / "openml" / f"id_{number}"
    found = folder / f"data-v1-dl-{file}.arff.gz"
    if not found.exists():
        pytest.skip("this scikit-learn comes without its test data")
    from sklearn.externals import _arff

    text = gzip.decompress(found.read_bytes()).decode()
    sparse = number == 292
    theirs = _arff.loads(text, return_type=_arff.LOD if sparse else _arff.DENSE)
    ours = read_arff(written(tmp_path, text))
    assert ours.names == tuple(name for name, _ in theirs["attributes"])
    for i, (_, kind) in enumerate(theirs["attributes"]):
        column = [row.get(i, 0) if sparse else row[i] for row in theirs["data"]]
        if isinstance(kind, list):
            expected = [-1 if v is None else kind.index(v) if isinstance(v, str) else 0 for v in column]
            assert ours.columns[i].tolist() == expected
        else:
            np.testing.assert_array_equal(ours.columns[i], [np.nan if v is None else v for v in column])


texts = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\x85\u2028\u2029"), max_size=8)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back(data, tmp_path_factory):
    rows = data.draw(st.integers(1, 4))
    values = tuple(data.draw(st.lists(texts, min_size=1, max_size=4, unique=True)))
    names = data.draw(st.lists(texts.filter(bool), min_size=3, max_size=3, unique_by=str.lower))
    attributes = (Attribute(names[0], "numeric"), Attribute(names[1], "nominal", values), Attribute(names[2], "string"))
    numbers = np.array(data.draw(st.lists(st.floats(allow_infinity=True), min_size=rows, max_size=rows)))
    codes = np.array(data.draw(st.lists(st.integers(-1, len(values) - 1), min_size=rows, max_size=rows)))
    words = np.array([*data.draw(st.lists(st.none() | texts, min_size=rows, max_size=rows)), 0], dtype=object)[:-1]
    arff = Arff(data.draw(texts), attributes, (numbers, codes, words))
    path = tmp_path_factory.mktemp("arff") / "x.arff"
    write_arff(path, arff)
    back = read_arff(path)
    assert (back.relation, back.attributes) == (arff.relation, arff.attributes)
    np.testing.assert_array_equal(back.columns[0], numbers)
    assert back.columns[1].tolist() == codes.tolist()
    assert back.columns[2].tolist() == words.tolist()


HEAD = "@relation r\n@attribute a numeric\n@attribute b {x,y}\n@data\n"
MALFORMED = [
    ("1,2,3\n", "line 1: '1,2,3' is neither @relation"),
    ("@relation r\n@data\n1\n", "line 2: @data comes before any @attribute"),
    ("@relation r\n@attribute a numeric\n", "the file ends before @data"),
    ("@attribute a numeric\n@attribute A numeric\n@data\n", "two attributes are named 'A'"),
    ("@attribute a relational\n@data\n", "attribute 'a' has type 'relational'"),
    ("@attribute a {x,y\n@data\n", "no closing brace"),
    ("@attribute\n@data\n", "@attribute without a name"),
    (HEAD + "1,x\n2\n", "line 6: 1 values in a row for 2 attributes"),
    (HEAD + "1,z\n", r"line 5: 'z' is not a value of attribute 'b' \(x, y\)"),
    (HEAD + "one,x\n", "line 5: 'one' is not a number"),
    (HEAD + "1,'x\n", "line 5: a quote ' is not closed"),
    (HEAD + "{5 1}\n", "'5 1' does not begin with a number from 0 to 1"),
    (HEAD + "% nothing\n", "a header and no rows"),
    ("", "is empty"),
    ("<!DOCTYPE html><html>", "is a web page"),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_arff(written(tmp_path, text))


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.arff cannot be read: No such file"):
        read_arff(tmp_path / "none.arff")


def test_a_file_of_ones_own_is_read_like_any_table(tmp_path):
    from crosstune.data import read

    rows = "".join(f"{i / 7},{'x' if i % 3 else 'y'},{'up' if i % 2 else 'down'}\n" for i in range(20))
    text = "@relation r\n@attribute a numeric\n@attribute b {y,x,z}\n@attribute class {up,down}\n@data\n" + rows
    dataset = read(written(tmp_path, text))
    assert (dataset.columns, dataset.classes, dataset.categories) == (("a", "b"), ("down", "up"), {1: ("x", "y")})
    np.testing.assert_array_equal(dataset.y, np.arange(20) % 2)
    np.testing.assert_allclose(dataset.X[:, 0], np.arange(20) / 7, rtol=1e-6)
    assert dataset.source["format"] == "arff"
