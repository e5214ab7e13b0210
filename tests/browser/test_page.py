"""The page in a real browser: quiet, legible, harmless, and for everybody."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from prodlensd.text import money
from tests.browser.chromium import Tab
from tests.browser.conftest import HOSTILE, Served

pytestmark = [pytest.mark.real_programs, pytest.mark.xdist_group("browser")]

QUESTION = "?since=always&timezone=UTC"
LOOKS = [*product(("file", "served"), ("light", "dark"), ("390", "1400"))]

#: The lowest contrast of a text that is shown against what is behind it, and which text that is.
CONTRAST = """(() => {
  const channels = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(of => of / 255).map(
    of => of <= 0.04045 ? of / 12.92 : ((of + 0.055) / 1.055) ** 2.4
  ).reduce((sum, of, n) => sum + of * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let worst = [21, ""];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const text = texts.currentNode.data.trim();
    if (!text || !element.checkVisibility() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(channels(drawn)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < worst[0]) worst = [contrast, text, drawn];
  }
  return worst;
})()"""
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"


def address(served: Served, kind: str) -> str:
    return served.file if kind == "file" else served.address + QUESTION


@pytest.fixture(scope="module", params=LOOKS, ids="-".join)
def shown(request: Any, tab: Tab, served: Served) -> Tab:
    """A tab that shows the page in one of its looks, opened once for all that is asked of it."""
    kind, scheme, width = request.param
    tab.look(width=int(width), is_dark=scheme == "dark")
    tab.open(address(served, kind))
    return tab


def test_nothing_is_said_and_nothing_else_is_asked_for(shown: Tab) -> None:
    shown.evaluate(OPEN_ALL)
    assert shown.noise() == []
    assert len(shown.requests()) == 1


def test_it_is_as_wide_as_the_window_and_drawn(shown: Tab) -> None:
    shown.evaluate(OPEN_ALL)
    widest = shown.evaluate("document.documentElement.scrollWidth")
    assert widest <= shown.evaluate("innerWidth")
    sizes = shown.evaluate(
        "[...document.querySelectorAll('figure svg')].filter(each => each.checkVisibility())"
        ".map(each => [each.clientWidth, each.clientHeight])"
    )
    assert len(sizes) == 5
    assert all(width > 300 and height > 150 for width, height in sizes)


def test_every_text_stands_out_from_what_is_behind_it(shown: Tab) -> None:
    shown.evaluate(OPEN_ALL)
    contrast, *where = shown.evaluate(CONTRAST)
    assert contrast >= 4.5, where


def test_hostile_names_are_there_and_do_nothing(shown: Tab) -> None:
    texts = shown.evaluate("document.body.textContent")
    assert all(name in texts for name in HOSTILE)
    assert shown.evaluate("document.title").startswith("AI usage on made-up")
    assert shown.evaluate("document.querySelector('script, img, iframe, object, form')") is None
    assert shown.evaluate("document.styleSheets.length") == 1
    links = shown.evaluate("[...document.links].map(each => each.protocol)")
    assert set(links) <= {"file:", "http:"}


@pytest.mark.parametrize("kind", ["file", "served"])
def test_the_numbers_are_those_of_the_report(tab: Tab, served: Served, kind: str) -> None:
    tab.look(width=1400)
    tab.open(address(served, kind))
    total: Any = served.report()["total"]
    tiles = tab.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.tiles > div')]"
        ".map(each => [each.children[0].textContent, each.children[1].textContent]))"
    )
    assert tiles["Cost"] == f"≥ {money(total['cost_nanousd'])}"
    assert tiles["Calls"] == f"{total['calls']:,}"
    groups: Any = served.report("--by", "developer", "--top", "10")["groups"]
    rows = tab.evaluate(
        "[...document.querySelectorAll('#by-developer tbody tr')]"
        ".map(each => [...each.cells].map(cell => cell.textContent.trim()))"
    )
    assert [[group["developer"], f"{group['calls']:,}"] for group in groups] == [
        row[:2] for row in rows[: len(groups)]
    ]


def test_a_budget_that_is_over_says_so_in_word_and_colour(shown: Tab) -> None:
    rows = shown.evaluate(
        "[...document.querySelectorAll('#budgets tbody tr')]"
        ".map(each => [each.cells[0].textContent, each.cells[5].textContent])"
    )
    assert rows[0][1] in ("under", "unknowable")
    assert rows[1][0].startswith("<b>core</b>: team core in ")
    assert rows[1][1] == "over"
    colours = shown.evaluate(
        "[...document.querySelectorAll('#budgets tbody tr')]"
        ".map(each => getComputedStyle(each.cells[5]).color)"
    )
    assert colours[0] != colours[1]


@pytest.mark.parametrize("is_dark", [False, True])
def test_the_same_model_has_the_same_colour_wherever_it_is(
    tab: Tab, served: Served, is_dark: bool
) -> None:
    tab.look(width=1400, is_dark=is_dark)
    tab.open(address(served, "served"))
    colours = tab.evaluate(
        "[...document.querySelectorAll('#cost .legend li, #by-model tbody th')]"
        ".filter(each => each.querySelector('a'))"
        ".map(each => [each.querySelector('a').textContent.split(' ')[0],"
        " getComputedStyle(each.querySelector('.swatch')).backgroundColor])"
    )
    assert len(colours) >= 10
    assert len(dict(colours)) * 2 == len(colours) == len({tuple(each) for each in colours}) * 2
    # And of each colour there is as much as its model cost.
    heights = tab.evaluate(
        "[...document.querySelectorAll('#cost .wide .mark-rect path')]"
        ".map(each => [getComputedStyle(each).fill, each.getBBox().height])"
    )
    groups: Any = served.report("--by", "model")["groups"]
    costs = {group["model"]: group["cost_nanousd"] or 0 for group in groups}
    whole = sum(height for _, height in heights)
    for name, colour in dict(colours).items():
        if name in costs:
            part = sum(height for of, height in heights if of == colour)
            assert costs[name] / sum(costs.values()) == pytest.approx(part / whole, abs=0.01)


def test_the_keyboard_reaches_every_link_in_the_order_of_the_page(tab: Tab, served: Served) -> None:
    tab.look(width=1400)
    tab.open(address(served, "served"))
    tab.evaluate(
        "window.order = [...document.querySelectorAll('a[href], summary, [tabindex]')]"
        ".filter(each => each.checkVisibility())"
    )
    count = tab.evaluate("order.length")
    assert count > 50
    assert "To the numbers" == tab.evaluate("order[0].textContent")
    places, outlines = [], []
    for _ in range(count):
        tab.press("Tab")
        places.append(tab.evaluate("order.indexOf(document.activeElement)"))
        outlines.append(tab.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert [*range(count)] == places
    assert {"solid"} == set(outlines)


def test_a_screen_reader_hears_headings_pictures_and_tables(tab: Tab, served: Served) -> None:
    tab.look(width=1400)
    tab.open(address(served, "file"))
    heard = tab.read_aloud()
    headings = [name for role, name in heard if role == "heading"]
    assert headings[0] == "AI usage on made-up"
    order = ["Budgets", "Cost a day", "Developers", "Can the numbers be relied on?", "One by one"]
    assert order == [name for name in headings if name in order]
    pictures = [name for role, name in heard if role in ("image", "img") and name]
    assert len(pictures) == 5
    assert all(name.endswith("The table below has all values.") for name in pictures)
    assert ("columnheader", "developer") in heard
    assert ("rowheader", "ana@example.com") in heard
    assert not [role for role, _ in heard if role.startswith("Graphics")]


def test_a_click_on_a_name_leads_to_its_page_and_in_a_file_to_its_section(
    tab: Tab, served: Served
) -> None:
    tab.look(width=1400)
    tab.open(address(served, "served"))
    tab.click("#by-team a[href*='team=web']")
    assert tab.noise() == []
    assert "team web" in tab.evaluate("document.querySelector('.filters').textContent")
    tab.open(served.file)
    tab.evaluate("document.querySelector('#cost .legend a').click()")
    title = tab.evaluate("document.querySelector(':target h3').textContent")
    assert title.startswith("Model ")


def test_it_prints_light_and_whole(tab: Tab, served: Served) -> None:
    tab.look(width=800, is_dark=True, media="print")
    tab.open(served.file)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    contrast, *where = tab.evaluate(CONTRAST)
    assert contrast >= 4.5, where
    assert tab.evaluate("[...document.querySelectorAll('nav')].every(n => !n.checkVisibility())")
    tab.look(width=800)
    printed = tab.pdf()
    assert printed.startswith(b"%PDF-")
    pages = printed.count(b"/Type /Page\n")
    assert 2 <= pages <= 20, pages


def test_a_mistake_in_the_address_is_a_page_too(tab: Tab, served: Served) -> None:
    tab.look(width=390)
    tab.open(f"{served.address}?since=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "'<script>alert(1)</script>' is not a time" in tab.evaluate("document.body.textContent")
    # Chromium itself notes the status.
    assert all("400 (Bad Request)" in noise for noise in tab.noise())
