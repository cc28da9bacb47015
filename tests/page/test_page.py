"""The operator's page in a browser: each view filled, empty and failing, in both languages and themes, at three widths, by
keyboard; who is let in; markup that stays text; ten thousand keys."""

import contextlib
import json
import os
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from conftest import ADMIN, MARKUP, MODEL, ROOT, TOKEN, axe, free_port, gateway, redis, started

VIEWS = ["overview", "keys", "callers", "requests", "usage", "errors", "projects", "models", "prices", "playground", "settings"]
WIDTHS = [360, 1024, 1440]
SHOTS = os.environ.get("PAGE_SCREENSHOTS")


def shoot(site, name):
    """Keeps a picture where $PAGE_SCREENSHOTS names a folder."""
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        site.page.screenshot(path=Path(SHOTS) / f"{name}.png")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_is_filled_accessible_and_fits_every_width(open_site, filled, theme):
    site = open_site(filled, color_scheme=theme).log_in()
    for view in VIEWS:
        for width in WIDTHS:
            site.page.set_viewport_size({"width": width, "height": 900})
            site.view(view)
            wide = site.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{view} is {wide} px too wide at {width}"
        shoot(site, f"{view}-{theme}")
        serious = violations(site)
        assert not serious, (view, serious)
    for address in ("keys/one", "callers"):
        site.view(address)
        if address == "callers":
            site.page.click("text=New token")
        site.page.wait_for_selector("dialog")
        serious = violations(site)
        assert not serious, (address, serious)


def violations(site):
    """What axe-core finds that is serious. It is run by the browser itself, outside the page's policy."""
    session = site.context.new_cdp_session(site.page)
    session.send("Runtime.evaluate", {"expression": axe()})
    found = session.send(
        "Runtime.evaluate",
        {
            "expression": "axe.run(document, {resultTypes: ['violations']}).then(it => JSON.stringify(it.violations"
            ".filter(one => ['serious', 'critical'].includes(one.impact))"
            ".map(one => [one.id, one.nodes.slice(0, 3).map(node => node.html.slice(0, 200) + ' ' + node.failureSummary.slice(0, 200))])))",
            "awaitPromise": True,
            "returnByValue": True,
        },
    )
    session.detach()
    return json.loads(found["result"]["value"])


def test_every_view_says_what_would_fill_it(open_site, empty):
    site = open_site(empty).log_in()
    for view, text in [
        ("overview", "No requests yet"),
        ("requests", "No requests yet"),
        ("usage", "Nothing was used"),
        ("errors", "Nothing went wrong"),
        ("models", "Nothing was used"),
        ("keys?q=nothing-has-this-name", "Nothing fits"),
        ("requests?caller=nobody", "Nothing fits"),
    ]:
        expect(site.view(view).get_by_text(text).first).to_be_visible()
        shoot(site, f"empty-{view.split('?')[0]}")


@pytest.mark.parametrize("view", [view for view in VIEWS if view not in ("overview", "playground")])
def test_a_view_that_cannot_be_loaded_says_so_and_tries_again(open_site, filled, view):
    site = open_site(filled)
    site.expected = ["503"]
    site.log_in()
    site.page.route("**/api/**", lambda route: route.fulfill(status=503, json={"error": "the disk is full"}))
    site.page.goto(f"{filled.operator}/#/{view}")
    expect(site.page.get_by_role("alert").first).to_contain_text("the disk is full")
    site.page.unroute("**/api/**")
    site.page.get_by_text("Try now").first.click()
    expect(site.page.get_by_role("alert")).to_have_count(0)


def test_a_gateway_that_is_gone_is_told(open_site, tmp_path):
    with gateway(tmp_path, {"AIza-page-8": "p"}) as running:
        site = open_site(running)
        site.expected = ["ERR_"]
        site.log_in()
        expect(site.page.get_by_text("Live", exact=True)).to_be_visible()
    expect(site.page.get_by_text("Not live", exact=True)).to_be_visible()


