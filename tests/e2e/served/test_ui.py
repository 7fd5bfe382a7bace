"""The forms and pages of `tilewise serve` in a real browser: Debian's Chromium, driven by the driver that came with it.

Screenshots are taken where SCREENSHOTS names a folder for them.
"""

import os
import shutil
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from extractors.config.job import Job

pytestmark = pytest.mark.ui
PATIENCE = 60  # seconds
SAMPLES = Path(__file__).parents[3] / "data" / "samples"
NEEDS = ("chromium", "chromedriver")  # of Debian's packages chromium and chromium-driver
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI is root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
EMPTY = ([], (), "", None)
TITLES = [
    field.title + " (Optional)" * (name != "schema_name" and not field.is_required() and field.default in EMPTY)
    for name, field in Job.model_fields.items()
]
INTERFACES = {"v1": "", "v2": "/v2"}
PICTURES = os.environ.get("SCREENSHOTS")
SHOWN = "/srv/scans"  # on a picture, in place of the folder of a test
RENAME = """
const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (nodes.nextNode()) nodes.currentNode.data = nodes.currentNode.data.replaceAll(arguments[0], arguments[1]);
"""


class Page:
    """A browser's window as a person uses it: by the words that stand on it."""

    def __init__(self, driver, api):
        self.driver, self.api = driver, api
        driver.get(api.url)
        self.waiting = WebDriverWait(driver, PATIENCE, ignored_exceptions=[StaleElementReferenceException])
        self.waiting.until(lambda _: "/dashboard" in driver.current_url)
        self.home = driver.current_url.partition("/dashboard")[0]  # that of the interface which Prefect chooses

    def open(self, path):
        """Goes to a page below the start."""
        self.driver.get(f"{self.home}/{path}")

    def see(self, *words):
        """Waits until all these words are on the page, and gives all that is."""
        end = time.monotonic() + PATIENCE
        while not all(each in (text := self.text) for each in words):
            assert time.monotonic() < end, f"{words} not in:\n{text}"
            time.sleep(0.2)
        return text

    @property
    def text(self):
        """What can be read."""
        return self.driver.execute_script("return document.body.innerText")

    def find(self, path):
        """Waits for the first element at an XPath."""
        return self.waiting.until(lambda driver: next(iter(driver.find_elements(By.XPATH, path)), None), path)

    def field(self, title):
        """What is written into or chosen from under this title."""
        words = "normalize-space(.)"
        label = self.find(f"//label[{words}='{title}' or {words}='{title} (Optional)']")
        return self.find(f"//*[@id='{label.get_attribute('for')}']")

    def write(self, title, text):
        """Fills in a field, in both interfaces."""
        label = f"//label[normalize-space(.)='{title}' or normalize-space(.)='{title} (Optional)']"
        near = "/ancestor::*[.//textarea or .//input][1]//*[self::textarea or self::input]"
        self.find(label + near).send_keys(text)

    def choose(self, title, option):
        """Chooses from a field."""
        self.field(title).click()
        self.press(option)

    def press(self, name):
        """Presses a button, a tab or an option by its words."""
        self.find(f"//*[self::button or @role='tab' or @role='option'][normalize-space(.)='{name}']").click()

    def follow(self, words):
        """Follows a link on which these words stand."""
        self.find(f"//a[contains(normalize-space(.), '{words}')]").click()

    def shot(self, name, workspace, height=1000):
        """A picture of the page for the documentation, where one is asked for; the workspace has a neutral name on it."""
        if PICTURES:
            self.driver.set_window_size(1280, height)
            self.driver.execute_script("document.querySelector('main, h1, nav').scrollIntoView()")
            time.sleep(1)  # what moves comes to rest
            self.driver.execute_script(RENAME, str(workspace.folder), SHOWN)
            self.driver.save_screenshot(Path(PICTURES) / f"{name}.png")


@pytest.fixture(scope="module")
def workspace_of_receipts(workspaces, echo):
    """Images in a folder, and an endpoint that answers at once."""
    workspace = workspaces(TILEWISE_BASE_URL=echo, TOGETHER_API_KEY="any")
    workspace.images("1.jpg", "2.jpg", "3.jpg", folder="receipts")
    return workspace


