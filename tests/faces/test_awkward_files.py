"""Files as programs and people write them: what each column is, or which error says why not."""

import csv
import re
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest

from fcnet.data import delimited, pieces
from fcnet.data.cells import are_plain, array, is_text
from fcnet.data.format import cells_of_any_length, format_of
from fcnet.data.learn import learn_schema
from fcnet.data.read import Table, open_table, read_table
from fcnet.data.schema import Field, decide, encode, interpret, learn
from fcnet.data.survey import survey

pytestmark = pytest.mark.untyped

PRICES = [
    *("6073.9", "3011.2", "1290.5", "8804.1", "2205.7", "4410.3"),
    *("7342.0", "5120.6", "1999.9", "8123.4", "2871.2", "3456.7"),
]


def lines(cell: str = "{i}.5,{y}", head: str = "x,y", end: str = "\n") -> str:
    """A header and twelve rows; `cell` says how a row is written from its number and its price."""
    rows = (cell.format(i=i * 7 % 12, y=y, letter="ab"[i % 2]) for i, y in enumerate(PRICES))
    return end.join([head, *rows, ""])


def column(*cells: str) -> str:
    """A file with these cells in the column c, beside the prices."""
    return "c,y\n" + "".join(
        f"{cell},{y}\n"
        for cell, y in zip((cells * len(PRICES))[: len(PRICES)], PRICES, strict=True)
    )


def most(cell: str) -> str:
    """A file whose column c holds numbers, but in line 5 this cell."""
    return column(*("1.5", "2.5", "4", cell, "5", "2", "8", "1", "3", "7.25", "9", "6"))


NUMBERS = {"x": "number", "y": "number"}
NUMBER = {"c": "number", "y": "number"}
CATEGORY = {"c": "category", "y": "number"}
IGNORED = {"c": "ignored", "y": "number"}