def test_chinese_and_english_say_the_same_things(open_site, filled):
    words = {}
    for language in ("en", "zh"):
        text = (ROOT / "web" / f"{language}.js").read_text()
        words[language] = dict(re.findall(r"'([^']+)': (?:'([^']*)'|\"[^\"]*\")", text))
    assert words["en"].keys() == words["zh"].keys()
    used = "".join(path.read_text() for path in (ROOT / "web").rglob("*.js") if "vendor" not in str(path))
    for key in re.findall(r"\bt\('([^']+)'", used):
        assert key in words["en"], f"no words for {key}"
    site = open_site(filled, locale="zh-CN").log_in()
    for view in VIEWS:
        site.view(view)
        heading = site.page.inner_text("main h1")
        assert re.search(r"[\u4e00-\u9fff]", heading), f"{view}: {heading}"
    site.page.get_by_role("button", name="EN", exact=True).click()
    expect(site.page.locator("main h1")).to_have_text("Settings")
    site.page.reload()
    expect(site.page.locator("main h1")).to_have_text("Settings")


def test_markup_in_names_stays_text(open_site, filled):
    site = open_site(filled).log_in()
    shown = 0
    for view in VIEWS:
        page = site.view(view)
        page.wait_for_timeout(300)
        assert page.locator("main img").count() == 0, view
        shown += page.get_by_text(MARKUP).count()
    assert shown >= 6, "the names are not shown at all"
    site.view("keys").get_by_text(MARKUP).first.click()
    expect(site.page.locator("dialog h2")).to_have_text(MARKUP)
    assert site.page.locator("dialog img").count() == 0
    sources = [path for path in (ROOT / "web").rglob("*.js") if "vendor" not in str(path)]
    for path in sources:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", path.read_text()), path


def test_a_request_is_followed_from_the_list_to_its_timeline_and_back(open_site, filled):
    site = open_site(filled).log_in()
    page = site.view("requests")
    page.locator("tbody a").first.click()
    expect(page.locator("dialog")).to_contain_text("Timeline")
    address = page.url
    page.reload()
    expect(page.locator("dialog")).to_contain_text("Timeline")
    assert page.url == address
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.go_back()
    expect(page.locator("dialog")).to_contain_text("Timeline")


def test_a_keys_requests_of_the_last_hour_are_counted(open_site, filled):
    site = open_site(filled).log_in()
    page = site.view("keys")
    hours = {one["id"]: one["last_hour"] for one in filled.api("/api/keys")["keys"]}
    assert sum(hours.values()) >= 12 and min(hours.values()) > 0, hours
    row = page.locator(".vrow.row", has_text="one").first
    expect(row.locator(f'[title^="Last hour: {hours["one"]}"]')).to_have_count(1)
    row.click()
    expect(page.locator("dialog")).to_contain_text(f"{hours['one']} requests")


def test_what_happens_shows_without_a_reload(open_site, filled):
    site = open_site(filled).log_in()
    page = site.view("requests")
    before = page.locator("tbody tr").count()
    assert filled.generate("live") == 200
    expect(page.locator("tbody tr")).to_have_count(before + 1)


def test_by_keyboard_alone(open_site, filled):
    site = open_site(filled)
    page = site.page
    page.goto(filled.operator)
    page.wait_for_selector("input[type=password]:focus")
    page.keyboard.type(ADMIN)
    page.keyboard.press("Enter")
    page.wait_for_selector("#menu")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith("Keys"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".vrow.row")
    page.locator(".vrow.row").first.focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("ArrowDown")
    expect(page.locator('.vrow[data-n="1"]')).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", outline
    page.keyboard.press("Enter")
    expect(page.locator("dialog h2")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)


