// The page is whole without this script: it adds a switch of the theme, a button that opens all
// texts, and it opens texts and the record for paper.
"use strict";

const buttons = document.getElementById("buttons");
const root = document.documentElement;

function button(label, press) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.addEventListener("click", () => press(made));
  buttons.append(made);
}

function opened(open) {
  for (const each of document.querySelectorAll("details.unfold")) {
    each.open = open;
  }
}

const themes = ["auto", "light", "dark"];
let theme = 0;
button("Theme: auto", (made) => {
  theme = (theme + 1) % themes.length;
  if (theme === 0) {
    delete root.dataset.theme;
  } else {
    root.dataset.theme = themes[theme];
  }
  made.textContent = "Theme: " + themes[theme];
});

if (document.querySelector("details.unfold")) {
  let open = false;
  button("Show all texts", (made) => {
    open = !open;
    opened(open);
    made.textContent = open ? "Hide all texts" : "Show all texts";
  });
}

let before = [];
window.addEventListener("beforeprint", () => {
  before = Array.from(document.querySelectorAll("details.unfold:not([open])"));
  opened(true);
});
window.addEventListener("afterprint", () => {
  for (const each of before) {
    each.open = false;
  }
});
