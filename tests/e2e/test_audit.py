"""`run --audit N`: random accepted documents are read once more at the top; the answers are compared and never published.

Covers `extractors.run.audit`, `extractors.core.audit`, `extractors.core.shares` and `extractors.plan.audit_estimate`.
"""

import contextlib
import json
from datetime import UTC, datetime

import pytest
from support.command import picture_size

from extractors.core import Fingerprint
from extractors.core.audit import AuditCounts
from extractors.core.money import dollars
from extractors.core.schema import load
from extractors.core.tiles import get_rule
from extractors.core.tuning import Certificate, Ladder, Review, Tuning, TuningProtocol, WitnessedScore, parse_tuning
from extractors.plan.stored_plan import StoredPlan
from extractors.record.ledger import Ledger
from extractors.record.output.folder import FolderOutput
from extractors.report.page.runs import open_run
from extractors.report.page.tables import load_summary

NAMES = ("a.jpg", "b.jpg", "c.jpg")
RUN = ("run", "in", "--schema", "caption", "--bill", "formula", "--yes")
LOW, TOP = (1119, 1119), (2000, 2000)
TOKENS = get_rule("formula").tokens


@pytest.fixture
def run_audit(workspace, server, replies):
    """Runs three documents with a ladder; all rungs answer alike, but `at_top` answers in turn at the top."""

    def run(*at_top, args=(*RUN, "--audit", "2")):
        answers = iter(at_top)

        def script(request):
            caption = next(answers, "A wall") if picture_size(request) == TOP else "A wall"
            if not isinstance(caption, str):
                return caption
            body = json.loads(replies.billing(TOKENS)(request).body)
            body["choices"][0]["message"]["content"] = json.dumps({"caption": caption, "alt_text": None, "tags": []})
            return replies.raw(json.dumps(body))

        workspace.with_images(*NAMES, size=TOP).using(server, concurrency="1")
        server.answers_with(script)
        return workspace.run(*args)

    return run


def test_audit_reads_sample_at_top_rung_and_counts_agreement(run_audit, workspace, server):
    """The rows stay as accepted; `calls`, `runs`, `spend`, the summary and the page have the audit's numbers."""
    result = run_audit("A wall", "A door")
    assert (result.exit_code, sorted(server.pictures)) == (0, [LOW] * 3 + [TOP] * 2), result.output
    results, calls, run = workspace.table("results"), workspace.table("calls"), workspace.only("runs")
    assert (run["accepted"], run["audited"], run["audit_agreed"], run["calls"]) == (3, 2, 1, 5)
    assert results.select("caption", "_rung", "_attempts").rows() == [("A wall", 1601, 1)] * 3
    audit = calls.filter(rung=0)
    assert (audit["attempt"].to_list(), audit["document"].n_unique()) == ([2, 2], 2)
    assert run["cost_usd"] == calls["cost_usd"].sum()
    assert run["cost_wasted_usd"] == audit["cost_usd"].sum() > 0
    assert json.loads(workspace.run("spend", "--json").stdout)["total"]["wasted_usd"] == float(run["cost_wasted_usd"])
    assert "1 of 2 differ (50.0 %; 9.5 to 90.5 %)" in result.stdout
    tables = open_run(FolderOutput(workspace.folder / "out"), run["run"])
    rungs = dict(load_summary(tables).rungs)
    assert rungs["audit: read again at the top rung"].startswith("1 of 2 differ")
    assert "climbed" not in rungs
    assert workspace.run(*RUN, "--audit", "2").exit_code == 0  # all documents are skipped
    assert workspace.table("runs").sort("started_at")["audited"].to_list() == [2, 0]
    assert len(server.asked) == 5


def test_error_during_audit_keeps_accepted_rows(run_audit, workspace, replies):
    """The error stops the run as it does elsewhere."""
    result = run_audit("A wall", replies.error(401))
    run = workspace.only("runs")
    assert (result.exit_code, run["status"], run["accepted"], run["remaining"]) == (2, "refused", 3, 0), result.output
    assert (run["audited"], run["audit_agreed"], workspace.table("results").height) == (1, 1, 3)


def test_audit_warns_how_many_documents_were_not_compared(run_audit, workspace, replies):
    """Because the top rung refused one, or the budget was spent; a sample larger than the run is cut to it."""
    result = run_audit("A wall", replies.error(400), "A wall", args=(*RUN, "--audit", "50"))
    run = workspace.only("runs")
    assert (result.exit_code, run["status"], run["audited"], run["audit_agreed"]) == (0, "completed", 2, 2)
    assert run["warnings"] == ["audit: 1 of 3 documents have no accepted answer at the top rung"]
    args = (*RUN, "--audit", "3", "--redo", "all", "--budget", "0.0085")
    result = workspace.run(*args)
    run = workspace.table("runs").sort("started_at").to_dicts()[-1]
    assert (result.exit_code, run["status"], run["accepted"], run["audited"]) == (3, "budget_spent", 3, 1), (
        result.output
    )
    assert "audit: 2 of 3 documents were not read again: the run was stopped" in run["warnings"]


