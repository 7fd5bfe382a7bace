"""volume.py: a volume is published whole, by whoever finds it sealed, however often and wherever it was broken off."""

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
def sealed(root, terms, model, make):
    """Stages a whole volume, with two parts of results, and seals it."""
    from extractors.record.tables import columns, rows  # noqa: PLC0415  names that the tests have, too

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
    """Every published file with its rows."""
    files = [path for path in sorted(root.rglob("*.parquet")) if "staging" not in path.parts]
    return {path.relative_to(root).as_posix(): pl.read_parquet(path, hive_partitioning=False) for path in files}


def assert_same(one, other):
    assert list(one) == list(other)
    [assert_frame_equal(one[name], other[name]) for name in one]


def test_parts_of_an_earlier_version_are_published_with_null_in_new_columns(root, sealed):
    """A run that was killed before an update is published after it, beside parts of today."""
    volume = sealed()
    for table, new in (("results", ["_confidence", "_evidence"]), ("images", ["sharpness", "contrast"])):
        path = root / volume.list_parts(table)[0]
        pl.read_parquet(path).drop(new).write_parquet(path)
    volume.stage_fields()
    volume.publish()
    results = list_published(root)[volume.published_key("results")]
    assert (results.height, results["_confidence"].null_count()) == (2, 2)
    assert [*results.columns[-2:]] == ["_confidence", "_evidence"]


def test_a_volume_is_sealed_by_its_row_of_runs(root, terms, make):
    """Nothing else says that every part is there."""
    volume = Volume(FolderOutput(root), terms, 1)
    volume.stage("calls", PartId(0), [])
    assert (volume.sealed, volume.committed) == (False, False)
    volume.stage("runs", PartId(0), [make.row()])
    assert (volume.sealed, volume.committed) == (True, False)


def test_a_volume_is_committed_by_its_published_row(sealed):
    volume = sealed()
    volume.publish()
    assert (volume.sealed, volume.committed) == (False, True)


def test_no_rows_make_no_part(root, terms):
    Volume(FolderOutput(root), terms, 1).stage("calls", PartId(0), [])
    assert not root.exists()


def test_a_part_that_is_there_is_whole(sealed, root):
    """Nothing that a killed process left half written is taken for a part."""
    volume = sealed()
    (root / volume.folder / "results-000002.part").write_bytes(b"PAR1 half of it")
    volume.publish()
    assert {document for document, _ in volume.finished_documents()} == {"/in/a.jpg", "/in/b.jpg", "/in/c.jpg"}


def test_publishing_again_after_a_break_gives_the_same_files(sealed, root, tmp_path):
    """After each step of publishing, whoever comes finds a sealed volume and ends it: the row of runs is the last."""
    sealed().publish()
    whole = list_published(root)
    shutil.rmtree(root)
    volume = sealed()
    for steps in range(len(PUBLISHED)):
        for table in PUBLISHED[:steps]:
            volume._publish_table(table, volume.list_parts(table)) if volume.list_parts(
                table
            ) or table in ALWAYS else None
        assert volume.sealed
        assert not volume.committed
        broken = tmp_path / f"after-{steps}"
        shutil.copytree(root, broken)
        Volume(FolderOutput(broken), volume.run_info, 1).publish()
        assert_same(list_published(broken), whole)
        assert not (broken / "staging").exists()


def test_a_fold_that_was_broken_off_is_folded_again(sealed, root):
    """Half a folded file is written over."""
    volume = sealed()
    (root / volume.folder / "folded-results").write_bytes(b"PAR1 half of it")
    volume.publish()
    assert volume.is_published("results")
    assert not (root / "staging").exists()


def test_publishing_a_sealed_volume_twice_changes_nothing(sealed, root):
    """Two that finish the same run write the same files under the same names."""
    sealed().publish()
    once = list_published(root)
    sealed().publish()
    assert_same(list_published(root), once)


def test_the_tables_of_a_volume_are_read_where_they_are(sealed):
    """Staged until it is committed, published from then on."""
    volume = sealed()
    staged = (volume.called_documents(), volume.finished_documents(), volume.scan("calls").collect().height)
    volume.publish()
    assert (volume.called_documents(), volume.finished_documents(), volume.scan("calls").collect().height) == staged
    assert staged == ({f"/in/{name}.jpg" for name in "abc"}, {(f"/in/{name}.jpg", "1-2048") for name in "abc"}, 3)


def test_a_volume_of_which_nothing_is_there_has_no_rows(root, terms):
    volume = Volume(FolderOutput(root), terms, 1)
    assert (volume.called_documents(), volume.finished_documents(), volume.scan("calls").collect().height) == (
        set(),
        set(),
        0,
    )


def test_the_staged_volumes_of_a_run_come_in_order(sealed, root, terms):
    assert list_volumes(FolderOutput(root), terms) == []
    for number in (10, 2, 1):
        sealed(number)
    (root / "staging" / terms.run / "notes").mkdir()
    assert [volume.number for volume in list_volumes(FolderOutput(root), terms)] == [1, 2, 10]


def test_clearing_leaves_other_volumes_alone(sealed, root):
    first, second = sealed(1), sealed(2)
    first.publish()
    assert not (root / first.folder).exists()
    assert second.sealed
    second.publish()
    assert not (root / "staging").exists()


def test_an_output_that_cannot_be_written_says_what_is_kept(sealed, root):
    """A file in the way, a full disk: the parts stay, and so does the ledger."""
    volume = sealed()
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
    """A run without shards comes first, then each shard with its attempts."""
    numbers = [part.number for part in PARTS]
    assert numbers == sorted(set(numbers))


def test_part_of_a_run_without_shards_has_the_plain_number():
    """Runs that older versions have staged are recovered by the same names."""
    assert (PartId(7).number, PartId(0).restored.number) == (7, 999_999)
