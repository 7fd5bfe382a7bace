"""The report page in Chromium: it loads no resource, logs no error, and its corrections are downloaded.

Skipped without Chromium and its driver.
"""

import json
import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from extractors.record.tables.truth import read_truth

pytestmark = pytest.mark.ui
PROGRAMS = ("chromium", "chromedriver")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


class Browser:
    """A browser with the report open."""

    def __init__(self, driver, folder):
        self.driver, self.folder = driver, folder

    def open(self, path, width=1280, scheme="light"):
        """Opens the page in a window of this width with this colour scheme."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(f"file://{path}")

    def run(self, script, *args):
        """Runs a script and returns its result."""
        return self.driver.execute_script(script, *args)

    def card(self, name):
        """The card of a document."""
        return next(card for card in self.all(".card") if card.get_attribute("data-d") == name)

    def all(self, selector):
        """All elements that match a selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def row(self, card, field):
        """The row of a field in a card."""
        rows = card.find_elements(By.CSS_SELECTOR, ".fields tr")
        return next(row for row in rows if row.find_element(By.TAG_NAME, "th").text == field)

    def press(self, element, selector):
        """Clicks a button inside an element."""
        self.run("arguments[0].click()", element.find_element(By.CSS_SELECTOR, selector))

    def correct(self, card, field, text):
        """Marks a field as wrong and enters another value; None sets it to null."""
        row = self.row(card, field)
        self.press(row, ".wrong")
        if text is None:
            self.press(row, ".editor [type=checkbox]")
        else:
            self.run(
                "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
                row.find_element(By.CSS_SELECTOR, ".editor :is(input:not([type=checkbox]), textarea, select)"),
                text,
            )

    def download(self):
        """Downloads the corrections and returns their path."""
        self.press(self.all("#dock")[0], "#download")
        deadline = time.monotonic() + 20
        while not (files := list(self.folder.glob("*.jsonl"))):
            assert time.monotonic() < deadline, "nothing was downloaded"
            time.sleep(0.05)
        return files[0]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A Chromium; the test is skipped without it."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: apt-get install chromium chromium-driver")
    folder = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver"))) as driver:
        yield Browser(driver, folder)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")])
def test_page_loads_nothing_and_fits_the_screen(browser, report, width, scheme):
    """With all cards open, it requests only its own file, logs nothing on the console and does not scroll sideways."""
    browser.driver.get_log("performance")
    browser.open(report, width, scheme)
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    events = [json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {url for url in urls if not url.startswith(("data:", "chrome:"))} == {f"file://{report}"}
    assert browser.driver.get_log("browser") == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return [...document.images].every((each) => each.naturalWidth > 0)")


def test_filters_and_search_select_cards(browser, report):
    browser.open(report)

    def count_shown():
        return browser.run("return [...document.querySelectorAll('.card')].filter((each) => !each.hidden).length")

    assert count_shown() == 6
    browser.press(browser.all("#tools")[0], "[data-filter=climbed]")
    assert count_shown() == 1
    browser.press(browser.all("#tools")[0], "[data-filter='']")
    browser.run(
        "const box = document.querySelector('#search'); box.value = 'PLAIN.png'; box.dispatchEvent(new Event('input'))"
    )
    assert count_shown() == 1


def test_corrections_are_downloaded_with_their_types(browser, report, published_run):
    """Each document has a line with its reviewed fields: right ones unchanged, wrong ones as entered."""
    browser.open(report)
    plain, climbed = browser.card(published_run.documents[3]), browser.card(published_run.documents[1])
    for card in (plain, climbed):
        browser.press(card, ".actions button")
    for field in ("company", "day", "count", "items"):
        browser.press(browser.row(plain, field), ".right")
    browser.press(browser.row(plain, "note"), ".missing")
    browser.correct(plain, "total", "19.90")
    browser.correct(plain, "paid", "false")
    browser.correct(climbed, "company", 'Bäcker "Ö" </script>')
    browser.correct(climbed, "day", "2026-13-45")  # no date: left out
    browser.correct(climbed, "count", "9007199254740995")
    browser.correct(climbed, "total", None)
    browser.correct(climbed, "items", '[{"what": "tea",\n "amount": "3"}]')
    browser.correct(climbed, "note", "two\nlines")
    assert (
        "2 documents reviewed: 4 right, 7 corrected, 1 with something missing, 1 wrong without a value"
        in browser.all("#reviewed")[0].text
    )
    path = browser.download()
    lines = {line.document: line.values for line in read_truth(str(path))}
    assert path.name == f"corrections-{published_run.run}.jsonl"
    assert lines == {
        published_run.documents[3]: {
            "company": lines[published_run.documents[3]]["company"],
            "day": "2026-11-20",
            "count": 9007199254740993,
            "items": [{"what": "</td><b> it's' onload='x", "amount": "2.50"}],
            "total": "19.90",
            "paid": False,
        },
        published_run.documents[1]: {
            "company": 'Bäcker "Ö" </script>',
            "count": 9007199254740995,
            "total": None,
            "items": [{"what": "tea", "amount": "3"}],
            "note": "two\nlines",
        },
    }
    marks = [line.get("_missing") for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())]
    assert marks == [["note"], None]
    assert "<script>alert" in lines[published_run.documents[3]]["company"]
    assert browser.driver.get_log("browser") == []
