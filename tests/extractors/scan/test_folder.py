"""scan/folder.py and scan/__init__.py: which files of a folder are found, in which order, and how they are read."""

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
    """Write a file and create its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fill(root, *paths):
    """Write files at these paths, in this order."""
    for path in paths:
        write(root / path)


def list_names(root):
    """List what is found under `root`, as relative paths."""
    return [os.path.relpath(found.uri, root) for found in scan(str(root))]


def list_problems(root):
    """List name, kind, stage and finality of each problem that a scan finds."""
    return [
        (Path(found.uri).name, found.problem.kind, found.problem.stage, found.problem.final)
        for found in scan(str(root))
        if found.problem
    ]


def find_image(path):
    """Find the one image at this path."""
    (found,) = scan(str(path))
    return found


def test_scan_walks_folders_depth_first_in_the_order_of_names(tmp_path):
    """The order does not depend on the disk's."""
    fill(tmp_path, "b.png", "z/a.jpg", "a/y/deep.jpg", "a/b.jpg", "a.jpg", "B.jpg")
    assert list_names(tmp_path) == ["B.jpg", "a/b.jpg", "a/y/deep.jpg", "a.jpg", "b.png", "z/a.jpg"]


def test_scan_of_an_unchanged_folder_gives_equal_values(tmp_path):
    fill(tmp_path, "2.jpg", "1.jpg", "3/1.png")
    assert list(scan(str(tmp_path))) == list(scan(str(tmp_path)))


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "bmp", "JPG", "Png", "TIFF"])
def test_scan_finds_extensions_in_any_case(tmp_path, extension):
    """Cameras write `.JPG`, scanners `.TIFF`."""
    write(tmp_path / f"a.{extension}")
    assert list_names(tmp_path) == [f"a.{extension}"]


@pytest.mark.parametrize("name", ["a.txt", "jpg", "a.jpg.part", "ajpg", "a.docx", "a", "a.jpgx"])
def test_scan_skips_files_without_an_image_extension(tmp_path, name):
    write(tmp_path / name)
    assert list_names(tmp_path) == []


@pytest.mark.parametrize("name", ["a.pdf", "A.PDF"])
def test_scan_finds_pdfs_when_the_extra_is_installed(tmp_path, name):
    pytest.importorskip("pypdfium2", reason="the extra `pdf` is not installed")
    write(tmp_path / name)
    assert list_names(tmp_path) == [name]


def test_scan_of_an_empty_folder_is_empty(tmp_path):
    """It is not an error."""
    assert list(scan(str(tmp_path))) == []


def test_scan_walks_a_folder_named_like_an_image(tmp_path):
    write(tmp_path / "album.jpg" / "a.png")
    assert list_names(tmp_path) == ["album.jpg/a.png"]


def test_scan_accepts_a_single_file(tmp_path):
    path = write(tmp_path / "a.jpg")
    assert [found.uri for found in scan(str(path))] == [str(path)]


def test_scan_refuses_a_single_file_of_an_unknown_kind(tmp_path):
    """The message names the file and the accepted kinds."""
    path = write(tmp_path / "a.txt")
    with pytest.raises(ConfigurationError, match=r"a\.txt' is not an image.*jpg, jpeg, png"):
        scan(str(path))


