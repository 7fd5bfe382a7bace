"""The forms and pages of `tilewise serve` in a real browser: Debian's Chromium with its driver.

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
NEEDS = ("chromium", "chromedriver")  # from Debian's packages chromium and chromium-driver
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
SCREENSHOTS = os.environ.get("SCREENSHOTS")
NEUTRAL_PATH = "/srv/scans"  # replaces the folder of a test on screenshots
RENAME = """
const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (nodes.nextNode()) nodes.currentNode.data = nodes.currentNode.data.replaceAll(arguments[0], arguments[1]);
"""


class Page:
    """A browser window that is used by the text on it."""

    def __init__(self, driver, api):
        self.driver, self.api = driver, api
        driver.get(api.url)
        self.waiting = WebDriverWait(driver, PATIENCE, ignored_exceptions=[StaleElementReferenceException])
        self.waiting.until(lambda _: "/dashboard" in driver.current_url)
        self.home = driver.current_url.partition("/dashboard")[0]  # of the interface that Prefect chooses

    def open(self, path):
        """Opens a page below the start page."""
        self.driver.get(f"{self.home}/{path}")

    def wait_for_text(self, *words):
        """Waits until all these texts are on the page, and returns the text of the page."""
        end = time.monotonic() + PATIENCE
        while not all(word in (text := self.text) for word in words):
            assert time.monotonic() < end, f"{words} not in:\n{text}"
            time.sleep(0.2)
        return text

    @property
    def text(self):
        """The visible text."""
        return self.driver.execute_script("return document.body.innerText")

    def find(self, path):
        """Waits for the first element at an XPath."""
        return self.waiting.until(lambda driver: next(iter(driver.find_elements(By.XPATH, path)), None), path)

    def field(self, title):
        """The input with this title."""
        words = "normalize-space(.)"
        label = self.find(f"//label[{words}='{title}' or {words}='{title} (Optional)']")
        return self.find(f"//*[@id='{label.get_attribute('for')}']")

    def write(self, title, text):
        """Fills in a field, in both interfaces."""
        label = f"//label[normalize-space(.)='{title}' or normalize-space(.)='{title} (Optional)']"
        near = "/ancestor::*[.//textarea or .//input][1]//*[self::textarea or self::input]"
        self.find(label + near).send_keys(text)

    def choose(self, title, option):
        """Chooses an option of a field."""
        self.field(title).click()
        self.press(option)

    def press(self, name):
        """Clicks a button, a tab or an option by its text."""
        self.find(f"//*[self::button or @role='tab' or @role='option'][normalize-space(.)='{name}']").click()

    def follow(self, words):
        """Follows a link by a part of its text."""
        self.find(f"//a[contains(normalize-space(.), '{words}')]").click()

    def take_screenshot(self, name, workspace, height=1000):
        """Saves a screenshot for the docs if one is requested; a neutral path replaces that of the workspace."""
        if SCREENSHOTS:
            self.driver.set_window_size(1280, height)
            self.driver.execute_script("document.querySelector('main, h1, nav').scrollIntoView()")
            time.sleep(1)  # animations end
            self.driver.execute_script(RENAME, str(workspace.folder), NEUTRAL_PATH)
            self.driver.save_screenshot(Path(SCREENSHOTS) / f"{name}.png")


@pytest.fixture(scope="module")
def workspace_of_receipts(workspaces, echo):
    """A workspace with three images and the echo endpoint."""
    workspace = workspaces(TILEWISE_BASE_URL=echo, TOGETHER_API_KEY="any")
    workspace.images("1.jpg", "2.jpg", "3.jpg", folder="receipts")
    return workspace


@pytest.fixture(scope="module")
def page(serve_at, workspace_of_receipts, tmp_path_factory):
    """A browser at the URL of `tilewise serve`."""
    missing = [program for program in NEEDS if not shutil.which(program)]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, "--window-size=1280,1000", f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    serve_process = serve_at(workspace_of_receipts)
    with webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver"))) as driver:
        yield Page(driver, serve_process.api)


@pytest.fixture
def form(page):
    return open_form(page, page.home)


@pytest.fixture(params=INTERFACES)
def interface_form(page, request):
    """The form of `backfill`, in each of Prefect's interfaces."""
    return open_form(page, page.api.url + INTERFACES[request.param])


def open_form(page, home):
    """Opens the form of `backfill` in this interface."""
    page.driver.get(f"{home}/deployments/deployment/{page.api.deployment('backfill/backfill')['id']}/run")
    page.wait_for_text("Source", TITLES[-1])
    return page


def list_runs(page):
    """The flow runs of `backfill`."""
    return page.api.request("POST", "flow_runs/filter", deployments={"name": {"any_": ["backfill"]}})


