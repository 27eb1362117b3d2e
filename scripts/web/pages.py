"""Looks at the pages as people do: headless Chromium, the mouse, the keyboard, a phone.

Arguments: the program that serves a site (examples/web_site.rs), the file of axe-core, and `--images FOLDER` to take pictures.
"""

import base64
import json
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

PATIENCE = 20
PEOPLE = ["models", "keys", "start", "try", "usage", "errors", "projects", "projects/fusion", "status", "terms"]
OPERATORS = {
    "operator": ["now"],
    "reporter": ["report"],
    "support": ["requests", "people", "people/ann%40lab.org"],
    "admin": ["now", "report", "audit"],
}
# How each page is tested: its colours, and whether on a phone.
KINDS = [("light", False, False), ("dark", True, False), ("phone", False, True)]
# The height of a picture at most, in CSS pixels.
TALLEST = {"light": 1150, "dark": 1150, "phone": 1000}
# Collects each violation of the page's policy, for the test to read.
LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(event.violatedDirective + " " + event.blockedURI);
});
"""
AXE = "axe.run(document, {resultTypes: ['violations']}).then((found) => arguments[0](found.violations))"


class Site:
    """The gateway and everything around it, for as long as the tests run."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        about = json.loads(self.process.stdout.readline())
        self.url, self.admin, self.keys, self.database = about["url"], about["admin"], about["keys"], about["database"]

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)