FILES = {
    # separators, decimal signs and encodings
    "commas": (lines(), NUMBERS, ()),
    "semicolons": (lines("{i}.5;{y}", "x;y"), NUMBERS, ("separator ';'",)),
    "semicolons, quoted names": (lines("{i}.5;{y}", '"x";"y"'), NUMBERS, ("separator ';'",)),
    "semicolons, decimal commas": (
        lines("{i}.5;{y}", "x;y").replace(".", ","),
        NUMBERS,
        ("separator ';'", "decimal commas"),
    ),
    "quoted decimal commas": (
        lines('"{i},5","{y}"').replace(".", ","),
        NUMBERS,
        ("decimal commas",),
    ),
    "commas that may group thousands": (
        "x;y\n1,500;2\n2,750;3\n",
        r"'x' has '1,500' in line 2, which may be 1\.500 or 1500: say whether the decimal sign",
        (),
    ),
    "thousands beside points": (
        lines('"1,{i:03d}",{y}'),
        r"column 'x' has '1,000' in line 2, which is no plain number such as 1234\.5",
        (),
    ),
    "points that group thousands": (
        "x;y\n1.234,5;2\n2.345,5;3\n4,5;4\n",
        "column 'x' has '1.234,5' in line 2, which is no plain number",
        (),
    ),
    "points that group thousands alone": (
        "x;y\n900;2\n12.500;3\n1.234;4\n",
        r"'x' has '12\.500' in line 3, which may be 12\.500 or 12500: say whether the decimal",
        (),
    ),
    "points before three digits, and short whole numbers": (
        lines("1{i}.500;{y}", "x;y").replace("10.500", "900"),
        NUMBERS,
        ("separator ';'",),
    ),
    "points before three digits alone": (
        lines("1{i}.500;2{i}.125", "x;y"),
        NUMBERS,
        ("separator ';'",),
    ),
    "tabs": (lines("{i}.5\t{y}", "x\ty"), NUMBERS, (r"separator '\t'",)),
    "tabs, a blank before a quote": (
        lines('\t "{letter}, c"\t{y}', "e\tx\ty"),
        {"e": "ignored", "x": "category", "y": "number"},
        (r"separator '\t'",),
    ),
    "bars": (lines("{i}.5|{y}", "x|y"), NUMBERS, ("separator '|'",)),
    "the separator named by Excel": (
        "sep=;\n" + lines("{i};{y}", "x;y"),
        NUMBERS,
        ("separator ';'",),
    ),
    "UTF-8 with its mark": (b"\xef\xbb\xbf" + lines().encode(), NUMBERS, ()),
    "UTF-16": (lines().encode("utf-16"), NUMBERS, ("UTF-16",)),
    "UTF-16 without its mark": (
        lines().encode("utf-16-be"),
        "the header holds a NUL byte: name the encoding, such as utf-16-le",
        (),
    ),
    "UTF-8 with its mark twice": (b"\xef\xbb\xbf" * 2 + lines().encode(), NUMBERS, ()),
    "Latin-1 in the header": (
        lines(head="größe,y").encode("latin-1"),
        "the header is not in UTF-8",
        (),
    ),
    "Latin-1 in a row": (
        lines("{letter}é,{y}").encode("latin-1"),
        "line 2 is not in UTF-8: save the file in UTF-8",
        (),
    ),
    "Latin-1 in a row with a cell too many": (
        lines().replace("6073.9", "6073.9,é").encode("latin-1"),
        "line 2 is not in UTF-8: save the file in UTF-8",
        (),
    ),
    "a NUL byte": (lines().replace("\n3", "\n\0", 1), r"line \d+ holds a NUL byte", ()),
    # lines
    "CR": (lines(end="\r"), NUMBERS, ()),
    "CRLF and empty lines": (lines(end="\r\n\r\n"), NUMBERS, ()),
    "no new line at the end": (lines().rstrip("\n"), NUMBERS, ()),
    "remarks above the header": ("# of 2026\n# in euro\n\n" + lines(), NUMBERS, ()),
    "the header of numpy.savetxt": (
        "# x,y\n" + lines().partition("\n")[2],
        NUMBERS,
        ("names from the remark above",),
    ),
    "numpy.savetxt with blanks": (
        "# x y\n" + lines("{i}e+00 {y}").partition("\n")[2],
        NUMBERS,
        ("separator ' '", "names from the remark above"),
    ),
    "a header as a remark, and an empty cell": (
        "# x,y\n" + lines().partition("\n")[2].replace("0.5,6", ",6", 1),
        NUMBERS,
        ("names from the remark above",),
    ),
    "a header as a remark, a bare sign below": (
        "# x,y\n#\n" + lines().partition("\n")[2],
        NUMBERS,
        ("names from the remark above",),
    ),
    "bare signs of remarks": ("# of 2026\n#\n" + lines().replace("\n3", "\n#\n3"), NUMBERS, ()),
    "bare signs of remarks, CRLF": (
        "#\r\n# of 2026\r\n" + lines(end="\r\n") + "#",
        NUMBERS,
        (),
    ),
    "a remark at the end": (lines() + "# the end\n", NUMBERS, ()),
    # blanks between cells
    "aligned columns": (lines("{i:4d}.5   {y}", "x y"), NUMBERS, ("separator ' '",)),
    "aligned columns, blanks at the ends": (
        lines("  {i:3d}.5 {y}  ", "   x      y   ", "\r\n") + "# the end\r\n",
        NUMBERS,
        ("separator ' '",),
    ),
    "aligned columns and a quoted blank": (
        lines('"{letter}  b" {y}', '"x" "y"'),
        {"x": "category", "y": "number"},
        ("separator ' '",),
    ),
    "a cut-off last line": (lines() + "3.2", "line 14 has 1 cells, expected 2: '3.2'", ()),
    "a row with a cell too many": (
        lines().replace("6073.9", "6073.9,1"),
        "line 2 has 3 cells, expected 2: '0.5,6073.9,1'",
        (),
    ),
    "a row with a cell too many under a quote in a cell": (
        lines('{i},5"').replace('7,5"', '7,5",1', 1),
        """line 3 has 3 cells, expected 2: '7,5",1'""",
        (),
    ),
    "a line of totals": (
        lines() + "Total,123456.7\n",
        "column 'x' has 'Total' in line 14, 12 of 13 are numbers",
        (),
    ),
    "an empty file": ("", "the file has 0 rows", ()),
    "a header alone": ("x,y\n", "the file has 1 row,", ()),
    # headers
    "blanks after commas": (lines("{i}, {y}", "x, y"), NUMBERS, ()),
    "blanks around cells": (lines(" {i}\t ,{y} ", " x ,y "), NUMBERS, ()),
    "numbers as names": (
        lines(head="3.5,7"),
        {"3.5": "number", "7": "number"},
        ("numbers as names, as if there were no header",),
    ),
    "a fraction and a word as names": (
        lines(head="3.5,Iris-setosa"),
        {"3.5": "number", "Iris-setosa": "number"},
        ("numbers as names, as if there were no header",),
    ),
    "a year and a word as names": (lines(head="2020,y"), {"2020": "number", "y": "number"}, ()),
    "numbers twice as names": (
        lines("1,{i},{y}", "1,1,7"),
        "2 columns are called '1': the first line must be a header; else rename them",
        (),
    ),
    "commas at the end of lines": (
        lines("{i},{y},,", "x,y,,"),
        "2 columns have no name: rename them in the file, or leave all but one out",
        (),
    ),
    "a name twice": (lines("1,2,{y}", "x,x,y"), "2 columns are called 'x'", ()),
    "a comma at the end of lines": (lines("{i},{y},", "x,y,"), NUMBERS | {"": "ignored"}, ()),
    "a comma at the end of rows": (lines("{i},{y},"), "line 2 has 3 cells, expected 2", ()),
    "a new line in a name": (lines(head='"x\n[m]",y'), {"x\n[m]": "number", "y": "number"}, ()),
    # quotes
    "quoted new lines": (
        lines('"{letter}\nstreet",{y}'),
        {"x": "category", "y": "number"},
        (),
    ),
    "a quote after a blank": (lines('"{letter}, b", {y}'), {"x": "category", "y": "number"}, ()),
    "blanks before the quote that opens a row": (
        lines(' "{letter}, b" , "{y}" '),
        {"x": "category", "y": "number"},
        (),
    ),
    "doubled quotes": (lines('"5"" {letter}",{y}'), {"x": "category", "y": "number"}, ()),
    "inches": (lines("5'1{letter}\",{y}"), {"x": "category", "y": "number"}, ()),
    "a quote that is never closed": (
        lines().replace("\n3", '\n"3', 1),
        r"the row in line \d+ cannot be read: unexpected end of data",
        (),
    ),
    "a last cell that is never closed": (
        lines().replace(",5120", ',"5120'),
        r"the row in line 9 cannot be read: unexpected end of data",
        (),
    ),
    "a quote that closes too early": (
        lines('"{i}"5,{y}'),
        "the row in line 2 cannot be read: ',' expected after '\"'",
        (),
    ),
    # numbers with missing ones
    **{
        f"missing as {mark!r}": (most(mark), NUMBER, ())
        for mark in ("", "?", "n/a", "None", "-", "#N/A", "NULL", ".", "NaN", "NA")
    },
    "a word among numbers": (
        most("twelve"),
        "column 'c' has 'twelve' in line 5, 11 of 12 are numbers: correct the cell, or say in a",
        (),
    ),
    "a decimal comma among points": (
        lines("{i};{y}", "c;y").replace("\n7;", "\n7,5;"),
        "column 'c' has '7,5' in line 3, 11 of 12 are numbers: say so if its comma is the decimal",
        (),
    ),
    "infinity": (most("inf"), "column 'c' has 'inf' in line 5, 11 of 12 are numbers", ()),
    "a number beyond double precision": (most("1.5e400"), "has '1.5e400' in line 5", ()),
    "a minus sign that is none": (most("\u22125"), "column 'c' has '\u22125' in line 5", ()),
    "nothing but marks": (column("?", "NA", ""), IGNORED, ()),
    # numbers with other signs
    "currency": (column("$5", "$7.5"), "'c' has '$5' in line 2, which is no plain number", ()),
    "percent": (column("5%", "7.5 %"), "'c' has '5%' in line 2, which is no plain number", ()),
    "underscores": (column("1_2", "3"), "'c' has '1_2' in line 2, which is no plain number", ()),
    "blanks that group": (column("1\u00a0234", "2\u202f345"), "which is no plain number", ()),
    "digits of another script": (column("\u0661\u0662", "\u0663"), "which is no plain number", ()),
    # codes
    "leading zeros": (column("02139", "95838", "02140"), CATEGORY, ()),
    "codes and words": (column("02139", "K1A", "02140", "H3Z"), CATEGORY, ()),
    "two codes of one number": (column("7", "07"), CATEGORY, ()),
    "exponents in codes": (column("101E010031", "888E050011", "001E010015"), CATEGORY, ()),
    "an exponent in one code": (column("1E3", "1000"), CATEGORY, ()),
    "beyond 2^53": (column("9007199254740992", "9007199254740993"), CATEGORY, ()),
    "long but exact": (column("1000000000000001", "1000000000000002"), NUMBER, ()),
    "exponents of programs": (column("1e-05", "1e+16", "2.5E10", "0.5"), NUMBER, ()),
    "whole numbers": (column("-3", "0", "+12"), NUMBER, ()),
    # texts
    "words": (column("hill", "lake"), CATEGORY, ()),
    "NA among words": (column("NA", "ZA", "BW"), CATEGORY, ()),
    "signs": (column("+", "-"), CATEGORY, ()),
    "hexadecimal numbers": (column("0x1F", "0x2A", "0xFFFFF"), CATEGORY, ()),
    "words that are all different": (column(*(f"p{i}" for i in range(12))), IGNORED, ()),
    "one word": (column("hill"), IGNORED, ()),
    "one number": (column("7"), IGNORED, ()),
    # dates
    "dates": (
        column("2020-01-05", "2020-02-29"),
        "column 'c' has '2020-01-05' in line 2: dates are no numbers. Say in a schema that the",
        (),
    ),
    "dates with slashes": (column("1/31/2020", "2/1/2020"), "dates are no numbers", ()),
    "dates with leading zeros": (column("01/31/2020", "02/01/2020"), "dates are no numbers", ()),
    "dates that begin with the day": (column("05-01-2020", "29-02-2020"), "dates are no num", ()),
    "dates with names": (column("1-Jan-2020", "29-FEB-2020"), "dates are no numbers", ()),
    "dates as in letters": (column('"January 5, 2020"', '"Sept. 1, 2020"'), "dates are no num", ()),
    "codes beside longer ones": (column("02139", "02139-4307", "95838"), CATEGORY, ()),
    "dates with points and times": (column("31.1.2020 12:00", "1.2.2020"), "dates are no num", ()),
}


