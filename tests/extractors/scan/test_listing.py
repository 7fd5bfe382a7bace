"""scan/listing.py: what a scan records beside its images."""

from extractors.scan.listing import MAX_KINDS, OTHER, Listing


def test_listing_is_complete_without_unread_folders():
    """Skipped entries do not make it incomplete."""
    listing = Listing()
    listing.pass_over("hidden")
    assert listing.incomplete is None
    assert listing.summary == "1 hidden"


def test_listing_names_the_first_unread_folder_and_counts_the_others():
    """The message stays on one line for any number of folders."""
    listing = Listing(unread=["/a cannot be read", "/b cannot be read", "/c cannot be read"])
    assert "/a cannot be read and 2 more" in listing.incomplete


def test_listing_bounds_the_kinds_it_counts():
    """A folder of a million different extensions gives a short row."""
    listing = Listing()
    for number in range(MAX_KINDS + 10):
        listing.pass_over(f".{number}")
    assert listing.passed_over[OTHER] == 10
    assert sum(listing.passed_over.values()) == MAX_KINDS + 10


def test_listing_warns_of_links_out_of_the_source():
    """The warning names one link, its target, and a remedy."""
    listing = Listing()
    listing.pass_link("/s/a.jpg", "/blobs/0a")
    listing.pass_link("/s/b.jpg", "/blobs/0b")
    (warning,) = listing.warnings
    assert warning.startswith("2 links")
    assert "/s/a.jpg to /blobs/0a" in warning
    assert "manifest" in warning
