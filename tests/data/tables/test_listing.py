"""Folders and lists as people have them."""

import os

import pytest

from pcae.data.sources import list_data
from pcae.data.tables.listing import list_folder


def touch(folder, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(listing, folder) -> list[str]:
    return [os.path.relpath(path, folder) for path in listing.names]


def test_odd_names_are_names(tmp_path):
    odd = ["a photo.jpg", "b\nline.png", "c [red]ünïcode 猫.webp", "d.tar.JPG", os.fsdecode(b"e\xff.png")]
    touch(tmp_path, *odd)
    assert sorted(names(list_folder(tmp_path), tmp_path)) == sorted(odd)


def test_hidden_files_and_folders_and_other_files_are_left_out(tmp_path):
    touch(tmp_path, "a.jpg", ".b.jpg", ".cache/c.jpg", "__MACOSX/._a.jpg", "notes.txt", "d.mp4", "e.mp4", "README")
    found = list_folder(tmp_path)
    assert names(found, tmp_path) == ["a.jpg"]
    assert found.others == {".mp4": 2, ".txt": 1, "without suffix": 1}


def test_links_are_followed_once_and_dead_ones_are_kept_to_be_named(tmp_path):
    touch(tmp_path, "one/a.jpg", "two/b.jpg")
    (tmp_path / "two" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "dead.png").symlink_to(tmp_path / "gone.png")
    assert sorted(names(list_folder(tmp_path), tmp_path)) == ["dead.png", "one/a.jpg", "self.jpg", "two/b.jpg"]


def test_a_pipe_with_the_name_of_an_image_does_not_hang_the_run(tmp_path):
    touch(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names(list_folder(tmp_path), tmp_path) == ["a.jpg"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, unprivileged):
    touch(tmp_path, "open/a.jpg", "shut/b.jpg")
    (tmp_path / "shut").chmod(0)
    with unprivileged(tmp_path), pytest.raises(ValueError, match=r"shut' cannot be listed: Permission denied; make"):
        list_folder(tmp_path)


def test_an_empty_folder_says_what_it_holds_instead(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.txt")
    with pytest.raises(ValueError, match=r"holds no image files .*, but 2 \.mp4, 1 \.txt"):
        list_data(str(tmp_path), "train")


def test_lists_may_have_headers_marks_and_windows_lines(tmp_path):
    touch(tmp_path, "a.jpg", "b, c.jpg")
    (tmp_path / "one.csv").write_bytes('\ufeffpath,label\r\na.jpg,1\r\n"b, c.jpg",2\r\n'.encode())
    (tmp_path / "two.txt").write_bytes(b"a.jpg\r\nb, c.jpg\r\n\r\n")
    one, two = list_data(str(tmp_path / "one.csv"), "train"), list_data(str(tmp_path / "two.txt"), "train")
    assert names(one, tmp_path) == names(two, tmp_path) == ["a.jpg", "b, c.jpg"]
    assert (one.labels, two.labels) == (["1", "2"], None)


def test_a_list_that_is_none_is_refused_by_name(tmp_path):
    (tmp_path / "a.csv").write_text('a.jpg,"1')
    with pytest.raises(ValueError, match=r"a\.csv cannot be read as a list of files"):
        list_data(str(tmp_path / "a.csv"), "train")


@pytest.mark.parametrize("held_out", ["val", "valid", "validation", "test"])
def test_a_split_never_holds_the_other_ones_images(tmp_path, held_out):
    touch(tmp_path, "train/cat/a.jpg", f"{held_out}/cat/b.jpg")
    splits = [names(list_data(str(tmp_path), split), tmp_path) for split in ("train", "test")]
    assert splits == [["train/cat/a.jpg"], [f"{held_out}/cat/b.jpg"]]


@pytest.mark.parametrize(
    ("train", "test", "apart"),
    [
        ("Train", "Test", True),
        ("TRAIN", "val", True),
        ("Training", "Testing", True),
        ("training", "Validation", True),
        ("train", "Test", True),
        ("Train", "Bus", False),
        ("testing", "cooking", False),
    ],
)
def test_capitals_are_splits_where_both_are_there_and_classes_else(tmp_path, train, test, apart):
    touch(tmp_path, f"{train}/cat/a.jpg", f"{test}/dog/b.jpg")
    found = [list_data(str(tmp_path), split) for split in ("train", "test")]
    assert ([one.labels for one in found] == [["cat"], ["dog"]]) == apart
    assert apart or sorted(found[0].labels or []) == sorted([train, test])


def test_a_class_called_train_is_taken_for_a_split_and_that_is_said(tmp_path, capsys):
    touch(tmp_path, "vehicles/train/a.jpg", "vehicles/bus/b.jpg", "vehicles/car/c.jpg", "plain/train/a.jpg")
    (tmp_path / "plain" / "notes").mkdir()
    for name in ("plain", "vehicles", "vehicles"):
        assert len(list_data(str(tmp_path / name), "train").names) == 1
    said = capsys.readouterr().err
    assert said.count("left out") == 1
    assert (
        "vehicles/train' is taken for the training images, and 2 folders of images beside it are left out, the" in said
    )


def test_with_one_split_folder_the_other_split_is_the_rest_or_the_same(tmp_path):
    touch(tmp_path, "one/train/cat/a.jpg", "one/b.jpg", "two/test/cat/a.jpg", "two/cat/b.jpg", "two/cat/c.jpg")
    one = [names(list_data(str(tmp_path / "one"), split), tmp_path) for split in ("train", "test")]
    two = [names(list_data(str(tmp_path / "two"), split), tmp_path) for split in ("train", "test")]
    assert one == [["one/train/cat/a.jpg"]] * 2
    assert two == [["two/cat/b.jpg", "two/cat/c.jpg"], ["two/test/cat/a.jpg"]]


@pytest.mark.parametrize(
    ("text", "files", "labels"),
    [
        ("id,label,width,filename\n7,cat,10,a.jpg\n8,dog,10,b.jpg\n", ["a.jpg", "b.jpg"], ["cat", "dog"]),
        ("Class, Image\ncat,a.jpg\ndog,b.jpg\n", ["a.jpg", "b.jpg"], ["cat", "dog"]),
        ("file,target,label\nb.jpg,0,x\n", ["b.jpg"], ["0"]),
        ("path,width,height\na.jpg,10,20\n", ["a.jpg"], None),
        ("path,species\na.jpg,cat\n", ["a.jpg"], ["cat"]),
        ("a.jpg,image\nb.jpg,file\n", ["a.jpg", "b.jpg"], ["image", "file"]),
        ("path,label\na.jpg,cat\nb.jpg,\n", ["a.jpg", "b.jpg"], None),
        ("path,label\na.jpg,cat\nb.jpg\n", ["a.jpg", "b.jpg"], None),
    ],
)
def test_a_header_says_which_columns_are_paths_and_labels(tmp_path, text, files, labels):
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "list.csv").write_text(text)
    found = list_data(str(tmp_path / "list.csv"), "train")
    assert (names(found, tmp_path), found.labels) == (files, labels)


def test_a_list_of_lines_has_no_header(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "list.txt").write_text("path\na.jpg\n")
    with pytest.raises(ValueError, match="path', which is no file"):
        list_data(str(tmp_path / "list.txt"), "train")


def test_one_image_is_data(tmp_path):
    touch(tmp_path, "a cat.JPG", "b.jpg")
    found = list_data(str(tmp_path / "a cat.JPG"), "train")
    assert (names(found, tmp_path), found.labels, found.root) == (["a cat.JPG"], None, str(tmp_path))


def test_dicom_files_need_no_suffix_and_arrays_count_where_there_is_no_picture(tmp_path):
    dicom = bytes(128) + b"DICM"
    for name in ("IM0001", "1.2.840.10008.5", "DICOMDIR", "scan.dcm", "notes.txt"):
        (tmp_path / name).write_bytes(dicom)
    (tmp_path / "README").write_text("words")
    found = list_folder(tmp_path)
    assert names(found, tmp_path) == ["1.2.840.10008.5", "IM0001", "scan.dcm"]
    assert found.others == {".txt": 1, "without suffix": 2}
    touch(tmp_path, "arrays/a.npy", "arrays/b.npz", "both/a.npy", "both/a.heic", "both/b.jph")
    assert names(list_folder(tmp_path / "arrays"), tmp_path) == ["arrays/a.npy", "arrays/b.npz"]
    beside = list_folder(tmp_path / "both")
    assert names(beside, tmp_path) == ["both/a.heic", "both/b.jph"] and beside.others == {".npy": 1}
