// What every page does: the theme follows the system until the reader chooses,
// and the choice lasts for the tab. Nothing else needs a script.
"use strict";
{
  const button = document.getElementById("theme"), system = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
  const kept = sessionStorage.getItem("theme");
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const paint = () => {
    button.setAttribute("aria-pressed", String(dark()));
    dispatchEvent(new Event("recolor"));
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    sessionStorage.setItem("theme", root.dataset.theme);
    paint();
  });
  system.addEventListener("change", paint);
  let before;
  addEventListener("beforeprint", () => { before = root.dataset.theme; root.dataset.theme = "light"; root.classList.add("printing"); dispatchEvent(new Event("recolor")); });
  addEventListener("afterprint", () => { root.classList.remove("printing"); if (before) root.dataset.theme = before; else delete root.dataset.theme; paint(); });
  paint();
  root.dataset.ready = "page";
}
