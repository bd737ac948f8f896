// The dialog for the credentials, which go into the memory of this tab alone.

import { hasCredentials, setCredentials } from "./api.js";

const $ = (id) => document.getElementById(id);
let changed = () => {};

// `onchange` is called when credentials were set or forgotten, with true if they were forgotten.
export function watchCredentials(onchange) {
  changed = onchange;
}

export function openCredentials() {
  $("credentials").showModal();
  $("header-value").focus();
}

$("credentials-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("header-error").textContent = "";
  try {
    if (!$("header-value").value) throw new TypeError();
    setCredentials($("header-name").value.trim(), $("header-value").value.trim());
  } catch {
    $("header-error").textContent = "A page cannot send this header.";
    return $("header-value").focus();
  }
  closeCredentials();
});

function closeCredentials({ forgotten = false } = {}) {
  $("credentials").close();
  $("header-value").value = "";
  $("credentials-open").textContent = hasCredentials() ? "Credentials set" : "Credentials";
  changed(forgotten);
}

$("credentials-open").addEventListener("click", openCredentials);
$("credentials-cancel").addEventListener("click", () => $("credentials").close());
$("credentials-forget").addEventListener("click", () => {
  setCredentials(null);
  closeCredentials({ forgotten: true });
});
$("credentials").addEventListener("close", () => ($("header-value").value = ""));
