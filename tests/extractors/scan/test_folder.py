"""scan/folder.py and scan/__init__.py: which files a folder gives, in which order, and how they are read."""

import os
import subprocess
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from extractors.core import Found
from extractors.core.errors import ConfigurationError, DocumentError
from extractors.images.limits import MAX_BYTES
from extractors.scan import Listing, Selection, create_store, scan


def write(path, data=b"bytes"):
    """A file of these bytes, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fill(root, *paths):
    """Files at these paths, written in this order."""
    for path in paths:
        write(root / path)


def names(root):
    """What is found under `root`, as paths relative to it."""
    return [os.path.relpath(found.uri, root) for found in scan(str(root))]


def flaws(root):
    """Name, kind, stage and finality of what is found with a flaw."""
    return [
        (Path(found.uri).name, found.problem.kind, found.problem.stage, found.problem.final)
        for found in scan(str(root))
        if found.problem
    ]


def find_image(path):
    """The one image at this path."""
    (found,) = scan(str(path))
    return found


def test_folders_are_scanned_recursively_in_the_order_of_their_names(tmp_path):
    """The order is depth first and sorted within a folder, however the disk lists it."""
    fill(tmp_path, "b.png", "z/a.jpg", "a/y/deep.jpg", "a/b.jpg", "a.jpg", "B.jpg")
    assert names(tmp_path) == ["B.jpg", "a/b.jpg", "a/y/deep.jpg", "a.jpg", "b.png", "z/a.jpg"]


def test_two_scans_give_the_same_stream(tmp_path):
    """A source that did not change is found again as it was, value for value."""
    fill(tmp_path, "2.jpg", "1.jpg", "3/1.png")
    assert list(scan(str(tmp_path))) == list(scan(str(tmp_path)))


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "bmp", "JPG", "Png", "TIFF"])
def test_an_extension_counts_in_any_case(tmp_path, extension):
    """Cameras write `.JPG`, scanners `.TIFF`: both are images."""
    write(tmp_path / f"a.{extension}")
    assert names(tmp_path) == [f"a.{extension}"]


@pytest.mark.parametrize("name", ["a.txt", "jpg", "a.jpg.part", "ajpg", "a.docx", "a", "a.jpgx"])
def test_what_is_no_image_by_its_name_is_not_found(tmp_path, name):
    """A file without a known extension is passed over."""
    write(tmp_path / name)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["a.pdf", "A.PDF"])
def test_a_pdf_is_found_where_pdfs_can_be_read(tmp_path, name):
    """Its pages are told apart when it is looked at."""
    pytest.importorskip("pypdfium2", reason="the extra `pdf` is not installed")
    write(tmp_path / name)
    assert names(tmp_path) == [name]


def test_an_empty_folder_gives_nothing(tmp_path):
    """A folder without a file is an empty stream, not an error of the scan."""
    assert list(scan(str(tmp_path))) == []


def test_a_folder_named_like_an_image_is_walked(tmp_path):
    """What a folder is called does not make it an image."""
    write(tmp_path / "album.jpg" / "a.png")
    assert names(tmp_path) == ["album.jpg/a.png"]


def test_a_single_file_is_a_source(tmp_path):
    """One image named is the one image found."""
    path = write(tmp_path / "a.jpg")
    assert [found.uri for found in scan(str(path))] == [str(path)]


def test_a_single_file_of_an_unknown_kind_is_refused(tmp_path):
    """The refusal names the file and the kinds that are allowed."""
    path = write(tmp_path / "a.txt")
    with pytest.raises(ConfigurationError, match=r"a\.txt' is not an image.*jpg, jpeg, png"):
        scan(str(path))


def test_a_missing_source_is_refused_at_once(tmp_path):
    """The refusal comes with the call, before the stream is pulled, and names the source."""
    with pytest.raises(ConfigurationError, match="nowhere' does not exist"):
        scan(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("source", ["ftp://host/folder", "unknown://bucket"])
def test_an_address_of_an_unknown_kind_is_refused(source):
    """What looks like an address and cannot be read is not taken for a missing folder."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        scan(source)


def test_a_linked_file_inside_the_root_is_found_under_its_own_name(tmp_path):
    """A link to an image of the same source is an image, at the link's path."""
    write(tmp_path / "a.jpg")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.jpg").symlink_to(tmp_path / "a.jpg")
    assert names(tmp_path) == ["a.jpg", "sub/b.jpg"]


