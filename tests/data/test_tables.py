"""Tables of samples in CSV and Parquet: what they say, and what is refused."""

from __future__ import annotations

import sys

import pytest

from differnet.data import datasets, tables
from differnet.errors import LayoutError, MissingExtraError
from support.tiny import touch

HEADER = "path,split,label,defect,mask,group\n"


@pytest.fixture
def root(tmp_path):
    touch(tmp_path, *(f"images/{i}.png" for i in range(6)), "masks/5.png")
    return tmp_path


def write(root, text, name="parts.csv"):
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def test_a_table_with_everything(root):
    path = write(
        root,
        HEADER
        + "images/0.png,train,good,,,a\nimages/1.png,Train,normal,,,\nimages/2.png,train,0,,,a\n"
        + "\nimages/3.png,test,good,good,,b\n"
        + 'images/4.png,test,anomaly,,,\nimages/5.png,test,1,"scratch, long",masks/5.png,b\n',
    )
    (data,) = datasets.read(path)
    assert data.name == "parts"
    assert [sample.path for sample in data.samples] == [root / f"images/{i}.png" for i in range(6)]
    assert [sample.defect for sample in data.test] == ["good", "defective", "scratch, long"]
    assert [sample.mask for sample in data.test] == [None, None, root / "masks/5.png"]
    assert [sample.group for sample in data.samples] == ["a", None, "a", "b", None, "b"]
    assert data.groups == ["a", str(root / "images/1.png"), "a"]  # an image without a group is by itself
    assert data.shots(2, seed=0).groups is not None
    assert datasets.read(str(path), "table") == [data]


def test_the_fewest_columns_in_any_order_with_others_beside(root):
    path = write(
        root, "\ufefflabel,split,camera,path\ngood,train,7,images/0.png\ndefective,test,7,images/1.png\n"
    )
    (data,) = datasets.read(path)
    assert [(s.split, s.defect, s.mask, s.group) for s in data.samples] == [
        ("train", "good", None, None),
        ("test", "defective", None, None),
    ]
    assert data.groups is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "images/0.png,dev,good,,,",
            r"row of 'images/0.png': split 'dev'; train, val .for training. or test was",
        ),
        (
            "images/0.png,test,fine,,,",
            r"label 'fine'; good .or normal, ok, 0, .* or defective .or anomaly, .* ng",
        ),
        (
            "images/0.png,train,1,,,",
            "defective, but for training .split 'train'., which takes good images alone",
        ),
        ("images/0.png,val,NG,,,", "defective, but for training .split 'val'.*; give it the split test"),
        ("images/0.png,test,good,dent,,", "label 'good', but defect 'dent'"),
        ("images/0.png,test,defective,good,,", "label 'defective', but defect 'good'"),
        (",test,good,,,", "a row without a path"),
        ("images/9.png,test,good,,,", r"1 of 1 files are not there, such as .*9.png; paths are relative to"),
        ("images/0.png,test,1,,masks/0.png,", r"1 of 2 files are not there, such as .*masks.0.png"),
        (
            "images/0.png,train,0,,,\nimages/0.png,test,0,,,",
            r"1 image is in more than one row, .*0.png; one row each",
        ),
        ("images/0.png,train,0", "3 fields under 6 columns in 'images/0.png,train,0'"),
        ("", "a header without rows"),
    ],
)
def test_rows_that_cannot_be_right_are_named(root, rows, message):
    with pytest.raises(LayoutError, match=message):
        datasets.read(write(root, HEADER + rows + "\n"))


def test_columns_that_are_missing_or_nearly_right(root):
    row = "\nimages/0.png,train,good\n"
    with pytest.raises(
        LayoutError, match=r"no column split; wanted path, split, label and, where known, defect"
    ):
        datasets.read(write(root, "path,part,label" + row))
    with pytest.raises(LayoutError, match="no column path, split, label; .*found nothing"):
        datasets.read(write(root, ""))
    with pytest.raises(LayoutError, match="the column 'split' stands there twice"):
        datasets.read(write(root, "path,split,label,split\nimages/0.png,train,good,test\n"))
    for slip, meant in (("groups", "group"), ("mask_path", "mask"), ("defect_type", "defect")):
        with pytest.raises(LayoutError, match=f"there is no column '{slip}'; did you mean '{meant}'"):
            datasets.read(write(root, f"path,split,label,{slip}\nimages/0.png,train,good,\n"))


