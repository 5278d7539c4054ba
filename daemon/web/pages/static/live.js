"use strict";
// Keep an open page up to date: the server pushes parts of it, each replaces the part with its id.
(() => {
  const topic = document.body.dataset.news;
  const connection = document.getElementById("connection");
  if (!topic || !connection || !window.EventSource) return;

  const shown = new Map(); // id -> the HTML that was put there last
  const CHECK_MS = 60000;
  let heard = Date.now();
  let lost = false;

  const say = (text) => {
    if (connection.textContent !== text) connection.textContent = text;
  };

  const isSelected = (part) => {
    const selection = window.getSelection();
    return !!selection && !selection.isCollapsed && selection.containsNode(part, true);
  };

  // What names an element in the old part and in the new one.
  const nameOf = (element) =>
    element.id ? `#${CSS.escape(element.id)}`
      : element.hasAttribute("href") ? `[href="${CSS.escape(element.getAttribute("href"))}"]`
        : element.tagName === "SUMMARY" && element.parentElement.id
          ? `#${CSS.escape(element.parentElement.id)} > summary` : "";

  const replace = (old, fresh) => {
    const focused = old.contains(document.activeElement) ? nameOf(document.activeElement) : "";
    for (const details of old.querySelectorAll("details[id]")) {
      const same = fresh.querySelector(`#${CSS.escape(details.id)}`);
      if (same) same.open = details.open;
    }
    const box = old.querySelector(".scroll");
    const [left, top] = box ? [box.scrollLeft, box.scrollTop] : [0, 0];
    old.replaceWith(fresh);
    const boxNow = fresh.querySelector(".scroll");
    if (boxNow) boxNow.scrollTo(left, top);
    const target = focused && (fresh.matches(focused) ? fresh : fresh.querySelector(focused));
    if (target) target.focus({ preventScroll: true });
  };

  const reorder = (list) => {
    const here = document.getElementById(list.id);
    if (!here || !here.hasAttribute("data-order") || here.contains(document.activeElement)) return;
    const rank = new Map([...list.children].map((child, i) => [child.id, i]));
    const now = [...here.children];
    const wanted = [...now].sort((a, b) => (rank.get(a.id) ?? 1e9) - (rank.get(b.id) ?? 1e9));
    if (wanted.some((child, i) => child !== now[i])) here.append(...wanted);
  };

  const apply = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    const lists = [...template.content.querySelectorAll("[data-order]")];
    lists.forEach(reorder);
    for (const fresh of template.content.querySelectorAll("[data-live]")) {
      const old = document.getElementById(fresh.id);
      const text = fresh.outerHTML;
      if (!old || shown.get(fresh.id) === text || isSelected(old)) continue;
      shown.set(fresh.id, text);
      replace(old, document.importNode(fresh, true));
    }
    heard = Date.now();
  };

  // What was missed while the stream was away is on the page itself.
  const reload = async () => {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok && !answer.redirected) apply(await answer.text());
    } catch {
      // The stream says that the connection is lost.
    }
  };

  const stream = new EventSource(`/live?page=${encodeURIComponent(topic)}`);
  stream.addEventListener(topic, (event) => apply(event.data));
  stream.addEventListener("open", () => {
    if (lost) reload();
    lost = false;
    say("Live, as of");
  });
  stream.addEventListener("error", () => {
    lost = true;
    say("Connection lost, shown as of");
  });
  setInterval(() => {
    if (!lost && !document.hidden && Date.now() - heard >= CHECK_MS) reload();
  }, CHECK_MS / 4);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - heard >= CHECK_MS) reload();
  });
})();