class Browser:
    """One browser of one person. It fails where a page breaks a promise that all pages make."""

    def __init__(self, base, axe, dark=False, phone=False):
        options = webdriver.ChromeOptions()
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en"]:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        if phone:
            metrics = {"width": 390, "height": 844, "pixelRatio": 1.5, "mobile": True, "touch": True}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        # Debian's own, so that nothing is looked for elsewhere.
        options.binary_location = shutil.which("chromium")
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        self.base, self.axe, self.phone = base, axe, phone
        if not phone:
            self.driver.set_window_size(1280, 900)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTEN})
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        self.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.check_requests()
        finally:
            self.driver.quit()

    def go(self, path):
        self.driver.get(f"{self.base}/{path}")

    def find(self, selector):
        found = lambda driver: driver.find_elements(By.CSS_SELECTOR, selector)
        return WebDriverWait(self.driver, PATIENCE).until(found, f"{selector} in {self.driver.current_url}")[0]

    def text(self):
        return self.find("main").text

    def wait_for(self, text):
        WebDriverWait(self.driver, PATIENCE).until(lambda _: text in self.text(), f"{text!r} in {self.driver.current_url}: {self.text()}")

    def click(self, selector):
        self.find(selector).click()

    def accept(self):
        WebDriverWait(self.driver, PATIENCE).until(lambda driver: driver.switch_to.alert)
        self.driver.switch_to.alert.accept()

    def sign_in(self):
        self.go("ui/login")
        self.click("a.button")
        self.wait_for("What you may use")

    def enter(self, key):
        self.go("ui/login")
        self.find("#key").send_keys(key)
        self.click("button")
        WebDriverWait(self.driver, PATIENCE).until(lambda driver: "/login" not in driver.current_url, "signed in")

    def check(self, name):
        """What holds of every page."""
        where = f"{name} at {self.driver.current_url}"
        assert not self.driver.execute_script("return window.violations"), (where, self.driver.execute_script("return window.violations"))
        wide = self.driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{where} is {wide} px too wide"
        self.driver.execute_script(self.axe)
        found = self.driver.execute_async_script(AXE)
        bad = [(one["id"], one["impact"], [node["html"] for node in one["nodes"]][:3]) for one in found if one["impact"] in ("serious", "critical")]
        assert not bad, f"{where}: {json.dumps(bad, indent=1)}"
        said = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        assert not said, f"{where}: {said}"

    def check_requests(self):
        """Nothing was asked of anybody but this site and the provider that people sign in at."""
        allowed = ("data:", "chrome:", "about:", "http://127.0.0.1:")
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                assert url.startswith(allowed), f"a foreign request: {url}"

    def picture(self, folder, name, kind):
        if not folder:
            return
        width, height = self.driver.execute_script("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, TALLEST[kind]), "scale": 1}
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip})
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}-{kind}.png").write_bytes(base64.b64decode(taken["data"]))

    def tab_to(self, is_meant, most=60):
        """Goes on by the keyboard until the element has the focus."""
        for _ in range(most):
            webdriver.ActionChains(self.driver).send_keys(Keys.TAB).perform()
            if is_meant(self.driver.switch_to.active_element):
                return self.driver.switch_to.active_element
        raise AssertionError(f"not reached by the keyboard at {self.driver.current_url}")

    def press(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()


def minute(site, axe, images):
    """A stranger has a key and a first answer within 60 seconds."""
    begun = time.monotonic()
    with Browser(site.url, axe) as browser:
        browser.go("")
        browser.check("sign in")
        browser.click("a.button")
        browser.wait_for("meta-llama/Llama-3.3-70B-Instruct")
        browser.go("ui/keys")
        browser.click("main a[href$='/ui/terms']")
        browser.wait_for("Do not send personal data")
        browser.click("main form button")
        browser.find("#label").send_keys("laptop")
        browser.click("main form.form button")
        key = browser.find("#new-key").text
        assert key.startswith("sk-ostia-"), key
        browser.click("[data-copy=new-key]")
        browser.wait_for("Copied")
        assert browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == key
        browser.click("#chat button[type=submit]")
        browser.wait_for("tokens in")
        took = time.monotonic() - begun
        assert browser.find("#said").text and "First token after" in browser.find("#told").text
        assert took < 60, took
        browser.check("the new key")
        browser.picture(images, "new-key", "light")
        # Shown only once.
        browser.go("ui/keys")
        assert key not in browser.driver.page_source
        browser.wait_for("laptop")
        browser.click("button[aria-label='Rotate key laptop']")
        browser.accept()
        browser.wait_for("Your new key")
        browser.go("ui/keys")
        browser.click("button[aria-label='Revoke key laptop']")
        browser.accept()
        browser.wait_for("revoked")
    print(f"a key and a first answer after {took:.1f} s")


def figures(site, axe):
    """What the page of usage says is what the ledger says."""
    with Browser(site.url, axe) as browser:
        browser.sign_in()
        browser.go("ui/usage?since=30d&by=model")
        shown = {}
        for row in browser.driver.find_elements(By.CSS_SELECTOR, "main tbody tr"):
            cells = [cell.text.replace("\u202f", "") for cell in row.find_elements(By.CSS_SELECTOR, "td")]
            shown[cells[0]] = [int(cell) for cell in cells[1:]]
        since = int((time.time() - 30 * 86_400) * 1e6)
        query = """SELECT model, count(*), sum(outcome = 'ok'), sum(outcome = 'rejected'), sum(outcome NOT IN ('ok', 'rejected')),
                          sum(prompt_tokens), sum(completion_tokens)
                   FROM ledger WHERE username = 'ann@lab.org' AND started_at >= ? GROUP BY model"""
        with sqlite3.connect(f"file:{site.database}?mode=ro", uri=True) as database:
            books = {model: list(counts) for model, *counts in database.execute(query, [since])}
        assert shown == books, (shown, books)
    print(f"usage of {len(books)} models equals the ledger")


def people(site, axe, images):
    """Every page of everybody, in light and dark, on a desk and on a phone."""
    for kind, dark, phone in KINDS:
        with Browser(site.url, axe, dark, phone) as browser:
            browser.go("ui/login")
            browser.check("sign in")
            browser.picture(images, "sign-in", kind)
            browser.sign_in()
            for name in PEOPLE:
                browser.go(f"ui/{name}")
                browser.check(f"{name} ({kind})")
                browser.picture(images, name.replace("/", "-"), kind)
            browser.go("ui/nothing")
            assert "no such page" in browser.text()
            browser.picture(images, "absent", kind)
    print("every page is sound in light, in dark and on a phone")


def operators(site, axe, images):
    """What each role sees on the admin listener, which it begins with its own first page."""
    for kind, dark, phone in KINDS:
        for role, names in OPERATORS.items():
            with Browser(site.admin, axe, dark, phone) as browser:
                browser.enter(site.keys[role])
                browser.check(f"the first page of {role} ({kind})")
                for name in names:
                    browser.go(f"ui/{name}")
                    browser.check(f"{name} ({kind})")
                    # Of two roles that see one page, the one that sees more.
                    if (role, name) not in [("reporter", "report"), ("admin", "now")]:
                        browser.picture(images, name.split("%")[0].replace("/", "-"), kind)
    print("operators, support, reporters and admins see what is theirs")


def operate(site, axe, images):
    """What they do there."""
    with Browser(site.admin, axe) as browser:
        browser.enter(site.keys["operator"])
        browser.go("ui/now")
        browser.click("button[aria-label^='Drain sophia']")
        browser.wait_for("draining")
        browser.click("button[aria-label^='Use again']")
        WebDriverWait(browser.driver, PATIENCE).until(lambda _: "draining" not in browser.text())
    with Browser(site.admin, axe) as browser:
        browser.enter(site.keys["support"])
        browser.go("ui/requests")
        Select(browser.find("#outcome")).select_by_value("rejected")
        browser.click("form.filter button")
        browser.wait_for("tokens")
        browser.click("main tbody a")
        browser.wait_for("Stages")
        browser.check("one request")
        browser.picture(images, "request", "light")
        browser.go("ui/people/finn%40lab.org")
        browser.find("#reason").send_keys("left the laboratory")
        browser.click("form.filter button")
        browser.accept()
        browser.wait_for("Enable this account")
    with Browser(site.admin, axe) as browser:
        browser.enter(site.keys["admin"])
        browser.go("ui/audit?action=user.disable")
        browser.wait_for("left the laboratory")
    print("draining, disabling and finding a request work, and are in the audit")


def keyboard(site, axe):
    """From signing in to a key and out again without a mouse."""
    with Browser(site.url, axe) as browser:
        browser.go("ui/login")
        browser.tab_to(lambda element: "Continue with" in element.text)
        browser.press(Keys.ENTER)
        browser.wait_for("What you may use")
        first = browser.tab_to(lambda element: element.tag_name == "a")
        assert "Skip" in first.text, first.text
        browser.tab_to(lambda element: element.text == "Keys")
        browser.press(Keys.ENTER)
        browser.find("#label")
        browser.tab_to(lambda element: element.get_attribute("id") == "label")
        browser.press("by keyboard", Keys.ENTER)
        browser.wait_for("Your new key")
        browser.tab_to(lambda element: element.get_attribute("data-copy") == "new-key")
        browser.press(Keys.ENTER)
        browser.wait_for("Copied")
        browser.go("ui/models")
        browser.tab_to(lambda element: element.text == "Sign out")
        browser.press(Keys.ENTER)
        browser.wait_for("Sign in")
    print("the keyboard is enough")


def without_script(site, axe):
    """What is text needs no script."""
    with Browser(site.url, axe) as browser:
        browser.sign_in()
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        for name, text in [("models", "Qwen/Qwen3-Coder-480B"), ("keys", "Make a key"), ("usage", "Tokens in"), ("status", "New switches"), ("try", "needs a script")]:
            browser.go(f"ui/{name}")
            assert text in browser.driver.page_source, name
    print("text needs no script")


def main():
    program, axe_file, *flags = sys.argv[1:]
    axe = pathlib.Path(axe_file).read_text()
    images = pathlib.Path(flags[1]) if flags[:1] == ["--images"] else None
    site = Site(program)
    try:
        minute(site, axe, images)
        figures(site, axe)
        people(site, axe, images)
        operators(site, axe, images)
        operate(site, axe, images)
        keyboard(site, axe)
        without_script(site, axe)
    finally:
        site.end()
    print("pages: all is well")


if __name__ == "__main__":
    main()