def test_a_caller_is_made_limited_rotated_and_removed(open_site, filled):
    site = open_site(filled).log_in()
    page = site.view("callers")
    page.click("text=New token")
    page.locator("dialog input").first.fill("dora")
    page.get_by_role("spinbutton", name="requests a minute").fill("1")
    page.get_by_role("button", name="Make token").click()
    token = page.inner_text("dialog .secret")
    assert token.startswith("gbt_") and len(token) == 47
    page.get_by_role("button", name="Done").click()
    assert filled.generate(token=token) == 200
    assert filled.generate(token=token) == 429
    card = page.locator("section.panel", has=page.get_by_role("link", name="dora", exact=True))
    expect(card.get_by_role("meter")).to_have_attribute("aria-valuenow", "1")
    expect(card).to_contain_text("room again in")
    card.get_by_role("button", name="Edit").click()
    page.get_by_role("spinbutton", name="requests a minute").fill("50")
    page.get_by_role("button", name="Save").click()
    expect(card.get_by_role("meter")).to_have_attribute("aria-valuemax", "50")
    assert filled.generate(token=token) == 200
    card.get_by_role("button", name="Rotate").click()
    card.get_by_role("button", name="Rotate, keep").click()
    other = page.inner_text("dialog .secret")
    assert other != token
    page.get_by_role("button", name="Done").click()
    assert filled.generate(token=other) == 200
    card.get_by_role("button", name="Remove").click()
    card.get_by_role("button", name="Really remove").click()
    expect(card).to_have_count(0)
    assert filled.generate(token=other) == 401


def test_keys_are_pasted_previewed_added_disabled_and_removed(open_site, filled):
    site = open_site(filled).log_in()
    page = site.view("keys")
    secret = "AIzaSyPastedOnThePage0123456789012345678"
    page.click("text=Add keys")
    page.fill("dialog textarea", f"KEY={secret}\nshort AIza-page-1")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("dialog tbody")).to_contain_text("new")
    assert secret not in page.inner_text("dialog"), "a pasted key is shown again"
    page.get_by_role("button", name="Add 1").click()
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator(".vrow.row")).to_have_count(4)
    added = next(key["id"] for key in filled.api("/api/keys")["keys"] if key["source"] == "runtime")
    page.get_by_text(added).click()
    page.get_by_role("button", name="Disable").click()
    expect(page.locator("dialog")).to_contain_text("Disabled")
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Really remove").click()
    expect(page.locator(".vrow.row")).to_have_count(3)
    assert secret not in page.content()


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_anothers_files_are_previewed_checked_and_taken(open_site, tmp_path, locale):
    secrets = ["AIzaSyImportedOnThePage0123456789012345", "AIza-page-6", "sk-a-long-token-of-a-caller", "sk-1"]
    words = {
        "en-US": ("Import", "Preview", "Check with Google", "Import (keys: 1, tokens: 1)", "Imported. Keys: 1, tokens: 1", "too short"),
        "zh-CN": ("导入", "预览", "向 Google 检查", "导入（密钥：1，令牌：1）", "已导入。密钥：1，令牌：1", "太短"),
    }[locale]
    opener, preview, check, take, taken, short = words
    env = tmp_path / ".env"
    env.write_text(f"API_KEYS={json.dumps(secrets[:2])}\nALLOWED_TOKENS={json.dumps(secrets[2:])}\nMAX_RETRIES=7\n")
    (tmp_path / "run").mkdir()
    with gateway(tmp_path / "run", {"AIza-page-6": "p"}) as running:
        site = open_site(running, locale=locale).log_in()
        page = site.view("keys")
        page.get_by_role("button", name=opener, exact=True).click()
        page.locator("dialog input[type=file]").set_input_files(env)
        page.get_by_role("button", name=preview).click()
        dialog = page.locator("dialog")
        expect(dialog).to_contain_text("retry.max_attempts")
        expect(dialog).to_contain_text(short)
        expect(dialog.locator("tbody").first.locator("tr")).to_have_count(2)
        assert not violations(site)
        shoot(site, f"import-{locale}")
        # Google does not know it here, and says so.
        page.get_by_role("button", name=check).click()
        expect(dialog.locator("tbody").first).to_contain_text("API key not valid")
        assert running.api("/api/keys")["matched"] == 1, "taken before it was asked to"
        page.get_by_role("button", name=take).click()
        expect(dialog).to_contain_text(taken)
        expect(dialog).to_contain_text("import-1")
        keys = running.api("/api/keys")
        assert keys["matched"] == 2 and {one["name"] for one in running.api("/api/tokens")["tokens"]} == {"import-1", "tester"}
        # What was pasted is read in the same way, and finds everything here.
        page.locator("dialog .actions button").click()
        expect(page.locator(".vrow.row")).to_have_count(2)
        page.get_by_role("button", name=opener, exact=True).click()
        page.locator("dialog textarea").fill(env.read_text())
        page.get_by_role("button", name=preview).click()
        expect(dialog.locator("tbody").first.locator("tr")).to_have_count(2)
        assert not any(secret in page.content() for secret in secrets), "an imported secret is shown"
        expect(page.get_by_role("button", name=check)).to_be_disabled()
        site.leave()


