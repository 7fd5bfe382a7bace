"""Validation of the parameters that a form sends; messages name the fields of the form."""

import pytest

from extractors.config.job import Job
from extractors.core.errors import ConfigurationError
from extractors.plan.apply_request import ApplyRequest
from flows.adapters.form import read_parameters, use_titles


def test_read_parameters_names_all_wrong_fields_on_one_line():
    """The message has their titles and values, and no flag."""
    sent = {
        "source": "",
        "schema_name": 5,
        "budget": -1,
        "when_expensive": "ask",
        "modified_since": "soon",
        "kind": "nonsense",
        "bill": "nonsense",
        "redo": "all",
        "max_time": "later",
        "fail_above": 2,
        "unheard_of": 1,
    }
    with pytest.raises(ConfigurationError) as caught:
        read_parameters(Job, sent)
    message = caught.value.message
    assert "\n" not in message
    assert "--" not in message
    assert [
        name for name in sent if (Job.model_fields[name].title if name in Job.model_fields else name) not in message
    ] == ["redo"]
    assert all(value in message for value in ("'nonsense'", "'soon'", "'later'", "-1"))


def test_read_parameters_accepts_a_dict_or_a_job():
    """A form sends a dict, and the command passes a job."""
    job = Job(source="in")
    assert read_parameters(Job, {"source": " in ", "budget": None}) == job
    assert read_parameters(Job, job) is job
    assert read_parameters(ApplyRequest, {"plan": "p"}).plan == "p"


@pytest.mark.parametrize("sent", [None, "in", 5, []])
def test_read_parameters_refuses_other_types(sent):
    with pytest.raises(ConfigurationError, match=r"^the parameters "):
        read_parameters(Job, sent)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise --budget", 'raise "Money: budget"'),
        ("--redo failed tries them again", '"Again: redo" set to failed tries them again'),
        ("without --redo", 'without "Again: redo"'),
        ("add --schema with one of a, b", 'add "Schema" with one of a, b'),
        ("set it, or continue with --yes", 'set it, or continue with "Money: when expensive" set to run'),
        ("--document-by frames: a", '"Images: document by" set to frames: a'),
        ("`run --plan-only` stores one", '"Always: plan only" stores one'),
        (
            "go on with: tilewise run in --redo all --redo-before T",
            'go on with: the same form and "Again: redo before" set to T',
        ),
        ("it fits: run `tilewise calibrate`", "it fits: start the deployment calibrate"),
        ("use --direct; a--budget; -- 1", "use --direct; a--budget; -- 1"),
    ],
)
def test_use_titles_replaces_flags_by_titles(text, words):
    """Values and words that are no field of the form stay unchanged."""
    assert use_titles(text) == words
