"""An output with a history: accepted, copied, rejected, failed, redone and offline documents of two schemas."""

import contextlib
import json
import shutil

import pytest

from support.command import Workspace, picture_size, run_server

ANSWERS = {  # by the width of a picture
    310: {"company": "Blue Heron", "date": "2026-03-05", "total": "42.98", "currency": "USD"},
    320: {"company": "Inn", "date": "2026-03-06", "total": "10.00", "currency": "EUR"},
    330: {"company": "Kiosk", "date": None, "total": "7.50", "currency": "USD"},
    340: {"company": "Baker", "date": "2026-03-08", "total": "3.20", "currency": "EUR"},
}
NOTHING = {"company": None, "date": None, "total": None}  # refused, so the receipt is read again with more pixels
CLIMBED = {"company": "Hotel", "date": "2026-03-09", "total": "120.00", "currency": "EUR"}
TICKET = """
from pydantic import BaseModel

VERSION = 2


class Ticket(BaseModel):
    '''A ticket.'''

    company: str
    total: float
"""
REDONE_TOTAL = "43.98"
OFFLINE_COMPANY = "Read offline"


def publish_history(workspace, serve_all, replies):
    """Publishes four runs of `receipt` and one of `ticket_v2`; returns the workspace.

    `in/a.jpg` is accepted, redone with another total, and then read offline; `in/copy.jpg` has the same bytes, and either of
    them may be the copy. `in/b.jpg` and `in/c.jpg` are accepted and redone. `in/d.jpg` fails, and is accepted later.
    `in/e.jpg` has a final failure, `in/f.jpg` climbs, and `in/text.png` is no image.
    """
    for name, width in {"a": 310, "b": 320, "c": 330, "d": 340, "e": 350}.items():
        workspace.images(f"{name}.jpg", size=(width, 200))
    workspace.images("f.jpg", size=(2000, 1500))
    shutil.copyfile(workspace.folder / "in" / "a.jpg", workspace.folder / "in" / "copy.jpg")
    (workspace.folder / "in" / "text.png").write_text("no picture")

    def answer(changes, model="maker/model"):
        def script(asked):
            size = picture_size(asked)
            width = size.width
            if abs(width / size.height - 4 / 3) < 0.01:  # f.jpg
                return replies.ok(NOTHING if width < 1200 else CLIMBED, model=model)
            if width == 350:
                return replies.error(400, "bad picture", code="invalid_image")
            if changes.get(width) == "fails":
                return replies.error(503, "busy")
            return replies.ok(ANSWERS[width] | changes.get(width, {}), model=model)

        return serve_all(script)

    run = ("run", "in", "--schema", "receipt", "--yes", "--direct", "--fail-above", "1", "--bill", "formula")
    env = {"TILEWISE_REASKS": "0", "TILEWISE_ATTEMPTS": "1"}
    first = workspace.run(*run, "--base-url", answer({340: "fails"}).url, env=env)
    second = workspace.run(*run, "--base-url", answer({}).url, env=env)
    redone = answer({310: {"total": REDONE_TOTAL}, 330: {"currency": None}})
    third = workspace.run(*run, "--redo", "all", "--base-url", redone.url, env=env)
    offline = answer({310: {"company": OFFLINE_COMPANY}}, "offline/rapidocr")
    offline.listed = replies.raw(json.dumps([{"id": "offline/rapidocr", "pricing": {"input": 0, "output": 0}}]))
    fourth = workspace.run(
        *run, "--redo", "all", "--model", "offline/rapidocr", "--base-url", offline.url, "--include", "a.jpg", env=env
    )
    (workspace.folder / "ticket.py").write_text(TICKET)
    ticket = ("run", "in", "--schema", "ticket.py:Ticket", *run[4:], "--include", "b.jpg")
    fifth = workspace.run(*ticket, "--base-url", serve_all(replies.ok({"company": "Inn", "total": 10})).url, env=env)
    for ended in (first, second, third, fourth, fifth):
        assert ended.exit_code == 0, ended.stderr
    return workspace


def publish_failures(workspace):
    """Publishes a run in which every document was rejected; returns the workspace."""
    (workspace.folder / "in" / "text.png").write_text("no picture")
    (workspace.folder / "in" / "empty.png").write_bytes(b"")
    ended = workspace.run("run", "in", "--schema", "receipt", "--yes", "--direct", "--fail-above", "1")
    assert ended.exit_code == 0, ended.stderr
    return workspace


@pytest.fixture(scope="session")
def history(tmp_path_factory, replies):
    """The published history; tests only read it."""
    workspace = Workspace(tmp_path_factory.mktemp("history") / "workspace")
    with contextlib.ExitStack() as stack:
        yield publish_history(workspace, lambda *script: stack.enter_context(run_server(script)), replies)