def test_stored_plan_includes_its_audit(run_audit, workspace, server):
    """Its confirmation names the cost of both, and `apply` reads the sample."""
    job = ("run", "in", "--schema", "caption", "--bill", "formula")
    result = run_audit(args=(*job, "--audit", "2", "--plan-only", "--json"))
    planned = json.loads(result.stdout)
    info = StoredPlan(planned["plan"]).read_info()
    assert info.high_cost == f"{dollars(info.costs.high)} without an audit of up to 2 documents"
    unconfirmed = workspace.run("apply", planned["plan"], env={"TILEWISE_ASK_ABOVE": "0.000001"})
    high = planned["cost_usd"]["high"]
    assert (unconfirmed.exit_code, f"up to ${high:.4f}"[:-1] in unconfirmed.stderr, server.asked) == (2, True, []), (
        unconfirmed.output
    )
    assert "an audit of up to 2 documents" in unconfirmed.stderr
    applied = workspace.run("apply", planned["plan"], "--yes")
    run = workspace.only("runs")
    assert (applied.exit_code, run["audited"], run["audit_agreed"], run["calls"]) == (0, 2, 2, 5), applied.output
    assert float(run["estimated_high_usd"]) == pytest.approx(high)


def test_audit_skips_documents_already_at_top_rung(run_audit, workspace, server):
    result = run_audit(*["A wall"] * 3, args=(*RUN, "--audit", "5", "--policy", "faithful"))
    assert (result.exit_code, server.pictures) == (0, [TOP] * 3)
    assert (workspace.only("runs")["audited"], workspace.only("runs")["audit_agreed"]) == (0, 0)


def test_estimate_includes_audit_cost(run_audit, workspace, server):
    """On a line of its own and in the sums; nothing is sent."""
    run_audit(args=(*RUN, "--dry-run", "--json"))
    plain = json.loads(workspace.run(*RUN, "--dry-run", "--json").stdout)["cost_usd"]
    both = json.loads(workspace.run(*RUN, "--dry-run", "--json", "--audit", "2").stdout)["cost_usd"]
    assert all(plain[name] < both[name] for name in ("low", "expected", "high"))
    assert "an audit of up to 2 documents" in workspace.run(*RUN, "--dry-run", "--audit", "2").stdout
    whole = workspace.run(*RUN, "--dry-run", "--audit", "2", "--policy", "faithful").stdout
    assert "the audit reads nothing" in whole
    assert server.asked == []


@pytest.mark.parametrize(
    ("flags", "words"), [(("--audit", "0"), "audit 0"), (("--audit", "2", "--redo", "reparse"), "--redo reparse")]
)
def test_invalid_audit_is_refused(workspace, server, flags, words):
    workspace.with_images("a.jpg").using(server)
    result = workspace.run(*RUN, *flags)
    assert (result.exit_code, server.asked, words in result.stderr) == (2, [], True), result.stderr


@pytest.mark.parametrize(("at_top", "revoked"), [(["A door"] * 2, True), (["A wall"] * 2, False)])
def test_audit_revokes_certificate_if_disagreement_rises_significantly(run_audit, workspace, server, at_top, revoked):
    """It revokes the review threshold as well, with and without the witness; agreement changes neither."""
    workspace.using(server)
    with contextlib.chdir(workspace.folder):
        schema = load("caption")
    key = Fingerprint(server.url, "maker/model", schema.name, schema.hash, schema.prompt_hash("0.0 False"))
    protocol = TuningProtocol(
        endpoint=key.endpoint,
        model=key.model,
        schema_name=key.schema,
        schema_hash=key.schema_hash,
        prompt_hash=key.prompt_hash,
        mode="json_schema",
    )
    certificate = Certificate(target=0.9, documents=200, threshold=0.5, share=0.9, lower_bound=0.95)
    review = Review(review_cost=0.5, error_cost=20, below=0.6)
    ladder, at = Ladder(rule="formula", budgets=(1601, 6404)), datetime(2026, 11, 30, tzinfo=UTC)
    tuning = Tuning(
        protocol=protocol,
        ladder=ladder,
        certificate=certificate,
        review=review,
        witnessed=WitnessedScore(score={}, certificate=certificate, review=review),
        agreement=(200, 199),
        measured_at=at,
        run="r",
    )
    with Ledger(workspace.env["TILEWISE_LEDGER"]) as ledger:
        ledger.memory.keep_tuning(key, "r", tuning.model_dump_json())
    assert run_audit(*at_top).exit_code == 0
    with Ledger(workspace.env["TILEWISE_LEDGER"]) as ledger:
        stored = parse_tuning(ledger.memory.tuning(key) or "")
    assert (stored.certificate is None, stored.review is None, stored.ladder) == (revoked, revoked, ladder)
    assert (stored.witnessed.certificate is None, stored.witnessed.review is None) == (revoked, revoked)
    warnings = [warning for warning in workspace.only("runs")["warnings"] if "its certificate has ended" in warning]
    assert len(warnings) == int(revoked)


@pytest.mark.parametrize(
    ("now", "earlier", "more"),
    [
        ((2, 0), (200, 199), True),
        ((20, 18), (200, 198), False),  # 2 of 20 beside 2 of 200: once in 23 times by chance
        ((50, 40), (200, 198), True),
        ((50, 50), (200, 100), False),
        ((0, 0), (200, 198), False),
        ((50, 0), (0, 0), False),
    ],
)
def test_differs_more_than_ignores_chance(now, earlier, more):
    assert AuditCounts(*now).differs_more_than(AuditCounts(*earlier)) is more