def test_scan_refuses_a_missing_source_when_called(tmp_path):
    """The error is raised before the stream is read, and names the source."""
    with pytest.raises(ConfigurationError, match="nowhere' does not exist"):
        scan(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("source", ["ftp://host/folder", "unknown://bucket"])
def test_scan_refuses_an_unknown_url_scheme(source):
    """The source is not taken for a missing folder."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        scan(source)


def test_scan_finds_a_link_to_a_file_inside_the_root(tmp_path):
    """It has the link's path."""
    write(tmp_path / "a.jpg")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.jpg").symlink_to(tmp_path / "a.jpg")
    assert list_names(tmp_path) == ["a.jpg", "sub/b.jpg"]


def test_scan_ignores_a_link_to_a_file_outside_the_root(tmp_path):
    """A run does not send files from outside its source."""
    outside = write(tmp_path / "outside" / "secret.jpg")
    root = write(tmp_path / "root" / "a.jpg").parent
    (root / "b.jpg").symlink_to(outside)
    assert list_names(root) == ["a.jpg"]


def test_scan_ignores_a_link_to_a_folder_whose_name_begins_like_the_root(tmp_path):
    outside = write(tmp_path / "root-2" / "secret.jpg")
    root = write(tmp_path / "root" / "a.jpg").parent
    (root / "b.jpg").symlink_to(outside)
    assert list_names(root) == ["a.jpg"]


def test_scan_ignores_a_link_to_a_folder_outside_the_root(tmp_path):
    outside = write(tmp_path / "outside" / "secret.jpg").parent
    root = write(tmp_path / "root" / "a.jpg").parent
    (root / "more").symlink_to(outside, target_is_directory=True)
    assert list_names(root) == ["a.jpg"]


def test_scan_of_a_folder_linked_to_its_parent_ends(tmp_path):
    write(tmp_path / "sub" / "a.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert list_names(tmp_path) == ["sub/a.jpg"]


def test_scan_of_a_linked_source_keeps_the_name_of_the_link(tmp_path):
    """Links inside the target folder count as inside."""
    target = write(tmp_path / "real" / "a.jpg").parent
    (target / "b.jpg").symlink_to("a.jpg")
    link = tmp_path / "link"
    link.symlink_to(target, target_is_directory=True)
    assert [found.uri for found in scan(str(link))] == [f"{link}/a.jpg", f"{link}/b.jpg"]


def test_scan_finds_a_dangling_link_as_a_problem(tmp_path):
    """The problem is not final, and other files are found."""
    write(tmp_path / "b.jpg")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert list_names(tmp_path) == ["a.jpg", "b.jpg"]
    assert list_problems(tmp_path) == [("a.jpg", "missing", "scan", False)]


def test_scan_finds_a_link_to_itself_as_a_problem(tmp_path):
    (tmp_path / "a.jpg").symlink_to("a.jpg")
    assert list_problems(tmp_path) == [("a.jpg", "unreadable", "scan", False)]


def test_scan_finds_a_folder_deleted_meanwhile_as_a_problem(tmp_path):
    write(tmp_path / "a.jpg")
    (tmp_path / "b").mkdir()
    stream = scan(str(tmp_path))
    next(stream)
    (tmp_path / "b").rmdir()
    (deleted,) = stream
    assert (deleted.uri, deleted.problem.kind, deleted.problem.final) == (str(tmp_path / "b"), "missing", False)


def test_scan_skips_a_pipe(tmp_path):
    """Reading a pipe would block."""
    os.mkfifo(tmp_path / "a.jpg")
    assert list_names(tmp_path) == []


def test_found_image_has_size_and_modification_time_in_utc(tmp_path):
    path = write(tmp_path / "a.jpg", b"12345")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    found = find_image(path)
    assert found.size == 5
    assert found.modified == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert found.modified.tzinfo is UTC


@pytest.mark.parametrize("source", [".", "sub/..", "sub/../a.jpg"])
def test_found_uri_is_absolute_for_a_relative_source(tmp_path, monkeypatch, source):
    write(tmp_path / "a.jpg")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [found.uri for found in scan(source)] == [str(tmp_path / "a.jpg")]


def test_scan_expands_a_tilde(tmp_path, monkeypatch):
    """A source from a form is not expanded by a shell."""
    write(tmp_path / "pictures" / "a.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [found.uri for found in scan("~/pictures")] == [str(tmp_path / "pictures" / "a.jpg")]


def test_version_changes_with_the_size(tmp_path):
    """The modification time is the same."""
    path = write(tmp_path / "a.jpg", b"one")
    os.utime(path, ns=(1, 1))
    before = find_image(path).version
    path.write_bytes(b"three")
    os.utime(path, ns=(1, 1))
    assert find_image(path).version != before


def test_version_changes_with_the_modification_time(tmp_path):
    """The size is the same, and one nanosecond is enough."""
    path = write(tmp_path / "a.jpg", b"one")
    os.utime(path, ns=(1, 1_000_000_001))
    before = find_image(path).version
    os.utime(path, ns=(1, 1_000_000_002))
    assert find_image(path).version != before


def test_version_stays_the_same_after_a_read(tmp_path):
    path = write(tmp_path / "a.jpg")
    before = find_image(path)
    path.read_bytes()
    assert find_image(path) == before


def test_store_opens_and_reads_a_file(tmp_path):
    path = write(tmp_path / "a.jpg", b"picture")
    found = find_image(path)
    with create_store(str(path)).open(found) as stream:
        assert stream.read(3) == b"pic"
    assert create_store(str(path)).read(found) == b"picture"


def call_store(path, method, found):
    """Call `open`, `read` or `read_header` of a store."""
    store = create_store(str(path))
    return store.read_header(found, lambda *_: None) if method == "read_header" else getattr(store, method)(found)


def test_read_header_reads_at_offsets_and_closes_the_file(tmp_path):
    """It closes the file after an error, too."""
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


@pytest.mark.parametrize("method", ["open", "read", "read_header"])
def test_store_refuses_a_file_changed_since_the_scan(tmp_path, method):
    """The billed bytes are the sent bytes; the next run reads the new version."""
    path = write(tmp_path / "a.jpg", b"before")
    found = find_image(path)
    path.write_bytes(b"afterwards")
    with pytest.raises(DocumentError, match="changed since") as raised:
        call_store(path, method, found)
    assert (raised.value.kind, raised.value.final) == ("changed", False)


@pytest.mark.parametrize("method", ["open", "read", "read_header"])
def test_store_raises_missing_for_a_deleted_file(tmp_path, method):
    """The error is not final, since the file may come back."""
    path = write(tmp_path / "a.jpg")
    found = find_image(path)
    path.unlink()
    with pytest.raises(DocumentError) as raised:
        call_store(path, method, found)
    assert (raised.value.kind, raised.value.final) == ("missing", False)


@pytest.mark.parametrize("method", ["open", "read", "read_header"])
def test_store_refuses_a_file_over_the_byte_limit(tmp_path, method):
    """The error is final, and the file is not read into memory."""
    path = write(tmp_path / "a.jpg")
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(DocumentError, match="over the limit") as raised:
        call_store(path, method, find_image(path))
    assert (raised.value.kind, raised.value.final) == ("too_many_bytes", True)


def test_store_reads_a_file_without_a_version(tmp_path):
    """There is no version to compare."""
    path = write(tmp_path / "a.jpg", b"picture")
    assert create_store(str(path)).read(Found(str(path))) == b"picture"


def walk(root, selection=None):
    """Scan `root`; return relative paths of images without problems, and the listing."""
    listing = Listing()
    images = list(scan(str(root), selection, listing))
    return [os.path.relpath(image.uri, root) for image in images if image.problem is None], listing


@pytest.fixture
def create_nested_folders(tmp_path):
    """Create nested folders, and remove them, which Python's own functions cannot do at this depth."""

    def create(name, depth, file):
        descriptor = os.open(tmp_path, os.O_RDONLY)
        for _ in range(depth):
            os.mkdir(name, dir_fd=descriptor)
            descriptor, parent = os.open(name, os.O_RDONLY, dir_fd=descriptor), descriptor
            os.close(parent)
        os.close(os.open(file, os.O_CREAT, dir_fd=descriptor))
        os.close(descriptor)

    yield create
    for path in tmp_path.iterdir():
        subprocess.run(["rm", "-rf", path], check=True)


def test_scan_walks_folders_deeper_than_pythons_stack(tmp_path, create_nested_folders):
    create_nested_folders("d", 1100, "deep.jpg")
    write(tmp_path / "z.jpg")
    names, listing = walk(tmp_path)
    assert names == ["d/" * 1100 + "deep.jpg", "z.jpg"]
    assert listing.incomplete is None


def test_scan_skips_only_a_folder_with_too_long_a_path(tmp_path, create_nested_folders):
    """The folder is listed as unread; other folders are read."""
    create_nested_folders("d" * 200, 30, "deep.jpg")
    write(tmp_path / "z.jpg")
    names, listing = walk(tmp_path)
    assert names == ["z.jpg"]
    assert len(listing.unread) == 1


@pytest.mark.parametrize("seconds", [10**12, -(10**12), 2**62 // 10**9])
def test_found_image_has_no_time_beyond_the_calendar(monkeypatch, tmp_path, seconds):
    """The image itself is found."""
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


def test_scan_skips_and_counts_system_files_and_folders(tmp_path):
    """Macs and storage boxes leave such files."""
    fill(tmp_path, "a.jpg", "._a.jpg", ".DS_Store", "@eaDir/a.jpg/T.jpg", "#recycle/b.jpg", ".thumbnails/c.jpg")
    fill(tmp_path, "s/.hidden.jpg", "s/b.png", "s/notes.txt", "s/IMG.XYZ", ".Trash-1000/d.jpg")
    names, listing = walk(tmp_path)
    assert names == ["a.jpg", "s/b.png"]
    assert listing.passed_over == {
        "AppleDouble": 1,
        "system": 2,
        "trash": 2,
        "thumbnails": 1,
        "hidden": 1,
        ".txt": 1,
        ".xyz": 1,
    }


def test_scan_reads_a_hidden_source(tmp_path):
    """Only hidden entries below the source are skipped."""
    write(tmp_path / ".scans" / "a.jpg")
    assert walk(tmp_path / ".scans")[0] == ["a.jpg"]
    assert find_image(write(tmp_path / "._b.jpg")).problem is None


def test_listing_warns_of_links_out_of_the_source(tmp_path):
    """The warning has their number and one example."""
    write(tmp_path / "blobs" / "0a")
    root = tmp_path / "snapshot"
    root.mkdir()
    (root / "0.jpg").symlink_to("../blobs/0a")
    names, listing = walk(root)
    assert names == []
    (warning,) = listing.warnings
    assert warning.startswith(f"1 link leads out of the source and was not followed, for example {root}/0.jpg")


def test_scan_applies_include_and_exclude(tmp_path):
    """Exclude takes precedence over include."""
    fill(tmp_path, "2026/a.jpg", "2026/draft-a.jpg", "2025/b.jpg", "c.png")
    names, listing = walk(tmp_path, Selection(("2026/**", "*.png"), ("draft*",)))
    assert names == ["2026/a.jpg", "c.png"]
    assert listing.passed_over == {"excluded": 1, "not included": 1}


def test_scan_lists_a_forbidden_folder_as_unread(tmp_path, monkeypatch):
    """Other folders are read, and the listing is incomplete."""
    fill(tmp_path, "a/x.jpg", "b/y.jpg")
    original = os.scandir

    def scandir(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    names, listing = walk(tmp_path)
    assert names == ["b/y.jpg"]
    assert f"{tmp_path}/a cannot be read: Permission denied" in listing.incomplete


def test_scan_keeps_entries_of_a_folder_that_fails_midway(tmp_path, monkeypatch):
    """The folder is retried, and only the rest of it is lost."""
    fill(tmp_path, "a.jpg", "b.jpg")
    original, attempts = os.scandir, []

    class Broken:
        def __enter__(self):
            attempts.append(1)
            return self

        def __exit__(self, *error):
            return None

        def close(self):
            return None

        def __iter__(self):
            with original(tmp_path) as entries:
                yield next(entries)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", lambda path: Broken())
    names, listing = walk(tmp_path)
    assert (len(names), len(attempts)) == (1, 3)
    assert "Input/output error" in listing.incomplete


def test_scan_uses_under_250_bytes_of_memory_per_file(tmp_path):
    """A folder of 100,000 images stays small in memory: names are kept, file status is not."""
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
