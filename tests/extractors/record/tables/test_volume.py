"""volume.py: a sealed volume is published completely, also by another process after an interruption."""

import shutil

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from extractors.core.errors import OutputError
from extractors.record.output.folder import FolderOutput
from extractors.record.tables.fields import Fields
from extractors.record.tables.volume import ALWAYS, PUBLISHED, PartId, Volume, list_volumes


@pytest.fixture
def root(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def stage_sealed(root, terms, model, make):
    """Returns a function that stages a volume with two parts of results, and seals it."""
    from extractors.record.tables import columns, rows  # noqa: PLC0415  these names are used for values in the tests

    def stage(number=1):
        volume = Volume(FolderOutput(root), terms, number)
        fields = Fields(model)
        for part, uri in enumerate(("/in/a.jpg", "/in/b.jpg")):
            end = make.accept(uri)
            volume.stage(
                "results", PartId(part), [rows.result_row(end, terms, fields)], fields.columns | columns.RESULTS
            )
            volume.stage("images", PartId(part), rows.image_rows(end, terms))
        volume.stage("failures", PartId(0), [rows.failure_row(make.fail("/in/c.jpg"), terms)])
        ends = (make.accept("/in/a.jpg"), make.accept("/in/b.jpg"), make.fail("/in/c.jpg"))
        volume.stage_calls([make.calls(*ends)], "all")
        volume.stage("runs", PartId(0), [make.row(volume=number, finished_at=terms.started_at)])
        return volume

    return stage


def list_published(root):
    """The published files by path, with their rows."""
    files = [path for path in sorted(root.rglob("*.parquet")) if "staging" not in path.parts]
    return {path.relative_to(root).as_posix(): pl.read_parquet(path, hive_partitioning=False) for path in files}


def assert_same_files(one, other):
    assert list(one) == list(other)
    [assert_frame_equal(one[name], other[name]) for name in one]


def test_parts_of_an_older_version_are_published_with_nulls_in_new_columns(root, stage_sealed):
    """A run may have been killed before an update and recovered after it."""
    volume = stage_sealed()
    for table, new_columns in (("results", ["_confidence", "_evidence"]), ("images", ["sharpness", "contrast"])):
        path = root / volume.list_parts(table)[0]
        pl.read_parquet(path).drop(new_columns).write_parquet(path)
    volume.stage_fields()
    volume.publish()
    results = list_published(root)[volume.published_key("results")]
    assert (results.height, results["_confidence"].null_count()) == (2, 2)
    assert [*results.columns[-2:]] == ["_confidence", "_evidence"]


def test_volume_is_sealed_by_its_row_of_runs(root, terms, make):
    """The row shows that all parts are staged."""
    volume = Volume(FolderOutput(root), terms, 1)
    volume.stage("calls", PartId(0), [])
    assert (volume.sealed, volume.committed) == (False, False)
    volume.stage("runs", PartId(0), [make.row()])
    assert (volume.sealed, volume.committed) == (True, False)


def test_volume_is_committed_by_its_published_row_of_runs(stage_sealed):
    volume = stage_sealed()
    volume.publish()
    assert (volume.sealed, volume.committed) == (False, True)


def test_stage_without_rows_writes_no_part(root, terms):
    Volume(FolderOutput(root), terms, 1).stage("calls", PartId(0), [])
    assert not root.exists()


def test_incomplete_part_is_ignored(stage_sealed, root):
    """A killed process may leave a file that is half written."""
    volume = stage_sealed()
    (root / volume.folder / "results-000002.part").write_bytes(b"PAR1 half of it")
    volume.publish()
    assert {document for document, _ in volume.finished_documents()} == {"/in/a.jpg", "/in/b.jpg", "/in/c.jpg"}


def test_publishing_after_an_interruption_gives_the_same_files(stage_sealed, root, tmp_path):
    """It can be interrupted after any table; the row of `runs` is published last."""
    stage_sealed().publish()
    expected = list_published(root)
    shutil.rmtree(root)
    volume = stage_sealed()
    for steps in range(len(PUBLISHED)):
        for table in PUBLISHED[:steps]:
            volume._publish_table(table, volume.list_parts(table)) if volume.list_parts(
                table
            ) or table in ALWAYS else None
        assert volume.sealed
        assert not volume.committed
        interrupted = tmp_path / f"after-{steps}"
        shutil.copytree(root, interrupted)
        Volume(FolderOutput(interrupted), volume.run_info, 1).publish()
        assert_same_files(list_published(interrupted), expected)
        assert not (interrupted / "staging").exists()


def test_incomplete_merged_file_is_overwritten(stage_sealed, root):
    volume = stage_sealed()
    (root / volume.folder / "folded-results").write_bytes(b"PAR1 half of it")
    volume.publish()
    assert volume.is_published("results")
    assert not (root / "staging").exists()


def test_publishing_a_volume_twice_gives_the_same_files(stage_sealed, root):
    """Two processes may publish the same run."""
    stage_sealed().publish()
    first_files = list_published(root)
    stage_sealed().publish()
    assert_same_files(list_published(root), first_files)


def test_volume_reads_staged_tables_until_it_is_committed(stage_sealed):
    """From then on it reads the published ones."""
    volume = stage_sealed()
    staged_content = (volume.called_documents(), volume.finished_documents(), volume.scan("calls").collect().height)
    volume.publish()
    assert (
        volume.called_documents(),
        volume.finished_documents(),
        volume.scan("calls").collect().height,
    ) == staged_content
    assert staged_content == (
        {f"/in/{name}.jpg" for name in "abc"},
        {(f"/in/{name}.jpg", "1-2048") for name in "abc"},
        3,
    )


def test_missing_volume_has_no_rows(root, terms):
    volume = Volume(FolderOutput(root), terms, 1)
    assert (volume.called_documents(), volume.finished_documents(), volume.scan("calls").collect().height) == (
        set(),
        set(),
        0,
    )


def test_list_volumes_sorts_by_number(stage_sealed, root, terms):
    assert list_volumes(FolderOutput(root), terms) == []
    for number in (10, 2, 1):
        stage_sealed(number)
    (root / "staging" / terms.run / "notes").mkdir()
    assert [volume.number for volume in list_volumes(FolderOutput(root), terms)] == [1, 2, 10]


def test_publishing_keeps_other_staged_volumes(stage_sealed, root):
    first, second = stage_sealed(1), stage_sealed(2)
    first.publish()
    assert not (root / first.folder).exists()
    assert second.sealed
    second.publish()
    assert not (root / "staging").exists()


def test_failed_publish_keeps_the_staged_parts(stage_sealed, root):
    """The error says that all answers are kept in the ledger."""
    volume = stage_sealed()
    (root / "calls").mkdir(exist_ok=True)
    (root / "calls" / "run_date=2026-11-20").write_text("in the way")
    with pytest.raises(
        OutputError, match="all answers received so far are kept in the ledger, and the next run publishes them"
    ):
        volume.publish()
    assert volume.sealed
    assert not volume.committed


PARTS = [
    PartId(part, shard, attempt)
    for shard in (None, 0, 1, 12)
    for attempt in ((0,) if shard is None else (0, 1, 7))
    for part in (0, 3, 999_999)
]


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_part_id_is_read_back_from_the_name_of_its_file(root, terms, part):
    assert PartId.parse(Volume(FolderOutput(root), terms, 1).part_key("results", part)) == part


def test_part_ids_of_all_shards_and_attempts_differ_and_keep_their_order():
    """Parts of a run without shards come first, then those of each shard by attempt."""
    numbers = [part.number for part in PARTS]
    assert numbers == sorted(set(numbers))


def test_part_of_a_run_without_shards_has_the_plain_number():
    """Runs staged by older versions are recovered by these names."""
    assert (PartId(7).number, PartId(0).restored.number) == (7, 999_999)
