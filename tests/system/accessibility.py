"""How a page looks to its readers: contrast of its texts, and where the keyboard leads."""

from typing import Any

from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.keys import Keys

# Contrast as WCAG 2.2 defines it: 4.5 to 1, and 3 to 1 for text of 24 px, or 18.66 px and bold.
_FAINT = """
const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const parse = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const over = (top, below) => {
  const a = top[3] === undefined ? 1 : top[3];
  return [0, 1, 2].map(i => top[i] * a + below[i] * (1 - a));
};
const ground = element => {
  const layers = [];
  for (let e = element; e; e = e.parentElement)
    layers.unshift(parse(getComputedStyle(e).backgroundColor));
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const canvas = dark ? [18, 18, 18] : [255, 255, 255];
  return layers.reduce((below, top) => over(top, below), canvas);
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, e = node.parentElement;
  if (!node.textContent.trim() || ['SCRIPT', 'STYLE'].includes(e.tagName)) continue;
  const style = getComputedStyle(e);
  if (!e.checkVisibility() || !e.getClientRects().length) continue;
  const svg = e.namespaceURI.endsWith('svg');
  const below = ground(e), ink = over(parse(svg ? style.fill : style.color), below);
  const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
  const size = parseFloat(style.fontSize), bold = +style.fontWeight >= 700;
  const needed = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < needed) found.push(`${ratio.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`);
}
return found;
"""

# Outline, border or fill of what has the focus, or of a part of it, differ from those without it.
_MARKED = """
const looks = e => [e, ...e.querySelectorAll('*')].map(part => {
  const s = getComputedStyle(part);
  const outline = s.outlineStyle === 'none' ? '' : s.outline;
  return [outline, s.border, s.boxShadow, s.backgroundColor, s.fill, s.stroke, s.strokeWidth];
}).join();
const at = document.activeElement, tag = at.tagName, what = at.outerHTML.slice(0, 80);
const focused = looks(at);
const stay = {preventScroll: true};
at.blur();
const plain = looks(at);
at.focus(stay);
return {tag, what, skip: at.className === 'skip', marked: focused !== plain};
"""
_MOST_STOPS = 400


def faint_texts(driver: Chrome) -> list[str]:
    """Return the texts whose contrast is below AA, each with its ratio."""
    return [str(text) for text in driver.execute_script(_FAINT)]


def focus_stops(driver: Chrome) -> tuple[int, list[str]]:
    """Press the tab key from the skip link on; return the stops, and those that nothing marks."""
    stops, unseen = 0, []
    driver.execute_script("document.querySelector('.skip').focus()")  # the first of each page
    ActionChains(driver).send_keys(Keys.TAB).perform()
    ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    while stops < _MOST_STOPS:
        at: dict[str, Any] = driver.execute_script(_MARKED)
        if at["tag"] in {"BODY", "HTML"} or (stops > 1 and at["skip"]):
            break  # the browser begins again
        stops += 1
        if not at["marked"]:
            unseen.append(at["what"])
        ActionChains(driver).send_keys(Keys.TAB).perform()
    return stops, unseen
