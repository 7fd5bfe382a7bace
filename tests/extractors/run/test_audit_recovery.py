"""audit_recovery.py: the audit counts of an abandoned run, from its answers at the top rung."""

import json
from dataclasses import replace

import pytest
from support.runs import vary

from extractors.core.audit import AuditCounts
from extractors.core.schema import Schema
from extractors.core.tiles import Size
from extractors.record.output.folder import FolderOutput
from extractors.record.tables.volume import PartId
from extractors.record.tables.writer import Tables
from extractors.run.audit_recovery import recount_audit

ANSWERS = {  # by document: the answer at the top rung; None for a call in flight
    "/in/a.jpg": '{"shop": "INN", "total": "8.2"}',
    "/in/b.jpg": '{"shop": "Inn", "total": "9"}',
    "/in/c.jpg": '{"shop": 7',
    "/in/d.jpg": None,
}


@pytest.fixture
def recount(tmp_path, make, terms, model):
    """Recounts the audit of a run that staged all its documents, and returns the counts and the notice."""
    schema = Schema("slip", model, {"title": "Slip"}, "")
    ends = [make.accept(uri) for uri in ANSWERS]
    tables = Tables(FolderOutput(tmp_path), terms, model)
    tables.stage(PartId(0), ends)

    def audit(end, body):
        request = end.attempts[0].request
        request = replace(request, steps=(replace(request.steps[0], rung=0, size=Size(1000, 800)),))
        content = json.dumps({"choices": [{"message": {"content": body}, "finish_reason": "stop"}]})
        if body is None:
            return make.build_unanswered(request=request)
        outcome = "accepted" if body.endswith("}") else "not_json"
        return make.attempt(request=request, reply=make.reply(body=content), outcome=outcome)

    audited = [replace(end, attempts=(audit(end, ANSWERS[end.planned.document]),)) for end in ends]

    def run(job, schema_hash=schema.hash):
        run_info = replace(vary(terms, schema_hash=schema_hash), job=json.dumps(job))
        return recount_audit(run_info, [make.calls(*ends), make.calls(*audited)], [tables.volume], schema)

    return run


def test_accepted_answers_of_an_interrupted_audit_are_compared(recount):
    """The notice has their number and the size of the sample."""
    counts, notice = recount({"audit": 9})
    assert counts == AuditCounts(2, 1)
    assert "2 of up to 9 documents" in notice


def test_run_without_an_audit_or_of_another_schema_has_no_counts(recount):
    """Answers of another schema are not compared, and the notice says so."""
    assert recount({"audit": None}) is None
    counts, notice = recount({"audit": 9}, "another")
    assert (counts, "the schema has changed" in notice) == (AuditCounts(), True)