def test_files_that_are_no_tables(root):
    with pytest.raises(LayoutError, match="no such file; a table in .csv or .parquet was wanted"):
        datasets.read(root / "none.csv")
    with pytest.raises(
        LayoutError, match=r"was wanted; found a folder of 2 entries \(0 images\): images, masks"
    ):
        datasets.read(root, "table")
    with pytest.raises(LayoutError, match="a file of another kind; a folder, or a table in .csv or .parquet"):
        datasets.read(write(root, HEADER, "parts.txt"))
    with pytest.raises(LayoutError, match="another kind of file"):
        datasets.read(write(root, HEADER, "parts.txt"), "table")
    (root / "latin.csv").write_bytes(HEADER.encode() + b"images/\xe4.png,train,good,,,\n")
    with pytest.raises(LayoutError, match="not a CSV table in UTF-8"):
        datasets.read(root / "latin.csv")
    with pytest.raises(LayoutError, match="has no categories"):
        datasets.read(write(root, HEADER), categories=["a"])


def test_parquet_says_the_same_as_csv(root):
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'differnet[parquet]'")
    from pyarrow import parquet

    columns = {
        "path": ["images/0.png", "images/1.png", "images/5.png"],
        "split": ["train", "test", "test"],
        "label": [0, 0, 1],
        "mask": [None, None, "masks/5.png"],
        "group": [3.0, float("nan"), 4.0],
        "embedding": [[1.0], [2.0], [3.0]],
    }
    text = "path,split,label,mask,group\nimages/0.png,train,0,,3\n"
    text += "images/1.png,test,0,,\nimages/5.png,test,1,masks/5.png,4\n"
    for labels in (columns["label"], [False, False, True], [0.0, 0.0, 1.0], ["good", "good", "defective"]):
        parquet.write_table(pa.table(columns | {"label": labels}), root / "parts.parquet")
        assert datasets.read(root / "parts.parquet") == datasets.read(write(root, text))
    (root / "parts.parquet").write_text("no Parquet")
    with pytest.raises(LayoutError, match="not a Parquet table that can be read"):
        datasets.read(root / "parts.parquet")


