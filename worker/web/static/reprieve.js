/* Reprieve in your product: a banner or a wall while a payment is open.
   <script src="https://pay.example.com/static/reprieve.js" data-token="..." data-lang="en" defer></script>
   No cookies, no storage, nothing but one request; docs/channels.md has the rest. */
(() => {
  "use strict";
  const me = document.currentScript;
  const base = new URL(me.src).origin;
  const style = new CSSStyleSheet();
  style.replaceSync(`
    :host { all: initial; }
    * { box-sizing: border-box; font: 16px/1.5 system-ui, sans-serif; }
    .bar, dialog { color: #1b1f24; background: #fff; border: 1px solid #c4cad1; }
    .bar { position: fixed; inset: auto 16px 16px; z-index: 2147483000; margin: auto; max-width: 720px; padding: 16px;
      border-radius: 10px; box-shadow: 0 6px 24px #0003; }
    dialog { width: min(480px, calc(100vw - 32px)); max-height: calc(100vh - 32px); overflow: auto; padding: 28px;
      border-radius: 14px; box-shadow: 0 12px 48px #0005; }
    dialog::backdrop { background: #0009; }
    h2 { margin: 0 0 8px; font-size: 20px; font-weight: 650; line-height: 1.3; }
    .bar h2 { font-size: 16px; margin: 0; }
    p { margin: 0 0 16px; }
    .bar p { margin: 0 0 12px; font-size: 15px; }
    .acts { display: flex; flex-wrap: wrap; gap: 10px; }
    a, button { display: inline-block; min-height: 44px; padding: 9px 18px; border-radius: 8px; cursor: pointer;
      font-weight: 600; text-decoration: none; }
    a { color: #fff; background: #1a4fd6; border: 1px solid #1a4fd6; }
    button { color: inherit; background: transparent; border: 1px solid #6b7480; }
    a:focus-visible, button:focus-visible { outline: 3px solid #6f9bff; outline-offset: 2px; }
    h2:focus { outline: none; }
    @media (prefers-color-scheme: dark) {
      .bar, dialog { color: #eceff3; background: #1c2128; border-color: #4a525c; }
      a { color: #0b1020; background: #8fb3ff; border-color: #8fb3ff; }
      button { border-color: #9aa4b0; }
    }
    @media (prefers-reduced-motion: no-preference) {
      .bar, dialog[open] { animation: in .18s ease-out; }
      @keyframes in { from { opacity: 0; transform: translateY(8px); } }
    }`);

  let host = null;
  const el = (name, text, more) => Object.assign(document.createElement(name), { textContent: text || "" }, more);

  function clear() {
    if (host) host.remove();
    host = null;
  }

  function acts(seen, close) {
    const row = el("div", "", { className: "acts" });
    if (/^https?:/.test(seen.link || "")) row.append(el("a", seen.words.button, { href: seen.link }));
    if (seen.words.dismiss) row.append(el("button", seen.words.dismiss, { type: "button", onclick: close }));
    return row;
  }

  function banner(root, seen) {
    const bar = el("section", "", { className: "bar", lang: seen.language });
    bar.setAttribute("aria-label", seen.words.title);
    const live = el("div");
    live.setAttribute("role", "status");
    live.setAttribute("aria-live", "polite");
    bar.append(live, acts(seen, clear));
    root.append(bar);
    // Filled once it is there, so that it is read out.
    setTimeout(() => live.append(el("h2", seen.words.title), el("p", seen.words.body)), 50);
  }

  function wall(root, seen) {
    const hard = seen.state === "hard_wall";
    const box = el("dialog", "", { lang: seen.language });
    box.setAttribute("aria-modal", "true");
    box.setAttribute("aria-labelledby", "t");
    box.setAttribute("aria-describedby", "b");
    box.append(
      el("h2", seen.words.title, { id: "t", tabIndex: -1 }),
      el("p", seen.words.body, { id: "b" }),
      acts(seen, () => box.close()),
    );
    root.append(box);
    const before = document.activeElement;
    let over = false;
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && hard) event.preventDefault();
      if (event.key !== "Tab") return;
      const stops = [...box.querySelectorAll("a, button")];
      const at = stops.indexOf(root.activeElement);
      const next = event.shiftKey ? at - 1 : at + 1;
      event.preventDefault();
      if (stops.length) stops[(next + stops.length) % stops.length].focus();
    });
    box.addEventListener("cancel", (event) => hard && event.preventDefault());
    box.addEventListener("close", () => {
      if (over) return;
      if (hard) return box.showModal();
      over = true;
      clear();
      if (before && before.focus) before.focus();
    });
    box.showModal();
    (box.querySelector("a, button") || box.querySelector("h2")).focus();
  }

  async function refresh(token = me.dataset.token) {
    const lang = me.dataset.lang || document.documentElement.lang || "";
    let seen = { state: "none" };
    try {
      const answer = await fetch(`${base}/v1/in-app/${encodeURIComponent(token)}?lang=${encodeURIComponent(lang)}`, {
        credentials: "omit",
        referrerPolicy: "no-referrer",
      });
      if (answer.ok) seen = await answer.json();
    } catch {
      /* Away: the product must go on without us. */
    }
    clear();
    if (seen.state !== "none" && seen.words) {
      host = el("reprieve-notice");
      document.body.append(host);
      const root = host.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [style];
      (seen.state === "banner" ? banner : wall)(root, seen);
    }
    dispatchEvent(new CustomEvent("reprieve", { detail: seen }));
    return seen;
  }

  window.reprieve = { refresh };
  if (me.dataset.token) refresh();
})();