@pytest.mark.parametrize("format", ["Gemini", "OpenAI"])
def test_a_prompt_is_answered_beside_its_timeline(open_site, filled, format):
    site = open_site(filled).log_in()
    page = site.view("playground")
    page.get_by_role("button", name=format, exact=True).click()
    page.get_by_label("Prompt").fill("Count to three")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".timeline")).to_contain_text("its turn")
    assert len(page.inner_text(".answer")) > 3
    shoot(site, f"playground-{format.lower()}")
    page.get_by_label("Model").fill("no-such-model")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("404")
    site.expected = ["404"]


def test_a_price_is_set_for_a_model_without_one_and_forgotten(open_site, tmp_path):
    config = '[[prices]]\nmodel = "from-the-file"\ninput = 1.0\noutput = 2.0\n'
    with gateway(tmp_path, {"AIza-page-5": "p"}, config) as running:
        # The simulator answers for any model, the list knows only Google's.
        unknown = "gemini-not-in-the-list"
        assert running.generate(model=unknown) in (200, 404)
        site = open_site(running, locale="en-US").log_in()
        page = site.view("prices")
        row = lambda text: page.locator("tbody tr", has_text=text)
        expect(row("from-the-file")).to_contain_text("file")
        expect(row("from-the-file").get_by_role("button")).to_have_count(0)
        expect(row(MODEL).first).to_contain_text("built in")
        page.get_by_role("button", name="Set a price").first.click()
        page.get_by_label("Model (").fill("my-*")
        page.get_by_label("Input", exact=True).fill("1.25")
        page.get_by_label("Each request").fill("0.5")
        assert not violations(site)
        shoot(site, "price-form")
        page.get_by_role("button", name="Save").click()
        expect(row("my-*")).to_contain_text("1.25")
        expect(row("my-*")).to_contain_text("0.5 a request")
        assert [one["input"] for one in running.api("/api/prices")["prices"] if one["origin"] == "runtime"] == [1.25]
        row("my-*").get_by_role("button", name="Edit").click()
        page.get_by_label("Output and thoughts").fill("7")
        page.get_by_role("button", name="Save").click()
        expect(row("my-*")).to_contain_text("7")
        # Somebody else changes them meanwhile: nothing is overwritten unseen.
        row("my-*").get_by_role("button", name="Edit").click()
        running.api("/api/prices/other", "PUT", {"input": 1})
        site.expected = ["409"]
        page.get_by_label("Output and thoughts").fill("8")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("dialog").get_by_role("alert")).to_contain_text("changed meanwhile")
        page.keyboard.press("Escape")
        row("my-*").get_by_role("button", name="Remove").click()
        with page.expect_response("**/api/prices/**"):
            row("my-*").get_by_role("button", name="Really remove").click()
        site.view("prices")
        site.leave()


