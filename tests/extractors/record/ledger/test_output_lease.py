"""output_lease.py: one process at a time replaces the files of an output."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from extractors.core.errors import LedgerError
from extractors.record.ledger.output_lease import OutputLeases

GONE = "import os, sys\nfrom extractors.record.ledger import Ledger\nledger = Ledger(sys.argv[1]).__enter__()\n"
GONE += "ledger.output_leases.hold('/out').__enter__()\nos._exit(0)\n"


@pytest.fixture
def impatient(ledger):
    """Leases that are not waited for."""
    return OutputLeases(ledger._database, wait=0.0)


def test_a_held_output_is_not_given_to_another_holder(ledger, impatient):
    """An output beside it is, and so is this one afterwards."""
    with ledger.output_leases.hold("/out"):
        with pytest.raises(LedgerError, match="'/out' is being written by another process"), impatient.hold("/out"):
            pass
        with impatient.hold("/other"):
            pass
    with impatient.hold("/out"):
        pass


def test_a_holder_waits_until_the_other_has_ended(ledger):
    held, order = threading.Event(), []

    def first():
        with ledger.output_leases.hold("/out"):
            held.set()
            second_waits.wait(30)
            order.append("first")

    second_waits = threading.Event()
    thread = threading.Thread(target=first)
    thread.start()
    held.wait(30)
    with OutputLeases(ledger._database, sleep=lambda _: second_waits.set()).hold("/out"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_a_holder_that_fails_releases_the_output(ledger, impatient):
    with pytest.raises(OSError, match="no space"), ledger.output_leases.hold("/out"):
        raise OSError("no space")
    with impatient.hold("/out"):
        pass


def test_the_lease_of_a_process_that_is_gone_is_taken_over(url, ledger, impatient, spawn):
    spawn(GONE, url).wait(60)
    with impatient.hold("/out"):
        pass


def test_holders_that_come_and_go_at_once_hold_it_one_at_a_time(ledger):
    """Also where one releases it at the moment in which another one finds it held."""
    inside, most = [], []

    def hold_often(number):
        leases = OutputLeases(ledger._database, sleep=lambda _: None)
        for _ in range(15):
            with leases.hold("/out"):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(hold_often, range(4)))
    assert most == [1] * 60