def kinds(table: Table) -> dict[str, str]:
    """What each column is; the entries are those that its schema reads once more."""
    found = {}
    for name, cells in table.columns.items():
        field = decide(name, survey(cells, table.decimal), table.place)
        if field.kind != "ignored":
            interpret(field, table)
        found[name] = field.kind
    return found


def test_there_are_sixty_files() -> None:
    assert len(FILES) >= 60


@pytest.mark.parametrize(("content", "expected", "told"), FILES.values(), ids=FILES)
def test_a_file_is_read_as_it_says_or_refused(
    content: str | bytes, expected: dict[str, str] | str, told: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "file.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    if isinstance(expected, str):
        literal = expected if "\\" in expected else re.escape(expected)
        with pytest.raises(ValueError, match=literal):
            kinds(read_table(file))
        return
    table = read_table(file)
    assert kinds(table) == expected
    assert table.told == told
    assert table.rows == len(PRICES)


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize(("content", "expected", "told"), FILES.values(), ids=FILES)
def test_a_file_in_pieces_is_the_file(
    content: str | bytes,
    expected: dict[str, str] | str,
    told: tuple[str, ...],
    size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oracle is the file read at once."""
    file = tmp_path / "file.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        whole, error = read_table(file), ""
    except ValueError as refused:
        error = str(refused)
    monkeypatch.setattr(pieces, "PIECE", size)
    if error:
        with pytest.raises(ValueError, match=re.escape(error)):
            read_table(file)
        return
    found = read_table(file)
    assert (found.rows, found.decimal, found.told) == (whole.rows, whole.decimal, whole.told)
    for name, cells in whole.columns.items():
        assert found.columns[name].to_pylist() == cells.to_pylist()
    row = 0
    for block in open_table(file).blocks(text=()):
        assert block.first == row
        row += block.rows
        for name, cells in block.columns.items():
            texts = whole.columns[name].slice(block.first, block.rows)
            if is_text(cells):
                assert cells.to_pylist() == texts.to_pylist()
            else:
                assert are_plain(texts, whole.decimal)
                numbers = [
                    float(text.replace(whole.decimal, ".")) if text else None
                    for text in texts.to_pylist()
                ]
                assert cells.to_pylist() == numbers
    assert row == whole.rows


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("latin-1", ""),
        ("cp1252", ""),
        ("utf-8-sig", ""),
        ("utf-8", "\ufeff"),
        ("utf-16-le", "\ufeff"),
    ],
)
def test_an_encoding_can_be_named(encoding: str, mark: str, tmp_path: Path) -> None:
    """The byte order mark, where there is one, is no part of the first name."""
    file = tmp_path / "a.csv"
    file.write_bytes(f"{mark}größe;e\n1;é\n2;ü\n".encode(encoding))
    table = read_table(file, encoding=encoding)
    assert table.told == (encoding, "separator ';'")
    assert {name: cells.to_pylist() for name, cells in table.columns.items()} == {
        "größe": ["1", "2"],
        "e": ["é", "ü"],
    }


def test_a_wrong_encoding_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("größe\n1\n".encode("latin-1"))
    for encoding, message in {
        "latin-99": "encoding must be one that Python knows, such as latin-1 or cp1252, got",
        "ascii": "the file is not in ascii: ",
        "rot13": "encoding must be one that Python knows",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_table(file, encoding=encoding)


def test_a_header_may_be_long(tmp_path: Path) -> None:
    """As of a table with a column for each gene; a remark is above, since the header is a line."""
    names = [f"gene number {i:06d}" for i in range(6000)]
    file = tmp_path / "a.csv"
    rows = [",".join(f"{(i + j) % 7}.5" for j in range(len(names))) for i in range(2)]
    for above in ("", "# genes\n\n", "sep=,\n"):
        file.write_text(above + "\n".join([",".join(names), *rows]))
        table = read_table(file)
        assert [*table.columns] == names
        assert table.columns[names[-1]].to_pylist() == ["0.5", "1.5"]


def parquet_of(path: Path, columns: dict[str, Any], names: list[str] | None = None) -> Path:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrays = [pyarrow.array(cells) for cells in columns.values()]
    table = pyarrow.Table.from_arrays(arrays, names=names or [*columns])
    parquet.write_table(table, path)
    return path


def test_parquet_files_of_other_programs_are_read_alike(tmp_path: Path) -> None:
    """Polars writes large strings. Blanks go, in names too. A number is missing by its value."""
    text = pyarrow.array([" a", "b ", None], pyarrow.large_string())
    file = parquet_of(tmp_path / "a.parquet", {" c ": text, "x": [-999.0, 1.5, None]})
    table = read_table(file)
    assert table.columns["c"].to_pylist() == ["a", "b", ""]
    field = Field("x", "number", missing=("-999",))
    np.testing.assert_array_equal(interpret(field, table), [np.nan, 1.5, np.nan])
    file = tmp_path / "a.csv"
    file.write_text("x\n-999.0\n1.5\n-9.99e2\n")
    np.testing.assert_array_equal(interpret(field, read_table(file)), [np.nan, 1.5, np.nan])
    with pytest.raises(ValueError, match="2 columns are called 'x'"):
        read_table(parquet_of(tmp_path / "b.parquet", {"x": [1], "y": [2]}, names=["x", " x"]))
    for kind in (pyarrow.binary(), pyarrow.large_binary(), pyarrow.binary(2)):
        file = parquet_of(tmp_path / "c.parquet", {"c": pyarrow.array([b"ab"], kind)})
        with pytest.raises(ValueError, match=r"'c' holds .*binary.*: leave it out of the file"):
            read_table(file)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_of_parquet_are_refused(unit: str, tmp_path: Path) -> None:
    """Their numbers are those of a unit, which may be another in the file to predict for."""
    cells = pyarrow.array([1, 2, None], pyarrow.duration(unit))
    file = parquet_of(tmp_path / "a.parquet", {"wait": cells})
    message = rf"column 'wait' holds duration\[{unit}\], expected numbers or text: leave it out"
    with pytest.raises(ValueError, match=message):
        open_table(file)
    times = parquet_of(tmp_path / "b.parquet", {"at": pyarrow.array([1, 2], pyarrow.time64("us"))})
    assert read_table(times).columns["at"].to_pylist() == ["00:00:00.000001", "00:00:00.000002"]


def test_intervals_of_pandas_are_refused(tmp_path: Path) -> None:
    """Each is stored as its two ends."""
    file = tmp_path / "a.parquet"
    pd.DataFrame({"size": pd.interval_range(0, 9)}).to_parquet(file)
    with pytest.raises(ValueError, match=r"column 'size' holds .*interval.*: leave it out"):
        open_table(file)


def test_numbers_that_have_no_mean_are_refused(tmp_path: Path) -> None:
    """Rasters have the least double where nothing was measured."""
    least = -np.finfo(float).max
    cells = {"x": [1.5, least, 2.5]}
    csv = tmp_path / "a.csv"
    csv.write_text("x\n" + "\n".join(map(str, cells["x"])))
    places = {csv: "line 3", parquet_of(tmp_path / "a.parquet", cells): r"row 1 \(from 0\)"}
    for file, place in places.items():
        table = read_table(file)
        with pytest.raises(ValueError, match=rf"'x' has '-1.79.*e.?308' in {place}, 2 of 3 are"):
            decide("x", survey(table.columns["x"]), table.place)
        field = Field("x", "number", missing=(str(least),))
        np.testing.assert_array_equal(interpret(field, table), [1.5, np.nan, 2.5])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 30, 2**20])
def test_an_error_names_the_line_in_which_a_row_begins(
    end: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Remarks, empty lines and quoted new lines are before it; the oracle counts ends of lines."""
    head = ["# of 2026", "", "place,x"]
    rows = ['"a', 'street",1.5', "", "# that was the first", "# b,2.5", '"c ""d"" ', '",3.5', "e,4"]
    odd = ['"f', '",twelve', "g,7"]
    file = tmp_path / "a.csv"
    file.write_bytes(end.join(head + rows + odd).encode())
    monkeypatch.setattr(pieces, "PIECE", size)
    table = read_table(file)
    line = len(head + rows) + 1
    assert table.place(4) == f"line {line}"
    with pytest.raises(ValueError, match=f"'x' has 'twelve' in line {line}, expected a number"):
        interpret(Field("x", "number"), table)
    file.write_bytes(end.join([*head, *rows, "h", *odd]).encode())
    with pytest.raises(ValueError, match=f"line {line} has 1 cells, expected 2: 'h'"):
        read_table(file)


def test_texts_may_be_long(tmp_path: Path) -> None:
    """Longer than a block of Arrow's; an error shows their beginning."""
    long, lines = "x" * 2**21, "x\n," * 2**20
    file = tmp_path / "a.csv"
    file.write_text(f'c,y\n{long},1\n"{lines}",2\n{long},3\n"{lines}",5\n')
    table = read_table(file)
    assert table.columns["c"].to_pylist() == [long, lines] * 2
    assert table.place(2) == f"line {4 + 2**20}"
    field = learn(Field("c", "category"), interpret(Field("c", "category"), table))
    assert kinds(table)["c"] == "category"
    with pytest.raises(
        ValueError, match=r"'c' has 'xx\w+\.\.\.' in line 2, expected a number"
    ) as error:
        interpret(Field("c", "number"), table)
    assert len(str(error.value)) < 200
    other = Table({"c": array(["y" * 10**5])}, 1)
    with pytest.raises(ValueError, match=r"'c' has 'y+\.\.\.' in row 0") as error:
        encode(field, interpret(field, other))
    assert len(str(error.value)) < 300


def test_many_columns_are_read_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may number the rows: the planted defect is a reader that looks at them one by one."""
    names = [f"c{j}" for j in range(40)]
    rows = [[str((i * (j + 1)) % 7) for j in range(39)] + [f"{i * i % 11}.5"] for i in range(7)]
    file = tmp_path / "a.csv"
    file.write_text("\n".join(map(",".join, [names, *rows])))
    opened = []
    read = pieces.pieces
    monkeypatch.setattr(delimited, "pieces", lambda *given: opened.append(1) or read(*given))
    schema = learn_schema(open_table(file), "c39")
    assert "each of 0 to 6 once; does it number the rows?" in {f.note for f in schema.features}
    assert 0 < len(opened) <= 3


def test_no_thread_of_arrow_holds_what_python_owns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that still does while Python ends aborts it: one in thousands of runs."""
    read, seen = pyarrow.csv.read_csv, []

    def spy(source: Any, options: Any, parse: Any, convert: Any) -> Any:
        where = source.read_buffer().address
        source.seek(0)
        threads = options.use_threads
        seen.append((threads, bool(parse.invalid_row_handler), where == address))
        return read(source, options, parse, convert)

    monkeypatch.setattr(pyarrow.csv, "read_csv", spy)
    (tmp_path / "a.csv").write_text("x,y\n1.5,2")
    form = format_of(tmp_path / "a.csv", None, None)
    for data in (b"1.5,2\n6.5,7", b"1.5,2\n# total, 8"):
        address = pyarrow.py_buffer(data).address
        delimited._texts(data, form, form.names, len)
    assert seen == [(True, False, False), (False, True, False)]


def test_a_header_may_be_longer_than_pythons_reader_takes_for_a_cell(tmp_path: Path) -> None:
    """With a separator that the header does not have, it is one cell."""
    names = [f"a_long_name_of_column_{j}" for j in range(6000)]
    (tmp_path / "a.csv").write_text("\n".join([",".join(names), ",".join(["1.5"] * 6000)]))
    assert open_table(tmp_path / "a.csv").names == tuple(names)
    assert csv.field_size_limit() == 131_072


def test_two_threads_may_read_long_cells_at_once() -> None:
    """The first one puts the limit back; the second one must not be reading then."""
    inside, leave = Event(), Event()

    def first() -> None:
        with cells_of_any_length():
            inside.set()
            leave.wait()

    thread = Thread(target=first)
    thread.start()
    inside.wait()
    later = Timer(0.1, leave.set)
    later.start()
    with cells_of_any_length():
        thread.join()
        assert len(next(csv.reader(["a" * 200_000]))[0]) == 200_000
    later.join()
    assert csv.field_size_limit() == 131_072


def test_numbers_are_those_of_the_text(tmp_path: Path) -> None:
    """Python's own reading of each text is the oracle."""
    texts = [
        "1",
        "-0.5",
        "+3",
        ".5",
        "5.",
        "1e-05",
        "123456789.123456789",
        "2.2250738585072014e-308",
    ]
    (tmp_path / "a.csv").write_text("x\n" + "\n".join(texts))
    table = read_table(tmp_path / "a.csv")
    field = decide("x", survey(table.columns["x"]))
    assert interpret(field, table).tolist() == [float(text) for text in texts]


def test_a_header_or_a_row_may_begin_with_the_sign_of_a_remark(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("#,a\n1,2\n")
    assert read_table(file).columns["#"].to_pylist() == ["1"]
    file.write_text("a,b\n# 1,2\n")
    assert read_table(file).columns["a"].to_pylist() == ["# 1"]


def test_what_is_recognised_can_be_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x;y\n1,500;2\n")
    assert read_table(file, decimal=",").decimal == ","
    assert read_table(file, decimal=".").decimal == "."
    for wrong in ({"separator": ";;"}, {"separator": '"'}, {"decimal": "'"}):
        with pytest.raises(ValueError, match=r"must be|must be one"):
            read_table(file, **wrong)


def test_texts_of_a_large_file_are_its_own(tmp_path: Path) -> None:
    """Arrow reads blocks of a megabyte on several threads; the rows keep their order."""
    n = 200_000
    numbers = np.arange(n) * 7 % 1_000
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f'{k:03d},"a\n{k}"\n' for k in numbers))
    columns = read_table(tmp_path / "a.csv").columns
    assert columns["x"].to_pylist() == [f"{k:03d}" for k in numbers]
    assert columns["y"].to_pylist() == [f"a\n{k}" for k in numbers]


def test_damaged_parquet_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole.parquet", tmp_path / "damaged.parquet"
    columns = {"x": np.arange(40.0) ** 2, "y": [*"ab"] * 20}
    pyarrow.parquet.write_table(pyarrow.table(columns), whole, compression="gzip")
    raw, told = whole.read_bytes(), []
    for position in range(0, len(raw), 23):
        damaged.write_bytes(raw[:position] + bytes([raw[position] ^ 255]) + raw[position + 1 :])
        try:
            read_table(damaged)
        except ValueError as error:
            told.append(str(error))
    assert len(told) > 20
    assert [text for text in told if not text.startswith(f"{damaged}") or "\n" in text] == []
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "nothing.parquet")


def test_text_of_parquet_that_is_not_in_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "text.parquet"
    column = pyarrow.array([b"hill", b"la\xffke"] * 6).view("string")
    pyarrow.parquet.write_table(pyarrow.table({"c": column}), file, use_dictionary=False)
    with pytest.raises(ValueError, match=r"text\.parquet is damaged: .*UTF8"):
        read_table(file)


@pytest.mark.parametrize("kept", [0, 1])
def test_rows_of_parquet_that_are_not_there_are_noticed(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose header counts more rows than its pages have; Arrow leaves the others out."""
    file, Parquet = tmp_path / "rows.parquet", pyarrow.parquet.ParquetFile
    pyarrow.parquet.write_table(pyarrow.table({"x": np.arange(8.0)}), file)
    assert read_table(file).rows == 8

    def fewer(self: Any, *arguments: Any) -> Any:
        return (batch.slice(0, 3) for batch in [*whole(self, *arguments)][:kept])

    whole = Parquet.iter_batches
    monkeypatch.setattr(Parquet, "iter_batches", fewer)
    with pytest.raises(ValueError, match=rf"its group 0 of rows has {3 * kept} of 8 rows"):
        read_table(file)
