// What the page can do beside being read: search, filters, sorting, details in a window, two themes. All text is already
// there; nothing here makes markup of it.
(() => {
  "use strict";
  const one = (selector, within = document) => within.querySelector(selector);
  const every = (selector, within = document) => [...within.querySelectorAll(selector)];
  const root = document.documentElement;
  root.classList.add("js");

  // The theme: that of the system until somebody says otherwise.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const toggle = one("#theme");
  const kept = {
    get() { try { return localStorage.getItem("tfleet-theme"); } catch { return null; } },
    set(theme) { try { localStorage.setItem("tfleet-theme", theme); } catch { /* a page without storage forgets it */ } },
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const label = () => { toggle.textContent = isDark() ? "Light theme" : "Dark theme"; };
  const saved = kept.get();
  if (saved === "light" || saved === "dark") root.dataset.theme = saved;
  toggle.hidden = false;
  label();
  dark.addEventListener("change", label);
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    kept.set(root.dataset.theme);
    label();
  });

  const table = one("#deployments");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const form = one("#filters");
  const search = one("#q");
  const choices = ["outcome", "account", "environment", "region"];
  const columns = every("thead th", table);
  const details = (row) => document.getElementById(`d${Number(row.dataset.at) + 1}`);
  form.hidden = false;

  // What is searched: the row and the short texts of the details, not the plans.
  const words = new Map();
  const wordsOf = (row) => {
    if (!words.has(row)) {
      const texts = every("[data-find]", details(row)).map((part) => part.textContent);
      words.set(row, [row.textContent, ...texts].join("\n").toLowerCase());
    }
    return words.get(row);
  };

  const field = (name) => form.elements.namedItem(name);
  const value = (name) => field(name)?.value ?? "";

  function filter() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = choices.filter((name) => value(name) !== "");
    let shown = 0;
    for (const row of rows) {
      const fits = chosen.every((name) => row.dataset[name] === value(name))
        && (wanted.length === 0 || wanted.every((word) => wordsOf(row).includes(word)));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    one("#shown").value = shown === rows.length ? `${shown} deployments` : `${shown} of ${rows.length} deployments`;
    one("#none").hidden = shown > 0;
  }

  const collator = new Intl.Collator(undefined, { numeric: true });
  function sort() {
    const word = value("sort");
    const descending = word.startsWith("-");
    const key = word.replace(/^-/, "");
    const at = columns.findIndex((column) => column.dataset.key === key);
    const of = (row) => row.cells[at];
    const compare = (a, b) => {
      if (at < 0) return a.dataset.at - b.dataset.at;
      const [x, y] = [of(a), of(b)];
      const order = x.dataset.v === undefined
        ? collator.compare(x.textContent, y.textContent)
        : Number(x.dataset.v) - Number(y.dataset.v);
      return (descending ? -order : order) || a.dataset.at - b.dataset.at;
    };
    rows.sort(compare);
    body.append(...rows);
    for (const column of columns) {
      const own = column.dataset.key === key;
      column.setAttribute("aria-sort", own ? (descending ? "descending" : "ascending") : "none");
    }
  }

  for (const column of columns) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.textContent;
    column.replaceChildren(button);
    button.addEventListener("click", () => {
      const key = column.dataset.key;
      // Numbers are wanted largest first, words from A.
      const first = column.classList.contains("n") ? `-${key}` : key;
      const second = first === key ? `-${key}` : key;
      const now = value("sort");
      field("sort").value = now === first ? second : now === second ? "" : first;
      sort();
      remember();
    });
  }

  // The details of one deployment in a window: the article itself is moved there and back.
  const win = one("#window");
  const nav = document.createElement("nav");
  const button = (text, name, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.className = name;
    made.addEventListener("click", act);
    nav.append(made);
    return made;
  };
  const previous = button("Previous", "previous", () => step(-1));
  const next = button("Next", "next", () => step(1));
  button("Close", "close", () => win.close());
  win.append(nav);
  const place = document.createComment("");
  let opened = null;

  function put() {
    if (!opened) return;
    place.replaceWith(opened);
    opened = null;
  }

  function open(id) {
    const article = document.getElementById(id);
    if (!article || article === opened || article.localName !== "article") return;
    put();
    opened = article;
    article.replaceWith(place);
    win.append(article);
    win.setAttribute("aria-labelledby", `${id}-h`);
    const text = one("details.text", article);
    if (text) text.open = true;
    if (!win.open) win.showModal();
    win.scrollTop = 0;
    const at = neighbours();
    previous.disabled = at.previous === undefined;
    next.disabled = at.next === undefined;
    remember();
  }

  function neighbours() {
    const visible = rows.filter((row) => !row.hidden).map((row) => details(row).id);
    const at = visible.indexOf(opened?.id);
    return at < 0 ? {} : { previous: visible[at - 1], next: visible[at + 1] };
  }

  function step(by) {
    const at = neighbours();
    const to = by < 0 ? at.previous : at.next;
    if (to) open(to);
  }

  win.addEventListener("close", () => {
    put();
    remember();
  });
  win.addEventListener("click", (event) => { if (event.target === win) win.close(); });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const to = link?.getAttribute("href");
    if (to && /^#d\d+$/.test(to)) {
      event.preventDefault();
      open(to.slice(1));
      return;
    }
    const row = event.target.closest("#deployments tbody tr");
    // Whoever marks text of a row does not want to open it.
    if (row && !link && String(getSelection()) === "") one("a", row).click();
  });

  // The address keeps what is seen, so that it can be sent to somebody.
  function remember() {
    const state = new URLSearchParams();
    if (search.value) state.set("q", search.value);
    for (const name of [...choices, "sort"]) if (value(name)) state.set(name, value(name));
    if (opened) state.set("open", opened.id);
    const hash = String(state);
    if (hash === location.hash.slice(1)) return;
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  function recall() {
    const hash = location.hash.slice(1);
    const state = new URLSearchParams(/^d\d+$/.test(hash) ? `open=${hash}` : hash);
    search.value = state.get("q") ?? "";
    for (const name of [...choices, "sort"]) {
      const control = field(name);
      if (!control) continue;
      control.value = state.get(name) ?? "";
      // A value that this page has not.
      if (control.selectedIndex < 0) control.value = "";
    }
    sort();
    filter();
    const wanted = state.get("open");
    if (wanted) open(wanted);
    else if (win.open) win.close();
  }

  form.addEventListener("input", (event) => {
    if (event.target.name === "sort") sort();
    else filter();
    remember();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    // The controls are empty only after this event.
    queueMicrotask(() => {
      sort();
      filter();
      remember();
    });
  });
  addEventListener("hashchange", recall);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(input|select|textarea)$/.test(event.target.localName);
    if (win.open) {
      if (event.key === "j" || event.key === "ArrowRight") step(1);
      if (event.key === "k" || event.key === "ArrowLeft") step(-1);
      return;
    }
    if (event.key === "/" && !typing) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape" && event.target === search) {
      search.value = "";
      filter();
      remember();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && (!typing || event.target === search)) {
      const visible = rows.filter((row) => !row.hidden);
      const at = visible.findIndex((row) => row.contains(document.activeElement));
      const to = at < 0 && event.target !== search ? -1 : at + (event.key === "ArrowDown" ? 1 : -1);
      if (to >= 0 && to < visible.length) {
        event.preventDefault();
        one("a", visible[to]).focus();
      }
    }
  });

  recall();
})();