def test_a_linked_file_outside_the_root_is_not_followed(tmp_path):
    """A link cannot make a run send what lies outside the source."""
    outside = write(tmp_path / "outside" / "secret.jpg")
    root = write(tmp_path / "root" / "a.jpg").parent
    (root / "b.jpg").symlink_to(outside)
    assert names(root) == ["a.jpg"]


def test_a_folder_beside_the_root_with_a_longer_name_is_outside(tmp_path):
    """`root-2` begins like `root` and is another folder."""
    outside = write(tmp_path / "root-2" / "secret.jpg")
    root = write(tmp_path / "root" / "a.jpg").parent
    (root / "b.jpg").symlink_to(outside)
    assert names(root) == ["a.jpg"]


def test_a_linked_folder_outside_the_root_is_not_followed(tmp_path):
    """A link to a folder elsewhere adds nothing to the source."""
    outside = write(tmp_path / "outside" / "secret.jpg").parent
    root = write(tmp_path / "root" / "a.jpg").parent
    (root / "more").symlink_to(outside, target_is_directory=True)
    assert names(root) == ["a.jpg"]


def test_a_folder_linked_to_its_own_parent_ends(tmp_path):
    """A circle of links does not keep the scan going for ever."""
    write(tmp_path / "sub" / "a.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert names(tmp_path) == ["sub/a.jpg"]


def test_a_source_that_is_itself_a_link_keeps_its_name(tmp_path):
    """The paths begin as the source was named, and links within the folder behind it are inside."""
    real = write(tmp_path / "real" / "a.jpg").parent
    (real / "b.jpg").symlink_to("a.jpg")
    link = tmp_path / "link"
    link.symlink_to(real, target_is_directory=True)
    assert [found.uri for found in scan(str(link))] == [f"{link}/a.jpg", f"{link}/b.jpg"]


def test_a_dangling_link_is_found_with_a_flaw(tmp_path):
    """What cannot be looked at is a row of its own, to be tried again, and stops nothing."""
    write(tmp_path / "b.jpg")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert names(tmp_path) == ["a.jpg", "b.jpg"]
    assert flaws(tmp_path) == [("a.jpg", "missing", "scan", False)]


def test_a_link_to_itself_is_found_with_a_flaw(tmp_path):
    """A link that leads nowhere by leading to itself is unreadable and stops nothing."""
    (tmp_path / "a.jpg").symlink_to("a.jpg")
    assert flaws(tmp_path) == [("a.jpg", "unreadable", "scan", False)]


def test_a_folder_that_vanishes_during_the_scan_is_found_with_a_flaw(tmp_path):
    """A folder that was listed and is gone when its turn comes is a row, not a crash."""
    write(tmp_path / "a.jpg")
    (tmp_path / "b").mkdir()
    stream = scan(str(tmp_path))
    next(stream)
    (tmp_path / "b").rmdir()
    (gone,) = stream
    assert (gone.uri, gone.problem.kind, gone.problem.final) == (str(tmp_path / "b"), "missing", False)


def test_what_is_no_regular_file_is_not_found(tmp_path):
    """A pipe named like an image would block its reader for ever."""
    os.mkfifo(tmp_path / "a.jpg")
    assert names(tmp_path) == []


def test_found_says_size_and_modification_in_utc(tmp_path):
    """Size in bytes and a time that knows its zone come from the listing."""
    path = write(tmp_path / "a.jpg", b"12345")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    found = find_image(path)
    assert found.size == 5
    assert found.modified == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert found.modified.tzinfo is UTC


@pytest.mark.parametrize("source", [".", "sub/..", "sub/../a.jpg"])
def test_a_uri_is_absolute_however_the_source_is_named(tmp_path, monkeypatch, source):
    """The same image has the same name from any working directory."""
    write(tmp_path / "a.jpg")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [found.uri for found in scan(source)] == [str(tmp_path / "a.jpg")]


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    """A source that reaches the job unexpanded, as from a form, is found."""
    write(tmp_path / "pictures" / "a.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [found.uri for found in scan("~/pictures")] == [str(tmp_path / "pictures" / "a.jpg")]


def test_the_version_changes_with_the_length(tmp_path):
    """More bytes at the same time are another version."""
    path = write(tmp_path / "a.jpg", b"one")
    os.utime(path, ns=(1, 1))
    before = find_image(path).version
    path.write_bytes(b"three")
    os.utime(path, ns=(1, 1))
    assert find_image(path).version != before


def test_the_version_changes_with_the_time(tmp_path):
    """As many bytes written a nanosecond later are another version."""
    path = write(tmp_path / "a.jpg", b"one")
    os.utime(path, ns=(1, 1_000_000_001))
    before = find_image(path).version
    os.utime(path, ns=(1, 1_000_000_002))
    assert find_image(path).version != before


def test_the_version_stays_when_nothing_is_written(tmp_path):
    """Being read does not make an image new."""
    path = write(tmp_path / "a.jpg")
    before = find_image(path)
    path.read_bytes()
    assert find_image(path) == before


def test_a_store_reads_what_was_found(tmp_path):
    """All bytes of the file, and a stream that begins at the first."""
    path = write(tmp_path / "a.jpg", b"picture")
    found = find_image(path)
    with create_store(str(path)).open(found) as stream:
        assert stream.read(3) == b"pic"
    assert create_store(str(path)).read(found) == b"picture"


def act_on(path, act, found):
    """Open or read the file; a header that is read is nothing."""
    store = create_store(str(path))
    return store.read_header(found, lambda *_: None) if act == "read_header" else getattr(store, act)(found)


def test_a_header_is_read_at_offsets_and_the_file_is_closed(tmp_path):
    """Also after an error."""
    path, readers = write(tmp_path / "a.jpg", b"picture"), []

    def parse(read, measure):
        readers.append(read)
        return read(3, 2), read(9, 5), measure()

    def fail(read, _):
        readers.append(read)
        raise ValueError("broken")

    store, found = create_store(str(path)), find_image(path)
    assert store.read_header(found, parse) == (b"ctu", b"re", 7)
    with pytest.raises(ValueError, match="broken"):
        store.read_header(found, fail)
    with pytest.raises(OSError, match="descriptor"):
        readers[0](1, 0)
    with pytest.raises(OSError, match="descriptor"):
        readers[1](1, 0)


@pytest.mark.parametrize("act", ["open", "read", "read_header"])
def test_a_file_written_to_since_it_was_found_is_changed(tmp_path, act):
    """The bytes billed are the bytes sent; the next run takes the file as it is then."""
    path = write(tmp_path / "a.jpg", b"before")
    found = find_image(path)
    path.write_bytes(b"afterwards")
    with pytest.raises(DocumentError, match="changed since") as raised:
        act_on(path, act, found)
    assert (raised.value.kind, raised.value.final) == ("changed", False)


@pytest.mark.parametrize("act", ["open", "read", "read_header"])
def test_a_file_that_is_gone_is_missing(tmp_path, act):
    """A file may come back, so the failure is not final."""
    path = write(tmp_path / "a.jpg")
    found = find_image(path)
    path.unlink()
    with pytest.raises(DocumentError) as raised:
        act_on(path, act, found)
    assert (raised.value.kind, raised.value.final) == ("missing", False)


@pytest.mark.parametrize("act", ["open", "read", "read_header"])
def test_a_file_of_too_many_bytes_is_refused_for_good(tmp_path, act):
    """A file over the limit is not read into memory, in this run or another."""
    path = write(tmp_path / "a.jpg")
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(DocumentError, match="over the limit") as raised:
        act_on(path, act, find_image(path))
    assert (raised.value.kind, raised.value.final) == ("too_many_bytes", True)


def test_a_file_found_without_a_version_is_read_as_it_is(tmp_path):
    """Where nothing is known of the version, nothing can have changed."""
    path = write(tmp_path / "a.jpg", b"picture")
    assert create_store(str(path)).read(Found(str(path))) == b"picture"


def walk(root, selection=None):
    """What is found under `root` as relative paths, and the walk's record."""
    listing = Listing()
    found = list(scan(str(root), selection, listing))
    return [os.path.relpath(each.uri, root) for each in found if each.problem is None], listing


@pytest.fixture
def nest(tmp_path):
    """Makes folders in folders, and removes them, which Python's own functions cannot."""

    def make(name, depth, file):
        at = os.open(tmp_path, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(name, dir_fd=at)
            at, old = os.open(name, os.O_RDONLY, dir_fd=at), at
            os.close(old)
        os.close(os.open(file, os.O_CREAT, dir_fd=at))
        os.close(at)

    yield make
    for path in tmp_path.iterdir():
        subprocess.run(["rm", "-rf", path], check=True)


def test_deep_folders_are_walked_without_recursion(tmp_path, nest):
    """More folders than Python's stack has room for are walked like others."""
    nest("d", 1100, "deep.jpg")
    write(tmp_path / "z.jpg")
    found, listing = walk(tmp_path)
    assert found == ["d/" * 1100 + "deep.jpg", "z.jpg"]
    assert listing.incomplete is None


def test_folder_too_deep_for_the_system_costs_only_itself(tmp_path, nest):
    """A path longer than the system takes is one unread folder; its neighbours are read."""
    nest("d" * 200, 30, "deep.jpg")
    write(tmp_path / "z.jpg")
    found, listing = walk(tmp_path)
    assert found == ["z.jpg"]
    assert len(listing.unread) == 1


@pytest.mark.parametrize("seconds", [10**12, -(10**12), 2**62 // 10**9])
def test_time_beyond_the_calendar_is_unknown(monkeypatch, tmp_path, seconds):
    """A time that no table holds costs the time, not the image."""
    path = write(tmp_path / "a.jpg")
    try:
        os.utime(path, (seconds, seconds))
    except OverflowError:
        pytest.skip("the system takes no such time")
    if path.stat().st_mtime != seconds:
        pytest.skip("the file system keeps no such time")
    found = find_image(path)
    assert (found.problem, found.size) == (None, 5)
    assert found.modified is None or found.modified.year < 10_000


def test_system_files_and_folders_are_passed_over_and_counted(tmp_path):
    """What Macs and storage boxes leave behind is never an image."""
    fill(tmp_path, "a.jpg", "._a.jpg", ".DS_Store", "@eaDir/a.jpg/T.jpg", "#recycle/b.jpg", ".thumbnails/c.jpg")
    fill(tmp_path, "s/.hidden.jpg", "s/b.png", "s/notes.txt", "s/IMG.XYZ", ".Trash-1000/d.jpg")
    found, listing = walk(tmp_path)
    assert found == ["a.jpg", "s/b.png"]
    assert listing.passed_over == {
        "AppleDouble": 1,
        "system": 2,
        "trash": 2,
        "thumbnails": 1,
        "hidden": 1,
        ".txt": 1,
        ".xyz": 1,
    }


def test_hidden_source_is_read(tmp_path):
    """Only what lies below the source is passed over, never the source itself."""
    write(tmp_path / ".scans" / "a.jpg")
    assert walk(tmp_path / ".scans")[0] == ["a.jpg"]
    assert find_image(write(tmp_path / "._b.jpg")).problem is None


def test_links_that_lead_out_are_counted_and_named(tmp_path):
    """A folder of links to files elsewhere says so, with one example."""
    write(tmp_path / "blobs" / "0a")
    root = tmp_path / "snapshot"
    root.mkdir()
    (root / "0.jpg").symlink_to("../blobs/0a")
    found, listing = walk(root)
    assert found == []
    (warning,) = listing.warnings
    assert warning.startswith(f"1 link leads out of the source and was not followed, for example {root}/0.jpg")


def test_selection_chooses_files(tmp_path):
    """Exclude wins over include."""
    fill(tmp_path, "2026/a.jpg", "2026/draft-a.jpg", "2025/b.jpg", "c.png")
    found, listing = walk(tmp_path, Selection(("2026/**", "*.png"), ("draft*",)))
    assert found == ["2026/a.jpg", "c.png"]
    assert listing.passed_over == {"excluded": 1, "not included": 1}


def test_folder_that_may_not_be_listed_is_unread(tmp_path, monkeypatch):
    """Its neighbours are read, and the listing is incomplete."""
    fill(tmp_path, "a/x.jpg", "b/y.jpg")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, listing = walk(tmp_path)
    assert found == ["b/y.jpg"]
    assert f"{tmp_path}/a cannot be read: Permission denied" in listing.incomplete


def test_folder_that_breaks_off_keeps_what_was_listed(tmp_path, monkeypatch):
    """A disk that fails in the middle of a folder costs the rest of it only, after retries."""
    fill(tmp_path, "a.jpg", "b.jpg")
    real, tries = os.scandir, []

    class Broken:
        def __enter__(self):
            tries.append(1)
            return self

        def __exit__(self, *error):
            return None

        def close(self):
            return None

        def __iter__(self):
            with real(tmp_path) as entries:
                yield next(entries)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", lambda path: Broken())
    found, listing = walk(tmp_path)
    assert (len(found), len(tries)) == (1, 3)
    assert "Input/output error" in listing.incomplete


def test_listing_holds_of_each_file_little_more_than_its_name(tmp_path):
    """A folder of 100,000 images takes 10 MB while a run lists it, not the status of each file."""
    for number in range(1_000):
        (tmp_path / f"{number:04d}.jpg").touch()
    tracemalloc.start()
    try:
        count = sum(1 for _ in scan(str(tmp_path)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 1_000
    assert peak < 250 * count
