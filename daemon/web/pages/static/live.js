"use strict";
// Keep an open page up to date: the server pushes parts of it, each replaces the part with its id.
(() => {
  const topic = document.body.dataset.news;
  const connection = document.getElementById("connection");
  if (!topic || !connection || !window.EventSource) return;

  const shown = new Map(); // id -> the HTML that was put there last
  const RETRY_MS = 10000;

  const say = (text, lost = false) => {
    if (connection.textContent !== text) connection.textContent = text;
    document.body.classList.toggle("lost", lost);
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
    const places = [...old.querySelectorAll(".scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
    old.replaceWith(fresh);
    fresh.querySelectorAll(".scroll").forEach((box, i) => places[i] && box.scrollTo(...places[i]));
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
    template.content.querySelectorAll("[data-order]").forEach(reorder);
    for (const fresh of template.content.querySelectorAll("[data-live]")) {
      const old = document.getElementById(fresh.id);
      const text = fresh.outerHTML;
      if (!old || shown.get(fresh.id) === text || isSelected(old)) continue;
      shown.set(fresh.id, text);
      replace(old, document.importNode(fresh, true));
    }
  };

  // A browser opens few connections to one host, so only a page that is seen holds one. The first
  // thing that a stream brings is the newest state.
  let stream = null;
  let retry = 0;

  const listen = () => {
    clearTimeout(retry);
    if (stream || document.hidden) return;
    stream = new EventSource(`/live?topics=${encodeURIComponent(topic)}`);
    stream.addEventListener(topic, (event) => {
      apply(event.data);
      say("Live, as of");
    });
    stream.addEventListener("error", () => {
      say("Connection lost, shown as of", true);
      if (stream.readyState !== EventSource.CLOSED) return; // it tries again by itself
      leave();
      retry = setTimeout(listen, RETRY_MS);
    });
  };

  const leave = () => {
    if (stream) stream.close();
    stream = null;
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      leave();
      say("Shown as of");
    } else {
      listen();
    }
  });
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", listen);
  listen();
})();