def test_the_gateways_of_a_cluster_are_told_with_what_differs_and_one_that_is_alone_says_why(open_site, empty, tmp_path):
    port = free_port()
    keys = {"AIza-page-4": "p"}
    config = '[cluster]\nurl = "redis://127.0.0.1:{}"\nnode = "{}"\n[pool]\nmax_wait_ms = {}\n'
    folders = [tmp_path / name for name in ("east", "west")]
    for folder in folders:
        folder.mkdir()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.ExitStack())
        server.enter_context(redis(port))
        east = stack.enter_context(gateway(folders[0], keys, config.format(port, "gw-east", 5000)))
        stack.enter_context(gateway(folders[1], keys, config.format(port, "gw-west", 6000)))
        site = open_site(east, color_scheme="dark").log_in()
        page = site.view("overview")
        panel = page.locator("section.gateways")
        row = lambda name: panel.locator("tbody tr", has_text=name)
        expect(panel.locator("tbody tr")).to_have_count(2)
        expect(panel.locator("header")).to_contain_text("2 of 2 up")
        expect(row("gw-east")).to_contain_text("this one")
        expect(row("gw-east")).to_contain_text("Agree")
        expect(row("gw-west")).to_contain_text("Differ in rules")
        expect(row("gw-west")).to_contain_text("just now")
        versions = {one["version"] for one in east.api("/api/cluster")["gateways"]}
        assert len(versions) == 1
        expect(row("gw-west")).to_contain_text(versions.pop())
        expect(page.locator(".banner")).to_have_count(0)
        shoot(site, "gateways-dark")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            # The plot follows in a moment.
            expect(page.locator("html")).to_have_js_property("scrollWidth", width)
        page.set_viewport_size({"width": 360, "height": 1400})
        assert not violations(site)
        # What does not fit is reached by keyboard.
        table = panel.get_by_role("region")
        table.focus()
        page.keyboard.press("ArrowRight")
        expect(table).not_to_have_js_property("scrollLeft", 0)
        shoot(site, "gateways-narrow")
        page.set_viewport_size({"width": 1280, "height": 900})

        server.close()
        banner = page.locator(".banner[role=status]")
        expect(banner).to_contain_text("This gateway goes on alone. Redis cannot be reached")
        expect(row("gw-east")).to_contain_text("Alone")
        expect(row("gw-west")).to_contain_text("Not known")
        expect(panel.locator("header")).to_contain_text("alone for")
        assert east.generate() == 200
        assert not violations(site)
        shoot(site, "gateways-alone-dark")
        page.get_by_role("button", name="中文", exact=True).click()
        page.get_by_role("button", name="浅色", exact=True).click()
        expect(banner).to_contain_text("此网关正在单独运行。")
        expect(row("gw-west")).to_contain_text("不一致：规则")
        shoot(site, "gateways-alone-zh")

        stack.enter_context(redis(port))
        expect(banner).to_have_count(0)
        expect(panel.locator("header")).to_contain_text("2 个中 2 个正常")
        site.leave()
    # Where there are no others, nobody asks for them.
    site = open_site(empty)
    asked = []
    site.page.on("request", lambda request: asked.append(request.url))
    site.log_in()
    site.view("overview").wait_for_selector(".tiles")
    expect(site.page.locator("section.gateways")).to_have_count(0)
    assert not [url for url in asked if url.endswith("/api/cluster")]


def test_usage_is_of_all_gateways_and_says_how_many_are_counted(open_site, filled, tmp_path):
    port = free_port()
    keys = {"AIza-page-9": "p"}
    folders = [tmp_path / name for name in ("east", "west")]
    for folder in folders:
        folder.mkdir()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.ExitStack())
        server.enter_context(redis(port))
        config = f'[cluster]\nurl = "redis://127.0.0.1:{port}"\nnode = "{{}}"\n'
        east, west = (stack.enter_context(gateway(folder, keys, config.format(folder.name))) for folder in folders)
        for one in (east, west, west):
            assert one.generate() == 200
        deadline = time.monotonic() + 60
        while True:
            answer = east.api("/api/usage?by=model&step=hour&from=-24h")
            if answer["gateways"]["whole"] and sum(row["requests"] for row in answer["rows"]) == 3:
                break
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)
        site = open_site(east).log_in()
        note = site.view("usage").get_by_role("note")
        expect(note).to_have_text("Gateways counted: 2.")
        expect(site.page.locator("tbody tr", has_text="gemini-2.5-flash").locator(".num").first).to_have_text("3")
        assert not violations(site)
        shoot(site, "usage-of-gateways")
        server.close()
        while not east.api("/api/cluster")["alone"]:
            time.sleep(0.05)
        site.page.reload()
        expect(note).to_contain_text("Gateways counted: 1, which may not be all: Redis")
        expect(site.page.locator("tbody tr", has_text="gemini-2.5-flash").locator(".num").first).to_have_text("1")
        assert not violations(site)
        site.leave()
    # One that has no others says nothing of them.
    site = open_site(filled).log_in()
    expect(site.view("usage").get_by_role("note")).to_have_count(0)