def test_parquet_without_pyarrow_names_the_command(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'differnet\[parquet\]'"):
        datasets.read(write(root, "", "parts.parquet"))


def test_paths_may_be_absolute_or_lead_out_of_the_folder(root):
    (root / "tables").mkdir()
    text = f"path,split,label\n../images/0.png,train,good\n{root / 'images/1.png'},test,good\n"
    (data,) = datasets.read(write(root, text, "tables/parts.csv"))
    assert [sample.path.resolve() for sample in data.samples] == [
        root / "images/0.png",
        root / "images/1.png",
    ]


def test_tables_that_are_too_long_are_refused(root, monkeypatch):
    monkeypatch.setattr(tables, "_MOST_ROWS", 2)
    rows = "".join(f"images/{i}.png,train,good,,,\n" for i in range(2))
    assert len(datasets.read(write(root, HEADER + rows))[0].samples) == 2
    with pytest.raises(LayoutError, match="parts.csv: more than 2 rows"):
        datasets.read(write(root, HEADER + rows + "images/2.png,train,good,,,\n"))
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'differnet[parquet]'")
    from pyarrow import parquet

    columns = {"path": ["images/0.png"] * 3, "split": ["train"] * 3, "label": ["good"] * 3}
    parquet.write_table(pa.table(columns), root / "parts.parquet")
    with pytest.raises(LayoutError, match="parts.parquet: more than 2 rows"):
        datasets.read(root / "parts.parquet")


@pytest.mark.parametrize("word", ["good", "OK", "Ok", "normal", "0", "False", "pass", "nominal"])
def test_the_usual_words_for_good(root, word):
    path = write(root, f"path,split,label\nimages/0.png,train,{word}\nimages/1.png,test,{word}\n")
    assert [sample.defect for sample in datasets.read(path)[0].samples] == ["good", "good"]


@pytest.mark.parametrize(
    "word", ["NG", "nok", "KO", "abnormal", "anomalous", "anomaly", "defect", "bad", "1", "True", "fail"]
)
def test_the_usual_words_for_defective(root, word):
    path = write(root, f"path,split,label\nimages/0.png,train,0\nimages/1.png,test,{word}\n")
    assert [sample.defect for sample in datasets.read(path)[0].test] == ["defective"]


@pytest.mark.parametrize(
    ("word", "split"),
    [("val", "train"), ("Validation", "train"), ("training", "train"), ("TEST", "test"), ("testing", "test")],
)
def test_the_usual_words_for_splits(root, word, split):
    path = write(root, f"path,split,label\nimages/0.png,train,0\nimages/1.png,{word},0\n")
    assert datasets.read(path)[0].samples[1].split == split


def test_a_good_image_may_name_its_kind_of_defect_in_the_words_of_its_label(root):
    path = write(root, "path,split,label,defect\nimages/0.png,train,OK,ok\nimages/1.png,test,NG,Dent\n")
    assert [sample.defect for sample in datasets.read(path)[0].samples] == ["good", "Dent"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path;split;label\nimages/0.png;train;good\n",
            "separated by semicolons .';'., and commas were wanted",
        ),
        (
            "path;split;label\nimages/0,5.png;train;good\n",
            "separated by semicolons .';'., and commas were wanted",
        ),
        ("path\tsplit\tlabel\nimages/0.png\ttrain\tgood\n", "separated by tabs"),
        (
            "path,split,label\nimages\\0.png,train,good\n",
            r"some have backslashes .*slashes \(/\) were wanted",
        ),
    ],
)
def test_signs_of_another_system_are_named(root, text, message):
    with pytest.raises(LayoutError, match=message):
        datasets.read(write(root, text))


@pytest.mark.parametrize("second", ["images/../images/0.png", "link.png", "far/0.png"])
def test_one_file_by_two_paths_is_refused(root, second):
    (root / "link.png").symlink_to(root / "images/0.png")
    (root / "far").symlink_to(root / "images")
    path = write(root, f"path,split,label\nimages/0.png,train,good\n{second},test,good\n")
    with pytest.raises(LayoutError, match="1 image is in more than one row, .*0.png, which is also .*png"):
        datasets.read(path)


@pytest.mark.parametrize(
    "heading", ["Path,Split,Label,Group", "PATH,SPLIT,LABEL,GROUP", "path,Split,label,group"]
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_and_labels_are_known_however_they_are_written(root, heading, suffix):
    path = write(
        root, heading + "\nimages/0.png,TRAIN,0.0,a\nimages/1.png,Test,OK,b\nimages/2.png,test,1.0,b\n"
    )
    if suffix == "parquet":
        arrow_csv = pytest.importorskip("pyarrow.csv")
        from pyarrow import parquet

        parquet.write_table(arrow_csv.read_csv(path), root / "parts.parquet")
        path = root / "parts.parquet"
    (data,) = datasets.read(path)
    assert [(one.split, one.defect, one.group) for one in data.samples] == [
        ("train", "good", "a"),
        ("test", "good", "b"),
        ("test", "defective", "b"),
    ]


def test_two_columns_of_one_name_are_refused_however_they_are_written(root):
    path = write(root, "path,Path,split,label\nimages/0.png,images/1.png,train,good\n")
    with pytest.raises(LayoutError, match="the column 'path' stands there twice"):
        datasets.read(path)


def test_text_of_another_kind_is_said(root):
    (root / "parts.csv").write_bytes((HEADER + "images/0.png,train,good,,,\n").encode("utf-16"))
    with pytest.raises(
        LayoutError, match="it is UTF-16, as Excel's 'Unicode text' is: save it as CSV in UTF-8"
    ):
        datasets.read(root / "parts.csv")