@pytest.fixture(scope="module")
def page(serve_at, workspace_of_receipts, tmp_path_factory):
    """A browser at what `tilewise serve` says."""
    missing = [each for each in NEEDS if not shutil.which(each)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, "--window-size=1280,1000", f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    served = serve_at(workspace_of_receipts)
    with webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver"))) as driver:
        yield Page(driver, served.api)


@pytest.fixture
def form(page):
    """The form of `backfill`."""
    return open_form(page, page.home)


@pytest.fixture(params=INTERFACES)
def each_form(page, request):
    """The form of `backfill`, in each of Prefect's interfaces."""
    return open_form(page, page.api.url + INTERFACES[request.param])


def open_form(page, home):
    """The page at the form of `backfill` of this interface."""
    page.driver.get(f"{home}/deployments/deployment/{page.api.deployment('backfill/backfill')['id']}/run")
    page.see("Source", TITLES[-1])
    return page


def runs(page):
    """The runs of `backfill`."""
    return page.api.ask("POST", "flow_runs/filter", deployments={"name": {"any_": ["backfill"]}})


def test_the_form_asks_for_a_job(each_form):
    """Its titles in their order, only what is optional called so; nothing is written as JSON or chosen to be None."""
    shown = each_form.see("Source", "caption, comparison, invoice, receipt")
    labels = [each.text for each in each_form.driver.find_elements(By.TAG_NAME, "label")]
    assert [
        each for each in labels if each.partition(" (")[0] in {title.partition(" (")[0] for title in TITLES}
    ] == TITLES
    assert "None" not in shown
    assert not each_form.driver.find_elements(By.CSS_SELECTOR, ".cm-editor, input[type=password]")


def test_an_untouched_form_sends_what_it_shows(each_form, workspace_of_receipts):
    """Beside source and schema, the defaults; the job plans only what is expensive, and runs."""
    before = {each["id"] for each in runs(each_form)}
    workspace_of_receipts.images(f"{len(before)}.png", folder="untouched")
    each_form.write("Source", "untouched")
    each_form.write("Schema", "receipt")
    each_form.press("Submit")
    [run] = each_form.waiting.until(lambda _: [each for each in runs(each_form) if each["id"] not in before])
    sent = run["parameters"]["job"]
    assert {name: sent[name] for name in ("when_expensive", "yes", "plan_only", "fail_above")} == {
        "when_expensive": "plan",
        "yes": False,
        "plan_only": False,
        "fail_above": 0.2,
    }
    assert not {"budget", "policy"} & sent.keys()
    assert each_form.api.until(run)["state_name"] == "Completed"


def test_a_wrong_value_is_refused_with_its_fields_name(each_form):
    """On the form, which keeps what was written, before there is a run."""
    before = runs(each_form)
    each_form.write("Source", "receipts")
    each_form.write("Schema", "receipt")
    each_form.write("Money: budget", "-1")
    each_form.press("Submit")
    each_form.see("-1 is less than or equal to the minimum of 0")
    assert runs(each_form) == before


def test_a_backfill_from_its_form(form, workspace_of_receipts):
    """Filled in and submitted, it completes, and its page leads to what became of it."""
    form.write("Source", "receipts")
    form.write("Schema", "receipt")
    form.choose("Again: redo", "failed")
    form.write("Money: budget", "2")
    form.shot("form", workspace_of_receipts, 3600)
    form.press("Submit")
    form.see("Runs", "Upcoming")
    [run] = form.waiting.until(lambda _: [each for each in runs(form) if each["parameters"]["job"].get("budget")])
    form.open(f"runs/flow-run/{run['id']}")
    assert "receipts → receipt" in form.see("Completed")
    form.driver.refresh()  # a page that saw a run end does not always fetch its last lines
    form.see("ended: 3 of 3 documents accepted")
    form.press("Artifacts")
    form.see("tilewise-summary", "3 accepted", "3 of 3 documents")
    form.shot("run", workspace_of_receipts, 1000)
    shown = form.api.artifacts(run)["tilewise-summary"]
    form.follow("tilewise-summary")  # all of this key
    form.follow(shown["id"][:8])
    form.see("3 accepted", "paid", "predicted, expected", "prompt, billed")
    form.shot("summary", workspace_of_receipts, 1800)
    assert run["id"] in workspace_of_receipts.table("runs")["prefect_flow_run_id"]


def test_the_page_of_a_run_loads_nothing(page, workspaces, endpoints):
    """Of receipts, at a price, and of files that are no images; the page is the file alone. For a picture they are read."""
    reader = endpoints("--reader", "ocr") if PICTURES else endpoints()
    workspace = workspaces(TILEWISE_BASE_URL=reader, TILEWISE_CONCURRENCY="2")
    for kind in ("receipts", "bad"):
        shutil.copytree(SAMPLES / kind, workspace.folder / "receipts", dirs_exist_ok=True)
    flags = ("--witness", "all", "--climb-below", "0.72", "--bill", "formula") if PICTURES else ()
    ended = workspace.run("run", "receipts", "--schema", "receipt", "--yes", "--direct", *flags)
    assert ended.exit_code == 1, ended.output
    page.driver.get(f"file://{workspace.run('report').stdout.strip()}")
    page.see("17 accepted", "4 rejected", "table", "too_many_pixels")
    assert page.driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    page.shot("report", workspace, 2000)


def test_a_day_of_the_window_is_sent_as_a_day(form):
    """Without a time, which would leave out most of the last one."""
    form.write("Source", "receipts")
    form.write("Schema", "receipt")
    form.field("Images: modified until").click()
    form.find("//*[@role='dialog']//button[normalize-space(.)='15']").click()
    form.press("Submit")
    form.see("Runs", "Upcoming")
    asked = form.waiting.until(
        lambda _: [run for each in runs(form) if (run := each["parameters"]["job"].get("modified_until"))]
    )
    assert [each[-3:] for each in asked] == ["-15"]