def test_usage_says_since_when_it_is_kept_where_the_span_begins_before(open_site, tmp_path):
    with gateway(tmp_path, {"AIza-page-9": "p"}, "[usage]\nkeep_hours_d = 1\nkeep_days_d = 40\n") as one:
        assert one.generate() == 200
        site = open_site(one).log_in()
        note = site.view("usage?span=month").get_by_role("note")
        expect(note).to_contain_text("what was used before is not counted here")
        shoot(site, "usage-kept-since")
        site.page.get_by_role("button", name="中文", exact=True).click()
        expect(note).to_contain_text("此前的用量未计入")
        assert not violations(site)
        site.leave()


def test_a_word_says_on_how_many_gateways_it_is_done_and_a_figure_over_how_many_it_counts(open_site, tmp_path):
    port = free_port()
    secret = tmp_path / "instance.key"
    secret.write_bytes(bytes(range(32)))
    secret.chmod(0o600)
    config = f'[cluster]\nurl = "redis://127.0.0.1:{port}"\nnode = "{{}}"\n[store]\ninstance_key_file = "{secret}"\n'
    folders = [tmp_path / name for name in ("east", "west")]
    for folder in folders:
        folder.mkdir()
    keys = {"AIza-page-5": "p", "AIza-page-6": "q"}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.ExitStack())
        server.enter_context(redis(port))
        east, west = (
            stack.enter_context(gateway(folder, keys, config.format(folder.name))) for folder in folders
        )
        site = open_site(east).log_in()
        page = site.view("callers")
        expect(page.locator(".counted")).to_have_text("Limits count over 2 gateways")
        page.get_by_role("button", name="New token").click()
        page.locator("dialog input").first.fill("alice")
        page.get_by_role("spinbutton", name="requests a minute").fill("50")
        page.get_by_role("button", name="Make token").click()
        expect(page.locator("dialog .banner")).to_contain_text("on 2 of 2 gateways")
        token = page.locator("dialog .secret").inner_text()
        page.get_by_role("button", name="Done").click()
        for one in (east, west):
            assert one.generate(token=token) == 200
        panel = page.locator("section.panel", has=page.get_by_role("link", name="alice", exact=True))
        # The other tells of its request within a quarter of a second, and the page asks every three.
        expect(panel.get_by_role("meter")).to_have_attribute("aria-valuenow", "2")
        expect(panel).to_contain_text("(this gateway)")
        panel.get_by_role("button", name="Disable").click()
        expect(page.locator(".toast")).to_contain_text("on 2 of 2 gateways")
        assert west.generate(token=token) == 401
        assert not violations(site)

        server.close()
        expect(page.locator(".banner.warn[role=status]")).to_contain_text("Figures are this gateway's own")
        expect(page.locator(".counted")).to_have_count(0)
        panel.get_by_role("button", name="Enable").click()
        expect(page.locator(".toast")).to_contain_text("here alone; the other gateways hear of it when Redis is back")
        assert not violations(site)
        site.leave()


def test_who_logs_out_sees_nothing_more(open_site, filled):
    site = open_site(filled).log_in()
    site.view("keys")
    cookie = {one["name"]: one["value"] for one in site.context.cookies()}
    site.page.click("text=Log out")
    site.page.wait_for_selector("input[type=password]")
    site.context.add_cookies([{"name": name, "value": value, "url": filled.operator} for name, value in cookie.items()])
    status = site.page.evaluate("fetch('/api/keys').then(answer => answer.status)")
    assert status == 403
    site.expected = ["403"]


def test_a_wrong_token_is_told(open_site, tmp_path):
    with gateway(tmp_path, {"AIza-page-7": "p"}) as running:
        site = open_site(running)
        site.expected = ["401", "429"]
        site.page.goto(running.operator)
        for _ in range(5):
            site.page.fill("input[type=password]", TOKEN)
            with site.page.expect_response("**/session"):
                site.page.click("form button.main")
        expect(site.page.get_by_role("alert")).to_contain_text("not the operator's token")
        site.page.fill("input[type=password]", ADMIN)
        site.page.click("form button.main")
        expect(site.page.get_by_role("alert")).to_contain_text("too many")
        site.leave()