def test_form_has_the_fields_of_a_job_in_order(interface_form):
    """Optional fields alone are marked so; no field is edited as JSON or offers None."""
    text = interface_form.wait_for_text("Source", "caption, comparison, invoice, receipt")
    labels = [label.text for label in interface_form.driver.find_elements(By.TAG_NAME, "label")]
    assert [
        label for label in labels if label.partition(" (")[0] in {title.partition(" (")[0] for title in TITLES}
    ] == TITLES
    assert "None" not in text
    assert not interface_form.driver.find_elements(By.CSS_SELECTOR, ".cm-editor, input[type=password]")


def test_form_sends_defaults_of_untouched_fields(interface_form, workspace_of_receipts):
    """The run completes."""
    before = {flow_run["id"] for flow_run in list_runs(interface_form)}
    workspace_of_receipts.images(f"{len(before)}.png", folder="untouched")
    interface_form.write("Source", "untouched")
    interface_form.write("Schema", "receipt")
    interface_form.press("Submit")
    [run] = interface_form.waiting.until(
        lambda _: [flow_run for flow_run in list_runs(interface_form) if flow_run["id"] not in before]
    )
    sent = run["parameters"]["job"]
    assert {name: sent[name] for name in ("when_expensive", "yes", "plan_only", "fail_above")} == {
        "when_expensive": "plan",
        "yes": False,
        "plan_only": False,
        "fail_above": 0.2,
    }
    assert not {"budget", "policy"} & sent.keys()
    assert interface_form.api.wait_for_state(run)["state_name"] == "Completed"


def test_form_refuses_an_invalid_value(interface_form):
    """The message is on the form, and no run is started."""
    before = list_runs(interface_form)
    interface_form.write("Source", "receipts")
    interface_form.write("Schema", "receipt")
    interface_form.write("Money: budget", "-1")
    interface_form.press("Submit")
    interface_form.wait_for_text("-1 is less than or equal to the minimum of 0")
    assert list_runs(interface_form) == before


def test_backfill_is_started_from_its_form_and_shows_its_summary(form, workspace_of_receipts):
    form.write("Source", "receipts")
    form.write("Schema", "receipt")
    form.choose("Again: redo", "failed")
    form.write("Money: budget", "2")
    form.take_screenshot("form", workspace_of_receipts, 3600)
    form.press("Submit")
    form.wait_for_text("Runs", "Upcoming")
    [run] = form.waiting.until(
        lambda _: [flow_run for flow_run in list_runs(form) if flow_run["parameters"]["job"].get("budget")]
    )
    form.open(f"runs/flow-run/{run['id']}")
    assert "receipts → receipt" in form.wait_for_text("Completed")
    form.driver.refresh()  # a page that saw a run end does not always fetch its last lines
    form.wait_for_text("ended: 3 of 3 documents accepted")
    form.press("Artifacts")
    form.wait_for_text("tilewise-summary", "3 accepted", "3 of 3 documents")
    form.take_screenshot("run", workspace_of_receipts, 1000)
    artifact = form.api.artifacts(run)["tilewise-summary"]
    form.follow("tilewise-summary")  # opens the list of artifacts with this key
    form.follow(artifact["id"][:8])
    form.wait_for_text("3 accepted", "paid", "predicted, expected", "prompt, billed")
    form.take_screenshot("summary", workspace_of_receipts, 1800)
    assert run["id"] in workspace_of_receipts.table("runs")["prefect_flow_run_id"]


def test_report_page_loads_no_other_resource(page, workspaces, endpoints):
    """Receipts are read by OCR only for a screenshot."""
    reader = endpoints("--reader", "ocr") if SCREENSHOTS else endpoints()
    workspace = workspaces(TILEWISE_BASE_URL=reader, TILEWISE_CONCURRENCY="2")
    for kind in ("receipts", "bad"):
        shutil.copytree(SAMPLES / kind, workspace.folder / "receipts", dirs_exist_ok=True)
    flags = ("--witness", "all", "--climb-below", "0.72", "--bill", "formula") if SCREENSHOTS else ()
    result = workspace.run("run", "receipts", "--schema", "receipt", "--yes", "--direct", *flags)
    assert result.exit_code == 1, result.output
    page.driver.get(f"file://{workspace.run('report').stdout.strip()}")
    page.wait_for_text("17 accepted", "4 rejected", "table", "too_many_pixels")
    assert page.driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    page.take_screenshot("report", workspace, 2000)


def test_form_sends_a_day_without_a_time(form):
    """A time would leave out most of the last day."""
    form.write("Source", "receipts")
    form.write("Schema", "receipt")
    form.field("Images: modified until").click()
    form.find("//*[@role='dialog']//button[normalize-space(.)='15']").click()
    form.press("Submit")
    form.wait_for_text("Runs", "Upcoming")
    days = form.waiting.until(
        lambda _: [run for each in list_runs(form) if (run := each["parameters"]["job"].get("modified_until"))]
    )
    assert [each[-3:] for each in days] == ["-15"]
