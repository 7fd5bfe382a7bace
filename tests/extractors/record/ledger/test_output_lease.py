"""output_lease.py: one process at a time replaces the files of an output."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from extractors.core.errors import LedgerError
from extractors.record.ledger.output_lease import OutputLeases

HOLD_AND_EXIT = (
    "import os, sys\nfrom extractors.record.ledger import Ledger\nledger = Ledger(sys.argv[1]).__enter__()\n"
)
HOLD_AND_EXIT += "ledger.output_leases.hold('/out').__enter__()\nos._exit(0)\n"


@pytest.fixture
def leases(ledger):
    """Leases that do not wait for another holder."""
    return OutputLeases(ledger._database, wait=0.0)


def test_hold_refuses_an_output_that_is_held(ledger, leases):
    """Another output can be held meanwhile, and this one after its release."""
    with ledger.output_leases.hold("/out"):
        with pytest.raises(LedgerError, match="'/out' is being written by another process"), leases.hold("/out"):
            pass
        with leases.hold("/other"):
            pass
    with leases.hold("/out"):
        pass


def test_hold_waits_for_the_release_of_another_holder(ledger):
    held, order = threading.Event(), []

    def hold_first():
        with ledger.output_leases.hold("/out"):
            held.set()
            second_waits.wait(30)
            order.append("first")

    second_waits = threading.Event()
    thread = threading.Thread(target=hold_first)
    thread.start()
    held.wait(30)
    with OutputLeases(ledger._database, sleep=lambda _: second_waits.set()).hold("/out"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_hold_releases_the_output_after_an_error(ledger, leases):
    with pytest.raises(OSError, match="no space"), ledger.output_leases.hold("/out"):
        raise OSError("no space")
    with leases.hold("/out"):
        pass


def test_hold_takes_over_the_lease_of_a_process_that_has_ended(url, ledger, leases, spawn):
    spawn(HOLD_AND_EXIT, url).wait(60)
    with leases.hold("/out"):
        pass


def test_concurrent_holders_hold_the_output_one_at_a_time(ledger):
    """This includes a release at the moment in which another holder finds the output held."""
    holders, holder_counts = [], []

    def hold_often(number):
        leases = OutputLeases(ledger._database, sleep=lambda _: None)
        for _ in range(15):
            with leases.hold("/out"):
                holders.append(number)
                holder_counts.append(len(holders))
                holders.remove(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(hold_often, range(4)))
    assert holder_counts == [1] * 60