def test_each_setting_is_told_with_its_source_default_and_when_a_change_holds(open_site, filled):
    site = open_site(filled).log_in()
    page = site.view("settings?which=all")
    listed = filled.api("/api/settings")["settings"]
    rows = page.locator("section.panel table").first.locator("tbody tr")
    expect(rows).to_have_count(len(listed))
    assert len(listed) > 80, "those at their default are told too"
    rows_of = lambda name: rows.filter(has=page.get_by_text(name, exact=True))
    cells = rows_of("pool.max_wait_ms").locator("td").all_inner_texts()
    assert cells == ["pool.max_wait_ms", "10000", "default", "10000", "at once"], cells
    cells = rows_of("admin.port").locator("td").all_inner_texts()
    assert cells[1] == filled.operator.rsplit(":", 1)[1] and "GEMINI_BALANCE__ADMIN__PORT" in cells[2], cells
    assert cells[3:] == ["8001", "with a restart"], cells
    page.get_by_label("Find a setting").fill("retry.")
    expect(rows).to_have_count(sum(one["name"].startswith("retry.") for one in listed))
    page.reload()
    expect(rows.first).to_contain_text("retry.")
    page.get_by_label("Find a setting").fill("")
    page.get_by_role("button", name="Changed").click()
    expect(rows_of("admin.port")).to_have_count(1)
    expect(rows_of("pool.max_wait_ms")).to_have_count(0)


def test_the_demo_opens_its_page_by_a_link_that_works_once(browser, open_site, tmp_path):
    patterns = {"link": r"(http://\S+#login=[0-9a-f]{64})"}
    with started(["demo", "--port", "0"], {}, tmp_path, patterns) as (found, process, lines):
        from conftest import Gateway

        link = found["link"]
        running = Gateway("", link.split("/#")[0], "", process, lines)
        site = open_site(running)
        site.page.goto(link)
        site.page.wait_for_selector("#menu")
        assert "login" not in site.page.url
        expect(site.page.locator("tbody tr").first).to_be_visible()
        shoot(site, "demo")
        site.page.goto(f"{running.operator}/#/settings")
        expect(site.page.locator("section.panel table").first.locator("tbody tr", has_text="the demo").first).to_be_visible()
        site.page.get_by_role("button", name="All ").click()
        expect(site.page.get_by_text("retry.max_attempts", exact=True)).to_be_visible()
        site.page.goto(f"{running.operator}/#/overview")
        site.leave()
        other = open_site(running)
        other.expected = ["401"]
        other.page.goto(link)
        other.page.wait_for_selector("input[type=password]")
        other.leave()


def test_ten_thousand_keys_show_at_once_and_scroll_in_few_nodes(open_site, tmp_path):
    keys = {f"AIza-many-{number:05}": f"project-{number % 100}" for number in range(10_000)}
    listed = tmp_path / "keys.txt"
    listed.write_text("\n".join(keys))
    (tmp_path / "run").mkdir()
    config = f'[pool]\nkeys_file = "{listed}"\n[auth]\ntokens = [{{ name = "tester", secret = "{TOKEN}" }}]\n[[keys]]\nlabel = "zz"\nsecret = "AIza-zz"\n'
    with gateway(tmp_path / "run", dict(list(keys.items())[:1]), config) as running:
        site = open_site(running).log_in()
        page = site.view("keys")
        page.wait_for_selector('.vrow[data-n="3"] input')
        page.goto(f"{running.operator}/#/overview")
        page.wait_for_selector(".tiles")
        began = time.monotonic()
        page.goto(f"{running.operator}/#/keys")
        page.wait_for_selector('.vrow[data-n="3"] input')
        took = time.monotonic() - began
        print(f"first view of 10,001 keys: {took * 1000:.0f} ms")
        rows = page.locator(".vlist [role=rowgroup] *")
        for place in (0.5, 1.0, 0.1):
            page.evaluate(f"(() => {{ const list = document.querySelector('.vlist'); list.scrollTop = list.scrollHeight * {place}; }})()")
            page.wait_for_timeout(100)
            expect(page.locator(".vrow.row:not(:has(input))")).to_have_count(0)
        nodes = page.evaluate("document.querySelectorAll('.vrow.row').length")
        print(f"{nodes} rows, {rows.count()} nodes")
        assert rows.count() < 200
        shoot(site, "keys-10000")
        site.leave()
