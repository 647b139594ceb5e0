"""The page as a reader has it: in a browser, without a network."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")

AXE = Path(__file__).parents[2] / "assets" / "axe.min.js"
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
LOCAL = ("file:", "data:", "blob:")
FAST = 0.2  # seconds


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Any]:
    """A Chromium."""
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=browser_path, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any, page_of: Callable[..., Path]) -> Iterator[Callable[..., Any]]:
    """``opened("failing", "#anchor", recipes=12, width=1440, scheme="light")`` is such a page in the browser.

    Afterwards the browser must have said nothing: no error, no warning, no dialog, and no request but for the file.
    """
    said: list[str] = []
    pages: list[Any] = []

    def open_page(kind: str, anchor: str = "", recipes: int = 12, width: int = 1440, scheme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: None if request.url.startswith(LOCAL) else said.append(request.url))
        page.route(lambda url: not url.startswith(LOCAL), lambda route: route.abort())
        page.goto(page_of(kind, recipes).as_uri() + anchor)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert said == []


def shown_rows(page: Any) -> list[str]:
    """The recipes that the matrix shows, in order."""
    found: list[str] = page.locator("#verdicts tbody tr:visible > th").all_text_contents()
    return found


@pytest.mark.parametrize(
    "kind", ["failing", "hostile", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("passing", "incomplete"))]
)
def test_opens_and_draws(opened: Any, kind: str) -> None:
    page = opened(kind)
    assert page.locator("#plot .scatterlayer .trace").count() >= 8
    assert len(shown_rows(page)) == 12


def test_filters_by_verdict_implementation_and_precision(opened: Any) -> None:
    page = opened("failing")
    page.select_option("#verdict-filter", "failing")
    failing = shown_rows(page)
    assert 0 < len(failing) < 12
    for recipe in failing:
        row = page.locator("#verdicts tbody tr", has=page.get_by_role("rowheader", name=recipe, exact=True))
        assert row.locator(".v-fail, .v-missing, .v-crashed, .v-timeout").count()
    page.select_option("#implementation-filter", "numpy")
    assert shown_rows(page) == []
    assert page.locator("#shown").text_content() == "No recipe of 12 has all of this"
    page.select_option("#verdict-filter", "pass")
    assert len(shown_rows(page)) == 12
    assert page.locator("#verdicts thead th:visible").all_text_contents() == ["recipe", "numpy"]
    page.click("button[type=reset]")
    playwright.expect(page.locator("#verdicts thead th:visible")).to_have_count(5)
    assert page.evaluate("location.hash") == ""


@pytest.mark.slow
def test_a_precision_shows_its_own_verdicts(opened: Any) -> None:
    page = opened("failing")
    counted = {}
    for dtype in ("", "float64", "float32"):
        page.select_option("#dtype-filter", dtype)
        counted[dtype] = page.locator(".cell:visible.v-fail").count()
    assert counted[""] == counted["float64"] + counted["float32"] > max(counted["float64"], counted["float32"]) - 1
    assert counted["float64"] != counted[""] or counted["float32"] != counted[""]


def test_searches_in_names_and_in_what_recipes_are_of(opened: Any) -> None:
    page = opened("failing")
    page.fill("#search", "LONG-long")
    (found,) = shown_rows(page)
    assert found.startswith("a-very-long")
    page.fill("#search", "breast_cancer")
    assert 0 < len(shown_rows(page)) < 12


def test_puts_in_order_by_name_verdict_and_margin(opened: Any) -> None:
    page = opened("failing")
    as_run = shown_rows(page)
    page.select_option("#order", "name")
    assert shown_rows(page) == sorted(as_run) != as_run
    page.select_option("#order", "verdict")
    first = page.locator("#verdicts tbody tr").first
    assert first.locator(".v-fail").count()
    page.select_option("#order", "margin")
    assert sorted(shown_rows(page)) == sorted(as_run)
    page.select_option("#order", "")
    assert shown_rows(page) == as_run


def test_a_cell_opens_its_checks_by_keyboard_too(opened: Any) -> None:
    page = opened("failing")
    cell = page.locator(".cell.v-fail").first
    cell.focus()
    page.keyboard.press("Enter")
    assert cell.get_attribute("aria-expanded") == "true"
    behind = page.locator("#behind")
    assert behind.locator("thead th").first.text_content() == "check"
    assert behind.locator(".v-fail").count()
    assert "teacher_forced" in behind.locator("tbody th").all_text_contents()
    page.keyboard.press("Enter")
    assert behind.count() == 0
    assert cell.get_attribute("aria-expanded") == "false"


@pytest.mark.slow
def test_a_link_restores_what_was_chosen(opened: Any, page_of: Callable[..., Path]) -> None:
    page = opened("failing")
    recipe = shown_rows(page)[5]
    page.select_option("#recipe", recipe)
    page.select_option("#dtype", "float32")
    page.select_option("#quantity", "gradient norm")
    page.select_option("#verdict-filter", "failing")
    anchor = page.evaluate("location.hash")
    assert f"recipe={recipe}&dtype=float32" in anchor
    again = opened("failing", anchor)
    chosen = [again.locator(f"#{name}").input_value() for name in ("recipe", "dtype", "quantity", "verdict-filter")]
    assert chosen == [recipe, "float32", "gradient norm", "failing"]
    assert again.evaluate("Math.abs(document.getElementById('curves').getBoundingClientRect().top) < 200")


def test_a_link_in_the_page_changes_the_curves(opened: Any) -> None:
    page = opened("failing")
    article = page.locator(".failure").nth(1)
    article.get_by_role("link", name="Its curves").click()
    heading = article.locator("h3").text_content()
    assert page.locator("#recipe").input_value() in heading
    assert page.locator("#dtype").input_value() in heading


@pytest.mark.slow
def test_an_unknown_name_in_a_link_breaks_nothing(opened: Any) -> None:
    page = opened("passing", "#recipe=none&dtype=float16&quantity=x&verdict=y&order=z&axis=w")
    assert page.locator("#recipe").input_value() == page.locator("#recipe option").first.get_attribute("value")
    assert len(shown_rows(page)) == 12


@pytest.mark.slow
def test_the_theme_follows_the_system_and_the_switch(opened: Any) -> None:
    page = opened("passing", scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    light = page.evaluate(paper)
    assert light != dark
    page.click("#theme")
    assert page.evaluate(paper) == dark
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(paper) == light


def test_hovering_tells_step_value_and_error(opened: Any) -> None:
    page = opened("passing")
    panel = page.locator('#plot .nsewdrag[data-subplot="xy2"]')
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    for across in (0.4, 0.5):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + box["height"] / 2)
    told = page.locator("#plot .hoverlayer")
    playwright.expect(told).to_contain_text("numpy: cost 0.")
    text = told.text_content()
    assert "of the allowance" in text
    assert text.startswith("step ")


def test_a_difference_of_zero_and_a_value_that_is_not_finite_are_shown_as_what_they_are(
    opened: Any, page_of: Callable[..., Path]
) -> None:
    page = opened("passing")
    drawn = page.evaluate(
        """() => {
        const recipe = Object.keys(report.curves)[3];  // not the one that is shown
        const unpack = (text) => new Float64Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
        const numbers = unpack(report.curves[recipe].numbers);
        const series = report.curves[recipe].series.find((s) => s[0] === 0 && s[3] === "cost");
        numbers[series[7]] = 0;
        numbers[series[7] + 1] = Infinity;
        numbers[series[6] + 1] = NaN;
        const bytes = new Uint8Array(numbers.buffer);
        report.curves[recipe].numbers = btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""));
        return [recipe, report.dtypes[series[1]]];
    }"""
    )
    page.evaluate("([recipe, dtype]) => { location.hash = new URLSearchParams({ recipe, dtype }); }", drawn)
    playwright.expect(page.locator("#plot-told")).to_contain_text("equal to the last bit")
    below = page.evaluate("document.getElementById('plot').data.find((t) => t.name === 'numpy' && t.yaxis === 'y2')")
    axis = page.evaluate("document.getElementById('plot').layout.yaxis2")
    assert math.isclose(math.log10(below["y"][0]), round(axis["range"][0] + 0.15))
    assert math.isclose(math.log10(below["y"][1]), round(axis["range"][1] - 0.15))
    assert "equal to the last bit" in below["customdata"][0]
    assert "not finite" in below["customdata"][1]
    assert (axis["ticktext"][0], axis["ticktext"][-1]) == ("0", "not finite")
    assert "∞" in page.locator("#plot-numbers").text_content()


def test_the_largest_error_and_the_largest_share_of_the_allowance_are_told_apart(opened: Any) -> None:
    page = opened("passing")
    expected = page.evaluate(
        """() => {
        const drawn = document.getElementById("plot").data.find((t) => t.name === "torch" && t.yaxis === "y2");
        const band = document.getElementById("plot").data.find((t) => t.name === "allowance");
        const place = (sizes) => drawn.x[sizes.indexOf(Math.max(...sizes))];
        return [place(drawn.y), place(drawn.y.map((error, i) => error / band.y[i]))];
    }"""
    )
    row = page.locator("#plot-numbers tbody tr", has_text="torch").locator("td").all_text_contents()
    head = page.locator("#plot-numbers thead th").all_text_contents()
    assert head[2:7] == ["largest error", "at step", "largest share of the allowance", "at step", "allowance there"]
    assert [int(row[2]), int(row[4])] == expected
    assert row[6] == "✓ pass"


@pytest.mark.slow
def test_why_an_implementation_has_no_curve_stands_beside_the_chart(opened: Any) -> None:
    page = opened("passing")
    page.evaluate(
        """() => {
        const recipe = Object.keys(report.curves)[3];
        report.curves[recipe].series = report.curves[recipe].series.filter(([name]) => name !== 1);
        const groups = report.groups;
        const [row, check] = [report.recipes.indexOf(recipe), report.checks.indexOf("free_running")];
        const at = groups.recipe.findIndex((each, i) => each === row && groups.check[i] === check
          && groups.implementation[i] === 1 && groups.dtype[i] === 0);
        groups.verdict[at] = report.severity.indexOf("unsupported");
        groups.cause[at] = report.strings.push("schedule= is <b>not</b> given") - 1;
        location.hash = new URLSearchParams({ recipe, dtype: report.dtypes[0] });
    }"""
    )
    lacking = page.locator("#plot-lacking li")
    playwright.expect(lacking).to_have_text(["torch has no such curve: not offered: schedule= is <b>not</b> given."])


@pytest.mark.slow
def test_a_single_point_lies_on_axes_from_zero(opened: Any) -> None:
    page = opened("passing")
    page.select_option("#quantity", "test accuracy")
    along, up = page.evaluate("[plot.layout.xaxis, plot.layout.yaxis]")
    assert along["range"][0] <= 0 < along["range"][1]
    assert along["dtick"] == 1
    assert up["range"] == [0, 105]


def test_on_a_small_screen_nothing_is_lost(opened: Any) -> None:
    page = opened("failing", width=390)
    assert page.locator("#plot .modebar-btn:visible").count() == 0
    panel = page.locator('#plot .nsewdrag[data-subplot="xy2"]')
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    for across in (0.4, 0.5):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + box["height"] / 2)
    playwright.expect(page.locator("#plot-at")).to_contain_text("numpy: cost 0.")
    playwright.expect(page.locator("#plot-at")).to_contain_text("my.package:Model<b>: cost")
    playwright.expect(page.locator("#matrix > .scroll.wide.more")).not_to_have_count(0)
    assert page.evaluate(
        "[...document.querySelectorAll('.cell')].every((cell) => cell.scrollWidth <= cell.clientWidth)"
    )
    page.locator(".cell.v-fail").first.click()
    reason = page.locator("#behind .why span").first
    assert reason.text_content()
    left, right = reason.evaluate("(e) => [e.getBoundingClientRect().left, e.getBoundingClientRect().right]")
    assert 0 <= left < right <= 390


@pytest.mark.slow
def test_a_command_is_copied(opened: Any) -> None:
    page = opened("failing")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator(".copy").first
    button.click()
    playwright.expect(page.locator("#said")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == button.get_attribute("data-copy")


def test_nothing_is_wider_than_a_small_screen(opened: Any) -> None:
    for kind in ("failing", "hostile", "incomplete"):
        page = opened(kind, width=390)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_nothing_is_wider_than_paper_and_paper_is_light(opened: Any) -> None:
    page = opened("failing", width=720, scheme="dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.slow
def test_five_hundred_recipes_are_filtered_fast(opened: Any) -> None:
    page = opened("failing", recipes=500)
    clock = page.context.new_cdp_session(page)
    clock.send("Performance.enable", {"timeDomain": "threadTicks"})  # the page's own time, however busy the machine is
    took = {}
    for control, value in (
        ("verdict-filter", "failing"), ("dtype-filter", "float32"), ("search", "1"), ("verdict-filter", ""),
        ("dtype-filter", ""), ("search", ""), ("implementation-filter", "jax"), ("implementation-filter", ""),
    ):  # fmt: skip
        before = seconds_of_tasks(clock)
        page.evaluate(
            """([id, value]) => {
            const control = document.getElementById(id);
            control.value = value;
            control.dispatchEvent(new Event("input", { bubbles: true }));
            document.body.getBoundingClientRect();  // laid out
        }""",
            [control, value],
        )
        took[control, value] = seconds_of_tasks(clock) - before
    assert max(took.values()) < FAST, took
    assert len(shown_rows(page)) == 500


def seconds_of_tasks(clock: Any) -> float:
    """How long the page has worked, in seconds of its thread."""
    metrics = {metric["name"]: metric["value"] for metric in clock.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        ("failing", "dark"),
        *(
            pytest.param(kind, scheme, marks=pytest.mark.slow)
            for kind, scheme in [
                ("failing", "light"), ("passing", "light"), ("passing", "dark"), ("incomplete", "light"),
                ("incomplete", "dark"),
            ]
        ),
    ],
)  # fmt: skip
def test_axe_finds_nothing_serious(opened: Any, kind: str, scheme: str) -> None:
    page = opened(kind, scheme=scheme)
    page.locator(".cell").first.click()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    serious = [
        (each["id"], each["help"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
